"""Conditional variational autoencoder: a latent normal number and GEN, decoded to RECO.

An encoder turns targets and condition into a normal distribution of latent numbers; a decoder turns
latent numbers and condition into the centres of normal distributions of the targets, whose widths
are learned, one per target. The loss is the bound of -log p(target | condition) in nats, with the
divergence of the encoder's distribution from the standard normal one times beta. A sample decodes
standard normal latent numbers and adds the targets' own noise.

In training, one latent draw per row comes from torch's generator, which the loop seeds, saves and
restores. In evaluation the bound is averaged over a few fixed draws, the same for every row, so
that the loss of a row is a function of the row.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean

Width = Annotated[int, Field(ge=1)]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
}

FIXED_DRAWS = 8
"""Latent draws per row in evaluation."""
LEAST_WIDTH = 1e-3
"""Least width of a target's own noise, in standard deviations of the target."""
MOST_LOG_VARIANCE = 20.0
"""Logarithms of latent variances act as if cut at plus or minus this."""


class VAEConfig(ModelConfig):
    """Settings of the conditional variational autoencoder."""

    kind: Literal["vae"] = "vae"
    latent: int = Field(12, ge=1, description="latent numbers")
    hidden: tuple[Width, ...] = Field(
        (128, 128), min_length=1, description="widths of the hidden layers, of encoder and decoder"
    )
    activation: Literal["relu", "leaky_relu", "silu"] = Field(
        "silu", description="after each hidden layer"
    )
    beta: float = Field(
        1.0, ge=0, description="weight of the divergence of the latent numbers; 1: the bound itself"
    )
    width: float = Field(
        0.3,
        gt=0,
        description="of the targets' own noise at the start of training, in standard deviations",
    )

    def build(self, shape: Shape) -> VAE:
        """Return a freshly initialised pair of encoder and decoder."""
        return VAE(self, shape)


class VAE(Model):
    """Encoder, decoder and the widths of the targets' own noise."""

    draws: Tensor

    def __init__(self, config: VAEConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        targets, conditions, latent = shape.targets, shape.conditions, config.latent
        activation = ACTIVATIONS[config.activation]
        widths = (targets + conditions, *config.hidden, 2 * latent)
        self.encoder = _network(widths, activation)
        self.decoder = _network((latent + conditions, *config.hidden, targets), activation)
        self.log_width = nn.Parameter(torch.full((targets,), math.log(config.width)))
        self.register_buffer("draws", _balanced(FIXED_DRAWS, latent))

    @property
    def noise(self) -> Noise:
        """One normal number per latent number and per target, in this order."""
        return Noise(normal=self.config.latent + self.shape.targets)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the weighted mean of reconstruction plus beta times divergence, in nats."""
        centre, log_variance = self.encode(batch.target, batch.condition)
        draws = torch.randn_like(centre)[None] if self.training else self.draws[:, None]
        latent = centre + torch.exp(0.5 * log_variance) * draws
        conditions = batch.condition.expand(len(latent), -1, -1)
        pull = (batch.target - self.decode(latent, conditions)) / self._width()
        constant = torch.log(self._width()) + 0.5 * math.log(2.0 * math.pi)
        reconstruction = (0.5 * pull.square() + constant).sum(2).mean(0)
        divergence = 0.5 * (centre.square() + torch.exp(log_variance) - 1.0 - log_variance).sum(1)
        return weighted_mean(reconstruction + self.config.beta * divergence, batch.weight)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets] for noise [rows, latent + targets]."""
        latent, own = noise[:, : self.config.latent], noise[:, self.config.latent :]
        return self.decode(latent, condition) + self._width() * own

    def encode(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and log variance of the latent numbers, [rows, latent] each."""
        centre, log_variance = self.encoder(torch.cat([target, condition], 1)).chunk(2, 1)
        return centre, log_variance.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Return the targets' centres [..., targets] of latent numbers [..., latent]."""
        centres: Tensor = self.decoder(torch.cat([latent, condition], -1))
        return centres

    def _width(self) -> Tensor:
        return torch.exp(self.log_width) + LEAST_WIDTH


def _network(widths: tuple[int, ...], activation: type[nn.Module]) -> nn.Sequential:
    """Return linear layers with an activation after each but the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def _balanced(draws: int, columns: int) -> Tensor:
    """Return fixed normal numbers [draws, columns], each column of mean 0 and variance 1."""
    half = torch.randn(draws // 2, columns, generator=torch.Generator().manual_seed(1))
    half = half / half.square().mean(0).sqrt()
    return torch.cat([half, -half])
