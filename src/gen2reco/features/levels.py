"""Point masses as levels of a discrete column, for families that have such columns of their own.

Level 0 is the continuous rest, level k the k-th point mass. The continuous column of the same
target holds standard normal noise in rows at a point mass: nothing there is to be learned, and
what a model draws there is not looked at.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from gen2reco.features.transforms import EDGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Mass:
    """One point mass.

    Attributes:
        value: what is taken exactly, before the transforms or, where these mix columns, after.
        share: share of the training rows.
    """

    value: float
    share: float


@dataclass(frozen=True)
class Levels:
    """The point masses of one column, in the order of their levels 1, 2, ...; there may be none."""

    masses: tuple[Mass, ...] = ()

    @classmethod
    def fit(cls, values: Numbers, atoms: Sequence[float]) -> Levels:
        """Count the rows of a column, [n], at each point mass."""
        return cls(tuple(Mass(float(atom), float(np.mean(values == atom))) for atom in atoms))

    def find(self, values: Numbers) -> list[Flags]:
        """Return which values, [n], are each point mass."""
        return [values == mass.value for mass in self.masses]

    def ranks(self, values: Numbers) -> Numbers:
        """Return the level of each value, whole numbers [n]."""
        ranks = np.zeros(len(values))
        for level, hit in enumerate(self.find(values), 1):
            ranks[hit] = level
        return ranks

    def hits(self, ranks: Numbers) -> list[Flags]:
        """Return which levels, [n], are each point mass."""
        return [ranks == level for level in range(1, len(self.masses) + 1)]

    def state(self) -> list[dict[str, Any]]:
        """Return the point masses as JSON can hold them."""
        return [asdict(mass) for mass in self.masses]

    @classmethod
    def from_state(cls, state: Sequence[Mapping[str, Any]]) -> Levels:
        """Return the levels that gave `state`."""
        return cls(tuple(Mass(**mass) for mass in state))


def filling(noise: Numbers) -> Numbers:
    """Return standard normal numbers, [n], made of the pipeline's noise, which avoids 0 and 1."""
    least = 2.0**-25
    return np.asarray(ndtri(np.clip((noise - EDGE) / (1 - 2 * EDGE), least, 1 - least)))


def log_filling(noise: Numbers) -> Numbers:
    """Return minus the log density of `filling`, [n]: a flow's density there times this is 1."""
    return np.asarray(0.5 * filling(noise) ** 2 + 0.5 * math.log(2 * math.pi))
