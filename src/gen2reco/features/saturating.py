"""Transforms that shorten tails, as FlashSim prepares its columns: saturation and arctangent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from gen2reco.features import transform
from gen2reco.features.arrays import library, like
from gen2reco.features.transform import Transform, floats, spread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]


@dataclass(frozen=True)
class Saturate(Transform):
    """Values beyond a bound count as the bound, on the way to the model and on the way back.

    What lies beyond is lost: choose bounds that few values reach. The unit stays.
    """

    kind: ClassVar[str] = "saturate"
    Options: ClassVar[type[transform.Options]] = transform.Bounds
    low: float
    high: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """There is nothing to fit."""
        return cls(options.low, options.high)

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the values, not beyond the bounds."""
        return library(values).clip(values, self.low, self.high)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the values, not beyond the bounds."""
        return library(values).clip(values, self.low, self.high)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return 0."""
        return library(values).zeros_like(values[:, 0])


class ArctanOptions(transform.Options):
    """Where the arctangent is steepest, and how steep; `fitted`: one over half the 68 % width."""

    centre: float = Field(0.0, allow_inf_nan=False)
    scale: float | Literal["fitted"] = Field("fitted")

    @model_validator(mode="after")
    def _positive(self) -> ArctanOptions:
        if self.scale != "fitted" and not 0 < self.scale < float("inf"):
            raise ValueError(f"scale ({self.scale:g}) must be above 0")
        return self


@dataclass(frozen=True)
class Arctan(Transform):
    """arctan((x - centre) scale): linear in the core, and no tails at all.

    The tangent has its poles next to where the tails end, so the way back stops at the range seen
    in training. Centre in the unit of x, scale in one over it.

    Attributes:
        low: smallest value of training, per column.
        high: largest one.
    """

    kind: ClassVar[str] = "arctan"
    Options: ClassVar[type[transform.Options]] = ArctanOptions
    centre: float
    scale: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Take the range, and the scale unless it is given."""
        scale = floats(1.0 / spread(values))
        if options.scale != "fitted":
            scale = (options.scale,) * values.shape[1]
        return cls(options.centre, scale, floats(values.min(axis=0)), floats(values.max(axis=0)))

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return arctan((x - centre) scale), radians in (-pi/2, pi/2)."""
        return self._angle(values)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return centre + tan(y) / scale, within the range of training."""
        lib = library(values)
        first, last = (self._angle(like(values, side)) for side in (self.low, self.high))
        angle = lib.minimum(lib.maximum(values, first), last)
        return lib.tan(angle) / like(values, self.scale) + self.centre

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log(scale) - log(1 + ((x - centre) scale)^2), summed over columns."""
        lib = library(values)
        slope = lib.log(like(values, self.scale)) - lib.log1p(self._reduced(values) ** 2)
        return slope.sum(1)

    def _reduced(self, values: Array) -> Array:
        return (values - self.centre) * like(values, self.scale)

    def _angle(self, values: Array) -> Array:
        return library(values).arctan(self._reduced(values))
