"""`train`: from a study and files of events to a saved emulator."""

from __future__ import annotations

import logging
import platform
import shutil
import time
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from gen2reco import models
from gen2reco.emulator import Emulator, TrainedPart, check_replaceable, save_emulator
from gen2reco.emulator.assemble import RecoLayout
from gen2reco.emulator.reference import write_reference
from gen2reco.errors import EventFileError, OutputExistsError, StudyError, TrainingError
from gen2reco.events import open_events
from gen2reco.events.layout import Jagged, flat_columns, to_events
from gen2reco.features import Features, PartFeatures, SetFeatures
from gen2reco.models.protocol import Batch, Shape
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TRAIN, VALIDATION, known_pairs, split
from gen2reco.rows.tables import Table, build_table, columns_needed, typed, with_part
from gen2reco.rows.unpaired import join_chunks
from gen2reco.study import OF_EVENT, Part, Study, load_study
from gen2reco.training import Ensemble, check_health, current_group, fit_ensembles
from gen2reco.verbs.inputs import naming
from gen2reco.verbs.members import fit_on_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import awkward as ak

    from gen2reco.events import EventSource
    from gen2reco.models.protocol import HasMonitor, Model
    from gen2reco.rng import Keys
    from gen2reco.study import Training
    from gen2reco.training import Advice, Member, Progress

logger = logging.getLogger(__name__)

