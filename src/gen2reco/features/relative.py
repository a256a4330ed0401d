"""Transforms to RECO relative to GEN: ratio, difference, wrapped difference, residual rescaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gen2reco.features.arrays import library, like, role
from gen2reco.features.transform import Transform, floats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]

TINY = 1e-3
"""GEN values below this share of their median count as that: a jet mass of 1e-6 GeV is rounding."""


@dataclass(frozen=True)
class Ratio(Transform):
    """RECO / GEN, for positive quantities; has no unit. `given`: gen, in the unit of the values."""

    kind: ClassVar[str] = "ratio"
    roles: ClassVar[tuple[str, ...]] = ("gen",)
    floor: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Find the GEN value below which a ratio has no meaning."""
        gen = given["gen"]
        positive = gen[gen > 0]
        return cls(TINY * float(np.median(positive)) if positive.size else 1.0)

    def forward(self, values: Array, given: Given) -> Array:
        """Return RECO / GEN."""
        return values / self._gen(given)

    def inverse(self, values: Array, given: Given) -> Array:
        """Return ratio times GEN."""
        return values * self._gen(given)

    def log_det(self, values: Array, given: Given) -> Array:
        """Return -log GEN, summed over columns."""
        lib = library(values)
        return (lib.zeros_like(values) - lib.log(self._gen(given))).sum(1)

    def _gen(self, given: Given) -> Array:
        gen = role(given, "gen")
        return library(gen).clip(gen, self.floor, math.inf)


@dataclass(frozen=True)
class Difference(Transform):
    """RECO - GEN, in the unit of both. `given`: gen."""

    kind: ClassVar[str] = "difference"
    roles: ClassVar[tuple[str, ...]] = ("gen",)

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """There is nothing to fit."""
        return cls()

    def forward(self, values: Array, given: Given) -> Array:
        """Return RECO - GEN."""
        return values - role(given, "gen")

    def inverse(self, values: Array, given: Given) -> Array:
        """Return difference + GEN."""
        return values + role(given, "gen")

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return 0."""
        return library(values).zeros_like(values[:, 0])


@dataclass(frozen=True)
class WrappedDifference(Difference):
    """RECO - GEN of an angle in radians, in [-pi, pi). `given`: gen."""

    kind: ClassVar[str] = "wrapped_difference"

    def forward(self, values: Array, given: Given) -> Array:
        """Return RECO - GEN, wrapped."""
        return wrap(values - role(given, "gen"))

    def inverse(self, values: Array, given: Given) -> Array:
        """Return difference + GEN, wrapped."""
        return wrap(values + role(given, "gen"))


@dataclass(frozen=True)
class ResidualRescale(Transform):
    """GEN + a (RECO - GEN): gives the residuals of all quantities one spread (arXiv:2010.01835).

    The factor of quantity i is a = (sd(REC - GEN) / sd)_reference sd_i / sd_i(REC - GEN), where the
    reference is a quantity with a well-shaped residual; the source takes the logarithm of the jet
    mass. `given`: gen, in the unit of the values; at fit time also reference and reference_gen.
    """

    kind: ClassVar[str] = "residual_rescale"
    roles: ClassVar[tuple[str, ...]] = ("gen",)
    fit_roles: ClassVar[tuple[str, ...]] = ("reference", "reference_gen")
    factor: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Take the four standard deviations; a residual without spread is left as it is."""
        reference = role(given, "reference")
        residual = _deviation(values - role(given, "gen"))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = _deviation(reference - role(given, "reference_gen")) / _deviation(reference)
            factor = share * _deviation(values) / residual
        usable = np.isfinite(factor) & (factor > 0)
        return cls(floats(np.where(usable, factor, 1.0)))

    def forward(self, values: Array, given: Given) -> Array:
        """Return GEN + a (RECO - GEN)."""
        gen = role(given, "gen")
        return gen + (values - gen) * like(values, self.factor)

    def inverse(self, values: Array, given: Given) -> Array:
        """Return GEN + (value - GEN) / a."""
        gen = role(given, "gen")
        return gen + (values - gen) / like(values, self.factor)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log a, summed over columns."""
        lib = library(values)
        return (lib.zeros_like(values) + lib.log(like(values, self.factor))).sum(1)


def wrap(angle: Array) -> Array:
    """Return angles in radians in [-pi, pi); those there already stay (within 4e-16 of pi: -pi)."""
    lib = library(angle)
    turned = angle - 2 * math.pi * lib.floor((angle + math.pi) / (2 * math.pi))
    # Just below -pi the sum above rounds up to the upper end, which belongs to the lower one.
    return turned - 2 * math.pi * (turned >= math.pi)


def _deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.std(axis=0))
