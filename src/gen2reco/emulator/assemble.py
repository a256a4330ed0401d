"""RECO events from the rows of all parts: collections, counters, ids, weights, flags."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.events.layout import Jagged, flat_columns, to_events
from gen2reco.study import OF_EVENT, WHERE, column_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward as ak

    from gen2reco.emulator.chunk import Made
    from gen2reco.events.layout import Columns

IDS = {"run": np.uint32, "luminosityBlock": np.uint32, "event": np.uint64}


@dataclass(frozen=True)
class RecoLayout:
    """How the training files store the RECO columns that the emulator writes.

    Attributes:
        singletons: collections with exactly one entry per event and no list around it (`MET`).
        types: flat column -> numpy type name; a column that the training files lack is float32, or
            int16 when it holds indices (`...Idx`).
    """

    singletons: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return asdict(self)

    def cast(self, collection: str, name: str, values: np.ndarray) -> np.ndarray:
        """Return `values` in the column's type.

        Where that is an integer, they are rounded and kept inside its range.
        """
        fallback = "int16" if name.endswith("Idx") else "float32"
        if collection == OF_EVENT and values.dtype.kind in "bi":
            fallback = "bool" if values.dtype.kind == "b" else "int32"
        kind = np.dtype(self.types.get(column_name(collection, name), fallback))
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            values = np.clip(np.rint(values), limits.min, limits.max)
        converted: np.ndarray = values.astype(kind)
        return converted


@dataclass(frozen=True, eq=False)
class Copy:
    """What all parts made of the chunk once.

    Attributes:
        member: member of the ensemble.
        replica: number of the repetition.
        made: the rows of every part.
        flags: `gen2reco_flags` of every GEN event of the chunk, int32.
    """

    member: int
    replica: int
    made: Sequence[Made]
    flags: np.ndarray


def assemble(
    events: ak.Array,
    alive: np.ndarray,
    copies: Sequence[Copy],
    *,
    layout: RecoLayout,
    weight: str,
    keep: Sequence[str],
    with_member: bool,
) -> ak.Array:
    """Build RECO events: every surviving GEN event once per copy, its copies side by side.

    Args:
        events: the GEN chunk.
        alive: positions of the surviving events, int64 [n], ascending.
        copies: what was made of the chunk.
        layout: shapes and types of the RECO columns.
        weight: column with the event weight, "" for none; it is written too, shared by the
            replicas as `weight` is, so that an analysis finds it where FullSim has it.
        keep: GEN columns carried along.
        with_member: write the `member` column.

    Returns:
        Events in NanoAOD shape; objects of a collection by falling pt.
    """
    given = flat_columns(events)
    number, count = len(alive), len(copies)
    order = np.repeat(alive, count) if count > 1 else alive
    replicas = max(copy.replica for copy in copies) + 1

    columns: dict[str, Any] = {
        name: np.asarray(given[name])[order].astype(kind) for name, kind in IDS.items()
    }
    columns["replica"] = np.tile(np.array([copy.replica for copy in copies], np.uint16), number)
    if with_member:
        columns["member"] = np.tile(np.array([copy.member for copy in copies], np.uint16), number)
    weights = event_weights(given, weight)[order]
    columns["weight"] = weights / replicas
    if weight and weight not in columns:
        kind = np.result_type(np.asarray(given[weight]), np.float32)
        columns[weight] = columns["weight"].astype(kind)
    columns["gen2reco_flags"] = _interleave([copy.flags[alive] for copy in copies])

    position = np.full(len(events), -1, dtype=np.int64)
    position[alive] = np.arange(number)
    made = [_collections(copy.made, position, number, layout) for copy in copies]
    for name, column in made[0].items():
        columns[name] = column if count == 1 else _interleave([copy[name] for copy in made])
    for name in keep:
        if name not in columns:
            columns[name] = _taken(given[name], order)
    return to_events(columns)


def event_weights(columns: Columns, weight: str) -> np.ndarray:
    """Return the weight of every event, float64; 0 where it is not finite, 1 without a column."""
    if not weight:
        return np.ones(len(columns["run"]))
    values = np.asarray(columns[weight], np.float64)
    return np.where(np.isfinite(values), values, 0.0)


def _collections(
    made: Sequence[Made], position: np.ndarray, events: int, layout: RecoLayout
) -> dict[str, np.ndarray | Jagged]:
    """Return the RECO columns of one copy; parts that write the same collection are joined."""
    columns: dict[str, np.ndarray | Jagged] = {}
    objects: dict[str, list[tuple[np.ndarray, Mapping[str, np.ndarray]]]] = {}
    for rows in made:
        row_event = position[rows.entry]
        kept = row_event >= 0
        if not kept.all():
            row_event = row_event[kept]
        for collection, output in rows.output.items():
            fields = {
                name: layout.cast(collection, name, values if kept.all() else values[kept])
                for name, values in output.items()
                if name != WHERE
            }
            several = next(iter(fields.values())).ndim == 2
            if several:
                objects_of = np.repeat(row_event, next(iter(fields.values())).shape[1])
                flat = {name: values.reshape(-1) for name, values in fields.items()}
                if WHERE in output:
                    there = output[WHERE][kept].reshape(-1) > 0
                    objects_of = objects_of[there]
                    flat = {name: values[there] for name, values in flat.items()}
                columns |= _object_columns(collection, flat, objects_of, events)
            elif rows.alone:
                one_each = np.arange(events + 1, dtype=np.int64)
                alone = collection in {*layout.singletons, OF_EVENT}
                for name, values in fields.items():
                    columns[column_name(collection, name)] = (
                        values if alone else Jagged(one_each, values)
                    )
            else:
                objects.setdefault(collection, []).append((row_event, fields))
    for collection, pieces in objects.items():
        row_event = np.concatenate([events_of for events_of, _ in pieces])
        fields = {
            name: np.concatenate([fields[name] for _, fields in pieces]) for name in pieces[0][1]
        }
        columns |= _object_columns(collection, fields, row_event, events)
    return columns


def _object_columns(
    collection: str, fields: dict[str, np.ndarray], row_event: np.ndarray, events: int
) -> dict[str, Jagged]:
    """Lists of objects per event, by falling pt; equal ones in the order of the parts and rows."""
    falling = -fields["pt"].astype(np.float64) if "pt" in fields else np.zeros(len(row_event))
    order = np.lexsort((falling, row_event))
    offsets = np.zeros(events + 1, dtype=np.int64)
    np.cumsum(np.bincount(row_event, minlength=events), out=offsets[1:])
    return {
        f"{collection}_{name}": Jagged(offsets, values[order]) for name, values in fields.items()
    }


def _interleave(copies: Sequence[np.ndarray | Jagged]) -> np.ndarray | Jagged:
    """[copies][events] -> events x copies, the copies of an event side by side."""
    if len(copies) == 1:
        return copies[0]
    number = len(copies[0])
    order = np.arange(len(copies) * number).reshape(len(copies), number).T.reshape(-1)
    lists = [copy for copy in copies if isinstance(copy, Jagged)]
    if not lists:
        return np.concatenate([np.asarray(copy) for copy in copies])[order]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([copy.counts for copy in lists]))])
    joined = Jagged(offsets, np.concatenate([copy.content for copy in lists]))
    return _taken(joined, order)


def _taken(column: np.ndarray | Jagged, order: np.ndarray) -> np.ndarray | Jagged:
    if not isinstance(column, Jagged):
        taken: np.ndarray = np.asarray(column)[order]
        return taken
    counts = np.diff(column.offsets)[order]
    offsets = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    flat = (
        np.arange(offsets[-1])
        - np.repeat(offsets[:-1], counts)
        + np.repeat(column.offsets[:-1][order], counts)
    )
    return Jagged(offsets, column.content[flat])
