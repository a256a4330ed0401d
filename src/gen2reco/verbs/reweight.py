"""Unfolding by weights: the truth of simulated events, weighted so that it is that of the data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator.emulator import kept_columns
from gen2reco.errors import StudyError
from gen2reco.events import EventWriter, Jagged, flat_columns, to_events
from gen2reco.events.publish import refuse_existing
from gen2reco.rows.table import IDS
from gen2reco.rows.tables import columns_of
from gen2reco.study import Study, as_study
from gen2reco.unfolding import OmniFold, bootstrap, omnifold
from gen2reco.verbs.inputs import open_sample, refuse_empty, refuse_input_as_output, refuse_negative
from gen2reco.verbs.sides import check_columns, only_part, read_measured, read_pairs, truth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gen2reco.events import EventSource
    from gen2reco.unfolding import Reweighted

WEIGHT = "weight"
REPLICAS = "BootstrapWeight"


@dataclass(frozen=True)
class Reweighting:
    """Outcome of `reweight`.

    Attributes:
        path: the file of simulated events with their final weights.
        events: events written, all that have a truth.
        without_reco: measured events that lack an object of the study.
        result: final weights, how the iterations went, what was counted.
        seconds: wall time.
    """

    path: Path
    events: int
    without_reco: int
    result: Reweighted
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: all but the weights."""
        return {
            "path": str(self.path),
            "events": self.events,
            **_facts(self.result, self.without_reco),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        return (
            f"{self.path}: truth of {self.events} simulated events, weighted"
            f" ({self.seconds:.1f} s)\n{self.result}\n"
            f"measured events without an object of the study: {self.without_reco}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def reweight(
    study: Study | str | Path,
    files: Sequence[str | Path] | str | Path,
    simulation: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    iterations: int = 5,
    bootstraps: int = 0,
    seed: int = 1,
    keep: Sequence[str] = (),
    file_format: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Reweighting:
    """Unfold a measurement with OmniFold and write the simulated events with their final weights.

    RECO are the conditions of the study, GEN its targets; the model and `select` are not used. A
    simulated event without the RECO objects is a loss, one without the GEN objects a fake. All
    quantities are held in memory, 8 bytes each.

    Args:
        study: a study with `direction: unfold`, its path, or the name of a shipped one.
        files: files or globs of the measurement, with RECO.
        simulation: files or globs of simulated events, with GEN and RECO.
        output: file to write: ids, GEN columns that the study reads, `weight` (the final weight,
            prior weight included) and `BootstrapWeight`.
        iterations: more depend less on the prior and scatter more.
        bootstraps: replicas whose final weights are written too, for covariances.
        seed: of folds and replicas.
        keep: columns or patterns to carry along.
        file_format: `parquet`, `nanoaod` or `rntuple`; default: by the suffix of `output`.
        overwrite: replace an existing output.
        say: receives a line for each iteration and replica.

    Raises:
        OutputExistsError: the output exists and `overwrite` is off.
        StudyError: the study does not unfold whole events, or names a column that is not there, or
            a number is out of range.
        EventFileError: a file cannot be read, has no events, or is the output too.
        SampleError: a sample has no usable events, or negative weights.
    """
    begin = time.perf_counter()
    if iterations < 1 or bootstraps < 0 or bootstraps == 1:
        raise StudyError(
            f"{iterations} iterations and {bootstraps} replicas: at least one iteration, and two"
            " replicas or none"
        )
    refuse_negative(seed)
    if not overwrite:
        refuse_existing(Path(output))
    study = as_study(study)
    part = only_part(study)
    measured, source = open_sample(files, study), open_sample(simulation, study)
    refuse_empty(measured, "unfold")
    refuse_empty(source, "unfold with")
    refuse_input_as_output([*measured.paths, *source.paths], output)
    check_columns(study, measured, source)
    say(f"reading {measured.entries} measured and {source.entries} simulated events")
    data, without_reco = read_measured(study, measured)
    pairs = read_pairs(study, source)
    settings = OmniFold(iterations=iterations).with_seed(seed)
    result = omnifold(
        data,
        pairs,
        settings,
        progress=lambda one: say(f"iteration {one.number}: change {one.change:.4f}"),
    )
    replicas = bootstrap(
        data,
        pairs,
        bootstraps,
        settings,
        seed=seed,
        progress=lambda number: say(f"replica {number} of {bootstraps}"),
    )
    sidecar = {
        "study": study.name,
        "method": "omnifold",
        "seed": seed,
        "bootstraps": bootstraps,
        **_facts(result, without_reco),
        "gen2reco": version("gen2reco"),
        "data": [{"name": file.path.name, "entries": file.entries} for file in measured.files],
        "simulation": [{"name": file.path.name, "entries": file.entries} for file in source.files],
    }
    gen = columns_of(truth_of(part).values(), study.define, source)
    columns = [*dict.fromkeys([*IDS, *gen, *kept_columns(keep, source.columns)])]
    with EventWriter(output, format=file_format, overwrite=overwrite, sidecar=sidecar) as writer:
        events = _write(writer, source, columns, pairs.has_gen, result.weight, replicas)
    return Reweighting(Path(output), events, without_reco, result, time.perf_counter() - begin)


def _write(
    writer: EventWriter,
    source: EventSource,
    columns: Sequence[str],
    has_gen: np.ndarray,
    weight: np.ndarray,
    replicas: np.ndarray,
) -> int:
    """Write the events with a truth; returns how many."""
    start = 0
    for chunk in source.chunks(columns=columns):
        stop = start + len(chunk.events)
        which = np.flatnonzero(has_gen[start:stop])
        written = flat_columns(chunk.events[which])
        written[WEIGHT] = weight[start:stop][which]
        if len(replicas):
            offsets = len(replicas) * np.arange(len(which) + 1, dtype=np.int64)
            written[REPLICAS] = Jagged(offsets, replicas[:, start:stop][:, which].T.reshape(-1))
        writer.append(to_events(written))
        start = stop
    return int(np.count_nonzero(has_gen))


def _facts(result: Reweighted, without_reco: int) -> dict[str, Any]:
    return {
        "counts": dict(result.counts) | {"measured events without RECO": without_reco},
        "fakes": result.fakes,
        "iterations": [one.as_dict() for one in result.history],
    }
