"""Removal of the prior from p(GEN | RECO), by iteration (as IcINN, arXiv:2212.08674).

A flow trained on a simulation answers with the simulation's truth as prior. Where the data have
another truth, the answer lies between both. So the simulation is weighted to the truth that was
unfolded, the flow trained again, and so on: Bayes' theorem with the prior of the step before.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator import Emulator, check_replaceable, load_emulator
from gen2reco.emulator.emulator import check_options
from gen2reco.errors import OutputExistsError, SampleError, StudyError
from gen2reco.events import open_events
from gen2reco.events.formats import output_format
from gen2reco.events.publish import refuse_existing
from gen2reco.rows.tables import Table, build_table, columns_needed
from gen2reco.study import Part, Study, as_study
from gen2reco.unfolding import Ratio, Trees
from gen2reco.verbs.inputs import refuse_empty, refuse_input_as_output
from gen2reco.verbs.sides import only_part
from gen2reco.verbs.train import train
from gen2reco.verbs.training_rows import read_tables
from gen2reco.verbs.unfold import Unfolding, unfold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gen2reco.events import EventSource
    from gen2reco.training import Progress

logger = logging.getLogger(__name__)

DRAWS = 2
"""Draws per measured event that stand for the unfolded truth."""


@dataclass(frozen=True)
class Step:
    """How one removal of the prior went.

    Attributes:
        number: from 1.
        change: mean of |factor - factor of the step before| on the truth of the simulation.
        effective: effective share of the simulated events with their new weights.
        largest: largest factor.
        left_out: draws that are not finite.
    """

    number: int
    change: float
    effective: float
    largest: float
    left_out: int


@dataclass(frozen=True)
class Adapted:
    """Outcome of `remove_prior`.

    Attributes:
        path: the emulator with the last prior.
        steps: how the iterations went.
        seconds: wall time.
    """

    path: Path
    steps: tuple[Step, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {
            "path": str(self.path),
            "steps": [asdict(step) for step in self.steps],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [f"{self.path}: prior removed {len(self.steps)} times ({self.seconds:.0f} s)"]
        lines += [
            f"  {step.number}: change {step.change:.4f}, effective share {step.effective:.3f},"
            f" largest factor {step.largest:.2f}, draws left out {step.left_out}"
            for step in self.steps
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def remove_prior(
    study: Study | str | Path,
    files: Sequence[str | Path] | str | Path,
    simulation: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    iterations: int = 2,
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Adapted:
    """Train p(GEN | RECO) with the truth of the data as prior, found by iteration.

    Args:
        study: a study with `direction: unfold`, its path, or the name of a shipped one.
        files: files or globs of the data, with RECO.
        simulation: files or globs of the simulation, with GEN and RECO.
        output: folder of the emulator, for `unfold`. Those of earlier iterations stand in
            `OUTPUT.iterations` until the end.
        iterations: how often the prior is replaced; each is one training more.
        overrides: dotted key -> value, set in the study before it is checked.
        overwrite: replace an existing emulator.
        progress: receives the state of each training.
        say: receives a line for each iteration.

    Raises:
        OutputExistsError: the emulator exists and `overwrite` is off.
        StudyError: the study does not unfold whole events.
        EventFileError, TrainingError, SampleError: as `train`, and for data without usable events.
    """
    begin = time.perf_counter()
    output = Path(output)
    if iterations < 1:
        raise StudyError(f"the prior is removed at least once, not {iterations} times")
    check_replaceable(output, overwrite=overwrite)
    study = as_study(study, dict(overrides or {}))
    part = only_part(study)
    inputs = study.input
    data, source = (
        open_events(paths, tree=inputs.tree, units=inputs.units) for paths in (files, simulation)
    )
    refuse_empty(data, "unfold")
    refuse_empty(source, "unfold with")
    measured = _read_reco(study, part, data)
    truth = read_tables(study, source)[0][part.name]
    scratch = output.with_name(f"{output.name}.iterations")
    factor = np.ones(len(truth))
    steps: list[Step] = []
    for number in range(1, iterations + 1):
        path = scratch / str(number)
        _train(study, simulation, path, factor, progress)
        emulator = load_emulator(path)
        factor, step = _compare(emulator, measured, truth, factor, number)
        steps.append(step)
        say(f"iteration {number}: change {step.change:.4f}, largest factor {step.largest:.2f}")
    _train(study, simulation, output, factor, progress)
    shutil.rmtree(scratch, ignore_errors=True)
    return Adapted(output, tuple(steps), time.perf_counter() - begin)


def unfold_without_prior(
    study: Study | str | Path,
    files: Sequence[str | Path] | str | Path,
    simulation: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    iterations: int = 2,
    draws: int = 1,
    policy: str = "error",
    file_format: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Unfolding:
    """Unfold with an emulator whose prior is the truth of the data: `remove_prior`, then `unfold`.

    Args:
        study: as in `remove_prior`, and so are `files`, `simulation` and `iterations`.
        files: files or globs of the data.
        simulation: files or globs of the simulation.
        output: GEN file, `.parquet` or `.root`. The emulator is saved as `OUTPUT.model`.
        iterations: how often the prior is replaced.
        draws: GEN events per RECO event.
        policy: for RECO values that are not finite.
        file_format: of the output; default: by its suffix.
        overwrite: replace an existing output and emulator.
        say: receives a line for each iteration.
        options: what else `unfold` takes.

    Raises:
        OutputExistsError: the output or the emulator exists and `overwrite` is off.
        StudyError, EventFileError, TrainingError, SampleError: as the two; before anything is
            trained where that can be known.
    """
    output = Path(output)
    model = output.with_name(f"{output.name}.model")
    if not overwrite:
        refuse_existing(output)
        if model.exists():
            raise OutputExistsError(
                f"{model} is there, made before: unfold with it (gen2reco unfold {model} FILES -o"
                f" {output}), or train it again with --overwrite"
            )
    output_format(output, file_format)
    check_options(oversample=draws, policy=policy)
    study = as_study(study)
    for given in (files, simulation):
        source = open_events(given, tree=study.input.tree, units=study.input.units)
        refuse_input_as_output(source.paths, output)
    adapted = remove_prior(
        study, files, simulation, model, iterations=iterations, overwrite=overwrite, say=say
    )
    say(str(adapted))
    return unfold(
        model,
        files,
        output,
        draws=draws,
        policy=policy,
        file_format=file_format,
        overwrite=overwrite,
        **options,
    )


def _train(
    study: Study,
    simulation: Sequence[str | Path] | str | Path,
    path: Path,
    factor: np.ndarray,
    progress: Callable[[Progress], None] | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    train(study, simulation, path, factor=factor, overwrite=True, progress=progress)


def _read_reco(study: Study, part: Part, source: EventSource) -> Table:
    """Rows of the data: those with all RECO objects and finite quantities; SampleError for none."""
    needed = columns_needed(study, part, source, targets=False)
    pieces = []
    for chunk in source.chunks(columns=needed):
        table = build_table(study, part, chunk.events, targets=False, where=chunk.file)
        pieces.append(table.take(~table.nonfinite))
    table = Table.concatenate(pieces)
    if not len(table):
        raise SampleError(f"{source.label}: no event has all RECO objects, of {source.entries}")
    return table


def _compare(
    emulator: Emulator, data: Table, truth: Table, before: np.ndarray, number: int
) -> tuple[np.ndarray, Step]:
    """Return the factor that gives the simulation the truth unfolded from the data."""
    trained = emulator.parts[0]
    names = list(truth.target)
    seed = emulator.study.training.seed + 1000 * number
    drawn = [
        emulator.sample_targets(trained, data, seed=seed, replica=replica)
        for replica in range(DRAWS)
    ]
    unfolded = np.concatenate([np.stack([one[name] for name in names], axis=1) for one in drawn])
    weight = np.tile(data.weight, DRAWS)
    trees = Trees(seed=seed)
    fold = np.tile(trees.deal(len(data), 1), DRAWS)
    sound = np.isfinite(unfolded).all(axis=1)
    made = np.stack([truth.target[name] for name in names], axis=1)
    ratio = Ratio(
        np.concatenate([unfolded[sound], made]),
        np.concatenate([fold[sound], trees.deal(len(truth), 0)]),
        trees,
    )
    count = int(np.count_nonzero(sound))
    factor = ratio.of_samples(
        np.concatenate([weight[sound], np.zeros(len(truth))]),
        np.concatenate([np.zeros(count), truth.weight]),
    )[count:]
    factor *= truth.weight.sum() / np.sum(factor * truth.weight)
    new = factor * truth.weight
    return factor, Step(
        number,
        float(np.average(np.abs(factor - before), weights=truth.weight)),
        float(new.sum() ** 2 / np.sum(new**2) / len(new)),
        float(factor.max()),
        int(np.count_nonzero(~sound)),
    )
