"""A table: one row per event or per GEN object, one column per feature of a part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.rng import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.rows.expressions import Namespace
    from gen2reco.rows.segments import Array, Flags, Index, Numbers


ABSURD = 1e12
"""A number beyond this (GeV, radians) cannot be physics and counts as not finite."""

IDS = ("run", "luminosityBlock", "event")
"""Columns that identify an event."""

_SIDES = ("condition", "target", "relative_to", "given", "offenders")

MOST_OBJECTS = 2**16
"""Objects of an event are numbered below this."""


def identifier(names: Namespace, name: str) -> Array:
    """Return one of the columns that identify events; EventFileError where there is none."""
    column = names.column(name)
    if column is None:
        message = "there is no such column; run, luminosityBlock and event identify events"
        raise EventFileError(message, branch=name)
    return column


def places(entry: Index, number: Array) -> Index:
    """Return one number per row for its event in the chunk and its object, int64 [n]."""
    return np.asarray(entry * MOST_OBJECTS + number)


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one part and their features in GeV and radians, before any transform.

    Attributes:
        part: name of the part.
        keys: identity of each row; `object` is the index of the GEN object in its collection.
        weight: event weight of each row, float64 [n].
        entry: event of each row, its position in the chunk the table was made from, int64 [n].
        condition: condition name -> float64 [n].
        target: name of a target component -> float64 [n]; empty when built without targets.
        relative_to: name of a target component -> the GEN value it is relative to, float64 [n].
        given: expression of each `given` of a transform -> float64 [n].
        dropped: reason -> how many rows are not here; for "not selected" how many events.
        left_out: reason -> event of each row that is not here, int64; of one chunk only.
        offenders: what is NaN, infinite or absurdly large -> bool [n]: columns of the table, and
            stored columns with a NaN in the row's event, which makes every choice there doubtful.
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
    left_out: dict[str, Index] = field(default_factory=dict)
    offenders: dict[str, Flags] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entry)

    @property
    def places(self) -> Index:
        """One number per row for its event in the chunk and its object, ascending, int64 [n]."""
        return places(self.entry, self.keys.object)

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

    def take(self, index: Array | slice) -> Table:
        """Return the rows that an index array, boolean mask or slice selects; `dropped` stays."""
        return replace(
            self,
            keys=self.keys.take(index),
            weight=self.weight[index],
            entry=self.entry[index],
            condition=_taken(self.condition, index),
            target=_taken(self.target, index),
            relative_to=_taken(self.relative_to, index),
            given=_taken(self.given, index),
            offenders=_taken(self.offenders, index),
        )

    def drained(self, *rows: Array) -> list[Table]:
        """Return the rows of each mask; this table loses each column as it is taken.

        So that a table and its parts are not in memory together.
        """
        taken: list[dict[str, dict[str, Array]]] = [{} for _ in rows]
        for side in _SIDES:
            for found in taken:
                found[side] = {}
            columns: dict[str, Array] = getattr(self, side)
            for name in list(columns):
                column = columns.pop(name)
                for found, mask in zip(taken, rows, strict=True):
                    found[side][name] = column[mask]
        return [
            replace(
                self,
                keys=self.keys.take(mask),
                weight=self.weight[mask],
                entry=self.entry[mask],
                **found,  # type: ignore[arg-type]
            )
            for found, mask in zip(taken, rows, strict=True)
        ]

    @staticmethod
    def concatenate(tables: Sequence[Table], *, drain: bool = False) -> Table:
        """Join tables of one part; `dropped` is summed, `entry` still counts within each chunk.

        Args:
            tables: what to join.
            drain: whether they lose each column as it is joined, so as not to be in memory twice.
        """
        if not tables:
            raise ValueError("no tables to join")
        dropped: Counter[str] = Counter()
        for table in tables:
            dropped.update(table.dropped)
        offenders: dict[str, Flags] = {}
        for name in dict.fromkeys(name for table in tables for name in table.offenders):
            flags = [table.offenders.get(name, np.zeros(len(table), np.bool_)) for table in tables]
            offenders[name] = np.concatenate(flags)
        return Table(
            part=tables[0].part,
            keys=Keys.concatenate([table.keys for table in tables]),
            weight=np.concatenate([table.weight for table in tables]),
            entry=np.concatenate([table.entry for table in tables]),
            condition=_joined([table.condition for table in tables], drain=drain),
            target=_joined([table.target for table in tables], drain=drain),
            relative_to=_joined([table.relative_to for table in tables], drain=drain),
            given=_joined([table.given for table in tables], drain=drain),
            dropped=dict(dropped),
            offenders=offenders,
        )


def _taken(columns: Mapping[str, Array], index: Any) -> dict[str, Array]:
    return {name: column[index] for name, column in columns.items()}


def _joined(parts: Sequence[dict[str, Array]], *, drain: bool) -> dict[str, Array]:
    def column(part: dict[str, Array], name: str) -> Array:
        return part.pop(name) if drain else part[name]

    return {name: np.concatenate([column(part, name) for part in parts]) for name in list(parts[0])}
