"""A classifier that tells drawn jets from true ones, given GEN, and refuses some drawn ones.

Every step of a response is learned by itself, and small errors of many steps add up in a jet. What
they add up to shows in a few numbers of the jet, in which a small classifier learns the ratio of
true to drawn jets; a drawn jet is accepted in proportion to it, or else drawn anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.models.nn.hits import HADRON, NEUTRAL, PHOTON, Particles
from gen2reco.models.nn.jet_response import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

ATTEMPTS = 3
"""How often a jet is drawn at most; the last one is kept."""
MOST_OFTEN = 1.25
"""Ratio of true to drawn jets at which every drawn one is accepted."""
WIDTH, COUNT = 0.1, 10.0
"""Relative differences of RECO and GEN, and numbers of particles, are told in these units."""
FEATURES = 11


class Refusal(nn.Module):
    """The classifier: 0 a drawn jet, 1 a true one."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.truth = Choice(FEATURES, 2, hidden)

    def loss(self, gen: Particles, true: Particles, drawn: Particles, weight: Tensor) -> Tensor:
        """Return the cross entropy in nats, the weighted mean over both sides of jets."""
        rows = np.concatenate([_features(gen, side) for side in (drawn, true)])
        which = np.repeat([0, 1], gen.jets)
        return self.truth.loss(rows, which, torch.cat([weight, weight])) / (2.0 * weight.sum())

    def accepts(self, gen: Particles, drawn: Particles, uniform: Numbers) -> NDArray[np.bool_]:
        """Return which drawn jets are accepted, bool [jets], for uniform numbers [jets]."""
        out = np.empty(gen.jets, np.bool_)
        for rows, chances in self.truth.chances(_features(gen, drawn)):
            out[rows] = uniform[rows] * MOST_OFTEN * chances[:, 0] < chances[:, 1]
        return out


def _features(gen: Particles, reco: Particles) -> Numbers:
    """What is said of jets and their response, [jets, FEATURES]."""
    (pt, mass, count), (reco_pt, reco_mass, reco_count) = (_jets(side) for side in (gen, reco))
    total = np.maximum(gen.sums(gen.pt), 1e-9)
    kinds = (HADRON, PHOTON, NEUTRAL)
    before, after = (
        [side.sums(side.pt * (side.kind == kind)) / total for kind in kinds] for side in (gen, reco)
    )
    changes = [
        reco_pt / np.maximum(pt, 1e-9) - 1.0,
        reco_mass / np.maximum(mass, 1e-3) - 1.0,
        *(late - early for late, early in zip(after, before, strict=True)),
    ]
    return np.stack(
        [
            np.log(np.maximum(pt, 0.1)) - 6.0,
            np.abs(gen.axis[0]) - 1.0,
            before[1],
            before[2],
            count / 25.0 - 2.0,
            np.arcsinh((reco_count - count) / COUNT),
            *(np.arcsinh(np.minimum(change, 1e3) / WIDTH) for change in changes),
        ],
        axis=1,
    )


def _jets(side: Particles) -> tuple[Numbers, Numbers, Numbers]:
    """Return pt and mass in GeV of the sums of massless particles, and their numbers."""
    waves = (np.cos(side.phi), np.sin(side.phi), np.sinh(side.eta), np.cosh(side.eta))
    px, py, pz, energy = (side.sums(side.pt * wave) for wave in waves)
    squared = energy**2 - px**2 - py**2 - pz**2
    return np.hypot(px, py), np.sqrt(np.maximum(squared, 0.0)), side.sums(np.ones(len(side.jet)))
