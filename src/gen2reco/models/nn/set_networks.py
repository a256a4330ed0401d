"""Masked attention over the particles of a jet: encoder, outcomes, and the velocity of a flow.

Attention is blind to the order of particles. Pairs enter as what is added to its scores: functions
of the distance of two particles, and whether they come from one decay.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.models.nn.jet_units import LITTLE
from gen2reco.models.nn.particle_networks import HEADS, Attention
from gen2reco.models.nn.set_matching import NUMBERS, OUTCOMES, used

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SCALES = (0.006, 0.015, 0.04, 0.1, 0.25)
"""Distances over which a pair's influence falls."""
OF_PAIR = len(SCALES) + 1
SUMMED = slice(1, 4)
"""Those of them over which energies are summed."""
FATES = torch.tensor([[1, 2] * 3 + [0], [3, 4, 5, 4, 5, 4, 6], [7, 4] * 3 + [8]])
"""Group of an energy by group of the particle (photons and electrons, charged, neutral hadrons) and
outcome, the last one unknown: photon energy that may be seen, is not, is; charged hadrons with and
without track, hadrons that give a neutral one; and so on."""
OF_SUMS = 3 * 9
WAVES = 4
"""Of the time of a flow."""
NEVER = -1e5
"""Added to the score of an empty slot: its weight is 0."""
LEAST, MOST = -5.0, 3.0
"""Log widths beyond these are cut."""
USED = torch.from_numpy(used(np.arange(OUTCOMES)))
"""Which numbers of a response each outcome has."""
TABLE = torch.from_numpy(np.random.default_rng(1).normal(size=(1009, 1 + NUMBERS))).float()
"""Normal numbers with which losses are evaluated."""


class Padded(NamedTuple):
    """Tokens of some jets in slots.

    Attributes:
        about: what is said of each, [jets, slots, features].
        place: eta and phi relative to the axis, [jets, slots, 2].
        decay: which decay each comes from, int64 [jets, slots], -1 for none.
        energy: GeV, [jets, slots].
        group: photons and electrons 0, charged hadrons and muons 1, neutral hadrons 2.
        filled: bool [jets, slots].
    """

    about: Tensor
    place: Tensor
    decay: Tensor
    energy: Tensor
    group: Tensor
    filled: Tensor

    def pairs(self) -> Tensor:
        """What is said of pairs, [jets, slots, slots, OF_PAIR]."""
        apart = ((self.place[:, :, None] - self.place[:, None]) ** 2).sum(-1)
        near = [torch.exp(apart * (-0.5 / scale**2)) for scale in SCALES]
        same = (self.decay[:, :, None] == self.decay[:, None]) & (self.decay >= 0)[:, None]
        return torch.stack([*near, same.to(apart.dtype)], -1)


class Chance(NamedTuple):
    """Where a loss is taken.

    Attributes:
        moment: share of outcomes that are known, [jets].
        turn: outcomes below that are known, [jets, slots].
        time: of the flow, [jets].
        start: of the flow, [jets, slots, NUMBERS].
    """

    moment: Tensor
    turn: Tensor
    time: Tensor
    start: Tensor

    def to(self, device: torch.device) -> Chance:
        """Return the same on a device."""
        return Chance(*(part.to(device) for part in self))


class Encoded(NamedTuple):
    """Tokens that have seen each other.

    Attributes:
        tokens: [jets, slots, width].
        scores: what is added to all scores, [jets, heads, slots, slots].
        near: how near pairs are on the scales of sums, [jets, scales, slots, slots].
        rows: what was encoded.
    """

    tokens: Tensor
    scores: Tensor
    near: Tensor
    rows: Padded

    def sums(self, known: Tensor) -> Tensor:
        """Return logarithms of energies around each token by what is known of their outcomes."""
        fates = FATES.flatten().to(known.device)
        fate = fates[self.rows.group * (OUTCOMES + 1) + known]
        energy = functional.one_hot(fate, 9) * self.rows.energy[..., None]
        total = (self.near @ energy[:, None]).permute(0, 2, 1, 3).flatten(2)
        return torch.log(total.clamp(min=LITTLE)) / 2.0 - 1.0