REFERENCE_EVENTS = 300
LIBRARIES = ("gen2reco", "torch", "numpy", "awkward", "uproot", "pyarrow", "numba")
FEWEST_ROWS = 100
"""Fewer training rows than this cannot teach anything; more often they are a wrong selection."""


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

    In the processes of `torchrun` (`torchrun --nproc-per-node 2 -m gen2reco train ...`) each takes
    its share of every batch; the first one saves.

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
        StudyError: the study or an expression in it is wrong.
        EventFileError: a file cannot be read or lacks a column.
        TrainingError: no rows are left to learn from, or the fit fails.
        OutputExistsError: the emulator or its checkpoints exist, and neither `resume` nor
            `overwrite` is given.
        WorkerError: a scheduler was lost; `resume` goes on.
    """
    begin = time.perf_counter()
    output = Path(output)
    group = current_group()
    if (workers > 1 or scheduler) and not group.alone:
        raise TrainingError(
            "torchrun has started the processes already: leave out --workers and --scheduler"
        )
    rank = "" if group.first else f"-{group.rank}"
    scratch = output.with_name(f"{output.name}.training{rank}")
    _prepare(output, scratch, resume=resume, overwrite=overwrite)
    if not isinstance(study, Study):
        study = load_study(study, dict(overrides or {}))
    elif overrides:
        raise TrainingError(
            "overrides act on a study file; use study.model_copy for a Study object"
        )
    source = open_events(
        files or bundled_sample(study.name), tree=study.input.tree, units=study.input.units
    )
    with naming(source, "the study does not fit these events"):
        tables, reference = read_tables(study, source)
    if factor is not None:
        ((name, table),) = tables.items()
        tables[name] = replace(table, weight=table.weight * factor)

    for part in study.stages:
        models.parse(part.model)
        if part.unfolded and not models.runs_back(part.model):
            raise StudyError(
                f"part {part.name!r}: `unfolded` is for a family that runs both ways, and"
                f" {part.model['kind']} does not; leave it out, or train a study with"
                " `direction: unfold`"
            )
    prepared = [_prepared(study, part, tables[part.name]) for part in study.stages]
    ensembles = [one.ensemble(scratch / one.part.name, tensorboard=tensorboard) for one in prepared]
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
        one.part.name: _advice(one, members) for one, members in zip(prepared, fits, strict=True)
    }
    histories = {
        one.part.name: [[epoch.as_dict() for epoch in fit.result.history] for fit in members]
        for one, members in zip(prepared, fits, strict=True)
    }
    seconds = time.perf_counter() - begin
    dropped = {name: dict(table.dropped) for name, table in tables.items()}
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
    prepared = _prepared(study, part, table)
    (members,) = fit_ensembles([prepared.ensemble(folder, tensorboard=False)], progress=progress)
    return members


def bundled_sample(study: str) -> Path:
    """Return the path of the sample shipped for a study; TrainingError where none is."""
    path = Path(__file__).parents[1] / "data" / f"{study}.parquet"
    if not path.is_file():
        raise TrainingError(
            f"no sample is bundled for study {study!r}: name your files with --input"
        )
    return path


def read_tables(study: Study, source: EventSource) -> tuple[dict[str, Table], ak.Array]:
    """Build the table of every stage from all events of training and validation, never of test.

    Returns:
        Name of part or presence -> table, and the first events (all columns read) that fill a row
        in every part with one row per event.
    """
    if not source.entries:
        raise EventFileError("there are no events to learn from", file=source.label)
    needed: dict[str, None] = {}
    for part in study.stages:
        needed |= dict.fromkeys(columns_needed(study, part, source, targets=True))
    collected: _Collected = {part.name: ([], []) for part in study.stages}
    reference: ak.Array | None = None
    for chunk in source.chunks(columns=list(needed)):
        usable = _collect(study, chunk.events, chunk.file, collected)
        if reference is None and usable.any():
            reference = chunk.events[np.flatnonzero(usable)[:REFERENCE_EVENTS]]
    tables = {
        name: join_chunks(gen, reco, study.split, study.part(name).rows.known_pairs)
        if reco
        else Table.concatenate(gen)
        for name, (gen, reco) in collected.items()
    }
    for name, table in tables.items():
        learned = np.count_nonzero(split(table.keys, study.split) == TRAIN)
        if learned < FEWEST_ROWS or reference is None:
            raise _too_few(name, table, source)
    assert reference is not None
    return tables, reference


_Collected = dict[str, tuple[list[Table], list[Table]]]
"""Stage -> tables of the chunks so far; of unpaired rows the GEN sides and the RECO sides."""


def _collect(study: Study, events: ak.Array, file: str, collected: _Collected) -> np.ndarray:
    """Add the rows of a chunk, and return which events fill a row in every part of event rows."""
    usable = np.ones(len(events), dtype=bool)
    names = Namespace(events, study.define)
    for part in study.stages:
        sides = _sides(study, part, names, file)
        for kept, side in zip(collected[part.name], sides, strict=False):
            kept.append(side.take(split(side.keys, study.split) <= VALIDATION))
        table = sides[0]
        if part.rows.per_event:
            usable[np.setdiff1d(np.arange(len(usable)), table.entry)] = False
        if part is not study.stages[-1]:
            names = with_part(names, part, table, typed(part, table.target))
    return usable


def _sides(study: Study, part: Part, names: Namespace, file: str) -> list[Table]:
    """Return the rows of a part in a chunk; of unpaired ones the GEN side and the RECO side."""
    if part.rows.pairing != "unpaired":
        return [build_table(study, part, names, targets=True, where=file)]
    return [
        build_table(study, part, names, targets=True, where=file, side=side)
        for side in ("gen", "reco")
    ]


def _too_few(name: str, table: Table, source: EventSource) -> TrainingError:
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(table.dropped.items()))
    return TrainingError(
        f"part {name!r} has {len(table)} rows from {source.entries} events: too few to learn from."
        f" Left out: {reasons or 'nothing'}. Check `select` and the files."
    )


def reco_layout(study: Study, source: EventSource) -> RecoLayout:
    """Take shapes and number types of the RECO columns to write from the files of training."""
    singletons: list[str] = []
    types: dict[str, str] = {}
    for part in study.parts:
        for collection, fields in (part.output | part.unfolded).items():
            if collection == OF_EVENT:
                continue
            known = [column for column in source.columns if column.startswith(f"{collection}_")]
            if any(not source.is_list[column] for column in known) and part.rows.per_event:
                singletons.append(collection)
            wanted = [
                f"{collection}_{name}"
                for name in fields
                if f"{collection}_{name}" in source.columns
            ]
            if wanted:
                sample = flat_columns(next(source.chunks(columns=wanted, size=1, stop=1)).events)
                types |= {name: _type_name(sample[name]) for name in wanted}
    return RecoLayout(tuple(singletons), types)


def _type_name(column: np.ndarray | Jagged) -> str:
    numbers = column.content if isinstance(column, Jagged) else column
    return str(numbers.dtype.name)


@dataclass(frozen=True)
class _Prepared:
    """A stage ready to be fitted."""

    part: Part
    settings: Training
    features: Features
    keys: Keys
    train: Batch
    validation: Batch
    backward: PartFeatures | None

    @property
    def monitored(self) -> bool:
        """Whether a quantity of the family picks the best epoch."""
        return models.monitored(self.part.model)

    @property
    def rows(self) -> dict[str, int]:
        used = len(self.keys)
        return {
            "training": min(used, self.settings.max_rows or used),
            "validation": len(self.validation.weight),
        }

    def ensemble(self, folder: Path, *, tensorboard: bool) -> Ensemble:
        return Ensemble(
            partial(models.build, self.part.model, Shape(*self.features.shape)),
            self.train,
            self.validation,
            self.settings,
            folder=folder,
            keys=self.keys,
            part=self.part.name,
            monitor=partial(_monitor, self.validation) if self.monitored else None,
            tensorboard=tensorboard,
        )


def _monitor(validation: Batch, model: Model) -> float:
    """Return the quantity of a family that picks its best epoch."""
    return float(cast("HasMonitor", model).monitor(validation))


def _prepared(study: Study, part: Part, table: Table) -> _Prepared:
    """Fit the features of a stage and encode its rows."""
    settings = study.training_of(part)
    which = split(table.keys, study.split)
    learned, held = table.take(which == TRAIN), table.take(which == VALIDATION)
    features: Features
    if models.check_rows_of(part).rows.kind == "set":
        features = SetFeatures.fit(part, learned, models.representation(part.model))
    else:
        features = PartFeatures.fit(
            part,
            learned,
            settings.seed,
            plain=models.plain_sides(part.model),
            levels=models.takes_levels(part.model),
        )
    backward = None
    if part.unfolded:
        exchanged = replace(
            learned, condition=learned.target, target=learned.condition, relative_to={}, given={}
        )
        backward = PartFeatures.fit(
            part.backward, exchanged, settings.seed, plain=models.plain_sides(part.model)
        )
    share = part.rows.known_pairs
    train, validation = (_batch(features, rows, settings.seed, share) for rows in (learned, held))
    return _Prepared(part, settings, features, learned.keys, train, validation, backward)


def _advice(prepared: _Prepared, members: Sequence[Member]) -> list[Advice]:
    is_set = prepared.part.rows.kind == "set"
    return check_health(
        members[0].result.history,
        members[0].model,
        prepared.train,
        prepared.validation,
        findings=[str(finding) for finding in prepared.features.findings],
        targets=prepared.features.target_names,
        conditions=prepared.features.condition_names,
        paired=prepared.part.rows.pairing != "unpaired",
        columns=not is_set,
    )


def _batch(features: Features, table: Table, seed: int, share: float) -> Batch:
    known = torch.from_numpy(known_pairs(table.keys, share)) if share else None
    return Batch(
        known=known,
        target=torch.from_numpy(features.encode_target(table, seed)),
        condition=torch.from_numpy(features.encode_condition(table)),
        weight=torch.from_numpy(table.weight.astype(np.float32)),
    )


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
