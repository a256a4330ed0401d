"""Loops over the objects of each event, compiled: one pass, no Python per event.

A collection is `offsets` int64 [events + 1] over flat arrays; the objects of event i are offsets[i] to offsets[i + 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]

_TURN = 2.0 * np.pi


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
        offsets [rows + 1] of the new lists, and the flat position of each of their objects in the old ones.
    """
    counts = np.diff(offsets)[chosen]
    new = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(counts, out=new[1:])
    return new, np.arange(new[-1]) + np.repeat(offsets[chosen] - new[:-1], counts)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def ranked(pt: Any, mask: Any, offsets: Any, rank: Any) -> Any:
    """Return, per event, the flat position of the object with the `rank`-th highest pt (0: highest), or -1.

    Equal pt: the one first in the list. NaN cannot be ordered and counts as the highest, so that it is noticed.
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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def delta_r2(eta_a: float, phi_a: float, eta_b: float, phi_b: float) -> float:
    """Return the squared distance in eta and phi."""
    turn = phi_a - phi_b
    turn -= _TURN * np.rint(turn / _TURN)
    return (eta_a - eta_b) ** 2 + turn * turn


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def nearest(
    eta: Any,
    phi: Any,
    offsets: Any,
    which: Any,
    other_eta: Any,
    other_phi: Any,
    own: Any,
    same: Any,
) -> Any:
    """Find the object of each row's list that is nearest to a direction.

    Args:
        eta: of the objects, flat.
        phi: of the objects, flat.
        offsets: of the lists, [events + 1].
        which: the list each row looks into, [rows].
        other_eta: direction of each row.
        other_phi: direction of each row.
        own: identity of each object, flat.
        same: identity of each row's direction; an object of that identity is passed over; -1: none is.

    Returns:
        flat position [rows], -1 where the list is empty, and the distance [rows], infinite there.
    """
    rows = len(other_eta)
    found = np.full(rows, -1, np.int64)
    distance = np.full(rows, np.inf)
    for row in range(rows):
        best = np.inf
        for item in range(offsets[which[row]], offsets[which[row] + 1]):
            if same[row] >= 0 and own[item] == same[row]:
                continue
            square = delta_r2(eta[item], phi[item], other_eta[row], other_phi[row])
            if square < best:
                best = square
                found[row] = item
        distance[row] = np.sqrt(best)
    return found, distance


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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
