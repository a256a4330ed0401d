"""Mergeable sketch of a distribution: sums of weights in cells of equal relative width.

A cell holds the numbers whose float32 agree in sign, exponent and the first `BITS` bits of the
mantissa, so it is 2^-`BITS` wide relative to the number and there is nothing to choose: numbers of
any size and sign have a cell. Sketches add up cell by cell; whatever the pieces and their order,
the counts are the same, and sums of weights agree to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.validation.columns import Integers, Reals

ROUNDING = 1e-9
"""A sum of shares that is short of a quantile by less than this has reached it."""
BITS = 11
_SHIFT = 23 - BITS
_MOST_PENDING = 1 << 15
"""Cells that wait to be added up, at most about so many."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """Sums of weights by cell.

    Attributes:
        cells: numbers of the cells that hold anything, ascending, int32 [c].
        weight: sum of weights in each, float64 [c].
        entries: numbers counted.
        squares: sum of squared weights.
        lost: numbers that are not finite, which are in no cell.
    """

    cells: Integers
    weight: Reals
    entries: int
    squares: float
    lost: int

    @classmethod
    def of(cls, values: Reals, weight: Reals | None = None) -> Sketch:
        """Sketch numbers [n] with weights [n], one each by default."""
        weight = np.ones(len(values)) if weight is None else weight
        sound = np.isfinite(values)
        kept = weight[sound]
        cells, place = np.unique(_cell(values[sound]), return_inverse=True)
        return cls(
            cells,
            np.asarray(np.bincount(place, kept, len(cells)), np.float64),
            len(kept),
            float((kept**2).sum()),
            int(len(values) - len(kept)),
        )

    @staticmethod
    def merged(sketches: Sequence[Sketch]) -> Sketch:
        """Add sketches up; none give an empty one."""
        if not sketches:
            return Sketch.of(np.empty(0))
        joined = np.concatenate([one.cells for one in sketches])
        cells, place = np.unique(joined, return_inverse=True)
        weights = np.concatenate([one.weight for one in sketches])
        return Sketch(
            cells,
            np.asarray(np.bincount(place, weights, len(cells)), np.float64),
            sum(one.entries for one in sketches),
            math.fsum(one.squares for one in sketches),
            sum(one.lost for one in sketches),
        )

    @property
    def sum(self) -> float:
        """Sum of all weights."""
        return float(self.weight.sum())

    @property
    def effective(self) -> float:
        """Effective number of entries, (sum w)^2 / sum w^2."""
        return self.sum**2 / self.squares if self.squares else 0.0

    def quantile(self, share: float) -> float:
        """Return a quantile, within 2^-`BITS` of itself.

        Raises:
            SampleError: the weights do not sum to a positive number.
        """
        reached = np.cumsum(self.shares()) + ROUNDING
        place = min(int(np.searchsorted(reached, share)), len(self.cells) - 1)
        low, high = _edge(self.cells[place]), _edge(self.cells[place] + 1)
        return float((low + high) / 2)

    def lowest(self) -> Reals:
        """Return the number of each cell that is nearest to 0, ascending, [c]."""
        low, high = _edge(self.cells), _edge(self.cells + 1)
        return np.where(low >= 0, low, high)

    def histogram(self, edges: Reals) -> Reals:
        """Return sums of weights between edges, [len(edges) - 1].

        A cell that an edge cuts is shared out as if its numbers were spread evenly.
        """
        ends = np.stack([_edge(self.cells), _edge(self.cells + 1)], axis=1).ravel()
        reached = np.repeat(np.concatenate([[0.0], np.cumsum(self.weight)]), 2)[1:-1]
        return np.diff(np.interp(edges, ends, reached))

    def shares(self) -> Reals:
        """Return the share of the weights in each cell.

        Raises:
            SampleError: they do not sum to a positive number.
        """
        if not self.sum > 0:
            raise SampleError("a distribution needs weights that sum to a positive number")
        return np.asarray(self.weight / self.sum)


class Sketching:
    """A sketch in the making; memory does not grow with the numbers added."""

    def __init__(self) -> None:
        self._pending: list[Sketch] = []
        self._cells = 0

    def add(self, values: Reals, weight: Reals | None = None) -> None:
        """Add numbers [n]."""
        self.take(Sketch.of(values, weight))

    def take(self, sketch: Sketch) -> None:
        """Add what another sketch holds."""
        self._pending.append(sketch)
        self._cells += len(self._pending[-1].cells)
        if self._cells > _MOST_PENDING + len(self._pending[0].cells):
            self._pending = [Sketch.merged(self._pending)]
            self._cells = len(self._pending[0].cells)

    def result(self) -> Sketch:
        """Return the sketch of everything added."""
        self._pending = [Sketch.merged(self._pending)]
        return self._pending[0]


@dataclass(frozen=True)
class Distance:
    """Distances between two sketches, with what the cells hide.

    Attributes:
        w1: W1 of the two, numbers spread evenly over their cell; in the unit of the numbers.
        w1_error: the exact W1 lies within so much of it.
        ks: largest difference of the two cumulative distributions at the edge of a cell.
        ks_error: the largest anywhere is larger by so much at most.
    """

    w1: float
    w1_error: float
    ks: float
    ks_error: float


def distance(first: Sketch, second: Sketch) -> Distance:
    """Compare two sketches.

    Raises:
        SampleError: the weights of one do not sum to a positive number.
    """
    cells = np.union1d(first.cells, second.cells)
    one, two = (_spread(sketch, cells) for sketch in (first, second))
    low, high = _edge(cells), _edge(cells + 1)
    after = np.cumsum(one - two)
    before = np.concatenate([[0.0], after[:-1]])
    inside = (high - low) * _mean_size(before, after)
    between = (low[1:] - high[:-1]) * np.abs(after[:-1])
    return Distance(
        w1=float(inside.sum() + between.sum()),
        w1_error=float(((high - low) * (np.abs(one) + np.abs(two))).sum() / 2),
        ks=float(np.abs(after).max(initial=0.0)),
        ks_error=float(np.maximum(np.abs(one), np.abs(two)).max(initial=0.0)),
    )


def expected_w1(first: Sketch, second: Sketch) -> float:
    """Return the mean W1 of samples of these sizes from one distribution: that of the first.

    For large samples it is sqrt(2 / pi) sqrt(1/n + 1/m) times the integral of sqrt(F (1 - F)).
    """
    reached = np.clip(np.cumsum(first.shares()), 0.0, 1.0)
    left = _edge(first.cells)
    steps = np.diff(np.append(left, _edge(first.cells[-1:] + 1)))
    integral = float((np.sqrt(reached * (1 - reached)) * steps).sum())
    sizes = 1 / first.effective + 1 / second.effective
    return math.sqrt(2 / math.pi) * math.sqrt(sizes) * integral


def _cell(values: Reals) -> Integers:
    """Return the cell of each number: its float32 bits as an ascending integer, cut."""
    with np.errstate(over="ignore"):
        narrow = np.clip(values, -3e38, 3e38).astype(np.float32) + np.float32(0)
    bits = narrow.view(np.int32).astype(np.int64)
    ascending = np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    return np.asarray(ascending >> _SHIFT, np.int32)


def _edge(cells: Integers) -> Reals:
    """Return the lower edge of cells."""
    ascending = np.asarray(cells, np.int64) << _SHIFT
    size = np.abs(ascending).astype(np.int32).view(np.float32).astype(np.float64)
    return np.asarray(np.where(ascending >= 0, size, -size))


def _spread(sketch: Sketch, cells: Integers) -> Reals:
    shares = np.zeros(len(cells))
    shares[np.searchsorted(cells, sketch.cells)] = sketch.shares()
    return shares


def _mean_size(before: Reals, after: Reals) -> Reals:
    """Return the mean of |x| while x goes evenly from one number to the other."""
    same = before * after >= 0
    gap = np.abs(after - before)
    crossing = (before**2 + after**2) / np.where(gap > 0, 2 * gap, 1.0)
    return np.where(same, (np.abs(before) + np.abs(after)) / 2, crossing)
