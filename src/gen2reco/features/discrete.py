"""Transforms of numbers that come in steps: counts, flags, categories, smeared by uniform noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.features.arrays import library, like, position, role
from gen2reco.features.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]

MANY_CATEGORIES = 256


@dataclass(frozen=True)
class Dequantize(Transform):
    """Whole number k -> k + u with u uniform in (0, 1); back by rounding down, in the range seen.

    No unit. `given`: noise (the pipeline supplies it, from the key of each row). The probability of
    k is the integral of the density over [k, k + 1), so the log-determinant is 0.
    """

    kind: ClassVar[str] = "dequantize"
    roles: ClassVar[tuple[str, ...]] = ("noise",)
    low: float
    high: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Find the smallest and the largest number."""
        odd = (values != np.floor(values)).any(axis=1)
        if odd.any():
            row = int(np.argmax(odd))
            raise StudyError(
                f"dequantize takes whole numbers, row {row} holds {values[row].tolist()}: "
                "is its kind continuous?"
            )
        return cls(float(values.min()), float(values.max()))

    def forward(self, values: Array, given: Given) -> Array:
        """Return k + u."""
        return values + role(given, "noise")

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the whole number below, not beyond the range seen in training."""
        lib = library(values)
        return lib.clip(lib.floor(values), self.low, self.high)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return 0."""
        return library(values).zeros_like(values[:, 0])


@dataclass(frozen=True)
class Categories(Transform):
    """One of a few values -> its rank + u with u uniform in (0, 1); back by rounding down.

    A value that training did not have counts as the next one it had. No unit. `given`: noise, as
    for `dequantize`. The values are kept in the order of their numbers.
    """

    kind: ClassVar[str] = "categories"
    roles: ClassVar[tuple[str, ...]] = ("noise",)
    levels: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """List the values."""
        levels = np.unique(values)
        if len(levels) > MANY_CATEGORIES:
            raise StudyError(
                f"{len(levels)} categories are too many (at most {MANY_CATEGORIES}): "
                "is its kind integer or continuous?"
            )
        return cls(tuple(levels.tolist()))

    def forward(self, values: Array, given: Given) -> Array:
        """Return rank + u."""
        rank = position(like(values, self.levels[:-1]), values)
        return rank + role(given, "noise")

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the value whose rank is below."""
        lib = library(values)
        rank = position(like(values, range(1, len(self.levels))), lib.floor(values) + 0.5)
        return like(values, self.levels)[rank]

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return 0."""
        return library(values).zeros_like(values[:, 0])
