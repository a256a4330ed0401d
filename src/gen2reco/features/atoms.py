"""Finding point masses: values that a continuous quantity takes exactly, in a finite share of rows.

Equal values are no proof by themselves. Samples are stored with few bits of mantissa, so that a
narrow response lands exactly on its GEN value, or on any other, by rounding: with 14 bits and 1 %
resolution in one row of 500. A point mass must stand far above what rounding alone would put there:
the density around it, times the distance between neighbouring stored values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

LEAST_SHARE = 1e-3
"""A point mass holds at least this share of the rows ..."""
LEAST_ROWS = 20
"""... and at least so many of them ..."""
EXCESS = 5.0
"""... and so many times what rounding explains."""
MOST = 8
"""Point masses per quantity; the largest are taken."""

_STEPS = (2, 5, 10)  # stored values on either side over which the density beside it is taken
_NEAR = 2000  # rows around a candidate that tell how finely values are stored there


def find_atoms(
    relative: Numbers, reco: Numbers, gen: Numbers | None = None, *, ratio: bool = False
) -> list[float]:
    """Return the values that a quantity takes as point masses, the most frequent first.

    Args:
        relative: the quantity as it is modelled: relative to GEN where there is a GEN value, [n].
        reco: RECO values as stored, [n].
        gen: GEN values as stored, [n]; None where the quantity is not relative to GEN.
        ratio: whether `relative` is RECO / GEN rather than a difference.
    """
    order = np.argsort(relative, kind="stable")
    ordered = relative[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(starts, len(ordered)))
    many = counts >= max(LEAST_ROWS, LEAST_SHARE * len(ordered))
    candidates = np.flatnonzero(many)
    candidates = candidates[np.argsort(-counts[candidates], kind="stable")]
    if many.all() and len(counts) <= MOST:  # nothing is continuous here
        return [float(value) for value in ordered[starts[candidates]]]
    step = spacing(reco)
    if gen is not None:
        step = np.maximum(step, spacing(gen))
        step = step / np.maximum(np.abs(gen), np.finfo(float).tiny) if ratio else step
    step = step[order]
    rest = np.ones(len(ordered), np.bool_)  # rows of no point mass found so far
    found: list[float] = []
    for index in candidates[: 4 * MOST]:
        first, count = int(starts[index]), int(counts[index])
        last = first + count
        value = float(ordered[first])
        near = np.concatenate([step[max(0, first - _NEAR) : first], step[last : last + _NEAR]])
        size = _typical(near)
        if gen is not None:  # its own rows hold many stored values then, and the coarse ones
            size = max(size, _typical(step[first:last]))
        by_rounding = 0.0
        for steps in _STEPS:
            reach = steps * size
            left, right = np.searchsorted(ordered, [value - reach, value + reach])
            beside = max(np.count_nonzero(rest[left:first]), np.count_nonzero(rest[last:right]))
            by_rounding = max(by_rounding, beside / steps)
        if count >= EXCESS * by_rounding:
            found.append(value)
            rest[first:last] = False
            if len(found) == MOST:
                break
    return found


def spacing(values: Numbers) -> Numbers:
    """Return for each value the typical distance of neighbouring distinct values around it, [n].

    Where a sample is large enough to fill the grid of stored numbers, that is the grid's step;
    elsewhere it is the distance of neighbouring rows, and rounding plays no role.
    """
    distinct, place = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        return np.zeros(len(values))
    gaps = np.diff(distinct)
    window = min(_STEPS[-1], len(gaps))
    padded = np.pad(gaps, (window // 2, window), mode="edge")
    typical = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
    return np.asarray(typical[np.minimum(place, len(typical) - 1)])


def _typical(steps: Numbers) -> float:
    """Return the mean step, of which a few rows with a GEN value near zero know nothing."""
    return float(np.minimum(steps, 10 * np.median(steps)).mean()) if steps.size else 0.0
