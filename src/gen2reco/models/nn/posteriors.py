"""Distributions of latent numbers given a row, and the laws that they follow over all rows.

A posterior draws latent numbers from what an encoder says of a row, and knows how far it is from
their law (the divergence of a variational bound, in nats):

- `Normal`: independent normal numbers, law standard normal;
- `Carried`: those carried on by invertible steps, planar or affine couplings, same law;
- `Copula`: joined by a Gaussian copula and uniform each by itself, law uniform.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_LOG_VARIANCE = 20.0
"""Logarithms of latent variances act as if cut at plus or minus this."""
EDGE = 1e-6
"""Uniform latent numbers stay this far from 0 and 1."""

Step = Literal["planar", "coupling"]


class Normal(nn.Module):
    """Independent normal numbers: the encoder gives centre and log variance of each."""

    uniform = False

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    @property
    def numbers(self) -> int:
        """How many numbers the encoder gives per row."""
        return 2 * self.latent

    def draw(self, encoded: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Return latent numbers and divergence.

        Args:
            encoded: what the encoder says, [rows, numbers].
            normal: standard normal numbers [draws, rows, latent], or [draws, 1, latent].

        Returns:
            Latent numbers [draws, rows, latent] and divergence [draws, rows] or [1, rows].
        """
        centre, log_variance = self.parameters_of(encoded)
        latent = centre + torch.exp(0.5 * log_variance) * normal
        divergence = centre.square() + torch.exp(log_variance) - 1.0 - log_variance
        return latent, 0.5 * divergence.sum(1)[None]

    def parameters_of(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and log variance, [rows, latent] each."""
        centre, log_variance = encoded[:, : 2 * self.latent].chunk(2, 1)
        return centre, log_variance.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def place(self, encoded: Tensor) -> Tensor:
        """Return where a row lies in latent space, in standard normal numbers [rows, latent]."""
        return self.parameters_of(encoded)[0]

    def decoded(self, latent: Tensor) -> Tensor:
        """Return latent numbers as a decoder reads them: mean 0, variance 1 under their law."""
        return latent


class Carried(Normal):
    """Normal numbers carried on by invertible steps, the same for every row."""

    def __init__(self, latent: int, kind: Step, length: int, hidden: int) -> None:
        super().__init__(latent)
        if kind == "planar":
            self.steps = nn.ModuleList(Planar(latent) for _ in range(length))
        else:
            self.steps = nn.ModuleList(Affine(latent, k, hidden) for k in range(length))

    def draw(self, encoded: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Return latent numbers [draws, rows, latent] and one estimate of the divergence each."""
        centre, log_variance = self.parameters_of(encoded)
        latent = centre + torch.exp(0.5 * log_variance) * normal
        # log q of the start, less what the steps stretch, less log p of the end; 2 pi cancels.
        start = -0.5 * (log_variance + normal.square()).sum(2)
        latent, stretched = self._carried(latent)
        return latent, start - stretched + 0.5 * latent.square().sum(2)

    def place(self, encoded: Tensor) -> Tensor:
        """Return where the centre of a row is carried, [rows, latent]."""
        return self._carried(self.parameters_of(encoded)[0])[0]

    def _carried(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        stretched = latent.new_zeros(latent.shape[:-1])
        for step in self.steps:
            latent, more = step(latent)
            stretched = stretched + more
        return latent, stretched


class Copula(Normal):
    """Uniform numbers joined by a Gaussian copula: a triangular matrix per row, then its law."""

    uniform = True

    @property
    def numbers(self) -> int:
        """Centre and log variance of each latent number, and what joins them two by two."""
        return 2 * self.latent + self.latent * (self.latent - 1) // 2

    def __init__(self, latent: int) -> None:
        super().__init__(latent)
        below = torch.tril_indices(latent, latent, offset=-1)
        self.register_buffer("_below", below, persistent=False)

    def draw(self, encoded: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Return latent numbers in (0, 1) [draws, rows, latent] and divergence [1, rows]."""
        centre, log_variance = self.parameters_of(encoded)
        # Each row of the matrix is the direction of one number, stretched by its deviation.
        matrix = torch.diag_embed(encoded.new_ones(centre.shape))
        below = self.get_buffer("_below")
        joined = encoded[:, 2 * self.latent :]
        matrix = matrix.index_put((torch.arange(len(encoded))[:, None], below[0], below[1]), joined)
        matrix = functional.normalize(matrix, dim=2) * torch.exp(0.5 * log_variance)[:, :, None]
        latent = centre + torch.einsum("rij,drj->dri", matrix, normal.expand(-1, len(encoded), -1))
        volume = torch.log(torch.diagonal(matrix, dim1=1, dim2=2)).sum(1)
        trace = torch.exp(log_variance).sum(1)
        divergence = 0.5 * (trace + centre.square().sum(1) - self.latent) - volume
        return uniform_of(latent), divergence[None]

    def decoded(self, latent: Tensor) -> Tensor:
        """Return uniform numbers brought to mean 0 and variance 1."""
        return (2.0 * latent - 1.0) * math.sqrt(3.0)


class Planar(nn.Module):
    """z + u tanh(w z + b), invertible because w u is kept above -1."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.across = nn.Parameter(torch.randn(latent) / math.sqrt(latent))
        self.along = nn.Parameter(0.1 * torch.randn(latent))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return moved numbers and log |determinant|."""
        product = self.across @ self.along
        least = functional.softplus(product) - 1.0
        along = self.along + (least - product) * self.across / self.across.square().sum()
        bend = torch.tanh(latent @ self.across + self.offset)
        slope = 1.0 + (1.0 - bend.square()) * (self.across @ along)
        return latent + bend[..., None] * along, torch.log(slope)


class Affine(nn.Module):
    """Half of the numbers scaled and shifted by a small network of the other half."""

    def __init__(self, latent: int, number: int, hidden: int) -> None:
        super().__init__()
        order = torch.arange(latent)
        moved = order % 2 == number % 2 if latent > 1 else order == 0
        self.register_buffer("_moved", order[moved], persistent=False)
        self.register_buffer("_kept", order[~moved], persistent=False)
        last = nn.Linear(hidden, 2 * int(moved.sum()))
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
        self.network = nn.Sequential(
            nn.Linear(max(int((~moved).sum()), 1), hidden), nn.Tanh(), last
        )

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return moved numbers and log |determinant|."""
        moved, kept = self.get_buffer("_moved"), self.get_buffer("_kept")
        read = latent[..., kept] if len(kept) else torch.ones_like(latent[..., :1])
        shift, scale = self.network(read).chunk(2, -1)
        scale = torch.tanh(scale)
        there = latent[..., moved] * torch.exp(scale) + shift
        changed: Tensor = latent.index_copy(-1, moved, there)
        stretched: Tensor = scale.sum(-1)
        return changed, stretched


def uniform_of(normal: Tensor) -> Tensor:
    """Return standard normal numbers as uniform ones, inside (0, 1)."""
    uniform: Tensor = torch.special.ndtr(normal)
    return uniform.clamp(EDGE, 1.0 - EDGE)
