"""Flow matching on sets: RECO particles of a jet given its GEN particles, by masked attention.

Each GEN particle is a token. RECO particles are matched to them in training: a track to the charged
particle of its eta, a photon or a neutral hadron to one nearby. Given the encoded tokens come

1. the outcome of each: no track, a track that copies the direction, a track of another azimuth; and
   with or without a neutral particle. Outcomes are drawn in rounds, those of a round at once, given
   those of the rounds before;
2. location and width of the numbers of its response, given all outcomes;
3. these numbers in units of the width: conditional flow matching, a velocity followed from noise in
   a few steps;
4. what is left, particles that belong to no token, from the jet as a whole.

Nothing is known of the detector. Attention has no positional encoding, so the order of particles
says nothing; random numbers belong to the slot of a GEN particle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gen2reco.models.nn.hits import ELECTRON, NEUTRAL, PHOTON, Particles
from gen2reco.models.nn.jet_units import STANDS_FOR, turn_back
from gen2reco.models.nn.particle_networks import HEADS
from gen2reco.models.nn.set_left import LEFT_NORMALS, LEFT_UNIFORMS, Left
from gen2reco.models.nn.set_matching import (
    DEPOSIT,
    NO_TRACK,
    NUMBERS,
    OUTCOMES,
    UNITS,
    Matched,
    used,
)
from gen2reco.models.nn.set_networks import (
    USED,
    Chance,
    Networks,
    Padded,
    drawn,
    entropy,
    in_rows,
    integrate,
    laplace,
    settled,
)
from gen2reco.models.nn.set_numbers import Limits, grow, in_units, shrink
from gen2reco.models.nn.set_tokens import OF_JET, OF_TOKEN, Tokens, buckets, neighbours, padded
from gen2reco.models.nn.slots import in_slots, out_of_slots
from gen2reco.models.nn.threads import over_blocks
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gen2reco.models.nn.slots import Made

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

Blocks = Annotated[int, Field(ge=1, le=16)]

NORMALS, UNIFORMS = NUMBERS, 2
"""Random numbers of each slot."""
GROUP = 32
"""Jets per call of the networks; products of another size may round differently (last bit)."""


class SetFlowMatchingConfig(ModelConfig):
    """Settings of flow matching on sets."""

    representation: ClassVar[str] = "absolute"
    kind: Literal["set-flow-matching"] = "set-flow-matching"
    width: int = Field(48, ge=HEADS, multiple_of=HEADS, description="numbers of a token")
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (2, 1, 1, 1),
        description="attention blocks that encode GEN, choose outcomes, find location and width of"
        " the response, and move the flow",
    )
    rounds: int = Field(4, ge=1, le=64, description="in which outcomes are drawn")
    steps: int = Field(2, ge=1, le=256, description="of the flow's solver")
    solver: Literal["euler", "midpoint"] = Field(
        "midpoint", description="one or two calls of the network per step"
    )
    hidden: tuple[int, ...] = Field(
        (32, 32), min_length=1, description="layers of the networks of what is left over"
    )
    most_left: int = Field(
        12, ge=1, description="most particles of a jet that belong to no GEN particle"
    )

    def build(self, shape: Shape) -> SetFlowMatching:
        """Return freshly initialised networks."""
        return SetFlowMatching(self, shape)


class SetFlowMatching(Model):
    """Networks of all steps; see the module.

    Attributes:
        rounds, steps, solver: as in the settings; they may be changed before `sample`.
    """

    def __init__(self, config: SetFlowMatchingConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape, self.slots = config, shape, shape.slots
        self.rounds, self.steps, self.solver = config.rounds, config.steps, config.solver
        self.networks = Networks(OF_TOKEN, config.width, config.blocks)
        self.limits = Limits()
        self.left = Left(OF_JET, config.most_left, config.hidden)

    @property
    def noise(self) -> Noise:
        """Those of what is left in a jet first, then those of every slot."""
        left = self.config.most_left
        return Noise(
            normal=left * LEFT_NORMALS + self.slots * NORMALS,
            uniform=1 + left * LEFT_UNIFORMS + self.slots * UNIFORMS,
        )

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the sum of all losses of a jet, the weighted mean over jets.

        They are -log p of outcomes that are unknown at a random moment of drawing them, -log p of
        Laplace distributions of that location and width, and the squared error of the velocity.
        """
        gen, reco = (
            Particles.of(out_of_slots(side, self.slots)) for side in (batch.condition, batch.target)
        )
        tokens = Tokens(gen)
        seen = Matched.of(gen, reco, tokens.gen.axis)
        numbers = used(seen.outcome)
        if self.training:
            self.limits.see(gen.kind, gen.energy, seen.outcome, seen.values, numbers)
        values = in_units(seen.values)
        total, device = batch.weight.new_zeros(()), batch.weight.device
        for which, length in neighbours(tokens.gen.ends, GROUP):
            index, filled = padded(tokens.gen.ends, which, length, len(which))
            rows = self._rows(tokens, index, filled)
            truth = [in_rows(side, index, device) for side in (seen.outcome, values, numbers)]
            chance = drawn(*index.shape) if self.training else settled(tokens.jets[which], length)
            losses = self._losses(rows, truth, chance.to(device))
            total = total + (losses * batch.weight[torch.from_numpy(which).to(device)]).sum()
        rest = self.left.loss(
            tokens.jets, batch.weight, seen.left_jet, seen.left_kind, seen.left_momentum
        )
        return (total + rest) / batch.weight.sum()

    def _losses(self, rows: Padded, truth: Sequence[Tensor], chance: Chance) -> Tensor:
        """Return the losses of jets; `truth`: outcomes, numbers, and which numbers there are."""
        (outcome, target, there), networks, filled = truth, self.networks, rows.filled
        encoded = networks.encode(rows)
        hidden = filled & (chance.turn >= chance.moment[:, None])
        known = torch.where(hidden, OUTCOMES, outcome)
        share = (1.0 - chance.moment).clamp(min=0.1)
        losses = (entropy(networks.choose(encoded, known), outcome) * hidden).sum(1) / share
        located, centre, width = networks.locate(encoded, outcome)
        losses = losses + (laplace(target, centre, width) * there).sum((1, 2))
        with torch.no_grad():
            end = shrink((target - centre) / width)
        time = chance.time[:, None, None]
        state = (chance.start + time * (end - chance.start)) * there
        velocity = networks.move(located, state, chance.time)
        errors = (velocity - (end - chance.start)) ** 2
        return losses + (errors * there).sum((1, 2))

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return constituents [jets, slots x 5], those of highest pt if there are too many."""
        fields = out_of_slots(condition, self.slots)
        gen = Particles.of(fields)
        tokens, (normals, uniforms) = Tokens(gen), self._draws(noise)
        outcome = np.zeros(len(gen.jet), np.int64)
        values = np.zeros((len(gen.jet), NUMBERS))
        normal, uniform = (
            lanes.reshape(len(fields), self.slots, -1)[gen.jet, gen.slot].astype(np.float32)
            for lanes in (normals[1], uniforms[1])
        )
        impossible = self.limits.impossible(gen.kind)
        groups = list(buckets(tokens.gen.ends, GROUP))

        def work(number: int, *_: int) -> None:
            which, length = groups[number]
            index, filled = padded(tokens.gen.ends, which, length, GROUP)
            rows = self._rows(tokens, index, filled)
            sides = (normal, uniform, impossible)
            lanes = [in_rows(side, index, condition.device) for side in sides]
            made, numbers = self._respond(rows, *lanes)
            outcome[index[filled]] = made.cpu().numpy()[filled]
            values[index[filled]] = numbers.cpu().numpy()[filled]

        over_blocks(work, len(groups), 1)
        values = self.limits.keep(gen.kind, gen.energy, values * UNITS)
        left = self.left.draw(tokens.jets, tokens.gen.axis, normals[0], uniforms[0])
        sides = zip(*_particles(gen, outcome, values), left, strict=True)
        made = cast("Made", tuple(np.concatenate(side) for side in sides))
        out = in_slots(made, len(fields), self.slots)
        return torch.from_numpy(out.reshape(len(fields), -1)).to(condition.device)

    def _respond(
        self, rows: Padded, normal: Tensor, uniform: Tensor, impossible: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return outcomes [jets, slots] and the numbers of responses in natural sizes."""
        networks, encoded = self.networks, self.networks.encode(rows)
        turn = (uniform[..., 1] * self.rounds).long()
        outcome = torch.full_like(turn, OUTCOMES)
        for number in range(self.rounds):
            logits = networks.choose(encoded, outcome).masked_fill(impossible, -torch.inf)
            cumulative = torch.softmax(logits, -1).cumsum(-1)
            chosen = (cumulative <= uniform[..., :1]).sum(-1)
            # The sum of probabilities may round to less than 1.
            chosen = torch.where(chosen < OUTCOMES, chosen, logits.argmax(-1))
            outcome = torch.where(turn == number, chosen, outcome)
        located, centre, width = networks.locate(encoded, outcome)
        there = USED.to(outcome.device)[outcome]

        def velocity(state: Tensor, time: float) -> Tensor:
            moment = state.new_full((len(state),), time)
            return networks.move(located, state * there, moment)

        end = integrate(velocity, normal, self.steps, self.solver)
        return outcome, (centre + width * grow(end)) * there

    def _draws(self, noise: Tensor) -> tuple[list[Numbers], list[Numbers]]:
        """Return normal and uniform numbers, those of what is left and those of slots."""
        left, sizes = self.config.most_left, self.noise
        lanes = noise.detach().cpu().numpy().astype(np.float64)
        normal, uniform = np.split(lanes, [sizes.normal], axis=1)
        return (
            np.split(normal, [left * LEFT_NORMALS], axis=1),
            np.split(uniform, [1 + left * LEFT_UNIFORMS], axis=1),
        )

    def _rows(self, tokens: Tokens, index: Index, filled: NDArray[np.bool_]) -> Padded:
        device = next(self.parameters()).device
        place, energy = tokens.place.astype(np.float32), tokens.gen.energy.astype(np.float32)
        sides = (tokens.about, place, tokens.decays.of, energy, tokens.group)
        about, where, decay, energies, group = (in_rows(side, index, device) for side in sides)
        there = torch.from_numpy(filled).to(device)
        return Padded(about, where, decay, energies, group, there)


def _particles(gen: Particles, outcome: Index, values: Numbers) -> tuple[Made, Made]:
    """Return tracks, and photons with neutral hadrons, for numbers of responses [n, NUMBERS]."""
    found = np.flatnonzero((outcome // 2 != NO_TRACK) & (gen.charge != 0))
    tracks = (
        gen.jet[found], gen.pt[found] * np.exp(values[found, 0]), gen.eta[found],
        turn_back(gen.phi[found] + values[found, 1]), gen.pdg_id[found], gen.charge[found],
    )  # fmt: skip
    there = np.flatnonzero(outcome % 2 == DEPOSIT)
    energy = gen.energy[there] * np.exp(values[there, 2])
    eta, phi = gen.eta[there] + values[there, 3], gen.phi[there] + values[there, 4]
    bright = np.isin(gen.kind[there], (PHOTON, ELECTRON))
    code = np.where(bright, STANDS_FOR[PHOTON], STANDS_FOR[NEUTRAL])
    place = (energy / np.cosh(eta), eta, turn_back(phi))
    return tracks, (gen.jet[there], *place, code, np.zeros(len(there)))
