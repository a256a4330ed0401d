"""Anti-kT clustering of a jet's particles: which of them stay together.

Particles merge by adding their momenta; distances are in rapidity, so that masses matter. Each
particle looks at its nearest neighbour only, which is enough (Cacciari, Salam 2006,
arXiv:hep-ph/0512210).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows.segments import compiled, delta_r2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


def in_hardest_jet(
    jet: NDArray[np.int64], pt: Numbers, eta: Numbers, phi: Numbers, mass: Numbers, radius: float
) -> NDArray[np.bool_]:
    """Return which particles the hardest anti-kT jet of each row holds.

    Args:
        jet: row of each particle, ascending, [particles].
        pt: in GeV, above 0, [particles].
        eta: pseudorapidity, [particles].
        phi: azimuth in radians, [particles].
        mass: in GeV, [particles].
        radius: of the jets.
    """
    ends = np.flatnonzero(np.diff(jet, prepend=-1, append=-1))
    kept = np.zeros(len(jet), np.bool_)
    if len(jet):
        px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
        _hardest(ends, np.stack([px, py, pz, energy], axis=1), radius * radius, kept)
    return kept


@compiled
def _look(i: Any, count: Any, y: Any, phi: Any, limit: Any, near: Any, gap: Any) -> None:
    """Find the nearest neighbour of i within the radius; itself if there is none."""
    near[i], gap[i] = i, limit
    for k in range(count):
        if k != i:
            apart = delta_r2(y[i], phi[i], y[k], phi[k])
            if apart < gap[i]:
                near[i], gap[i] = k, apart


@compiled
def _place(i: Any, momentum: Any, y: Any, phi: Any, soft: Any) -> None:
    """Set rapidity, azimuth and 1 / pt^2 of a pseudojet, as far as they are finite."""
    px, py, pz, energy = momentum[i]
    squared = px * px + py * py
    soft[i] = 1.0 / max(squared, 1e-300)
    phi[i] = np.arctan2(py, px)
    # Rounding may leave less than pt^2 of pt^2 + m^2 = (E + pz) (E - pz).
    transverse = max((energy + pz) * (energy - pz), squared)
    size = np.log((energy + abs(pz)) / np.sqrt(max(transverse, 1e-300)))
    y[i] = size if pz >= 0 else -size


@compiled
def _first(soft: Any, near: Any, gap: Any, left: Any) -> Any:
    """Return which pseudojet has the least distance, to its neighbour or to the beam."""
    least, chosen = np.inf, 0
    for i in range(left):
        apart = min(soft[i], soft[near[i]]) * gap[i]
        if apart < least:
            least, chosen = apart, i
    return chosen


@compiled
def _drop(
    gone: Any, last: Any, momentum: Any, label: Any, y: Any, f: Any, soft: Any, near: Any, gap: Any
) -> None:
    """Put the last pseudojet in the place of one that is gone."""
    momentum[gone], label[gone] = momentum[last], label[last]
    y[gone], f[gone], soft[gone] = y[last], f[last], soft[last]
    near[gone], gap[gone] = near[last], gap[last]


@compiled
def _look_again(
    left: Any, gone: Any, chosen: Any, grown: Any, y: Any, f: Any, limit: Any, near: Any, gap: Any
) -> None:
    """Mend the neighbours after one is gone, the last one moved, and `grown` (or -1) grew."""
    for i in range(left):
        if i == grown or near[i] == gone or near[i] == chosen or near[i] == left:
            _look(i, left, y, f, limit, near, gap)
        elif grown >= 0:
            apart = delta_r2(y[i], f[i], y[grown], f[grown])
            if apart < gap[i]:
                near[i], gap[i] = grown, apart


@compiled
def _hardest(ends: Any, momenta: Any, limit: Any, kept: Any) -> None:
    longest = np.max(np.diff(ends))
    momentum = np.empty((longest, 4))
    y, f, soft, gap = np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest)
    near, label = np.empty(longest, np.int64), np.empty(longest, np.int64)
    for row in range(len(ends) - 1):
        first, count = ends[row], ends[row + 1] - ends[row]
        member = np.arange(count)
        for i in range(count):
            momentum[i], label[i] = momenta[first + i], i
            _place(i, momentum, y, f, soft)
        for i in range(count):
            _look(i, count, y, f, limit, near, gap)
        hardest, softness = -1, np.inf
        for last in range(count - 1, -1, -1):
            chosen = _first(soft, near, gap, last + 1)
            gone, grown = near[chosen], chosen
            if gone == chosen:
                # The beam is nearest: this is a jet.
                grown = -1
                if soft[chosen] < softness:
                    softness, hardest = soft[chosen], label[chosen]
            else:
                momentum[chosen] += momentum[gone]
                _place(chosen, momentum, y, f, soft)
                member[member == label[gone]] = label[chosen]
            _drop(gone, last, momentum, label, y, f, soft, near, gap)
            grown = gone if grown == last else grown
            _look_again(last, gone, chosen, grown, y, f, limit, near, gap)
        kept[first : first + count] = member == hardest
