"""Numbers of a particle's response: from units of physics to order one and back, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.models.nn.jet_units import UPWARDS
from gen2reco.models.nn.set_matching import NUMBERS, OUTCOMES, UNITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

TYPES = 5
EDGES = np.log([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
"""Log energies (GeV) between which limits are kept."""
FARTHEST = 30.0
"""Pulls beyond this are cut."""
RATIOS = torch.tensor([True, False, True, False, False])
"""Which numbers are log ratios."""


def shrink(pull: Tensor) -> Tensor:
    """Compress far tails: of log ratios above 0 by a power, as asinh elsewhere."""
    above = ((1.0 + pull.clamp(min=0.0)) ** UPWARDS - 1.0) / UPWARDS
    return torch.where(RATIOS.to(pull.device) & (pull > 0), above, torch.asinh(pull))


def grow(shrunk: Tensor) -> Tensor:
    """Return the pulls that were shrunk, cut at `FARTHEST` widths."""
    above = (1.0 + UPWARDS * shrunk.clamp(min=0.0)) ** (1.0 / UPWARDS) - 1.0
    pull = torch.where(
        RATIOS.to(shrunk.device) & (shrunk > 0), above, torch.sinh(shrunk.clamp(-9.0, 9.0))
    )
    return pull.clamp(-FARTHEST, FARTHEST)


def in_units(values: Numbers) -> NDArray[np.float32]:
    """Return numbers of responses in their natural sizes, float32."""
    return np.asarray(values / UNITS, np.float32)


class Limits(nn.Module):
    """What training saw: outcomes by type of particle, and ranges by type and energy."""

    possible: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self) -> None:
        super().__init__()
        shape = (TYPES, len(EDGES) + 1, NUMBERS)
        self.register_buffer("possible", torch.zeros(TYPES, OUTCOMES, dtype=torch.bool))
        self.register_buffer("lowest", torch.full(shape, torch.inf))
        self.register_buffer("highest", torch.full(shape, -torch.inf))

    def see(
        self,
        kind: Index,
        energy: Numbers,
        outcome: Index,
        values: Numbers,
        used: NDArray[np.bool_],
    ) -> None:
        """Take note of training particles; arguments are [n] or [n, NUMBERS]."""
        self.possible[kind, outcome] = True
        place = np.searchsorted(EDGES, np.log(energy))
        for bounds, extreme, nothing in (
            (self.lowest, np.minimum, np.inf), (self.highest, np.maximum, -np.inf),
        ):  # fmt: skip
            found = bounds.cpu().numpy().copy()
            extreme.at(found, (kind, place), np.where(used, values, nothing).astype(np.float32))
            bounds.copy_(torch.from_numpy(found))

    def keep(self, kind: Index, energy: Numbers, values: Numbers) -> Numbers:
        """Return values cut at the range of training; where that saw none, they stay."""
        place = np.searchsorted(EDGES, np.log(energy))
        low, high = (b.cpu().numpy()[kind, place] for b in (self.lowest, self.highest))
        kept = np.minimum(np.maximum(values, low), high)
        return np.asarray(np.where(low <= high, kept, values))

    def impossible(self, kind: Index) -> NDArray[np.bool_]:
        """Return which outcomes particles cannot have, [n, OUTCOMES]; none of an unseen type."""
        possible = self.possible.cpu().numpy()
        return ~(possible | ~possible.any(axis=1, keepdims=True))[kind]
