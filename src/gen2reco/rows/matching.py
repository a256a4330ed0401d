"""Which RECO object belongs to which GEN object: one to one, nearest pair first.

A list of nearest partners is not one to one: two RECO jets may share a GEN jet. Here the closest pair of an event is
matched first, both are taken out, then the closest of what is left, and so on. RECO objects that are left over are
spurious, GEN objects that are left over were not found. It follows that no pair that was not matched, though allowed,
is closer than the matches of both of its objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from gen2reco.errors import EventFileError
from gen2reco.rows.segments import Index, Numbers, delta_r2

if TYPE_CHECKING:
    from gen2reco.events.layout import Jagged


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Partners by flat position: GEN object i of the sample and RECO object j of the sample.

    Attributes:
        reco_of_gen: int64 [GEN objects], flat position of the RECO partner, -1 for none.
        gen_of_reco: int64 [RECO objects], flat position of the GEN partner, -1 for none (spurious).
        delta_r: float64 [GEN objects], distance of the pair in radians, infinite without a partner.
    """

    reco_of_gen: Index
    gen_of_reco: Index
    delta_r: Numbers


def match(
    gen_eta: Jagged,
    gen_phi: Jagged,
    reco_eta: Jagged,
    reco_phi: Jagged,
    max_delta_r: float = 0.4,
    *,
    gen_pt: Jagged | None = None,
    reco_pt: Jagged | None = None,
    min_pt_ratio: float = 0.0,
    max_pt_ratio: float = float("inf"),
) -> MatchResult:
    """Pair GEN and RECO objects of each event one to one, nearest in eta and phi first.

    Equal distances: the GEN object first in its list wins, then the RECO object first in its list. An object with NaN
    in its direction has no partner.

    Args:
        gen_eta: pseudorapidity of the GEN objects, a list per event.
        gen_phi: their azimuth in radians.
        reco_eta: pseudorapidity of the RECO objects, a list per event.
        reco_phi: their azimuth in radians.
        max_delta_r: largest distance of a pair, itself allowed.
        gen_pt: transverse momentum of the GEN objects; needed with a window on the ratio.
        reco_pt: transverse momentum of the RECO objects, in the same unit.
        min_pt_ratio: smallest RECO pt over GEN pt of a pair.
        max_pt_ratio: largest RECO pt over GEN pt of a pair.

    Raises:
        EventFileError: GEN and RECO lists are not of the same number of events.
    """
    offsets = _offsets(gen_eta, reco_eta)
    directions = [_numbers(column) for column in (gen_eta, gen_phi, reco_eta, reco_phi)]
    allowed = np.array([max_delta_r, min_pt_ratio, max_pt_ratio], np.float64)
    return MatchResult(*_by_distance(*offsets, *directions, *_momenta(gen_pt, reco_pt), allowed))


def match_by_index(
    gen_index: Jagged,
    reco_index: Jagged,
    gen_eta: Jagged,
    gen_phi: Jagged,
    reco_eta: Jagged,
    reco_phi: Jagged,
    *,
    gen_pt: Jagged | None = None,
    reco_pt: Jagged | None = None,
    min_pt_ratio: float = 0.0,
    max_pt_ratio: float = float("inf"),
) -> MatchResult:
    """Pair objects by an index that the file holds; where several RECO objects point to one, the nearest wins.

    Args:
        gen_index: number by which a GEN object is pointed to, within its event.
        reco_index: the GEN object each RECO object points to, -1 for none.
        gen_eta: pseudorapidity of the GEN objects.
        gen_phi: their azimuth in radians.
        reco_eta: pseudorapidity of the RECO objects.
        reco_phi: their azimuth in radians.
        gen_pt: as in `match`.
        reco_pt: as in `match`.
        min_pt_ratio: as in `match`.
        max_pt_ratio: as in `match`.

    Raises:
        EventFileError: GEN and RECO lists are not of the same number of events.
    """
    offsets = _offsets(gen_eta, reco_eta)
    directions = [_numbers(column) for column in (gen_eta, gen_phi, reco_eta, reco_phi)]
    indices = [np.asarray(column.content, np.int64) for column in (gen_index, reco_index)]
    allowed = np.array([min_pt_ratio, max_pt_ratio], np.float64)
    return MatchResult(
        *_by_index(*offsets, *indices, *directions, *_momenta(gen_pt, reco_pt), allowed)
    )


