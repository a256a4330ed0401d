"""Cells of photons in an order in which each knows what became of a more energetic one nearby."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows.segments import compiled, delta_r2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.hits import Cells, Particles

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

REACH = 0.05
"""Cells within this distance look at each other."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Cells in an order in which each comes after the nearest of the more energetic ones around.

    Attributes:
        before: that cell, int64 [cells], -1 for none.
        distance: to it, 0 for none.
        turn: in which round the cell comes, int64 [cells].
    """

    before: Index
    distance: Numbers
    turn: Index

    @classmethod
    def of(cls, cells: Cells, gen: Particles, energy: Numbers, *, known: bool = True) -> Chain:
        """Order cells by energy [cells], equal energies in the order of the cells.

        All come in the first round where they are not to know of each other.
        """
        before, distance = np.full(len(cells), -1), np.zeros(len(cells))
        order = np.lexsort((np.arange(len(cells)), -energy, cells.jet))
        lead = cells.lead
        turn = np.zeros(len(cells), np.int64)
        if known:
            _chain(cells.ends, order, gen.eta[lead], gen.phi[lead], before, distance, turn)
        return cls(before, distance, turn)

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return int(self.turn.max(initial=-1)) + 1


@compiled
def _chain(
    ends: Any, order: Any, eta: Any, phi: Any, before: Any, distance: Any, turn: Any
) -> None:
    for jet in range(len(ends) - 1):
        for place in range(ends[jet], ends[jet + 1]):
            i = order[place]
            nearest = REACH * REACH
            for earlier in range(ends[jet], place):
                k = order[earlier]
                apart = delta_r2(eta[i], phi[i], eta[k], phi[k])
                if apart < nearest:
                    nearest, before[i] = apart, k
            if before[i] >= 0:
                distance[i] = np.sqrt(nearest)
                turn[i] = turn[before[i]] + 1
