"""`train`: from a study and files of events to a saved emulator."""

from __future__ import annotations

import logging
import platform
import shutil
import time
from dataclasses import dataclass, replace
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gen2reco import models
from gen2reco.emulator import Emulator, TrainedPart, check_replaceable, save_emulator
from gen2reco.emulator.reference import write_reference
from gen2reco.errors import OutputExistsError, StudyError, TrainingError
from gen2reco.events import open_events
from gen2reco.events.layout import flat_columns, to_events
from gen2reco.events.publish import publish, temporary_name
from gen2reco.extras import require
from gen2reco.study import Study, as_study
from gen2reco.training import current_group, fit_ensembles
from gen2reco.verbs.inputs import naming
from gen2reco.verbs.members import fit_on_cluster
from gen2reco.verbs.preparing import advice_on, prepared_part
from gen2reco.verbs.training_rows import bundled_sample, read_tables, reco_layout
from gen2reco.workers.cluster import check_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import awkward as ak
    import numpy as np

    from gen2reco.events import EventSource
    from gen2reco.rows.tables import Table
    from gen2reco.training import Advice, Member, Progress

logger = logging.getLogger(__name__)

FIT = "fit.txt"
"""Beside the checkpoints: the study whose fit they are."""
LIBRARIES = ("gen2reco", "torch", "numpy", "awkward", "uproot", "pyarrow", "numba")


