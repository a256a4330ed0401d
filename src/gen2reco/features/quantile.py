"""The transform to a standard normal distribution through fitted quantiles, with proper tails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from gen2reco.features import transform
from gen2reco.features.arrays import library, like, position
from gen2reco.features.transform import Transform, floats, spread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]


_NORMAL = NormalDist()


class QuantileOptions(transform.Options):
    """How finely the distribution is followed."""

    knots: int = Field(
        33, ge=2, le=1025, description="quantiles, equidistant in standard deviations"
    )


@dataclass(frozen=True)
class QuantileNormal(Transform):
    """The monotone map that makes a column standard normal, smooth at its knots.

    Between knots, which sit at quantiles equidistant in standard deviations, a rational quadratic
    joins values and slopes; it has an exact inverse. The outermost knots leave some ten training
    rows beyond them on either side; from there on the map is linear with the slope it has reached,
    so that values beyond training are encoded and decoded like any other. The unit cancels.

    Attributes:
        curves: of each column the knots' physics values, normal values, and slopes dz/dx.
    """

    kind: ClassVar[str] = "quantile_normal"
    Options: ClassVar[type[transform.Options]] = QuantileOptions
    curves: tuple[tuple[tuple[float, ...], ...], ...]

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """Place the knots of each column."""
        edge = -_NORMAL.inv_cdf(min(10 / len(values), 0.2))
        z = np.linspace(-edge, edge, options.knots)
        return cls(tuple(_curve(column, z) for column in values.T))

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the standard normal value of equal probability."""
        return self._apply(values, _forward)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return the physics value of equal probability."""
        return self._apply(values, _inverse)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log dz/dx, summed over columns."""
        return self._apply(values, _log_slope).sum(1)

    def _apply(self, values: Array, function: Any) -> Array:
        columns = []
        for j, curve in enumerate(self.curves):
            x, z, slope = (like(values, numbers) for numbers in curve)
            columns.append(function(values[:, j], x, z, slope))
        return library(values).stack(columns).T


def _curve(column: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """Return knots and slopes of one column; equal quantiles (rounded data) make one knot."""
    x = np.quantile(column, [_NORMAL.cdf(value) for value in z])
    distinct = np.concatenate([[True], np.diff(x) > 1e-9 * spread(column[:, None])[0]])
    x, z = x[distinct], z[distinct]
    if len(x) < 2:
        x, z = x[0] + np.array([-1.0, 1.0]), np.array([-1.0, 1.0])
    width, slope = np.diff(x), np.diff(z) / np.diff(x)
    before, after = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    inner = (before + after) / (before / slope[:-1] + after / slope[1:])
    return floats(x), floats(z), floats(np.concatenate([slope[:1], inner, slope[-1:]]))


def _bin(values: Array, knots: Array, *curve: Array) -> tuple[Array, ...]:
    """Return left knot, width and both ends of the other curves in the bin of each value."""
    k = position(knots[1:-1], values)
    ends = [end for numbers in curve for end in (numbers[k], numbers[k + 1])]
    return knots[k], knots[k + 1] - knots[k], *ends


def _forward(v: Array, x: Array, z: Array, slope: Array) -> Array:
    left, width, low, high, d0, d1 = _bin(v, x, z, slope)
    lib = library(v)
    t = lib.clip((v - left) / width, 0, 1)
    mean = (high - low) / width
    bend = t * (1 - t)
    inner = low + (high - low) * (mean * t * t + d0 * bend) / (mean + (d0 + d1 - 2 * mean) * bend)
    below, above = z[0] + slope[0] * (v - x[0]), z[-1] + slope[-1] * (v - x[-1])
    return lib.where(v < x[0], below, lib.where(v > x[-1], above, inner))


def _inverse(v: Array, x: Array, z: Array, slope: Array) -> Array:
    left, rise, low, high, d0, d1 = _bin(v, z, x, slope)
    lib = library(v)
    up = lib.clip(v - left, 0, math.inf)
    up = lib.where(up > rise, rise, up)
    mean = rise / (high - low)
    bend = up * (d0 + d1 - 2 * mean)
    a, b, c = rise * (mean - d0) + bend, rise * d0 - bend, -mean * up
    inner = low + (high - low) * 2 * c / (-b - lib.sqrt(b * b - 4 * a * c))
    below, above = x[0] + (v - z[0]) / slope[0], x[-1] + (v - z[-1]) / slope[-1]
    return lib.where(v < z[0], below, lib.where(v > z[-1], above, inner))


def _log_slope(v: Array, x: Array, z: Array, slope: Array) -> Array:
    left, width, low, high, d0, d1 = _bin(v, x, z, slope)
    lib = library(v)
    t = lib.clip((v - left) / width, 0, 1)
    mean = (high - low) / width
    bend = t * (1 - t)
    bottom = mean + (d0 + d1 - 2 * mean) * bend
    return lib.log(mean**2 * (d1 * t * t + 2 * mean * bend + d0 * (1 - t) ** 2) / bottom**2)
