"""RECO events from the rows of all parts: collections, counters, ids, weights, flags."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.events.layout import Jagged, flat_columns, to_events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward as ak

    from gen2reco.rows.tables import Table
    from gen2reco.study import Part

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
        kind = np.dtype(self.types.get(f"{collection}_{name}", fallback))
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            values = np.clip(np.rint(values), limits.min, limits.max)
        converted: np.ndarray = values.astype(kind)
        return converted


def assemble(
    events: ak.Array,
    alive: np.ndarray,
    filled: Sequence[tuple[Part, Table, Sequence[Mapping[str, Mapping[str, np.ndarray]]]]],
    copies: Sequence[tuple[int, int]],
    *,
    layout: RecoLayout,
    flags: np.ndarray,
    weight: str,
    keep: Sequence[str],
    with_member: bool,
) -> ak.Array:
    """Build RECO events: every surviving GEN event once per (member, replica).

    Copies of one event stand side by side.

    Args:
        events: the GEN chunk.
        alive: positions of the surviving events, int64 [n], ascending.
        filled: per part: its rows (of surviving events, ordered by event) and, per copy,
            collection -> field -> values per row.
        copies: the (member, replica) pairs.
        layout: shapes and types of the RECO columns.
        flags: `gen2reco_flags` of every GEN event of the chunk.
        weight: column with the event weight; "" for none.
        keep: GEN columns carried along.
        with_member: write the `member` column.

    Returns:
        Events in NanoAOD shape; objects of a collection by falling pt.
    """
    given = flat_columns(events)
    number, count = len(alive), len(copies)
    order = np.repeat(alive, count) if count > 1 else alive
    replicas = max(replica for _, replica in copies) + 1

    columns: dict[str, Any] = {
        name: np.asarray(given[name])[order].astype(kind) for name, kind in IDS.items()
    }
    columns["replica"] = np.tile(np.array([replica for _, replica in copies], np.uint16), number)
    if with_member:
        columns["member"] = np.tile(np.array([member for member, _ in copies], np.uint16), number)
    weights = np.asarray(given[weight])[order].astype(np.float64) if weight else np.ones(len(order))
    columns["weight"] = weights / replicas
    columns["gen2reco_flags"] = flags[order]

    position = np.full(len(events), -1, dtype=np.int64)
    position[alive] = np.arange(number)
    for part, table, outputs in filled:
        row_event = position[table.entry]
        for collection in outputs[0]:
            fields = {
                name: _interleave([np.asarray(output[collection][name]) for output in outputs])
                for name in outputs[0][collection]
            }
            fields = {
                name: layout.cast(collection, name, values) for name, values in fields.items()
            }
            if part.rows.kind == "event":
                one_each = np.arange(len(order) + 1, dtype=np.int64)
                for name, values in fields.items():
                    alone = collection in layout.singletons
                    columns[f"{collection}_{name}"] = values if alone else Jagged(one_each, values)
            else:
                columns |= _object_columns(collection, fields, row_event, number, count)
    for name in keep:
        if name not in columns:
            columns[name] = _taken(given[name], order)
    return to_events(columns)


def _interleave(copies: list[np.ndarray]) -> np.ndarray:
    """[copies][rows] -> rows x copies flattened, the copies of a row side by side."""
    return copies[0] if len(copies) == 1 else np.stack(copies, axis=1).reshape(-1)


def _object_columns(
    collection: str, fields: dict[str, np.ndarray], row_event: np.ndarray, events: int, copies: int
) -> dict[str, Jagged]:
    """Lists of objects per event and copy, by falling pt."""
    out_event = (row_event[:, None] * copies + np.arange(copies)).reshape(-1)
    falling = -fields["pt"].astype(np.float64) if "pt" in fields else np.zeros(len(out_event))
    order = np.lexsort((np.arange(len(out_event)), falling, out_event))
    offsets = np.zeros(events * copies + 1, dtype=np.int64)
    np.cumsum(np.bincount(out_event, minlength=events * copies), out=offsets[1:])
    return {
        f"{collection}_{name}": Jagged(offsets, values[order]) for name, values in fields.items()
    }


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
