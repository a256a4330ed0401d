"""The training domain: what GEN looked like, so that later GEN values can be compared with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows.tables import ABSURD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

BINS = 50


@dataclass(frozen=True)
class Range:
    """The distribution of one GEN quantity in training, in its own unit.

    Attributes:
        low: smallest value.
        high: largest value.
        median: what stands in for values that are not finite.
        core: 0.1 % and 99.9 % quantiles.
        counts: rows in `BINS` equal bins of the core; 0.1 % lie outside on either side.
    """

    low: float
    high: float
    median: float
    core: tuple[float, float]
    counts: tuple[int, ...]

    @classmethod
    def fit(cls, values: Numbers) -> Range:
        """Take the range of a column [n]; absurd and non-finite values do not count."""
        sound = values[np.abs(values) <= ABSURD]
        if not sound.size:
            sound = np.zeros(1)
        first, median, last = np.quantile(sound, [0.001, 0.5, 0.999]).tolist()
        counts = np.histogram(sound, BINS, (first, last))[0]
        return cls(
            float(sound.min()), float(sound.max()), median, (first, last), tuple(counts.tolist())
        )

    def mend(self, values: Numbers) -> Numbers:
        """Return the column with the median in place of values that are not finite or absurd."""
        if values.size and not (values.min() >= -ABSURD and values.max() <= ABSURD):
            return np.where(np.abs(values) <= ABSURD, values, self.median)
        return values

    def misses(self, values: Numbers) -> NDArray[np.bool_] | None:
        """Return which values lie outside [low, high] or are NaN; None where none does."""
        if not values.size or (values.min() >= self.low and values.max() <= self.high):
            return None
        return ~((values >= self.low) & (values <= self.high))

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {**asdict(self), "core": list(self.core), "counts": list(self.counts)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Range:
        """Return the range that gave `state`."""
        first, last = state["core"]
        return cls(
            state["low"], state["high"], state["median"], (first, last), tuple(state["counts"])
        )
