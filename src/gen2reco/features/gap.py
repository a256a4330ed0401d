"""Point masses in a continuous column: the axis is opened at each one, and its rows fill the gap.

A density cannot hold a point mass, but it can hold an interval. Where T is the chain of transforms
and c a point mass, each encoded value beyond T(c) moves up by a width w, and the rows at c are
spread uniformly over the interval of width w that has become free. Decoding an encoded value inside
it gives exactly c. Where T(c) is infinite (a mass of zero under a logarithm), the interval lies
beyond the smallest or the largest continuous value of training.

The width is such that the density inside equals the continuous density beside it, but at least a
quarter of the mean density of the continuous core: a point mass in a thin tail must not stretch the
axis. One beyond all continuous values gets half the mean density of the core. In any case the width
lies between 0.2 and 10 half 68 % widths of the continuous part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gen2reco.features.arrays import library
from gen2reco.features.transform import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array

    Numbers = NDArray[np.float64]
    Flags = NDArray[np.bool_]

LEAST_WIDTH = 0.2
MOST_WIDTH = 10.0
"""Limits of a width, in half 68 % widths of the continuous part."""
LEAST_DENSITY = 0.25
"""Least density that is compared with, in units of the mean density of the continuous core ..."""
OUTER_DENSITY = 0.5
"""... and that inside an interval beyond all continuous values, in the same unit."""
MARGIN = 0.1
"""Room between an outer gap and the continuous values of training, in the same unit."""

_LEAST_BESIDE = 50  # rows on either side from which the density beside a gap is taken


@dataclass(frozen=True)
class Atom:
    """One point mass and its place on the encoded axis.

    Attributes:
        value: what is taken exactly, in the space that precedes the chain of transforms.
        share: share of the training rows.
        side: `middle`, or `low` / `high` for one beyond all continuous values.
        start: lower end of its interval on the opened axis.
        width: width of the interval.
    """

    value: float
    share: float
    side: Literal["low", "middle", "high"]
    start: float
    width: float

    @property
    def end(self) -> float:
        """Upper end of the interval."""
        return self.start + self.width


@dataclass(frozen=True)
class Gap:
    """The opened axis of one column; without point masses it is the axis itself.

    Attributes:
        atoms: the point masses, by their place on the axis.
    """

    atoms: tuple[Atom, ...] = ()

    @classmethod
    def fit(
        cls, continuous: Numbers, values: Sequence[float], images: Numbers, counts: Numbers
    ) -> Gap:
        """Open the axis.

        Args:
            continuous: T(x) of the rows that are no point mass, finite, [n], at least one.
            values: the point masses c.
            images: T(c) of each, may be infinite.
            counts: rows at each.
        """
        ordered = np.sort(continuous)
        scale = float(spread(continuous[:, None])[0])
        shares = counts / (len(continuous) + counts.sum())
        width = {i: _width(ordered, images[i], counts[i], scale) for i in range(len(values))}
        place = sorted(width, key=lambda i: (images[i], values[i]))
        low = [i for i in place if images[i] == -np.inf]
        finite = [float(ordered[0]), float(ordered[-1]), *images[np.isfinite(images)].tolist()]
        start = min(finite) - MARGIN * scale - sum(width[i] for i in low)
        opened = 0.0
        atoms: list[Atom] = []
        for i in place:
            side: Literal["low", "middle", "high"] = "low"
            if np.isfinite(images[i]):
                side, start = "middle", float(images[i]) + opened
                opened += width[i]
            elif images[i] > 0:
                if not atoms or atoms[-1].side != "high":
                    start = max(finite) + opened + MARGIN * scale
                side = "high"
            atoms.append(Atom(float(values[i]), float(shares[i]), side, start, width[i]))
            start += width[i]
        return cls(tuple(atoms))

    def find(self, values: Numbers) -> list[Flags]:
        """Return which values before the transforms, [n], are each point mass."""
        return [values == atom.value for atom in self.atoms]

    def open(self, values: Numbers, hits: Sequence[Flags], noise: Numbers) -> Numbers:
        """Return T(x), [n], on the opened axis, with the rows of point masses spread by the noise.

        Values beyond those of training stop short of an outer gap.

        Args:
            values: T(x); anything where a row is a point mass.
            hits: what `find` says.
            noise: uniform in (0, 1), [n].
        """
        if not self.atoms:
            return values
        opened = values.copy()
        for atom in self.atoms:
            if atom.side == "middle":
                opened[opened >= atom.start] += atom.width
            elif atom.side == "low":
                np.maximum(opened, np.nextafter(np.float32(atom.end), np.inf), out=opened)
            else:
                np.minimum(opened, np.nextafter(np.float32(atom.start), -np.inf), out=opened)
        for atom, hit in zip(self.atoms, hits, strict=True):
            opened[hit] = atom.start + atom.width * noise[hit]
        return opened

    def close(self, opened: Array) -> tuple[Array, list[Array]]:
        """Return T(x) of encoded values, [n], and which of them are each point mass."""
        if not self.atoms:
            return opened, []
        lib = library(opened)
        values, hits = opened, []
        for k, atom in enumerate(self.atoms):
            start = -np.inf if k == 0 and atom.side == "low" else atom.start
            end = np.inf if k == len(self.atoms) - 1 and atom.side == "high" else atom.end
            hits.append((opened >= start) & (opened < end))
            if atom.side == "middle":
                values = values - lib.clip(opened - atom.start, 0.0, atom.width)
        return values, hits

    def log_width(self, hits: Sequence[Flags], rows: int) -> Numbers:
        """Return the logarithm of the width for rows at a point mass, 0 for the others, [rows]."""
        result = np.zeros(rows)
        for atom, hit in zip(self.atoms, hits, strict=True):
            result[hit] = np.log(atom.width)
        return result

    def state(self) -> list[dict[str, Any]]:
        """Return the point masses as JSON can hold them."""
        return [asdict(atom) for atom in self.atoms]

    @classmethod
    def from_state(cls, state: Sequence[Mapping[str, Any]]) -> Gap:
        """Return the gap that gave `state`."""
        return cls(tuple(Atom(**atom) for atom in state))


def _width(ordered: Numbers, image: float, count: float, scale: float) -> float:
    """Return the width over which the continuous density to compare with has as many rows."""
    core = 0.68 * len(ordered) / (2 * scale)
    density = OUTER_DENSITY * core
    if np.isfinite(image):
        beside = int(min(max(count, _LEAST_BESIDE), max(len(ordered) // 20, 1)))
        centre = int(np.searchsorted(ordered, image))
        first, last = max(0, centre - beside), min(len(ordered), centre + beside)
        length = float(ordered[last - 1] - ordered[first])
        density = max((last - first - 1) / length if length else np.inf, LEAST_DENSITY * core)
    return float(np.clip(count / density, LEAST_WIDTH * scale, MOST_WIDTH * scale))
