"""Maps between the momenta of two levels: direct (OTUS, Z), residual (OTUS, ttbar), responses.

Each takes momenta [rows, particles in, 4] and noise [rows, `noise`] and gives momenta
[rows, particles out, 4]; energies follow from masses, which the particles or a column give.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.models.nn.layers import network
from gen2reco.models.nn.momenta import (
    LEAST,
    Particle,
    columns_of,
    four_vectors,
    pack,
    pseudorapidity,
    scaled,
    systems_of,
    transverse,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIT = 50.0
"""GeV that networks see as 1."""
SOFT_PT = 15.0
"""Typical transverse momentum in GeV of a fresh radiated particle."""
SMALL = 1e-3
"""Largest weight of a fresh last layer."""
SOFT = 1.0
"""Width in GeV over which a threshold acts."""


class Direct(nn.Module):
    """Momenta out of momenta and learned noise, from nothing: the networks of OTUS for Z -> ee.

    A first network gives mean and deviation of `lanes` normal numbers from the input, a second one
    the momenta from the input and these numbers.
    """

    def __init__(
        self,
        first: Sequence[Particle],
        second: Sequence[Particle],
        *,
        hidden: Sequence[int],
        lanes: int,
    ) -> None:
        super().__init__()
        self.second, self.noise = tuple(second), lanes
        inputs = 4 * len(first)
        self.spread = network((inputs, *hidden, 2 * lanes), nn.ReLU) if lanes else None
        self.output = network((inputs + lanes, *hidden, columns_of(second)), nn.ReLU)

    def forward(self, momenta: Tensor, noise: Tensor) -> Tensor:
        """Return momenta [rows, particles out, 4]."""
        inputs = four_vectors(momenta) / UNIT
        if self.spread is not None:
            mean, width = self.spread(inputs).chunk(2, 1)
            inputs = torch.cat([inputs, mean + functional.softplus(width) * noise], 1)
        return _massive(unpack(UNIT * self.output(inputs), self.second))


class Residual(nn.Module):
    """Momenta plus a learned change that is zero at the start: the networks of OTUS for ttbar."""

    def __init__(
        self,
        first: Sequence[Particle],
        second: Sequence[Particle],
        starts: Sequence[int],
        *,
        hidden: Sequence[int],
        lanes: int,
    ) -> None:
        super().__init__()
        self.second, self.starts, self.noise = tuple(second), list(starts), lanes
        widths = (4 * len(first) + lanes, *hidden, columns_of(second))
        self.change = network(widths, nn.ReLU)
        _silence(self.change)

    def forward(self, momenta: Tensor, noise: Tensor) -> Tensor:
        """Return momenta [rows, particles out, 4]."""
        start = pack(momenta[:, self.starts], self.second)
        change = UNIT * self.change(torch.cat([four_vectors(momenta) / UNIT, noise], 1))
        return _massive(unpack(start + change, self.second))


class Responses(nn.Module):
    """Each particle scaled and turned by its own response, the identity with some width at first.

    Particles that are `like` one another share a network. It sees the particle's own transverse
    momentum, pseudorapidity and mass and its own noise; with `local` off, all particles and the
    masses and transverse momenta of the systems as well.

    Args:
        first: particles that come in.
        second: particles that go out.
        starts: for each of the latter, the former that it begins as.
        systems: systems of the particles that come in.
        hidden: widths of the hidden layers.
        lanes: normal numbers per particle.
        local: whether a particle's response depends on this particle alone.
        turns: whether directions change too.
        radiated: further particles behind those of `second`, all like its last: the first recoils
            against the sum of what comes in, the others come from noise alone.
        width: deviation of the logarithm of the response at the start.
    """

    def __init__(
        self,
        first: Sequence[Particle],
        second: Sequence[Particle],
        starts: Sequence[int],
        *,
        systems: Sequence[tuple[int, ...]],
        hidden: Sequence[int],
        lanes: int,
        local: bool,
        turns: bool,
        radiated: int,
        width: float,
    ) -> None:
        super().__init__()
        self.second, self.starts = tuple(second), list(starts)
        self.systems, self.local, self.turns = tuple(systems), local, turns
        self.lanes, self.noise = lanes, lanes * len(second) + 4 * radiated
        self.radiated = radiated
        self.radiation = None
        if radiated:
            self.radiation = network((4 + 2 + radiated, *hidden, 4), nn.SiLU)
            _silence(self.radiation)
        self.names = [particle.like or str(i) for i, particle in enumerate(second)]
        inputs = OWN + lanes
        if not local:
            inputs += OWN * len(first) + 2 * len(systems)
        # Change of log pt, of eta and phi, of log mass.
        self.networks = nn.ModuleDict(
            {f"of_{name}": network((inputs, *hidden, 4), nn.SiLU) for name in set(self.names)}
        )
        for one in self.networks.values():
            _silence(cast("nn.Sequential", one))
        self.width = width if lanes else 0.0

    def forward(self, momenta: Tensor, noise: Tensor) -> Tensor:
        """Return momenta [rows, particles out, 4]."""
        start = momenta[:, self.starts]
        own = _own(start)
        count = self.lanes * len(self.second)
        numbers = noise[:, :count].reshape(len(noise), len(self.second), self.lanes)
        inputs = torch.cat([own, numbers], 2)
        if not self.local:
            everything = [_own(momenta).flatten(1)]
            if self.systems:
                masses, pts = systems_of(momenta, self.systems)
                everything += [torch.log(masses / UNIT), torch.log(pts / UNIT + LEAST)]
            shared = torch.cat(everything, 1)[:, None].expand(-1, len(self.second), -1)
            inputs = torch.cat([inputs, shared], 2)
        changes = torch.empty(*start.shape, dtype=start.dtype, device=start.device)
        for name in dict.fromkeys(self.names):
            index = [i for i, other in enumerate(self.names) if other == name]
            changes[:, index] = self.networks[f"of_{name}"](inputs[:, index])
        change = changes[..., 0]
        if self.lanes:
            change = change + self.width * numbers[..., 0]
        factor = torch.exp(change.clamp(-3.0, 3.0))
        moved = scaled(start, factor, 0.1 * changes[..., 1:3] if self.turns else None)
        mass = torch.exp(changes[..., 3].clamp(-3.0, 3.0)) * start[..., 3]
        fixed = mass.new_tensor([particle.mass for particle in self.second])
        free = torch.tensor([particle.count == 4 for particle in self.second], device=mass.device)
        flat = mass.new_tensor([float(particle.count > 2) for particle in self.second])
        forward = moved[..., 2] * flat
        moved = torch.stack([*moved[..., :2].unbind(2), forward, torch.where(free, mass, fixed)], 2)
        particles = [*self.second, *([self.second[-1]] * self.radiated)]
        if self.radiation is not None:
            moved = torch.cat([moved, self._radiated(momenta, noise[:, count:])], 1)
        return _above_thresholds(moved, particles)

    def _radiated(self, momenta: Tensor, noise: Tensor) -> Tensor:
        """Return momenta [rows, radiated, 4] of particles that come from no other."""
        assert self.radiation is not None
        numbers = noise.reshape(len(noise), self.radiated, 4)
        total = momenta[..., :3].sum(1)
        own = torch.stack(
            [torch.log(transverse(total) / UNIT + LEAST), total[:, 2] / (10 * UNIT)], 1
        )
        which = torch.eye(self.radiated, dtype=noise.dtype, device=noise.device)
        inputs = torch.cat(
            [
                numbers,
                own[:, None].expand(-1, self.radiated, -1),
                which.expand(len(noise), -1, -1),
            ],
            2,
        )
        change = self.radiation(inputs)
        log_pt = torch.full_like(change[..., 0], math.log(SOFT_PT))
        log_pt[:, 0] = torch.log(transverse(total))
        phi = torch.pi * torch.erf(numbers[..., 2] / math.sqrt(2.0))
        away = torch.atan2(-total[:, 1], -total[:, 0])
        phi = torch.cat([(away + 0.3 * numbers[:, 0, 2])[:, None], phi[:, 1:]], 1)
        pt = torch.exp((log_pt + 0.5 * numbers[..., 0] + change[..., 0]).clamp(-3.0, 7.0))
        eta = (1.5 * numbers[..., 1] + change[..., 1]).clamp(-5.0, 5.0)
        phi = phi + 0.1 * change[..., 2]
        mass = torch.exp((1.5 + 0.5 * numbers[..., 3] + change[..., 3]).clamp(-3.0, 5.0))
        return torch.stack(
            [pt * torch.cos(phi), pt * torch.sin(phi), pt * torch.sinh(eta), mass], 2
        )


OWN = 3
"""What a response knows of a particle: log pt, eta, log mass."""


def _own(momenta: Tensor) -> Tensor:
    pt, eta = transverse(momenta), pseudorapidity(momenta)
    mass = torch.log(momenta[..., 3].abs() + 1.0)
    return torch.stack([torch.log(pt / UNIT), 0.5 * eta.clamp(-5.0, 5.0), 0.3 * mass], 2)


def _above_thresholds(momenta: Tensor, particles: Sequence[Particle]) -> Tensor:
    """Return momenta whose pt lies above the particles' thresholds; far above nothing changes."""
    least = momenta.new_tensor([particle.least_pt for particle in particles])
    pt = transverse(momenta)
    lifted = least + SOFT * functional.softplus((pt - least) / SOFT)
    return scaled(momenta, torch.where(least > 0, lifted / pt, torch.ones_like(pt)))


def _massive(momenta: Tensor) -> Tensor:
    """Return momenta with masses that are not negative."""
    return torch.cat([momenta[..., :3], momenta[..., 3:].abs()], 2)


def _silence(layers: nn.Sequential) -> None:
    """Let a network give next to nothing at the start, but with a gradient everywhere."""
    last = cast("nn.Linear", layers[-1])
    nn.init.uniform_(last.weight, -SMALL, SMALL)
    nn.init.zeros_(last.bias)
