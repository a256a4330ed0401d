"""The rows that a study learns from: events of files to tables, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.emulator.assemble import RecoLayout
from gen2reco.errors import TrainingError
from gen2reco.events.layout import Jagged, flat_columns
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TRAIN, VALIDATION, split
from gen2reco.rows.tables import Table, build_table, columns_needed, typed, with_part
from gen2reco.rows.unpaired import join_chunks
from gen2reco.study import OF_EVENT, Part, Study
from gen2reco.training import Group
from gen2reco.verbs.inputs import refuse_empty

if TYPE_CHECKING:
    import awkward as ak

    from gen2reco.events import EventSource

CHUNK = 25_000
"""Events read per step: what they take in memory is little beside the libraries."""
REFERENCE_EVENTS = 300
FEWEST_ROWS = 100
"""Fewer training rows than this cannot teach anything; more often they are a wrong selection."""


def bundled_sample(study: str) -> Path:
    """Return the path of the sample shipped for a study; TrainingError where none is."""
    path = Path(__file__).parents[1] / "data" / f"{study}.parquet"
    if not path.is_file():
        raise TrainingError(
            f"no sample is bundled for study {study!r}: name your files with --input"
        )
    return path


def read_tables(
    study: Study, source: EventSource, group: Group | None = None
) -> tuple[dict[str, Table], ak.Array]:
    """Build the table of every stage from the events of training and validation, never of test.

    Events are read in chunks, of which rows alone are kept.

    Args:
        study: the study.
        source: the events.
        group: processes that share the events: each reads its range of entries over all files.

    Returns:
        Name of part or presence -> table, of a group's the rows of this process with the numbers of
        rows `dropped` by all; and the first events (all columns read) that fill a row in every
        part with one row per event.
    """
    group = group or Group()
    refuse_empty(source, "learn from", group.size)
    needed: dict[str, None] = {}
    for part in study.stages:
        needed |= dict.fromkeys(columns_needed(study, part, source, targets=True))
    collected: _Collected = {part.name: ([], []) for part in study.stages}
    found: ak.Array | None = None
    start, stop = group.span(source.entries)
    for chunk in source.chunks(CHUNK, list(needed), start, stop):
        usable = _collect(study, chunk.events, chunk.file, collected)
        if found is None and usable.any():
            found = chunk.events[np.flatnonzero(usable)[:REFERENCE_EVENTS]]
    reference = next((events for events in group.objects(found) if events is not None), None)
    tables = {}
    for part in study.stages:
        gen, reco = collected.pop(part.name)  # not in memory twice, as pieces and joined
        share = study.part(part.name).rows.known_pairs
        table = (
            join_chunks(gen, reco, study.split, share)
            if reco
            else Table.concatenate(gen, drain=True)
        )
        gen.clear()
        tables[part.name] = _checked(table, study, source, group)
    if reference is None:
        raise TrainingError(
            f"no event of {source.label} has a row in every part, and an emulator keeps some that"
            " do as its reference. Check `select` of the parts"
        )
    return tables, reference


def _checked(table: Table, study: Study, source: EventSource, group: Group) -> Table:
    """Return a table with what all processes dropped, if there is enough to learn from."""
    learned = group.objects(int(np.count_nonzero(split(table.keys, study.split) == TRAIN)))
    dropped: Counter[str] = Counter()
    for each in group.objects(dict(table.dropped)):
        dropped.update(each)
    table = replace(table, dropped=dict(dropped))
    if sum(learned) < FEWEST_ROWS:
        raise _too_few(sum(group.objects(len(table))), table, source)
    if not all(learned):
        raise TrainingError(
            f"part {table.part!r} has no rows in the share of process {learned.index(0)};"
            " train it with fewer processes"
        )
    return table


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


def _too_few(rows: int, table: Table, source: EventSource) -> TrainingError:
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(table.dropped.items()))
    return TrainingError(
        f"part {table.part!r} has {rows} rows from {source.entries} events: too few to learn from."
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
