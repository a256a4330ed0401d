"""The rows of a part as validation sees them, with RECO of FullSim, RECO that was drawn, or GEN.

In rows of kind `object` and `spurious`, `reco` is the RECO object of a row: that of the file in
FullSim, one with the fields that the part writes in FastSim, and for the identity the GEN object
itself. All three are compared by the same expressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.rows.chain import as_collection, parts_before, with_empty_parts
from gen2reco.rows.expressions import Column, Namespace
from gen2reco.rows.spaces import GEN, RECO, row_space, rows_at
from gen2reco.rows.store import Available, Store
from gen2reco.rows.table import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gen2reco.rows.segments import Array, Flags, Index, Numbers
    from gen2reco.rows.table import Table
    from gen2reco.study import Part, Study

OBJECTS = frozenset({"object", "spurious"})
"""Kinds of rows that have a RECO object each."""


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """The rows of a table in a namespace.

    Attributes:
        names: the namespace.
        index: int64 [rows], which of its entries each row is.
    """

    names: Namespace
    index: Index

    def numbers(self, expression: str, label: str = "") -> Numbers:
        """Return what an expression stands for in each row, float64, NaN where it is missing."""
        return self.names.evaluate(expression, label).numbers()[self.index]

    def numbers_if_there(self, expression: str) -> Numbers | None:
        """Do what `numbers` does; None where the objects lack a field that is asked for."""
        return self.numbers(expression) if evaluated_if_there(self.names, expression) else None

    def truth(self, expression: str, label: str = "") -> Flags:
        """Return where a condition holds, bool [rows]; missing is false."""
        flags: Flags = self.names.mask(expression, label)[self.index]
        return flags


def full_rows(part: Part, events: Namespace, table: Table) -> JudgedRows:
    """Return the rows with the RECO objects of the file.

    Args:
        part: a part, or its presence (whose rows have no RECO object).
        events: namespace of the events, in which the parts before have been made.
        table: the part's rows, with targets.
    """
    if part.rows.kind == "event":
        return JudgedRows(events, table.entry)
    if part.rows.counts:
        names = rows_at(part, events, table.entry, table.keys.object, {})
        return JudgedRows(names, np.arange(len(table)))
    space = row_space(part, events, targets=True)
    index = np.searchsorted(places(space.entry, space.object), table.places)
    return JudgedRows(space.names, index)


def drawn_rows(
    part: Part, events: Namespace, table: Table, fields: Mapping[str, Array]
) -> JudgedRows:
    """Return the rows with the RECO objects that a model drew.

    Args:
        part: a part with rows of kind object or spurious.
        events: namespace of the events, in which the parts before have been made.
        table: the part's rows.
        fields: what it writes for each row, by name.
    """
    collection = as_collection(RECO, events.events_frame, table.entry, fields)
    made: Any = (collection, np.arange(len(table)))
    names = rows_at(part, events, table.entry, table.keys.object, {RECO: made})
    return JudgedRows(names, np.arange(len(table)))


def gen_rows(part: Part, events: Namespace, table: Table) -> JudgedRows:
    """Return the rows with the GEN object in place of the RECO object; for kind object."""
    gen = events.collection(part.rows.gen, f"part {part.name}, rows.gen")
    positions = gen.source.elements.offsets[table.entry] + table.keys.object.astype(np.int64)
    bound: dict[str, Any] = {RECO: (gen, positions)}
    names = rows_at(part, events, table.entry, table.keys.object, bound)
    return JudgedRows(names, np.arange(len(table)))


def written_collection(part: Part, events: Namespace) -> str:
    """Return the collection that `reco` stands for in the rows of a part."""
    reco = events.collection(part.rows.reco, f"part {part.name}, rows.reco").source.name
    return reco if reco in part.output else next(iter(part.output), "")


def judged_quantities(part: Part, events: Namespace, available: Available) -> dict[str, str]:
    """Return the RECO quantities in which the rows of a part are compared, as name -> expression.

    Where the part names none: every field that it writes and that the files have, without indices.
    """
    if part.validation.quantities:
        return dict(part.validation.quantities)
    if part.rows.kind in OBJECTS:
        collection = written_collection(part, events)
        fields = _stored(collection, part.output.get(collection, {}), available)
        return {name: f"{RECO}.{name}" for name in fields}
    found = {}
    for collection, written in part.output.items():
        for name in _stored(collection, written, available):
            column = f"{collection}_{name}"
            one = f"leading({collection})" if available.is_list[column] else collection
            found[column] = f"{one}.{name}"
    return found


def _stored(collection: str, written: Iterable[str], available: Available) -> list[str]:
    known = set(available.columns)
    return [n for n in written if f"{collection}_{n}" in known and not n.endswith("Idx")]


def judged_bins(part: Part, events: Namespace) -> dict[str, str]:
    """Return the GEN quantities against which the rows of a part are shown.

    Where the part names none: pt and eta of its GEN objects, as far as they have them.
    """
    if part.validation.bins or part.rows.kind != "object":
        return dict(part.validation.bins)
    known = events.collection(part.rows.gen, f"part {part.name}, rows.gen").known
    return {f"gen_{name}": f"{GEN}.{name}" for name in ("pt", "eta") if name in known}


def judging_columns(study: Study, part: Part, available: Available) -> list[str]:
    """Return the flat columns that judging the rows of a part reads beyond its table, sorted.

    Raises:
        StudyError: an expression is wrong or names a column that the files lack.
    """
    stored = Namespace(Store.empty(available), study.define)
    events = with_empty_parts(stored, parts_before(study, part))
    rows = row_space(part, events, targets=True).names
    block = part.validation
    where = f"part {part.name}, validation"
    texts = {
        **{f"quantities.{n}": t for n, t in judged_quantities(part, events, available).items()},
        **{f"bins.{n}": t for n, t in judged_bins(part, events).items()},
        **{f"groups.{n}": t for n, t in block.groups.items()},
        **{f"flags.{n}": t for n, t in block.flags.items()},
    }
    for name, response in block.responses.items():
        texts |= {f"responses.{name}.reco": response.reco, f"responses.{name}.gen": response.gen}
    for name, text in texts.items():
        rows.evaluate(text, f"{where}.{name}")
    if part.rows.kind in OBJECTS:
        for side in (part.rows.gen, part.rows.reco):
            events.fields(events.collection(side), "pt", "eta", "phi")
        _read_as_gen(part, events, texts)
    return events.columns_used


def _read_as_gen(part: Part, events: Namespace, texts: Mapping[str, str]) -> None:
    """Note the GEN columns that the identity reads."""
    if part.rows.kind != "object":
        return
    gen = events.collection(part.rows.gen)
    nothing = np.zeros(0, np.int64)
    same: Any = (gen, nothing)
    names = rows_at(part, events, nothing, nothing, {RECO: same})
    for name, text in texts.items():
        if name.startswith("quantities."):
            evaluated_if_there(names, text)


def evaluated_if_there(names: Namespace, expression: str) -> Column | None:
    """Return a column, or None where the objects lack a field that the expression asks for."""
    try:
        return names.evaluate(expression)
    except StudyError:
        return None
