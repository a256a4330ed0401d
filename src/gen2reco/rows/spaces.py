"""Which rows a part has in a chunk of events: whole events, or GEN objects and their partners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import StudyError, nearest
from gen2reco.events.layout import Jagged
from gen2reco.rows.matching import MatchResult, match, match_by_index

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
        object: int64 [rows], index of the GEN object in its stored collection, 0 for event rows.
        matched: bool [rows], whether a RECO partner was found; None where none was sought.
    """

    names: Namespace
    entry: Index
    object: Index
    matched: Flags | None


def row_space(part: Part, events: Namespace, *, targets: bool) -> RowSpace:
    """Lay out the rows of a part.

    Args:
        part: the part.
        events: namespace of the events.
        targets: whether RECO partners are wanted; without, no RECO column is read.

    Raises:
        StudyError: rows of this kind or pairing are not available, or a collection is not one.
    """
    rows = part.rows
    if rows.kind not in {"event", "object"} or rows.pairing == "unpaired":
        raise StudyError(
            f"part {part.name!r}: rows of kind {rows.kind!r} with pairing {rows.pairing!r} are not"
            " available; use kind event or object, pairing paired or none"
        )
    if rows.kind == "event":
        return RowSpace(events, np.arange(events.size), np.zeros(events.size, np.int64), None)
    gen = events.collection(rows.gen, f"part {part.name}, rows.gen")
    entry = gen.frame.event
    number = gen.positions - gen.source.elements.offsets[entry]
    bound: dict[str, Any] = {GEN: (gen, gen.positions)}
    matched = None
    if targets:
        reco = events.collection(rows.reco, f"part {part.name}, rows.reco")
        partner = match_collections(rows, events, gen, reco).reco_of_gen
        matched = partner >= 0
        stored = reco.positions
        bound[RECO] = (reco, np.where(matched, stored[partner] if len(stored) else -1, -1))
    return RowSpace(events.rows(entry, bound), entry, number, matched)


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
