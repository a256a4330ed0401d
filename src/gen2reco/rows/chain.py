"""What a part sees of the parts before it: a collection with their name, in training as later.

p(part_k | GEN, part_1 .. part_{k-1}): in the expressions of a part, the name of an earlier one is
the collection of its rows. In training these are the RECO objects that it learns from, in
simulation what its model made of GEN; the same fields in both:

- its targets by name (`jets.pt`),
- the GEN values they are relative to, with `_gen` behind (`jets.pt_gen`),
- its conditions by name (`jets.gen_is_b`).

A part with one row per event is a single object of that event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.events.layout import Jagged
from gen2reco.rows.origins import things_named
from gen2reco.rows.store import Flat, Source
from gen2reco.rows.values import Collection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gen2reco.rows.expressions import Namespace
    from gen2reco.rows.segments import Array, Index
    from gen2reco.rows.table import Table
    from gen2reco.rows.values import Frame
    from gen2reco.study import Condition, Part, Study, Target

GEN_VALUE = "_gen"
"""Behind the name of a target: the GEN value that it is relative to."""


def with_part(
    events: Namespace, part: Part, table: Table, targets: Mapping[str, Array]
) -> Namespace:
    """Return a namespace of the same events in which a part has been made.

    Args:
        events: namespace of the events.
        part: the part; one that counts has nothing to add.
        table: its rows, in the order of the events.
        targets: target component -> numbers per row.
    """
    if part.rows.counts:
        return events
    fields = {f"{name}{GEN_VALUE}": values for name, values in table.relative_to.items()}
    return _named(events, part, table.entry, fields | table.condition | dict(targets))


def with_empty_parts(events: Namespace, parts: Iterable[Part]) -> Namespace:
    """Return a namespace in which parts have been made without any row: for planning."""
    nothing = np.zeros(0)
    for part in parts:
        if part.rows.counts:
            continue
        names = [name for target in part.target for name in target.name]
        names += [f"{n}{GEN_VALUE}" for t in part.target if t.relative_to for n in t.name]
        names += [condition.name for condition in part.condition]
        fields = dict.fromkeys(names, nothing)
        events = _named(events, part, np.zeros(0, np.int64), fields)
    return events


def parts_before(study: Study, stage: Part) -> list[Part]:
    """Return the stages that are made before one."""
    names = [other.name for other in study.stages]
    return list(study.stages[: names.index(stage.name)])


def reads_parts(study: Study, stage: Part) -> bool:
    """Return whether conditions, or what targets are relative to, rest on parts before it."""
    earlier = {part.name for part in parts_before(study, stage)}
    texts = [condition.value for condition in stage.condition]
    texts += [text for target in stage.target for text in target.relative_to]
    texts += [stage.rows.gen] if stage.rows.gen else []
    items: list[Condition | Target] = [*stage.condition, *stage.target]
    texts += [text for item in items for spec in item.transform for text in spec.given.values()]
    return any(things_named(text, study.define) & earlier for text in texts)


def as_collection(
    name: str, events: Frame, entry: Index, fields: Mapping[str, Array]
) -> Collection:
    """Return rows as a collection: lists per event of objects with these fields.

    Args:
        name: how messages call it.
        events: the frame with one entry per event.
        entry: int64 [rows], event of each row, ascending.
        fields: name -> numbers per row.
    """
    offsets = np.zeros(events.size + 1, np.int64)
    np.cumsum(np.bincount(entry, minlength=events.size), out=offsets[1:])
    columns = {field: Jagged(offsets, np.asarray(values)) for field, values in fields.items()}
    known = {field: field for field in columns}
    source = Source(name, known, Flat(columns, events), is_list=True)
    return Collection(source, source.elements)


def _named(events: Namespace, part: Part, entry: Index, fields: Mapping[str, Array]) -> Namespace:
    frame = events.events_frame
    collection = as_collection(part.name, frame, entry, fields)
    item: Any = collection
    if part.rows.kind == "event":
        position = np.full(frame.size, -1, np.int64)
        position[entry] = np.arange(len(entry))
        item = (collection, position)
    return events.extended({part.name: item})