def _offsets(gen: Jagged, reco: Jagged) -> tuple[Index, Index]:
    if len(gen.offsets) != len(reco.offsets):
        raise EventFileError(
            f"cannot match {len(gen.offsets) - 1} events of GEN to {len(reco.offsets) - 1} of RECO"
        )
    return np.asarray(gen.offsets, np.int64), np.asarray(reco.offsets, np.int64)


def _numbers(column: Jagged) -> Numbers:
    return np.asarray(column.content, np.float64)


def _momenta(gen_pt: Jagged | None, reco_pt: Jagged | None) -> tuple[Numbers, Numbers]:
    """Return both pt columns, empty where there is no window."""
    if gen_pt is None or reco_pt is None:
        return np.zeros(0), np.zeros(0)
    return _numbers(gen_pt), _numbers(reco_pt)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _in_window(gen: Any, reco: Any, gen_pt: Any, reco_pt: Any, low: Any, high: Any) -> Any:
    if len(gen_pt) == 0 or len(reco_pt) == 0:
        return True
    return low * gen_pt[gen] <= reco_pt[reco] <= high * gen_pt[gen]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _by_distance(
    gen_offsets: Any,
    reco_offsets: Any,
    gen_eta: Any,
    gen_phi: Any,
    reco_eta: Any,
    reco_phi: Any,
    gen_pt: Any,
    reco_pt: Any,
    allowed: Any,
) -> Any:
    reco_of_gen = np.full(len(gen_eta), -1, np.int64)
    gen_of_reco = np.full(len(reco_eta), -1, np.int64)
    delta_r = np.full(len(gen_eta), np.inf)
    for event in range(len(gen_offsets) - 1):
        gens = range(gen_offsets[event], gen_offsets[event + 1])
        recos = range(reco_offsets[event], reco_offsets[event + 1])
        square = np.empty(len(gens) * len(recos))
        first = np.empty(len(square), np.int64)
        second = np.empty(len(square), np.int64)
        pairs = 0
        for gen in gens:
            for reco in recos:
                d2 = delta_r2(reco_eta[reco], reco_phi[reco], gen_eta[gen], gen_phi[gen])
                near = np.sqrt(d2) <= allowed[0]
                if near and _in_window(gen, reco, gen_pt, reco_pt, allowed[1], allowed[2]):
                    square[pairs], first[pairs], second[pairs] = d2, gen, reco
                    pairs += 1
        # A stable sort keeps the order of the lists among equal distances.
        for pair in np.argsort(square[:pairs], kind="mergesort"):
            gen, reco = first[pair], second[pair]
            if reco_of_gen[gen] < 0 and gen_of_reco[reco] < 0:
                reco_of_gen[gen], gen_of_reco[reco] = reco, gen
                delta_r[gen] = np.sqrt(square[pair])
    return reco_of_gen, gen_of_reco, delta_r


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _by_index(
    gen_offsets: Any,
    reco_offsets: Any,
    gen_index: Any,
    reco_index: Any,
    gen_eta: Any,
    gen_phi: Any,
    reco_eta: Any,
    reco_phi: Any,
    gen_pt: Any,
    reco_pt: Any,
    allowed: Any,
) -> Any:
    reco_of_gen = np.full(len(gen_eta), -1, np.int64)
    gen_of_reco = np.full(len(reco_eta), -1, np.int64)
    delta_r = np.full(len(gen_eta), np.inf)
    for event in range(len(gen_offsets) - 1):
        for reco in range(reco_offsets[event], reco_offsets[event + 1]):
            for gen in range(gen_offsets[event], gen_offsets[event + 1]):
                if gen_index[gen] != reco_index[reco]:
                    continue
                d = np.sqrt(delta_r2(reco_eta[reco], reco_phi[reco], gen_eta[gen], gen_phi[gen]))
                nearer = d < delta_r[gen] or reco_of_gen[gen] < 0
                if nearer and _in_window(gen, reco, gen_pt, reco_pt, allowed[0], allowed[1]):
                    if reco_of_gen[gen] >= 0:
                        gen_of_reco[reco_of_gen[gen]] = -1
                    reco_of_gen[gen], gen_of_reco[reco], delta_r[gen] = reco, gen, d
                break
    return reco_of_gen, gen_of_reco, delta_r
