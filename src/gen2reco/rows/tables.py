"""Events to tables: one row per event or per GEN object, one column per feature of the study."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gen2reco.errors import EventFileError
from gen2reco.rng import Keys
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.needs import (
    IDS,
    Wanted,
    columns_needed,
    columns_of,
    output_columns_needed,
    wanted_columns,
)
from gen2reco.rows.spaces import RowSpace, row_space, rows_at
from gen2reco.rows.store import Available

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward as ak

    from gen2reco.rows.segments import Flags, Index, Numbers
    from gen2reco.study import Part, Study

logger = logging.getLogger(__name__)

ABSURD = 1e12
"""A GEN number beyond this (GeV, radians) cannot be physics and counts as not finite."""

_BLOCKS = ("condition", "target", "relative_to", "given")


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one part and their features in physics units (GeV, radians), before any transform.

    Attributes:
        part: name of the part.
        keys: identity of each row; `object` is the index of the GEN object in its stored collection.
        weight: event weight of each row, float64 [n].
        entry: event of each row, its position in the chunk the table was built from, int64 [n].
        condition: condition name -> float64 [n].
        target: name of a target component -> float64 [n]; empty when built without targets.
        relative_to: name of a target component -> GEN value it is relative to, float64 [n].
        given: expression of each `given` of a transform -> float64 [n].
        dropped: reason -> rows (or events, where a whole event was left out) that are not here.
        offenders: what is NaN, infinite or absurdly large -> bool [n]; columns of the table that read so, and stored
            columns with a NaN somewhere in the row's event, which makes every selection there doubtful.
        names: namespace of the chunk's events, kept for `evaluate_output`; None for tables with targets.
    """

    part: str
    keys: Keys
    weight: Numbers
    entry: Index
    condition: dict[str, Numbers]
    target: dict[str, Numbers]
    relative_to: dict[str, Numbers]
    given: dict[str, Numbers]
    dropped: dict[str, int] = field(default_factory=dict)
    offenders: dict[str, Flags] = field(default_factory=dict)
    names: Namespace | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.entry)

    @property
    def nonfinite(self) -> Flags:
        """Rows that are NaN, infinite or absurd somewhere, bool [n]."""
        bad = np.zeros(len(self), np.bool_)
        for flags in self.offenders.values():
            bad |= flags
        return bad

    def offender(self, row: int) -> str:
        """Return the first name in `offenders` that concerns a row, "" where the row is sound."""
        return next((name for name, flags in self.offenders.items() if flags[row]), "")

    def take(self, index: NDArray[Any] | slice) -> Table:
        """Return the rows that an index array, boolean mask or slice selects; `dropped` stays."""
        blocks = {
            name: {key: column[index] for key, column in getattr(self, name).items()}
            for name in (*_BLOCKS, "offenders")
        }
        return replace(
            self,
            keys=self.keys.take(index),
            weight=self.weight[index],
            entry=self.entry[index],
            **blocks,
        )

    @staticmethod
    def concatenate(tables: Sequence[Table]) -> Table:
        """Join tables of one part; `dropped` is summed, `entry` stays relative to each table's own chunk."""
        if not tables:
            raise ValueError("no tables to join")
        first = tables[0]
        blocks = {
            name: {
                key: np.concatenate([getattr(table, name)[key] for table in tables])
                for key in getattr(first, name)
            }
            for name in _BLOCKS
        }
        suspects = dict.fromkeys(name for table in tables for name in table.offenders)
        sound = [np.zeros(len(table), np.bool_) for table in tables]
        dropped: Counter[str] = Counter()
        for table in tables:
            dropped.update(table.dropped)
        return Table(
            part=first.part,
            keys=Keys.concatenate([table.keys for table in tables]),
            weight=np.concatenate([table.weight for table in tables]),
            entry=np.concatenate([table.entry for table in tables]),
            **blocks,
            dropped=dict(dropped),
            offenders={
                name: np.concatenate(
                    [table.offenders.get(name, no) for table, no in zip(tables, sound, strict=True)]
                )
                for name in suspects
            },
        )


def build_table(
    study: Study,
    part: Part,
    events: ak.Array | Mapping[str, Any],
    *,
    targets: bool,
    where: str = "",
) -> Table:
    """Build the table of one part from a chunk of events.

    With targets (training, validation): `study.select` acts, and rows whose RECO or GEN quantities are missing or not
    finite are left out. Without (simulation): GEN alone is read, `study.select` is ignored, rows whose GEN
    quantities are missing are left out, and those that are not finite stay, marked in `offenders`. Rows are in the
    order of the events, then of the GEN objects.

    Args:
        study: the study.
        part: one of its parts.
        events: awkward events in NanoAOD shape, or flat columns.
        targets: whether RECO is there and wanted.
        where: name of the file, for messages.

    Raises:
        StudyError: an expression is wrong or names a column that is not there.
        EventFileError: the ids of the events are not there, or columns disagree.
    """
    names = Namespace(events, study.define)
    space = row_space(part, names, targets=targets)
    building = _Building(space)
    if targets and study.select.strip():
        selected = names.mask(study.select, "select")
        building.select(selected)
    wanted = wanted_columns(study, part, targets=targets)
    for item in wanted:
        if item.block == "target" and space.matched is not None:
            building.drop(f"no {part.rows.reco} matches the {part.rows.gen}", ~space.matched)
        building.add(part, item)
    weights = names.evaluate(study.input.weight, "input.weight") if study.input.weight else None
    building.look_for_nan()
    if targets:
        building.drop_offenders(where)
    return building.finish(part, names, weights.values if weights else None, keep=not targets)


