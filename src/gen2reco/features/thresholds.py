"""Quantities that begin sharply: decoded ones stay above the edge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from gen2reco.features import transform
from gen2reco.features.arrays import library, like, log_above_zero, role
from gen2reco.features.transform import Transform, floats, refuse_below, spread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]


class ThresholdOptions(transform.Options):
    """Where a quantity begins, in its own unit; `fitted`: just below its smallest value."""

    edge: float | Literal["fitted"] = "fitted"


@dataclass(frozen=True)
class Threshold(Transform):
    """log(x - edge), for quantities that begin sharply (jets at 15 GeV); decoded ones stay above.

    A fitted edge lies below the smallest value by the mean distance of the smallest ones, which is
    where a density that starts with a step starts.
    """

    kind: ClassVar[str] = "threshold"
    Options: ClassVar[type[transform.Options]] = ThresholdOptions
    edge: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Find the edge of each column, or check the one that is given."""
        if options.edge != "fitted":
            refuse_below(values, options.edge, "threshold", "lower its option edge")
            return cls(floats(np.full(values.shape[1], options.edge)))
        count = min(20, len(values) - 1)
        smallest = np.partition(values, count, axis=0)
        least = smallest[: count + 1].min(axis=0)
        step = (smallest[count] - least) / max(count, 1)
        step = np.maximum(step, 1e-6 * spread(values))
        return cls(floats(least - step))

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log(x - edge), -inf at and below the edge."""
        return log_above_zero(values - like(values, self.edge))

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return edge + exp y."""
        return library(values).exp(values) + like(values, self.edge)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return -log(x - edge), summed over columns."""
        return -log_above_zero(values - like(values, self.edge)).sum(1)


@dataclass(frozen=True)
class ThresholdAt(Transform):
    """log(x - edge) with an edge for each row. `given`: edge, in the unit of what arrives here.

    For the ratio of a jet's pt to GEN, where RECO begins at 15 GeV: `given: {edge: 15 / gen.pt}`.
    """

    kind: ClassVar[str] = "threshold_at"
    roles: ClassVar[tuple[str, ...]] = ("edge",)

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Check that no row lies below its edge; there is nothing else to fit."""
        refuse_below(values - role(given, "edge"), 0.0, "threshold_at", "lower its edge")
        return cls()

    def forward(self, values: Array, given: Given) -> Array:
        """Return log(x - edge), -inf at and below the edge."""
        return log_above_zero(values - role(given, "edge"))

    def inverse(self, values: Array, given: Given) -> Array:
        """Return edge + exp y."""
        return library(values).exp(values) + role(given, "edge")

    def log_det(self, values: Array, given: Given) -> Array:
        """Return -log(x - edge), summed over columns."""
        return -log_above_zero(values - role(given, "edge")).sum(1)


class SoftThresholdAtOptions(transform.Options):
    """How far above the edge the logarithm goes over into the value, in the unit of the value."""

    softness: float = Field(gt=0.0, allow_inf_nan=False)


@dataclass(frozen=True)
class SoftThresholdAt(Transform):
    """edge + s log(exp((x - edge) / s) - 1): x far above its edge, the logarithm close to it.

    For a resolution much finer than most rows are above their edge: that of muons, where RECO
    begins at 10 GeV, is then the same number in all rows, which `threshold_at` would spread by 1 /
    (1 - edge). `given`: edge, in the unit of what arrives here.
    """

    kind: ClassVar[str] = "soft_threshold_at"
    roles: ClassVar[tuple[str, ...]] = ("edge",)
    Options: ClassVar[type[transform.Options]] = SoftThresholdAtOptions
    softness: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:
        """Check that no row lies below its edge; there is nothing to fit."""
        refuse_below(values - role(given, "edge"), 0.0, cls.kind, "lower its edge")
        return cls(options.softness)

    def forward(self, values: Array, given: Given) -> Array:
        """Return what is x far above the edge, -inf at and below the edge."""
        edge = role(given, "edge")
        above = self._above(values, edge)
        return edge + self.softness * (above + log_above_zero(-library(values).expm1(-above)))

    def inverse(self, values: Array, given: Given) -> Array:
        """Return edge + s log(1 + exp((y - edge) / s))."""
        lib, edge = library(values), role(given, "edge")
        scaled = (values - edge) / self.softness
        above = lib.clip(scaled, 0.0, math.inf) + lib.log1p(lib.exp(-lib.abs(scaled)))
        return edge + self.softness * above

    def log_det(self, values: Array, given: Given) -> Array:
        """Return -log(1 - exp(-(x - edge) / s)), summed over columns."""
        above = self._above(values, role(given, "edge"))
        return -log_above_zero(-library(values).expm1(-above)).sum(1)

    def _above(self, values: Array, edge: Array) -> Array:
        """How far above the edge, in units of the softness; 0 below it."""
        return library(values).clip((values - edge) / self.softness, 0.0, math.inf)
