"""Transforms that mix the components of a vector: rotation, Cartesian and polar momenta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gen2reco.features.arrays import library
from gen2reco.features.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Given = Mapping[str, Array]


@dataclass(frozen=True)
class Rotate(Transform):
    """Two components of a vector seen from a GEN object's direction. `given`: angle, in radians.

    The first new component is along the object, the second perpendicular to it; units stay.
    """

    kind: ClassVar[str] = "rotate"
    components: ClassVar[int] = 2
    roles: ClassVar[tuple[str, ...]] = ("angle",)

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """There is nothing to fit."""
        return cls()

    def forward(self, values: Array, given: Given) -> Array:
        """Return (x cos a + y sin a, y cos a - x sin a)."""
        return _turn(values, given["angle"])

    def inverse(self, values: Array, given: Given) -> Array:
        """Return the components in the detector's frame."""
        return _turn(values, -given["angle"])

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return 0."""
        return library(values).zeros_like(values[:, 0])


@dataclass(frozen=True)
class Cartesian(Transform):
    """(pt, eta, phi) to (px, py, pz): GeV and radians to GeV."""

    kind: ClassVar[str] = "cartesian"
    components: ClassVar[int] = 3

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """There is nothing to fit."""
        return cls()

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return (px, py, pz)."""
        return _cartesian(values)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return (pt, eta, phi), phi in [-pi, pi]."""
        return _polar(values)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return log(pt^2 cosh eta)."""
        lib = library(values)
        return 2 * lib.log(values[:, 0]) + lib.log(lib.cosh(values[:, 1]))


@dataclass(frozen=True)
class Polar(Transform):
    """(px, py, pz) to (pt, eta, phi): GeV to GeV and radians, phi in [-pi, pi]."""

    kind: ClassVar[str] = "polar"
    components: ClassVar[int] = 3

    @classmethod
    def fit(cls, values: NDArray[np.float64], given: Given, options: Any) -> Self:  # noqa: ARG003
        """There is nothing to fit."""
        return cls()

    def forward(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return (pt, eta, phi)."""
        return _polar(values)

    def inverse(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return (px, py, pz)."""
        return _cartesian(values)

    def log_det(self, values: Array, given: Given) -> Array:  # noqa: ARG002
        """Return -log(pt p), which is -log(pt^2 cosh eta)."""
        lib = library(values)
        pt2 = values[:, 0] ** 2 + values[:, 1] ** 2
        return -lib.log(pt2) / 2 - lib.log(pt2 + values[:, 2] ** 2) / 2


def _turn(values: Array, angle: Array) -> Array:
    lib = library(values)
    x, y = values[:, 0], values[:, 1]
    cosine, sine = lib.cos(angle), lib.sin(angle)
    return _columns(lib, x * cosine + y * sine, y * cosine - x * sine)


def _cartesian(values: Array) -> Array:
    lib = library(values)
    pt, eta, phi = values[:, 0], values[:, 1], values[:, 2]
    return _columns(lib, pt * lib.cos(phi), pt * lib.sin(phi), pt * lib.sinh(eta))


def _polar(values: Array) -> Array:
    lib = library(values)
    px, py, pz = values[:, 0], values[:, 1], values[:, 2]
    pt = lib.sqrt(px * px + py * py)
    return _columns(lib, pt, lib.arcsinh(pz / pt), lib.arctan2(py, px))


def _columns(lib: Any, *columns: Array) -> Array:
    # Stacked as rows and seen transposed, so that each column stays contiguous in memory.
    return lib.stack(columns).T