class _Building:
    """A table in the making: columns of all candidate rows, and which rows are still in."""

    def __init__(self, space: RowSpace) -> None:
        self.space = space
        self.keep = np.ones(len(space.entry), np.bool_)
        self.columns: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in _BLOCKS}
        self.offenders: dict[str, Flags] = {}
        self.dropped: Counter[str] = Counter()

    def select(self, selected: Flags) -> None:
        """Leave out the rows of events that are not selected; events are counted."""
        left = int(np.count_nonzero(~selected))
        if left:
            self.dropped["not selected"] += left
            self.keep &= selected[self.space.entry]

    def drop(self, reason: str, rows: Flags) -> None:
        """Leave out rows, counting those that were still in."""
        rows = rows & self.keep
        count = int(np.count_nonzero(rows))
        if count:
            self.dropped[reason] += count
            self.keep &= ~rows

    def add(self, part: Part, item: Wanted) -> None:
        """Evaluate one column; rows where it is missing go, with the object that is missing as the reason."""
        names = self.space.names
        column = names.evaluate(item.expression, f"part {part.name}, {item.label}")
        if not column.valid.all():
            for name, missing in names.missing_objects(item.expression):
                self.drop(f"{name} is missing", missing & ~column.valid)
            self.drop(f"{item.label} has no value ({item.expression})", ~column.valid)
        values = column.values.astype(np.float64, copy=False)
        self.columns[item.block][item.name] = values
        self._suspect(item.label, values, column.valid)

    def _suspect(self, label: str, values: Numbers, valid: Flags) -> None:
        # One look at the largest value is enough where all is well: NaN survives max.
        with np.errstate(invalid="ignore"):
            if not values.size or np.max(np.abs(values)) <= ABSURD:
                return
            bad = ~(np.abs(values) <= ABSURD) & valid & self.keep
        if bad.any():
            self.offenders[label] = bad

    def look_for_nan(self) -> None:
        """Mark the rows whose event has a NaN in a stored column that was read."""
        for name, bad in self.space.names.nan_rows().items():
            if (bad & self.keep).any():
                self.offenders[f"column {name}"] = bad

    def drop_offenders(self, where: str) -> None:
        """Leave out rows that are not finite, with a note in the log."""
        for name, bad in self.offenders.items():
            rows = bad & self.keep
            if rows.any():
                logger.warning(
                    "%s: %s is not finite in %d rows, first in event %d; they are left out",
                    where or "events",
                    name,
                    np.count_nonzero(rows),
                    self.space.entry[np.argmax(rows)],
                )
                self.drop(f"{name} is not finite", bad)
        self.offenders = {}

    def finish(
        self, part: Part, names: Namespace, weights: NDArray[Any] | None, *, keep: bool
    ) -> Table:
        """Return the table of the rows that are still in."""
        index: NDArray[Any] | slice = slice(None) if self.keep.all() else np.flatnonzero(self.keep)
        entry = self.space.entry[index]
        ids = [_id(names, name)[entry] for name in IDS]
        blocks = {
            block: {name: column[index] for name, column in columns.items()}
            for block, columns in self.columns.items()
        }
        return Table(
            part=part.name,
            keys=Keys(*ids, self.space.object[index]),
            weight=np.ones(len(entry)) if weights is None else weights[entry].astype(np.float64),
            entry=entry,
            **blocks,
            dropped=dict(self.dropped),
            offenders={
                name: bad[index] for name, bad in self.offenders.items() if bad[index].any()
            },
            names=names if keep else None,
        )


def _id(names: Namespace, name: str) -> NDArray[Any]:
    column = names.column(name)
    if column is None:
        raise EventFileError(
            "events have no such column; run, luminosityBlock and event identify them", branch=name
        )
    return column


def evaluate_output(
    study: Study,
    part: Part,
    events: ak.Array | Mapping[str, Any],
    table: Table,
    generated: Mapping[str, NDArray[Any]],
) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the RECO columns that a part writes, given what its model generated.

    Only GEN columns of the events are read. Names of targets go before those under `define`.

    Args:
        study: the study.
        part: one of its parts.
        events: the chunk that the table was built from.
        table: the rows.
        generated: target component -> numbers per row, in physics units.

    Returns:
        Collection -> field -> numbers per row: bool for flags and conditions, int64 for whole numbers (indices, signs
        of whole numbers, targets of kind integer and category), else float64.

    Raises:
        StudyError: an expression is wrong, or has no value in some row.
    """
    names = table.names
    if names is None or names.events is not events:
        names = Namespace(events, study.define)
    kinds = {name: target.kind for target in part.target for name in target.name}
    drawn = {name: _typed(values, kinds.get(name, "")) for name, values in generated.items()}
    rows = rows_at(part, names, table.entry, table.keys.object, drawn)
    written: dict[str, dict[str, NDArray[Any]]] = {}
    for collection, fields in part.output.items():
        written[collection] = {}
        for name, expression in fields.items():
            label = f"part {part.name}, output {collection}.{name}"
            column = rows.evaluate(expression, label)
            if not column.valid.all():
                row = int(np.argmin(column.valid))
                raise EventFileError(
                    f"{label}: `{expression}` has no value here; give one with if_else(exists(...), ..., ...)",
                    row=int(table.entry[row]),
                )
            written[collection][name] = column.values
    return written


def _typed(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return generated numbers in the type of their kind."""
    if kind == "flag":
        return np.asarray(values) > 0.5
    if kind in {"integer", "category"}:
        return np.rint(values).astype(np.int64)
    return np.asarray(values, np.float64)


__all__ = [
    "ABSURD",
    "Available",
    "Table",
    "build_table",
    "columns_needed",
    "columns_of",
    "evaluate_output",
    "output_columns_needed",
]
