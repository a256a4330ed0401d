"""Particles from the columns of a row and back; masses and transverse momenta of systems of them.

Everything is in GeV and radians. Inside the networks of `transport` a row is a tensor
[rows, particles, 4] of px, py, pz and mass; energies always follow from these four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 1e-3
"""Smallest transverse momentum, energy and mass in GeV where a logarithm or ratio is taken."""

System = tuple[int, ...]
"""Numbers of the particles, counted from 0, whose momenta are summed."""


class Particle(BaseModel):
    """One object of a row: which columns it takes, in the order of the study, and its mass."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    columns: Literal["px py pz", "px py", "px py pz mass"] = Field(
        default="px py pz", description="what the next columns of the study are; `px py` has pz = 0"
    )
    mass: float = Field(default=0.0, ge=0, description="in GeV, where it is no column")
    like: str = Field(
        default="", description="particles with the same name here share one response"
    )
    least_pt: float = Field(default=0.0, ge=0, description="RECO threshold in GeV; 0: none")
    present_above: float = Field(
        default=0.0,
        ge=0,
        description="pt in GeV above which it counts as there; the share of rows is compared too",
    )
    most_eta: float = Field(default=0.0, ge=0, description="largest |eta| in RECO; 0: no limit")

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.columns.split())


def columns_of(particles: Sequence[Particle]) -> int:
    """Return how many columns these particles take."""
    return sum(particle.count for particle in particles)


def unpack(columns: Tensor, particles: Sequence[Particle]) -> Tensor:
    """Return px, py, pz and mass of every particle, [rows, particles, 4], of columns [rows, n]."""
    found, first = [], 0
    for particle in particles:
        own = columns[:, first : first + particle.count]
        first += particle.count
        rest = [own.new_zeros(own.shape[0], 1)] if particle.count == 2 else []
        if particle.count < 4:
            rest.append(own.new_full((own.shape[0], 1), particle.mass))
        found.append(torch.cat([own, *rest], 1))
    return torch.stack(found, 1)


def pack(momenta: Tensor, particles: Sequence[Particle]) -> Tensor:
    """Return the columns [rows, n] of momenta [rows, particles, 4]; the rest is dropped."""
    return torch.cat([momenta[:, i, : p.count] for i, p in enumerate(particles)], 1)


def energies(momenta: Tensor) -> Tensor:
    """Return the energy of every particle, [rows, particles]."""
    return (momenta.square().sum(2) + LEAST**2).sqrt()


def transverse(momenta: Tensor) -> Tensor:
    """Return the transverse momentum of every particle, [rows, particles]."""
    return (momenta[..., :2].square().sum(-1) + LEAST**2).sqrt()


def pseudorapidity(momenta: Tensor) -> Tensor:
    """Return the pseudorapidity of every particle, [rows, particles]."""
    return torch.asinh(momenta[..., 2] / transverse(momenta))


def four_vectors(momenta: Tensor) -> Tensor:
    """Return px, py, pz and energy one after the other for every particle, [rows, 4 particles]."""
    return torch.cat([momenta[..., :3], energies(momenta)[..., None]], 2).flatten(1)


def systems_of(momenta: Tensor, systems: Sequence[System]) -> tuple[Tensor, Tensor]:
    """Return mass and transverse momentum of sums of particles, [rows, systems] each."""
    energy = energies(momenta)
    masses, pts = [], []
    for system in systems:
        chosen = list(system)
        total = momenta[:, chosen, :3].sum(1)
        square = energy[:, chosen].sum(1).square() - total.square().sum(1)
        masses.append(square.clamp(min=LEAST**2).sqrt())
        pts.append((total[:, :2].square().sum(1) + LEAST**2).sqrt())
    return torch.stack(masses, 1), torch.stack(pts, 1)


def quantities(momenta: Tensor, systems: Sequence[System]) -> Tensor:
    """Return what physics looks at, [rows, quantities], in GeV.

    Momentum components, energies and transverse momenta of the particles, then masses and
    transverse momenta of the systems.
    """
    found = [four_vectors(momenta), transverse(momenta)]
    if systems:
        found += systems_of(momenta, systems)
    return torch.cat(found, 1)


def scaled(momenta: Tensor, factor: Tensor, turn: Tensor | None = None) -> Tensor:
    """Return momenta times `factor` [rows, particles], turned by eta and phi shifts.

    Masses stay.

    Args:
        momenta: [rows, particles, 4].
        factor: on the transverse momentum, and without `turn` on all three components.
        turn: shifts in eta and phi, [rows, particles, 2]; None: directions stay.
    """
    if turn is None:
        return torch.cat([momenta[..., :3] * factor[..., None], momenta[..., 3:]], 2)
    pt = transverse(momenta) * factor
    eta = pseudorapidity(momenta) + turn[..., 0]
    sine, cosine = torch.sin(turn[..., 1]), torch.cos(turn[..., 1])
    x, y = momenta[..., 0], momenta[..., 1]
    moved = [factor * (x * cosine - y * sine), factor * (x * sine + y * cosine)]
    return torch.stack([*moved, pt * torch.sinh(eta), momenta[..., 3]], 2)
