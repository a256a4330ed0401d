"""Transforms of one column at a time: standardize, log, asinh, logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gen2reco.features import transform
from gen2reco.features.arrays import library, like, log_above_zero
from gen2reco.features.transform import Transform, floats, mean_and_deviation, refuse_below, spread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]


@dataclass(frozen=True)
class Standardize(Transform):
    """(x - mean) / deviation: the unit of x cancels."""

    kind: ClassVar[str] = "standardize"
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Take mean and standard deviation, far outliers pulled in."""
        mean, deviation = mean_and_deviation(values)
        return cls(floats(mean), floats(deviation))

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return (x - mean) / deviation."""
        return (values - like(values, self.mean)) / like(values, self.deviation)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return mean + deviation y."""
        return values * like(values, self.deviation) + like(values, self.mean)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return minus the sum of log deviations, in every row."""
        lib = library(values)
        return (lib.zeros_like(values) - lib.log(like(values, self.deviation))).sum(1)


@dataclass(frozen=True)
class Log(Transform):
    """log x, x in its own unit (GeV for momenta); -inf at zero, which becomes a point mass."""

    kind: ClassVar[str] = "log"

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Check that nothing is negative; there is nothing to fit."""
        refuse_below(values, 0.0, "log", "asinh serves quantities of both signs")
        return cls()

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log x, -inf where x <= 0."""
        return log_above_zero(values)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return exp y."""
        return library(values).exp(values)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return -log x, summed over columns."""
        return -log_above_zero(values).sum(1)


@dataclass(frozen=True)
class Asinh(Transform):
    """asinh((x - centre) / width): linear in the core, logarithmic in the tails of both sides.

    The centre is the median and the width half the central 68 % width, in the unit of x.
    """

    kind: ClassVar[str] = "asinh"
    centre: tuple[float, ...]
    width: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Take the median and half the central 68 % width."""
        return cls(floats(np.median(values, axis=0)), floats(spread(values)))

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return asinh((x - centre) / width)."""
        return library(values).arcsinh(self._reduced(values))

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return centre + width sinh y."""
        return library(values).sinh(values) * like(values, self.width) + like(values, self.centre)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return -log(width) - log(1 + ((x - centre) / width)^2) / 2, summed over columns."""
        lib = library(values)
        slope = lib.log1p(self._reduced(values) ** 2) / 2 + lib.log(like(values, self.width))
        return -slope.sum(1)

    def _reduced(self, values: Array) -> Array:
        return (values - like(values, self.centre)) / like(values, self.width)


@dataclass(frozen=True)
class Logit(Transform):
    """log((x - low) / (high - x)), for quantities between bounds; these become point masses."""

    kind: ClassVar[str] = "logit"
    Options: ClassVar[type[transform.Options]] = transform.Bounds
    low: float
    high: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Check that everything lies between the bounds."""
        refuse_below(values, options.low, "logit", "set its options low and high")
        refuse_below(-values, -options.high, "logit", "set its options low and high")
        return cls(options.low, options.high)

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log((x - low) / (high - x)), -inf and inf at and beyond the bounds."""
        return log_above_zero(values - self.low) - log_above_zero(self.high - values)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return low + (high - low) / (1 + exp(-y)), exact next to either bound."""
        lib = library(values)
        decay = lib.exp(-lib.abs(values))
        inside = (self.high - self.low) * (decay / (1 + decay))
        return lib.where(values < 0, self.low + inside, self.high - inside)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log((high - low) / ((x - low) (high - x))), summed over columns."""
        width = library(values).log(like(values, (self.high - self.low,)))
        return (width - log_above_zero(values - self.low) - log_above_zero(self.high - values)).sum(
            1
        )
