"""Events to tables, and generated rows to the RECO columns that are written."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.rng import Keys
from gen2reco.rows.chain import parts_before, reads_parts, with_part
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.needs import (
    IDS,
    Wanted,
    columns_needed,
    columns_of,
    output_columns_needed,
    wanted_columns,
)
from gen2reco.rows.sets import build_set_table
from gen2reco.rows.spaces import RowSpace, row_space, rows_at
from gen2reco.rows.splits import GEN_SIDE, RECO_SIDE, known_pairs, sides
from gen2reco.rows.store import Available
from gen2reco.rows.table import ABSURD, Table, identifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    import awkward as ak

    from gen2reco.rows.segments import Array, Flags, Index, Numbers
    from gen2reco.study import Part, Study

logger = logging.getLogger(__name__)

Side = Literal["both", "gen", "reco"]


def build_table(
    study: Study,
    part: Part,
    events: ak.Array | Mapping[str, Any] | Namespace,
    *,
    targets: bool,
    where: str = "",
    number: Index | None = None,
    side: Side = "both",
) -> Table:
    """Build the table of one part from a chunk of events.

    With targets (training, validation): `study.select` acts, and rows whose GEN or RECO quantities
    are missing or not finite are left out. Without (simulation): GEN alone is read, `study.select`
    is ignored, rows whose GEN quantities are missing are left out, and those that are not finite
    stay, marked in `offenders`. Rows are in the order of the events, then of the GEN objects.

    Args:
        study: the study.
        part: one of its parts.
        events: awkward events in NanoAOD shape, flat columns, or their namespace with the parts
            made so far (see `chain`).
        targets: whether RECO is there and wanted.
        where: name of the file, for messages.
        number: int64 [events], spurious objects of each event; for their simulation.
        side: with targets, `gen` for the conditions or `reco` for the targets alone, of those
            events that `splits.sides` gives to that side: what unpaired rows are made of.

    Raises:
        StudyError: an expression is wrong or names a column that is not there.
        EventFileError: the events have no ids, or columns of a collection disagree.
    """
    names = events if isinstance(events, Namespace) else Namespace(events, study.define)
    if part.rows.kind == "set":
        return build_set_table(study, part, names, targets=targets)
    space = row_space(part, names, targets=targets, number=number)
    building = _Building(part, space)
    if targets and study.select.strip():
        building.select(names.mask(study.select, "select"))
    if side != "both":
        building.take_side(side)
    for item in wanted_columns(study, part, targets=targets):
        if side != "both" and (item.block == "target") != (side == "reco"):
            continue
        if item.block == "target" and space.matched is not None:
            building.drop("no RECO object matches gen", ~space.matched)
        building.add(item)
    weight = study.input.weight
    weights = names.evaluate(weight, "input.weight").values if weight else None
    if weights is not None:
        building.suspect("input.weight", weights[space.entry])
    building.look_for_nan()
    if targets:
        building.drop_offenders(where)
    return building.finish(names, weights)


class _Building:
    """A table in the making: columns of all candidate rows, and which rows are still in."""

    def __init__(self, part: Part, space: RowSpace) -> None:
        self.part = part
        self.space = space
        self.keep = np.ones(len(space.entry), np.bool_)
        self.columns: dict[str, dict[str, Numbers]] = {
            "condition": {},
            "relative_to": {},
            "given": {},
            "target": {},
        }
        self.offenders: dict[str, Flags] = {}
        self.dropped: Counter[str] = Counter()
        self.left_out: dict[str, Index] = {}

    def select(self, selected: Flags) -> None:
        """Leave out the rows of events that are not selected; events are counted."""
        left = int(np.count_nonzero(~selected))
        if left:
            self.dropped["not selected"] += left
            self.keep &= selected[self.space.entry]

    def take_side(self, side: Side) -> None:
        """Leave out the rows that the side does not select, and the events of the other side."""
        names = self.space.names
        wanted = f"select_{side}"
        self.select(names.mask(getattr(self.part.rows, wanted), f"part {self.part.name}, {wanted}"))
        keys = {name: identifier(names, name) for name in IDS}
        own = GEN_SIDE if side == "gen" else RECO_SIDE
        other = (sides(keys) != own) & ~known_pairs(keys, self.part.rows.known_pairs)
        self.drop("serves the other side", other[self.space.entry])

    def drop(self, reason: str, rows: Flags) -> None:
        """Leave out rows, counting those that were still in."""
        rows = rows & self.keep
        if rows.any():
            lost = self.space.entry[rows]
            self.dropped[reason] += len(lost)
            self.left_out[reason] = np.concatenate([self.left_out.get(reason, lost[:0]), lost])
            self.keep &= ~rows

    def add(self, item: Wanted) -> None:
        """Evaluate one column; rows without it go, with the missing object as the reason."""
        names = self.space.names
        column = names.evaluate(item.expression, f"part {self.part.name}, {item.label}")
        if not column.valid.all():
            for name, missing in names.missing_objects(item.expression):
                self.drop(f"{name} is missing", missing & ~column.valid)
            self.drop(f"{item.label} has no value ({item.expression})", ~column.valid)
        values = column.values.astype(np.float64, copy=False)
        self.columns[item.block][item.name] = values
        self.suspect(item.label, values, column.valid)

    def suspect(self, label: str, values: Numbers, valid: Flags | bool = True) -> None:
        """Mark the rows of a column that are NaN, infinite or absurd."""
        with np.errstate(invalid="ignore"):
            # One look at the largest value is enough where all is well: NaN survives the maximum.
            if not values.size or np.max(np.abs(values)) <= ABSURD:
                return
            self.offenders[label] = ~(np.abs(values) <= ABSURD) & valid

    def look_for_nan(self) -> None:
        """Mark the rows whose event has a NaN in a stored column that was read."""
        for name, bad in self.space.names.nan_rows().items():
            self.offenders[f"column {name}"] = bad

    def drop_offenders(self, where: str) -> None:
        """Leave out the rows that are marked, with a note in the log."""
        for name, bad in self.offenders.items():
            rows = bad & self.keep
            if rows.any():
                logger.warning(
                    "%s: %s is not finite in %d rows, first in event %d of the chunk; left out",
                    where or "events",
                    name,
                    np.count_nonzero(rows),
                    self.space.entry[np.argmax(rows)],
                )
                self.drop(f"{name} is not finite", bad)
        self.offenders = {}

    def finish(self, names: Namespace, weights: Array | None) -> Table:
        """Return the table of the rows that are still in."""
        index: Array | slice = slice(None) if self.keep.all() else np.flatnonzero(self.keep)
        entry = self.space.entry[index]
        identity = {name: identifier(names, name)[entry] for name in IDS}
        columns = {
            block: {name: column[index] for name, column in columns.items()}
            for block, columns in self.columns.items()
        }
        return Table(
            part=self.part.name,
            keys=Keys.from_columns(identity | {"object": self.space.object[index]}),
            weight=np.ones(len(entry)) if weights is None else weights[entry].astype(np.float64),
            entry=entry,
            condition=columns["condition"],
            target=columns["target"],
            relative_to=columns["relative_to"],
            given=columns["given"],
            dropped=dict(self.dropped),
            left_out=self.left_out,
            offenders={k: bad[index] for k, bad in self.offenders.items() if bad[index].any()},
        )


def evaluate_output(
    study: Study,
    part: Part,
    events: ak.Array | Mapping[str, Any] | Namespace,
    table: Table,
    generated: Mapping[str, Array],
) -> dict[str, dict[str, Array]]:
    """Return the RECO columns that a part writes, given what its model generated.

    Only GEN columns of the events are read. Names of targets go before those under `define`.

    Args:
        study: the study.
        part: one of its parts.
        events: the chunk that the table was built from, or its namespace.
        table: the rows.
        generated: target component -> numbers per row, in physics units.

    Returns:
        Collection -> field -> numbers per row, [rows] or, where the output lists several objects,
        [rows, objects]: bool for flags and conditions, int64 for what is
        whole by construction (indices, signs of integers, targets of kind integer and category),
        else float64.

    Raises:
        StudyError: an expression is wrong, or has no value in some row.
    """
    names = events if isinstance(events, Namespace) else Namespace(events, study.define)
    rows = rows_at(part, names, table.entry, table.keys.object, typed(part, generated))
    written: dict[str, dict[str, Array]] = {}
    for collection, fields in part.output.items():
        written[collection] = {}
        objects = max(
            (len(text) for text in fields.values() if not isinstance(text, str)), default=0
        )
        for name, text in fields.items():
            label = f"part {part.name}, output {collection}.{name}"
            found = [
                _written(rows, one, label, table)
                for one in ((text,) if isinstance(text, str) else text)
            ]
            if objects:
                found = found if len(found) == objects else found * objects
            written[collection][name] = np.stack(found, axis=1) if objects else found[0]
    return written


def _written(rows: Namespace, expression: str, label: str, table: Table) -> Array:
    """Return the numbers per row of one output expression."""
    column = rows.evaluate(expression, label)
    if not column.valid.all():
        entry = table.entry[np.argmin(column.valid)]
        raise StudyError(
            f"{label}: `{expression}` has no value in {np.count_nonzero(~column.valid)}"
            f" rows, first in event {entry} of the chunk; give one with if_else(...)"
        )
    return column.values


def typed(part: Part, generated: Mapping[str, Array]) -> dict[str, Array]:
    """Return generated numbers in the type of their target's kind, as in stored columns."""
    kinds = {name: target.kind for target in part.target for name in target.name}
    return {name: _typed(values, kinds.get(name, "")) for name, values in generated.items()}


def _typed(values: Array, kind: str) -> Array:
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
    "parts_before",
    "reads_parts",
    "typed",
    "with_part",
]