class Networks(nn.Module):
    """All networks of the response of GEN tokens.

    Args:
        features: numbers that each token is described by.
        width: of a token.
        blocks: attention blocks of encoder, outcomes, location and width, velocity.
    """

    def __init__(self, features: int, width: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.near = nn.Linear(OF_PAIR, HEADS, bias=False)
        with torch.no_grad():
            # Each head begins by looking at another distance, the last one at all of the jet.
            self.near.weight.mul_(0.1)
            for head in range(min(HEADS - 1, len(SCALES) - 1)):
                self.near.weight[head, head + 1] += 3.0
        encode, choose, locate, move = (
            nn.ModuleList(Attention(width) for _ in range(number)) for number in blocks
        )
        self.encodes, self.chooses, self.locates, self.moves = encode, choose, locate, move
        # The last one stands for an outcome that is not known yet.
        self.outcome = nn.Embedding(OUTCOMES + 1, width)
        self.given = nn.Embedding(OUTCOMES, width)
        self.around, self.after = (nn.Linear(OF_SUMS, width) for _ in range(2))
        self.direct = nn.Linear(OF_SUMS, NUMBERS)
        self.choice = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, OUTCOMES))
        self.location = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * NUMBERS))
        self.state = nn.Linear(NUMBERS, width)
        self.time = nn.Linear(2 * WAVES + 1, width)
        self.velocity = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, NUMBERS)
        )

    def encode(self, padded: Padded) -> Encoded:
        """Let the tokens of each jet see each other."""
        pairs = padded.pairs()
        scores = self.near(pairs).permute(0, 3, 1, 2)
        scores = scores.masked_fill(~padded.filled[:, None, None], NEVER).contiguous()
        near = pairs[..., SUMMED].permute(0, 3, 1, 2).contiguous()
        tokens = _through(self.encodes, self.embed(padded.about), scores)
        return Encoded(tokens, scores, near, padded)

    def choose(self, encoded: Encoded, known: Tensor) -> Tensor:
        """Return logits of outcomes [jets, slots, OUTCOMES] given known ones; OUTCOMES for none."""
        tokens = encoded.tokens + self.outcome(known) + self.around(encoded.sums(known))
        logits: Tensor = self.choice(_through(self.chooses, tokens, encoded.scores))
        return logits

    def locate(self, encoded: Encoded, outcome: Tensor) -> tuple[Encoded, Tensor, Tensor]:
        """Return tokens that know all outcomes, and location and width of their numbers."""
        sums = encoded.sums(outcome)
        tokens = encoded.tokens + self.given(outcome) + self.after(sums)
        tokens = _through(self.locates, tokens, encoded.scores)
        centre, log_width = self.location(tokens).chunk(2, -1)
        width = torch.exp(log_width.clamp(LEAST, MOST))
        return encoded._replace(tokens=tokens), centre + self.direct(sums), width

    def move(self, located: Encoded, state: Tensor, time: Tensor) -> Tensor:
        """Return the velocity [jets, slots, NUMBERS] of a state, at a time [jets] from 0 to 1."""
        angle = math.pi * time[:, None] * torch.arange(1, WAVES + 1, device=time.device)
        clock = self.time(torch.cat([time[:, None], torch.sin(angle), torch.cos(angle)], 1))
        tokens = located.tokens + self.state(state) + clock[:, None]
        velocity: Tensor = self.velocity(_through(self.moves, tokens, located.scores))
        return velocity


def in_rows(
    values: NDArray[Any], index: NDArray[np.int64], device: torch.device | None = None
) -> Tensor:
    """Return values of particles [n, ...] in slots, [jets, slots, ...]; 0 for particle n."""
    nothing = np.zeros((1, *values.shape[1:]), values.dtype)
    return torch.from_numpy(np.concatenate([values, nothing])[index]).to(device)


def drawn(jets: int, slots: int) -> Chance:
    """Return random places for a loss, from torch's generator."""
    moment, time = torch.rand(2, jets)
    return Chance(moment, torch.rand(jets, slots), time, torch.randn(jets, slots, NUMBERS))


def settled(about: NDArray[np.float64], slots: int) -> Chance:
    """Return places for a loss that are functions of what is said of each jet, [jets, ...]."""
    rows = len(TABLE)
    turns = np.mod(np.abs(about).sum(axis=1)[:, None] * np.array([1e3, 1e4, 1e5]), 1.0)
    first, moment, time = torch.from_numpy(turns.astype(np.float32)).T
    place = ((first * rows).long()[:, None] + 31 * torch.arange(slots)) % rows
    numbers = TABLE[place]
    return Chance(moment, 0.5 + 0.5 * torch.erf(numbers[..., 0] / 2**0.5), time, numbers[..., 1:])


def integrate(
    velocity: Callable[[Tensor, float], Tensor], start: Tensor, steps: int, solver: str
) -> Tensor:
    """Follow a velocity from time 0 to 1 in equal steps, `euler` or `midpoint` (two calls each)."""
    state, step = start, 1.0 / steps
    for number in range(steps):
        time = number * step
        if solver == "euler":
            state = state + step * velocity(state, time)
        else:
            half = state + 0.5 * step * velocity(state, time)
            state = state + step * velocity(half, time + 0.5 * step)
    return state


def laplace(values: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    """Return -log p of values under Laplace distributions, in nats."""
    return (values - centre).abs() / width + torch.log(2.0 * width)


def entropy(logits: Tensor, chosen: Tensor) -> Tensor:
    """Return -log p(chosen), [...], for logits [..., classes]."""
    flat = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), chosen.reshape(-1), reduction="none"
    )
    return flat.reshape(chosen.shape)


def _through(blocks: nn.ModuleList, tokens: Tensor, scores: Tensor) -> Tensor:
    for block in blocks:
        tokens = block(tokens, scores)
    return tokens