@dataclass(frozen=True)
class Trained:
    """Outcome of `train`.

    Attributes:
        emulator: the emulator, nominal member and bootstraps.
        path: where it was saved.
        rows: part -> rows in training and validation.
        dropped: part -> reason -> events that were not learned.
        findings: part -> what the data turned out to hold (copies, constants, point masses).
        advice: part -> what the health check says.
        seconds: wall time.
    """

    emulator: Emulator
    path: Path
    rows: Mapping[str, Mapping[str, int]]
    dropped: Mapping[str, Mapping[str, int]]
    findings: Mapping[str, Sequence[str]]
    advice: Mapping[str, Sequence[Advice]]
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"emulator of study {self.emulator.study.name}: {self.path} ({self.seconds:.0f} s)"
        ]
        for name, rows in self.rows.items():
            lines.append(
                f"part {name}: {rows['training']} rows in training,"
                f" {rows['validation']} in validation"
            )
            lines += [
                f"  left out, {reason}: {count}"
                for reason, count in sorted(self.dropped[name].items())
            ]
            lines += [f"  found: {finding}" for finding in self.findings[name]]
            told = set(self.findings[name])
            lines += [f"  health: {item}" for item in self.advice[name] if item.message not in told]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def train(
    study: Study | str | Path,
    files: Sequence[str | Path] | str | Path = (),
    output: str | Path = "model",
    *,
    overrides: Mapping[str, Any] | None = None,
    factor: np.ndarray | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    scheduler: str = "",
    tensorboard: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train every part of a study on the training part of the events and save the emulator.

    In the processes of `torchrun` (`torchrun --nproc-per-node 2 -m gen2reco train ...`) each reads
    and keeps its share of the events, batches are those of one process, and the first one saves.

    Args:
        study: a study, the path of its YAML file, or the name of a shipped one.
        files: files or globs with events that have GEN and RECO; empty: the sample bundled for that
            study.
        output: folder (or `.zip`) of the emulator. Checkpoints go to `OUTPUT.training` beside it
            until it is done.
        overrides: dotted key -> value, set in the study before it is checked.
        factor: factor on the weight of each row, in the order of `read_tables`, for a study of one
            part: to train on another GEN than that of the files.
        resume: go on from the checkpoints of an interrupted run; the result is the same as without
            interruption.
        overwrite: replace an existing emulator and forget old checkpoints.
        workers: processes that train parts and ensemble members side by side.
        scheduler: address of a Dask scheduler (`tcp://host:8786`) on whose workers parts and
            members are trained, or `local` for a cluster of `workers` processes here; all must see
            the folder of `output` under the same path.
        tensorboard: also write TensorBoard logs (extra `[tensorboard]`).
        progress: receives the state of training as it goes.

    Raises:
        StudyError: the study or an expression in it is wrong, or there are overrides of a study
            that is no file.
        EventFileError: a file cannot be read or lacks a column.
        TrainingError: no rows are left to learn from, the fit fails, or `resume` meets the
            checkpoints of another one.
        OutputExistsError: the emulator or its checkpoints exist, and neither `resume` nor
            `overwrite` is given.
        MissingExtraError: TensorBoard or dask is asked for and not installed.
        WorkerError: a scheduler was lost; `resume` goes on.
    """
    begin = time.perf_counter()
    output = Path(output)
    group = current_group()
    if (workers > 1 or scheduler) and not group.alone:
        raise TrainingError(
            "torchrun has started the processes already: leave out --workers and --scheduler"
        )
    if tensorboard:
        require("tensorboard", "--tensorboard")
    check_scheduler(scheduler)
    rank = "" if group.first else f"-{group.rank}"
    scratch = output.with_name(f"{output.name}.training{rank}")
    study = as_study(study, dict(overrides or {}))
    _check_families(study)
    _prepare(output, scratch, resume=resume, overwrite=overwrite)
    source = open_events(
        files or bundled_sample(study.name), tree=study.input.tree, units=study.input.units
    )
    _refuse_other_fit(scratch, study)
    sharing = group if not group.alone and factor is None and _shareable(study) else None
    with naming(source, "the study does not fit these events"):
        tables, reference = read_tables(study, source, sharing)
    if factor is not None:
        ((name, table),) = tables.items()
        tables[name] = replace(table, weight=table.weight * factor)
    dropped = {name: dict(table.dropped) for name, table in tables.items()}
    # A table goes once its rows are encoded.
    prepared = [
        prepared_part(study, part, tables.pop(part.name), sharing, drain=True)
        for part in study.stages
    ]
    ensembles = [one.ensemble(scratch / one.part.name, tensorboard=tensorboard) for one in prepared]
    _say_which_fit(scratch, study)
    if scheduler:
        fit_on_cluster(ensembles, scheduler, scratch, workers=workers, progress=progress)
        resume, workers, progress = True, 1, None  # what follows only reads the results
    fits = fit_ensembles(ensembles, resume=resume, processes=workers, progress=progress)
    trained = [
        TrainedPart(
            one.part, one.features, tuple(fit.model.eval() for fit in members), one.backward
        )
        for one, members in zip(prepared, fits, strict=True)
    ]
    rows = {one.part.name: one.rows for one in prepared}
    findings = {one.part.name: [str(item) for item in one.features.findings] for one in prepared}
    advice = {
        one.part.name: advice_on(one, members) for one, members in zip(prepared, fits, strict=True)
    }
    histories = {
        one.part.name: [[epoch.as_dict() for epoch in fit.result.history] for fit in members]
        for one, members in zip(prepared, fits, strict=True)
    }
    seconds = time.perf_counter() - begin
    provenance = {
        "files": [
            {"name": file.path.name, "sha256": file.digest(), "entries": file.entries}
            for file in source.files
        ],
        "rows": rows,
        "dropped": dropped,
        "findings": findings,
        "advice": {name: [str(item) for item in items] for name, items in advice.items()},
        "history": histories,
        "seconds": round(seconds, 1),
        "processes": group.size,
        "precision": {one.part.name: one.settings.precision for one in prepared},
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "seed": study.training.seed,
        "weighted": factor is not None,
        "licence": "",
    }
    layout = reco_layout(study, source)
    emulator = Emulator(study, tuple(trained), layout, provenance)
    gen = _gen_only(emulator, source, reference)
    if group.first:  # the others have the same weights
        emulator = save_emulator(
            emulator,
            output,
            overwrite=overwrite,
            add_reference=lambda made, folder: write_reference(made, folder, gen),
        )
    shutil.rmtree(scratch, ignore_errors=True)
    return Trained(emulator, output, rows, dropped, findings, advice, seconds)


def _check_families(study: Study) -> None:
    """Refuse settings that no family has, before events are read: StudyError."""
    for part in study.stages:
        settings = models.parse(part.model)
        if part.unfolded and not settings.runs_back:
            raise StudyError(
                f"part {part.name!r}: `unfolded` is for a family that runs both ways, and"
                f" {settings.kind} does not; leave it out, or train a study with"
                " `direction: unfold`"
            )


def fit_alone(
    study: Study, table: Table, folder: Path, *, progress: Callable[[Progress], None] | None = None
) -> tuple[Member, ...]:
    """Fit a study of one part to its table, without an emulator around it.

    Args:
        study: of one part.
        table: as `read_tables` gives it.
        folder: for checkpoints.
        progress: receives the state of training as it goes; what it raises ends the fit.
    """
    (part,) = study.stages
    models.parse(part.model)
    prepared = prepared_part(study, part, table)
    (members,) = fit_ensembles([prepared.ensemble(folder, tensorboard=False)], progress=progress)
    return members


def _shareable(study: Study) -> bool:
    """Return whether processes may hold rows of their own; else each of them reads all."""
    return all(part.rows.kind != "set" and part.rows.pairing != "unpaired" for part in study.stages)


def _gen_only(emulator: Emulator, source: EventSource, events: ak.Array) -> ak.Array:
    """The GEN columns of some events, as `simulate` reads them."""
    columns = flat_columns(events)
    return to_events({name: columns[name] for name in emulator.columns_needed(source)})


def _prepare(output: Path, scratch: Path, *, resume: bool, overwrite: bool) -> None:
    check_replaceable(output, overwrite=overwrite)
    if scratch.exists() and not resume:
        if not overwrite:
            raise OutputExistsError(
                f"{scratch} holds checkpoints of an unfinished training; go on with --resume, or"
                " start afresh with --overwrite"
            )
        shutil.rmtree(scratch)


def _say_which_fit(scratch: Path, study: Study) -> None:
    """Write into the folder of checkpoints whose they are; those of each part say more."""
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(scratch / FIT)
    temporary.write_text(_fit_of(study), encoding="utf-8")
    publish(temporary, scratch / FIT, overwrite=True)


def _refuse_other_fit(scratch: Path, study: Study) -> None:
    """Refuse checkpoints of other parts: this fit would pass over them and remove them."""
    if not (scratch / FIT).is_file():
        return
    begun = (scratch / FIT).read_text(encoding="utf-8", errors="replace")
    if begun != _fit_of(study):
        raise TrainingError(
            f"{scratch} belongs to another fit: it is of {begun} and not of {_fit_of(study)}."
            " Resume with the study it began with, choose another --output, or start afresh with"
            " --overwrite"
        )


def _fit_of(study: Study) -> str:
    return f"study {study.name} (parts {', '.join(part.name for part in study.stages)})"
