"""Loops over the objects of each event, compiled: one pass, no Python per event.

A collection is `offsets` int64 [events + 1] over flat arrays: the objects of event i are those from
offsets[i] up to, not including, offsets[i + 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]

_TURN = 2.0 * np.pi
_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """Compile a loop; the machine code is kept on disk, so that it costs seconds only once."""
    return cast("_F", njit(cache=True, nogil=True)(function))


def kept_offsets(offsets: Index, mask: Flags) -> Index:
    """Return the offsets of the objects that a flat mask keeps."""
    running = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(mask, out=running[1:])
    return running[offsets]


def repeated(offsets: Index, chosen: Index) -> tuple[Index, Index]:
    """Lay the lists of some events one after the other, an event as often as it is named.

    Args:
        offsets: of the collection, [events + 1].
        chosen: events, [rows].

    Returns:
        offsets [rows + 1] of the new lists, and the flat position of their objects in the old ones.
    """
    counts = np.diff(offsets)[chosen]
    new = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(counts, out=new[1:])
    return new, np.arange(new[-1]) + np.repeat(offsets[chosen] - new[:-1], counts)


@compiled
def ranked(pt: Any, mask: Any, offsets: Any, rank: Any) -> Any:
    """Return, per event, the flat position of the object of `rank`-th highest pt, or -1.

    Rank 0 is the highest. Equal pt: the one first in the list. NaN cannot be ordered and counts as
    the highest, so that it is noticed.
    """
    events = len(offsets) - 1
    found = np.full(events, -1, np.int64)
    for event in range(events):
        last, last_pt = -1, np.inf
        for _ in range(rank + 1):
            best, best_pt = -1, -np.inf
            for item in range(offsets[event], offsets[event + 1]):
                if not mask[item]:
                    continue
                value = np.inf if np.isnan(pt[item]) else pt[item]
                if last >= 0 and not (value < last_pt or (value == last_pt and item > last)):
                    continue
                if best < 0 or value > best_pt:
                    best, best_pt = item, value
            last, last_pt = best, best_pt
            if best < 0:
                break
        found[event] = last
    return found


@compiled
def delta_r2(eta_a: Any, phi_a: Any, eta_b: Any, phi_b: Any) -> Any:
    """Return the squared distance in eta and phi."""
    turn = phi_a - phi_b
    turn -= _TURN * np.rint(turn / _TURN)
    return (eta_a - eta_b) ** 2 + turn * turn


@compiled
def nearest(objects: Any, targets: Any) -> Any:
    """Find the object of each target's list that is nearest to it.

    Args:
        objects: eta, phi and identity of the objects, flat, and the offsets of their lists.
        targets: eta, phi and identity of each target, and which list it looks into. An object of
            the target's own identity is passed over; identity -1 has no such object.

    Returns:
        flat position for each target, -1 where nothing is near, and the distance, infinite there.
    """
    eta, phi, identity, offsets = objects
    target_eta, target_phi, target_identity, which = targets
    found = np.full(len(target_eta), -1, np.int64)
    distance = np.full(len(target_eta), np.inf)
    for target in range(len(target_eta)):
        best = np.inf
        own = target_identity[target]
        for item in range(offsets[which[target]], offsets[which[target] + 1]):
            if own >= 0 and identity[item] == own:
                continue
            square = delta_r2(eta[item], phi[item], target_eta[target], target_phi[target])
            if square < best:
                best = square
                found[target] = item
        distance[target] = np.sqrt(best)
    return found, distance


@compiled
def totals(values: Any, valid: Any, offsets: Any) -> Any:
    """Return sum, minimum, maximum and number of the valid values of each list."""
    events = len(offsets) - 1
    total = np.zeros(events)
    low = np.full(events, np.inf)
    high = np.full(events, -np.inf)
    number = np.zeros(events, np.int64)
    for event in range(events):
        for item in range(offsets[event], offsets[event + 1]):
            if valid[item]:
                value = values[item]
                total[event] += value
                low[event] = np.minimum(low[event], value)
                high[event] = np.maximum(high[event], value)
                number[event] += 1
    return total, low, high, number
