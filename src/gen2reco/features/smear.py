"""Gaussian noise in the place of exact values, as FlashSim prepares its columns.

`dequantize` and the gaps of point masses spread exact values evenly over an interval; these two
give them narrow Gaussians, cut so that each row comes back. The density of a value is then larger
than its probability: log_det is minus the logarithm of the Gaussian's density at the row, so that
exp(log density + log_det), averaged over the noise, is the probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtri

from gen2reco.errors import StudyError
from gen2reco.features import transform
from gen2reco.features.arrays import library, role
from gen2reco.features.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]


class SmearOptions(transform.Options):
    """The exact value, and where its Gaussian lies: numbers in the unit of the values."""

    at: float = Field(0.0, allow_inf_nan=False)
    to: float = Field(-0.2, allow_inf_nan=False)
    width: float = Field(0.05, gt=0, allow_inf_nan=False)
    edge: float = Field(-0.05, allow_inf_nan=False)

    @model_validator(mode="after")
    def _apart(self) -> SmearOptions:
        if self.to == self.edge:
            raise ValueError(f"edge ({self.edge:g}) must not lie at the centre of the Gaussian, to")
        return self


@dataclass(frozen=True)
class Smear(Transform):
    """Rows at one value (`at`) become a Gaussian of a width around `to`, ending at `edge`.

    Everything on the Gaussian's side of the edge counts as that value, on both ways. `given`: noise
    (the pipeline supplies it, from the key of each row). The unit stays.
    """

    kind: ClassVar[str] = "smear"
    roles: ClassVar[tuple[str, ...]] = ("noise",)
    Options: ClassVar[type[transform.Options]] = SmearOptions
    at: float
    to: float
    width: float
    edge: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """There is nothing to fit."""
        return cls(options.at, options.to, options.width, options.edge)

    def forward(self, values: Array, given: Given) -> Array:
        """Return the values, those at the exact one by noise around `to`."""
        pull = _pull(role(given, "noise"), -math.inf, self._room())
        spread = self.to - self._side() * self.width * pull
        return library(values).where(self._hit(values), spread, values)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the values, those beyond the edge as the exact one."""
        lib = library(values)
        return lib.where(self._beyond(values), lib.full_like(values, self.at), values)

    def log_det(self, values: Array, given: Given) -> Array:
        """Return minus the log density of the Gaussian at rows of the exact value, else 0."""
        lib = library(values)
        pull = _pull(role(given, "noise"), -math.inf, self._room())
        density = _log_density(pull, -math.inf, self._room()) - math.log(self.width)
        return lib.where(self._hit(values), -density, lib.zeros_like(values)).sum(1)

    def _side(self) -> float:
        return 1.0 if self.to > self.edge else -1.0

    def _room(self) -> float:
        """From the centre of the Gaussian to the edge, in widths."""
        return abs(self.to - self.edge) / self.width

    def _beyond(self, values: Array) -> Array:
        return (values - self.edge) * self._side() > 0

    def _hit(self, values: Array) -> Array:
        return (values == self.at) | self._beyond(values)


class JitterOptions(transform.Options):
    """Standard deviation of the noise, of whole numbers that are 1 apart."""

    width: float = Field(0.1, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Jitter(Transform):
    """Whole number k -> k + normal noise, cut at a half; back by rounding, in the range seen.

    For a target of kind continuous: the kinds integer and flag put `dequantize` in front. `given`:
    noise, as for `smear`. No unit.
    """

    kind: ClassVar[str] = "jitter"
    roles: ClassVar[tuple[str, ...]] = ("noise",)
    Options: ClassVar[type[transform.Options]] = JitterOptions
    low: float
    high: float
    width: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Find the smallest and the largest number."""
        odd = (values != np.floor(values)).any(axis=1)
        if odd.any():
            row = int(np.argmax(odd))
            raise StudyError(f"jitter takes whole numbers, row {row} holds {values[row].tolist()}")
        return cls(float(values.min()), float(values.max()), options.width)

    def forward(self, values: Array, given: Given) -> Array:
        """Return k + noise."""
        room = 0.5 / self.width
        return values + self.width * _pull(role(given, "noise"), -room, room)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the nearest whole number, not beyond the range seen in training."""
        lib = library(values)
        return lib.clip(lib.round(values), self.low, self.high)

    def log_det(self, values: Array, given: Given) -> Array:
        """Return minus the log density of the noise, summed over columns."""
        room = 0.5 / self.width
        density = _log_density(_pull(role(given, "noise"), -room, room), -room, room)
        return (library(values).zeros_like(values) - density + math.log(self.width)).sum(1)


def _pull(noise: Array, low: float, high: float) -> Array:
    """Return standard normal numbers cut at both ends, of uniform ones in (0, 1)."""
    first, last = _below(low), _below(high)
    share = first + (last - first) * noise
    return ndtri(share) if library(noise) is np else library(noise).special.ndtri(share)


def _log_density(pull: Array, low: float, high: float) -> Array:
    """Return the log density of the standard normal distribution cut at both ends."""
    constant = 0.5 * math.log(2 * math.pi) + math.log(_below(high) - _below(low))
    return -(pull**2) / 2 - constant


def _below(pull: float) -> float:
    """Return the share of the standard normal distribution below a value."""
    return 0.5 * math.erfc(-pull / math.sqrt(2))
