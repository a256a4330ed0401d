"""Which rows a part has in a chunk of events: events, GEN objects and partners, spurious ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import StudyError, nearest
from gen2reco.events.layout import Jagged
from gen2reco.rows.matching import MatchResult, match, match_by_index
from gen2reco.study import NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.rows.expressions import Namespace
    from gen2reco.rows.segments import Array, Flags, Index
    from gen2reco.rows.values import Collection
    from gen2reco.study import Part, Rows

GEN, RECO = "gen", "reco"
"""Names of a row's objects in the expressions of a part with one row per object."""


@dataclass(frozen=True, eq=False)
class RowSpace:
    """The candidate rows of a part.

    Attributes:
        names: namespace with one entry per row.
        entry: int64 [rows], event of each row.
        object: int64 [rows], index of the GEN object in its stored collection; of spurious ones
            their place in the event; 0 for event rows.
        matched: bool [rows], whether a RECO partner was found; None where none was sought.
    """

    names: Namespace
    entry: Index
    object: Index
    matched: Flags | None


def row_space(
    part: Part, events: Namespace, *, targets: bool, number: Index | None = None
) -> RowSpace:
    """Lay out the rows of a part.

    Args:
        part: the part.
        events: namespace of the events.
        targets: whether RECO partners are wanted; without, no RECO column is read.
        number: int64 [events], how many spurious objects each event has; for simulation.

    Raises:
        StudyError: rows of this kind or pairing are not available, or a collection is not one.
    """
    rows = part.rows
    assert rows.kind != "set", "sets have tables of their own"
    if rows.kind == "event":
        return _per_event(events, {})
    if rows.kind == "object":
        return _per_gen_object(part, events, targets=targets)
    if targets:
        return _left_over(part, events)
    if rows.counts:
        return _per_event(events, {})
    counts = np.zeros(events.size, np.int64) if number is None else number
    entry = np.repeat(np.arange(events.size), counts)
    return RowSpace(events.rows(entry, {}), entry, _running(entry, events.size), None)


def _per_event(events: Namespace, bound: dict[str, Any]) -> RowSpace:
    names = events.rows(None, bound) if bound else events
    return RowSpace(names, np.arange(events.size), np.zeros(events.size, np.int64), None)


def _per_gen_object(part: Part, events: Namespace, *, targets: bool) -> RowSpace:
    """One row per GEN object; whether it has a partner is its number (0 or 1)."""
    rows = part.rows
    gen = events.collection(rows.gen, f"part {part.name}, rows.gen")
    entry = gen.frame.event
    index = gen.positions - gen.source.elements.offsets[entry]
    bound: dict[str, Any] = {GEN: (gen, gen.positions)}
    matched = None
    if targets:
        reco = events.collection(rows.reco, f"part {part.name}, rows.reco")
        partner = match_collections(rows, events, gen, reco).reco_of_gen
        matched = partner >= 0
        stored = reco.positions
        bound[RECO] = (reco, np.where(matched, stored[partner] if len(stored) else -1, -1))
        if rows.counts:
            bound[NUMBER] = matched.astype(np.int64)
            matched = None
    return RowSpace(events.rows(entry, bound), entry, index, matched)


def _left_over(part: Part, events: Namespace) -> RowSpace:
    """One row per RECO object without a GEN partner, or the number of them in each event."""
    gen = events.collection(part.rows.gen, f"part {part.name}, rows.gen")
    reco = events.collection(part.rows.reco, f"part {part.name}, rows.reco")
    alone = np.flatnonzero(match_collections(part.rows, events, gen, reco).gen_of_reco < 0)
    entry = reco.frame.event[alone]
    if part.rows.counts:
        return _per_event(events, {NUMBER: np.bincount(entry, minlength=events.size)})
    bound = {RECO: (reco, reco.positions[alone])}
    return RowSpace(events.rows(entry, bound), entry, _running(entry, events.size), None)


def _running(entry: Index, events: int) -> Index:
    """Return the place of each row within its event, for rows in the order of the events."""
    counts = np.bincount(entry, minlength=events)
    first = np.cumsum(counts) - counts
    return np.arange(len(entry)) - first[entry]


def rows_at(
    part: Part, events: Namespace, entry: Index, number: Array, extra: Mapping[str, Array]
) -> Namespace:
    """Return a namespace for given rows: their events, GEN objects, and further numbers.

    Args:
        part: the part.
        events: namespace of the events.
        entry: int64 [rows], event of each row.
        number: int [rows], index of the GEN object in its stored collection.
        extra: name -> numbers per row.
    """
    bound: dict[str, Any] = {}
    if part.rows.kind == "object":
        gen = events.collection(part.rows.gen, f"part {part.name}, rows.gen")
        bound[GEN] = (gen, gen.source.elements.offsets[entry] + np.asarray(number, np.int64))
    same = len(entry) == events.size and np.array_equal(entry, np.arange(events.size))
    return events.rows(None if same else entry, bound | dict(extra))


def match_collections(
    rows: Rows, events: Namespace, gen: Collection, reco: Collection
) -> MatchResult:
    """Match two collections as `rows.match` asks; positions are within the two collections."""
    how = rows.match
    gen_eta, gen_phi, gen_pt = _lists(events, gen, "eta", "phi", "pt")
    reco_eta, reco_phi, reco_pt = _lists(events, reco, "eta", "phi", "pt")
    if how.by == "delta_r":
        return match(
            *(gen_eta, gen_phi, reco_eta, reco_phi),
            max_delta_r=how.max_delta_r,
            gen_pt=gen_pt,
            reco_pt=reco_pt,
            min_pt_ratio=how.min_pt_ratio,
            max_pt_ratio=how.max_pt_ratio,
        )
    if how.index not in reco.known:
        hint = nearest(how.index, reco.known)
        raise StudyError(f"rows.match.index: {reco.source.name} has no field {how.index!r}.{hint}")
    number = gen.positions - gen.source.elements.offsets[gen.frame.event]
    return match_by_index(
        *(gen_eta, gen_phi, reco_eta, reco_phi),
        gen_index=Jagged(gen.frame.offsets, number),
        reco_index=_lists(events, reco, how.index)[0],
        gen_pt=gen_pt,
        reco_pt=reco_pt,
        min_pt_ratio=how.min_pt_ratio,
        max_pt_ratio=how.max_pt_ratio,
    )


def _lists(events: Namespace, collection: Collection, *names: str) -> list[Jagged]:
    return [
        Jagged(collection.frame.offsets, column) for column in events.fields(collection, *names)
    ]
