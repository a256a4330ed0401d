"""One chunk of GEN events on its way through the parts of an emulator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.sets import evaluate_set_output
from gen2reco.rows.tables import build_table, evaluate_output, reads_parts, typed, with_part
from gen2reco.study import NUMBER, PRESENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.emulator.emulator import Emulator, TrainedPart
    from gen2reco.rows.tables import Table
    from gen2reco.study import Part

OUTSIDE_DOMAIN = 1
"""Bit of `gen2reco_flags`: a GEN value lies outside the range seen in training."""
BAD_INPUT = 2
"""Bit of `gen2reco_flags`: a GEN value was not a finite number; the training median stood in."""

POLICIES = ("error", "drop", "flag")
NOT_FINITE = "not finite"
"""Behind the side that is given: why an event is dropped or flagged."""


@dataclass(frozen=True, eq=False)
class Made:
    """The rows that one part made in one copy of the chunk.

    Attributes:
        part: the part.
        entry: int64 [rows], event of each row, ascending.
        output: collection -> field -> numbers per row.
        alone: whether there is one row per event.
    """

    part: Part
    entry: np.ndarray
    output: Mapping[str, Mapping[str, np.ndarray]]
    alone: bool = False


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of a stage, their encoded conditions, and which of them training never saw."""

    table: Table
    encoded: np.ndarray
    outside: np.ndarray

    def take(self, index: np.ndarray) -> _Rows:
        if index.all():
            return self
        return _Rows(self.table.take(index), self.encoded[index], self.outside[index])


class Chunk:
    """A chunk of GEN events, simulated part by part, as often as asked.

    Attributes:
        alive: bool [events], which can be simulated.
    """

    def __init__(
        self, emulator: Emulator, events: Any, *, seed: int, policy: str, where: str, first: int
    ) -> None:
        self._emulator = emulator
        self._events = Namespace(events, emulator.study.define)
        self._seed = seed
        self._policy = policy
        self._where, self._first = where, first
        self._kept: dict[str, _Rows] = {}
        self._flags = np.zeros(len(events), np.int32)
        self._fixed = {
            trained.part.name
            for trained in emulator.parts
            if not reads_parts(emulator.study, trained.part)
        }
        self.alive = np.ones(len(events), np.bool_)
        self._lost: Counter[str] = Counter()
        self._left_out: dict[str, Mapping[str, np.ndarray]] = {}

    @property
    def dropped(self) -> Counter[str]:
        """Reason -> how many events cannot be simulated; for `part: reason` how many GEN objects.

        Each event and object counts once, whatever the number of copies, and objects count only in
        events that are simulated.
        """
        counted = Counter(self._lost)
        for part, reasons in self._left_out.items():
            for why, entries in reasons.items():
                counted[f"{part}: {why}"] = int(np.count_nonzero(self.alive[entries]))
        return +counted

    def simulate(self, member: int, replica: int) -> tuple[list[Made], np.ndarray]:
        """Make all parts once; returns them and the flags of every event, int32 [events]."""
        names = self._events
        flags = np.zeros_like(self._flags)
        number: dict[str, tuple[Table, np.ndarray]] = {}
        made = []
        for trained in self._emulator.parts:
            part = trained.part
            rows = self._present(trained, names, number.get(f"{part.name}{PRESENCE}"), flags)
            flags[rows.table.entry[rows.outside]] |= OUTSIDE_DOMAIN
            drawn = self._emulator.draw(
                trained, rows.table, rows.encoded, seed=self._seed, replica=replica, member=member
            )
            if part.rows.counts:
                number[part.name] = rows.table, drawn[NUMBER]
                continue
            if part.rows.kind == "set":
                made += [
                    Made(part, *piece)
                    for piece in evaluate_set_output(part, names, rows.table, drawn)
                ]
                continue
            output = evaluate_output(self._emulator.study, part, names, rows.table, drawn)
            alone = part.rows.per_event
            made.append(Made(part, rows.table.entry, output, alone))
            if trained is not self._emulator.parts[-1]:
                names = with_part(names, part, rows.table, typed(part, drawn))
        return made, flags | self._flags

    def _present(
        self,
        trained: TrainedPart,
        names: Namespace,
        number: tuple[Table, np.ndarray] | None,
        flags: np.ndarray,
    ) -> _Rows:
        """Return the rows that there are, given how many its presence has drawn."""
        if number is None:
            return self._rows(trained, names, None, flags)
        counted, drawn = number
        if trained.part.rows.kind == "spurious":
            spurious = np.zeros(names.size, np.int64)
            spurious[counted.entry] = np.rint(drawn)
            return self._rows(trained, names, spurious, flags)
        rows = self._rows(trained, names, None, flags)
        found = counted.take(drawn > 0.5)
        return rows.take(np.isin(rows.table.places, found.places))

    def _rows(
        self,
        trained: TrainedPart,
        names: Namespace,
        number: np.ndarray | None,
        flags: np.ndarray,
    ) -> _Rows:
        """Return all rows of a stage; those that rest on GEN alone are made once."""
        name = trained.part.name
        if name in self._kept:
            return self._kept[name]
        fixed = name in self._fixed and number is None
        table = build_table(
            self._emulator.study,
            trained.part,
            names,
            targets=False,
            where=self._where,
            number=number,
        )
        self._judge(trained, table, self._flags if fixed else flags)
        features = trained.features
        rows = _Rows(table, features.encode_condition(table), features.outside_domain(table))
        if fixed:
            self._kept[name] = rows
        return rows

    def _judge(self, trained: TrainedPart, table: Table, flags: np.ndarray) -> None:
        """Apply the policy to rows that are not finite, and note what has no row."""
        self._apply_policy(table, flags)
        part = trained.part
        if part.rows.per_event:
            lost = self.alive.copy()
            lost[table.entry] = False
            for why, entries in table.left_out.items():
                self._lost[why] += int(np.count_nonzero(lost[entries]))
            self.alive &= ~lost
        elif not part.name.endswith(PRESENCE):
            self._left_out.setdefault(part.name, table.left_out)

    def _apply_policy(self, table: Table, flags: np.ndarray) -> None:
        bad = table.nonfinite
        if not bad.any():
            return
        if self._policy == "error":
            row = int(np.argmax(bad))
            raise EventFileError(
                f"{table.offender(row)} is NaN, infinite or absurdly large. Repair the file, or "
                "choose --policy drop (leave such events out) or --policy flag (keep them, marked "
                "in gen2reco_flags).",
                file=self._where,
                row=self._first + int(table.entry[row]),
            )
        events = np.zeros(len(flags), np.bool_)
        events[table.entry[bad]] = True
        if self._policy == "drop":
            self._lost[f"{self._emulator.study.given} {NOT_FINITE}"] += int(
                np.count_nonzero(events & self.alive)
            )
            self.alive &= ~events
        else:
            flags[events] |= BAD_INPUT
