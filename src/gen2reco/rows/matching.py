"""Which RECO object belongs to which GEN object: one to one, nearest pair first.

A list of nearest partners is not one to one: two RECO jets may share a GEN jet. Here the closest
pair of an event is matched first, both are taken out, then the closest of what is left, and so on.
RECO objects that are left over are spurious, GEN objects that are left over were not found. It
follows that a pair that was allowed but not matched is never closer than the matches of both its
objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.rows.segments import Index, Numbers, compiled, delta_r2

if TYPE_CHECKING:
    from gen2reco.events.layout import Jagged


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Partners by flat position among all GEN and all RECO objects.

    Attributes:
        reco_of_gen: int64 [GEN objects], position of the RECO partner, -1 for none.
        gen_of_reco: int64 [RECO objects], position of the GEN partner, -1 for none (spurious).
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
    *,
    max_delta_r: float = 0.4,
    gen_pt: Jagged | None = None,
    reco_pt: Jagged | None = None,
    min_pt_ratio: float = 0.0,
    max_pt_ratio: float = float("inf"),
) -> MatchResult:
    """Pair GEN and RECO objects of each event one to one, nearest in eta and phi first.

    Equal distances: the GEN object first in its list wins, then the RECO object first in its list.
    An object with NaN in its direction has no partner.

    Args:
        gen_eta: pseudorapidity of the GEN objects, a list per event.
        gen_phi: their azimuth in radians.
        reco_eta: pseudorapidity of the RECO objects, a list per event.
        reco_phi: their azimuth in radians.
        max_delta_r: largest distance of a pair, itself allowed.
        gen_pt: transverse momentum of the GEN objects; without it there is no window on the ratio.
        reco_pt: transverse momentum of the RECO objects, in the same unit.
        min_pt_ratio: smallest RECO pt over GEN pt of a pair.
        max_pt_ratio: largest RECO pt over GEN pt of a pair.

    Raises:
        EventFileError: GEN and RECO are not of the same number of events.
    """
    gen, reco = _sides((gen_eta, gen_phi, gen_pt), (reco_eta, reco_phi, reco_pt))
    allowed = (float(max_delta_r), float(min_pt_ratio), float(max_pt_ratio))
    return MatchResult(*_by_distance(gen, reco, allowed))


def match_by_index(
    gen_eta: Jagged,
    gen_phi: Jagged,
    reco_eta: Jagged,
    reco_phi: Jagged,
    *,
    gen_index: Jagged,
    reco_index: Jagged,
    gen_pt: Jagged | None = None,
    reco_pt: Jagged | None = None,
    min_pt_ratio: float = 0.0,
    max_pt_ratio: float = float("inf"),
) -> MatchResult:
    """Pair objects by an index that the file holds; of several RECO objects the nearest wins.

    Args:
        gen_eta: pseudorapidity of the GEN objects, a list per event.
        gen_phi: their azimuth in radians.
        reco_eta: pseudorapidity of the RECO objects, a list per event.
        reco_phi: their azimuth in radians.
        gen_index: number by which each GEN object is pointed to, within its event.
        reco_index: number of the GEN object that each RECO object points to, -1 for none.
        gen_pt: transverse momentum of the GEN objects; without it there is no window on the ratio.
        reco_pt: transverse momentum of the RECO objects, in the same unit.
        min_pt_ratio: smallest RECO pt over GEN pt of a pair.
        max_pt_ratio: largest RECO pt over GEN pt of a pair.

    Raises:
        EventFileError: GEN and RECO are not of the same number of events.
    """
    gen, reco = _sides((gen_eta, gen_phi, gen_pt), (reco_eta, reco_phi, reco_pt))
    indices = tuple(np.asarray(column.content, np.int64) for column in (gen_index, reco_index))
    allowed = (float(min_pt_ratio), float(max_pt_ratio))
    return MatchResult(*_by_index(gen, reco, indices, allowed))


_Side = tuple["Jagged", "Jagged", "Jagged | None"]
_Arrays = tuple[Index, Numbers, Numbers, Numbers]


def _sides(gen: _Side, reco: _Side) -> tuple[_Arrays, _Arrays]:
    """Return offsets, eta, phi and pt of both sides; pt is empty where either has none."""
    if len(gen[0]) != len(reco[0]):
        raise EventFileError(f"cannot match {len(gen[0])} GEN events to {len(reco[0])} RECO events")
    sides = []
    for eta, phi, pt in (gen, reco):
        with_window = gen[2] is not None and reco[2] is not None
        momenta = pt.content if pt is not None and with_window else ()
        numbers = [np.asarray(column, np.float64) for column in (eta.content, phi.content, momenta)]
        sides.append((np.asarray(eta.offsets, np.int64), *numbers))
    return sides[0], sides[1]  # type: ignore[return-value]


@compiled
def _by_distance(gen: Any, reco: Any, allowed: Any) -> Any:
    gen_offsets, gen_eta, gen_phi, gen_pt = gen
    reco_offsets, reco_eta, reco_phi, reco_pt = reco
    reach, low, high = allowed
    window = len(gen_pt) > 0 and len(reco_pt) > 0
    reco_of_gen = np.full(len(gen_eta), -1, np.int64)
    gen_of_reco = np.full(len(reco_eta), -1, np.int64)
    delta_r = np.full(len(gen_eta), np.inf)
    most = 0
    for event in range(len(gen_offsets) - 1):
        gens = gen_offsets[event + 1] - gen_offsets[event]
        most = max(most, gens * (reco_offsets[event + 1] - reco_offsets[event]))
    square = np.empty(most)
    first = np.empty(most, np.int64)
    second = np.empty(most, np.int64)
    for event in range(len(gen_offsets) - 1):
        pairs = 0
        for i in range(gen_offsets[event], gen_offsets[event + 1]):
            for j in range(reco_offsets[event], reco_offsets[event + 1]):
                d2 = delta_r2(reco_eta[j], reco_phi[j], gen_eta[i], gen_phi[i])
                fits = d2 <= reach * reach
                if fits and window:
                    fits = low * gen_pt[i] <= reco_pt[j] <= high * gen_pt[i]
                if fits:
                    square[pairs], first[pairs], second[pairs] = d2, i, j
                    pairs += 1
        # A stable sort keeps the order of the lists among equal distances.
        for pair in np.argsort(square[:pairs], kind="mergesort"):
            i, j = first[pair], second[pair]
            if reco_of_gen[i] < 0 and gen_of_reco[j] < 0:
                reco_of_gen[i], gen_of_reco[j], delta_r[i] = j, i, np.sqrt(square[pair])
    return reco_of_gen, gen_of_reco, delta_r


@compiled
def _by_index(gen: Any, reco: Any, indices: Any, allowed: Any) -> Any:
    gen_offsets, gen_eta, gen_phi, gen_pt = gen
    reco_offsets, reco_eta, reco_phi, reco_pt = reco
    gen_index, reco_index = indices
    low, high = allowed
    window = len(gen_pt) > 0 and len(reco_pt) > 0
    reco_of_gen = np.full(len(gen_eta), -1, np.int64)
    gen_of_reco = np.full(len(reco_eta), -1, np.int64)
    delta_r = np.full(len(gen_eta), np.inf)
    for event in range(len(gen_offsets) - 1):
        for j in range(reco_offsets[event], reco_offsets[event + 1]):
            for i in range(gen_offsets[event], gen_offsets[event + 1]):
                if gen_index[i] != reco_index[j]:
                    continue
                d2 = delta_r2(reco_eta[j], reco_phi[j], gen_eta[i], gen_phi[i])
                fits = np.sqrt(d2) < delta_r[i]
                if fits and window:
                    fits = low * gen_pt[i] <= reco_pt[j] <= high * gen_pt[i]
                if fits:
                    if reco_of_gen[i] >= 0:
                        gen_of_reco[reco_of_gen[i]] = -1
                    reco_of_gen[i], gen_of_reco[j], delta_r[i] = j, i, np.sqrt(d2)
                break
    return reco_of_gen, gen_of_reco, delta_r
