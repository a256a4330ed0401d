"""Variational autoencoders: latent numbers and GEN (or none), decoded to RECO.

An encoder turns targets and condition into a distribution of latent numbers; a decoder turns latent
numbers and condition into the centres of normal distributions of the targets, whose widths are
learned, one per target. The loss is the bound of -log p(target | condition) in nats, with the
divergence of the encoder's distribution from the law of the latent numbers times beta. A sample
decodes latent numbers of that law and adds the targets' own noise.

Switches make its derivatives. `posterior`: independent normal numbers, or carried on by a flow
(VAE + NF), or uniform ones joined by a Gaussian copula (copula VAE). `discriminator`: a third
network tells true rows from decoded ones, and encoder, decoder and discriminator each have a loss
of their own (VAE + D): the encoder's has the squared distance of a row from its reconstruction in
the discriminator's hidden numbers, the decoder's also what the discriminator still finds.

In training, one latent draw per row comes from torch's generator, which the loop seeds, saves and
restores. In evaluation the bound is averaged over a few fixed draws, the same for every row, so
that the loss of a row is a function of the row.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.models.nn.layers import network
from gen2reco.models.nn.posteriors import Carried, Copula, Normal, uniform_of
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
FLOW_HIDDEN = 32
"""Width of the networks of the posterior's couplings."""
WHOLE, ENCODER, DECODER, DISCRIMINATOR = "loss", "encoder", "decoder", "discriminator"
"""Names of the objectives: one for all, or one for each network."""


class VAEConfig(ModelConfig):
    """Settings of the variational autoencoder and its derivatives."""

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
    posterior: Literal["normal", "flow", "copula"] = Field(
        "normal",
        description="latent numbers of a row: independent normal ones, those carried on by a flow,"
        " or uniform ones joined by a Gaussian copula",
    )
    flow: Literal["coupling", "planar"] = Field(
        "coupling", description="steps of the posterior's flow: affine couplings or planar"
    )
    flow_steps: int = Field(4, ge=1, description="how many")
    discriminator: tuple[Width, ...] = Field(
        (), description="widths of the hidden layers of a discriminator; empty: none"
    )
    alpha: float = Field(
        1.0, ge=0, description="weight of what the discriminator finds in the decoder's loss"
    )
    gamma: float = Field(
        1.0,
        ge=0,
        description="weight of the squared distance of rows and reconstructions in the"
        " discriminator's last hidden numbers",
    )
    anchor: float = Field(
        1.0,
        ge=0,
        description="weight of the reconstruction of the targets themselves beside a discriminator;"
        " 0: its hidden numbers alone",
    )

    def posterior_of(self) -> Normal:
        """Return a fresh distribution of the latent numbers of a row."""
        if self.posterior == "flow":
            return Carried(self.latent, self.flow, self.flow_steps, FLOW_HIDDEN)
        return Copula(self.latent) if self.posterior == "copula" else Normal(self.latent)

    def build(self, shape: Shape) -> VAE:
        """Return a freshly initialised autoencoder."""
        return VAE(self, shape)


class VAE(Model):
    """Encoder, decoder, the widths of the targets' own noise; a discriminator where it has one.

    It scores rows (`score`): how badly they are reconstructed, and how far from the middle of
    latent space they lie.
    """

    capability: ClassVar[str] = "score"
    draws: Tensor

    def __init__(self, config: VAEConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        targets, conditions, latent = shape.targets, shape.conditions, config.latent
        activation = ACTIVATIONS[config.activation]
        self.posterior = config.posterior_of()
        widths = (targets + conditions, *config.hidden, self.posterior.numbers)
        self.encoder = network(widths, activation)
        self.decoder = network((latent + conditions, *config.hidden, targets), activation)
        self.log_width = nn.Parameter(torch.full((targets,), math.log(config.width)))
        self.discriminator: nn.Sequential | None = None
        if config.discriminator:
            widths = (targets + conditions, *config.discriminator, 1)
            self.discriminator = network(widths, nn.LeakyReLU)
        self.register_buffer("draws", _balanced(FIXED_DRAWS, latent))

    @property
    def noise(self) -> Noise:
        """One number per latent number, of their law, and a normal one per target."""
        latent, targets = self.config.latent, self.shape.targets
        if self.posterior.uniform:
            return Noise(normal=targets, uniform=latent)
        return Noise(normal=latent + targets)

    def objectives(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """One loss; with a discriminator one for each network."""
        if self.discriminator is None:
            return {WHOLE: list(self.parameters())}
        return {
            ENCODER: [*self.encoder.parameters(), *self.posterior.parameters()],
            DECODER: [*self.decoder.parameters(), self.log_width],
            DISCRIMINATOR: list(self.discriminator.parameters()),
        }

    def loss(self, batch: Batch, objective: str = WHOLE) -> Tensor:
        """Return the weighted mean of an objective, in nats.

        `loss` and `encoder`: reconstruction plus beta times divergence, the latter with the
        discriminator's view of the reconstruction. `decoder`: both reconstructions, and how surely
        the discriminator tells decoded rows. `discriminator`: cross entropy of true rows against
        reconstructed and generated ones.
        """
        if objective == DISCRIMINATOR:
            return weighted_mean(sum(self._judged(batch).values()), batch.weight)  # type: ignore[arg-type]
        latent, divergence = self._latent(batch)
        centres = self._centres(latent, batch.condition)
        bound = self._reconstruction(centres, batch.target)
        if self.discriminator is None or objective == WHOLE:
            return weighted_mean(bound + self.config.beta * divergence, batch.weight)
        seen = self._features(batch.target, batch.condition)
        conditions = batch.condition.expand(len(centres), -1, -1)
        apart = (self._features(centres, conditions) - seen).square().sum(2).mean(0)
        rows = self.config.anchor * bound + self.config.gamma * apart
        if objective == ENCODER:
            return weighted_mean(rows + self.config.beta * divergence, batch.weight)
        if self.config.alpha > 0:
            rows = rows + self.config.alpha * self._found(centres, batch)
        return weighted_mean(rows, batch.weight)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets] for as much noise as `noise` says."""
        latent, targets = self.config.latent, self.shape.targets
        if self.posterior.uniform:
            own, latent_numbers = noise[:, :targets], noise[:, targets:]
        else:
            latent_numbers, own = noise[:, :latent], noise[:, latent:]
        return self.decode(latent_numbers, condition) + self._width() * own

    def measures(self, batch: Batch) -> dict[str, float]:
        """Return the discriminator's losses on true, reconstructed and generated rows, in nats."""
        if self.discriminator is None:
            return {}
        with torch.no_grad():
            judged = self._judged(batch)
        return {name: float(weighted_mean(rows, batch.weight)) for name, rows in judged.items()}

    def score(self, target: Tensor, condition: Tensor) -> dict[str, Tensor]:
        """Return by name how unlike the training rows each row is, [rows]; larger is stranger.

        `reconstruction`: mean squared distance from the reconstruction of the latent centre, in
        widths of the targets' own noise. `latent`: squared distance of that centre from the middle.
        `bound`: of -log p. `copula`: -2 log of the product of two-sided probabilities of the latent
        numbers under their uniform law. `discriminator`: how sure it is that a row is not true.
        """
        encoded = self._encoded(target, condition)
        place = self.posterior.place(encoded)
        latent = uniform_of(place) if self.posterior.uniform else place
        pull = (target - self.decode(latent, condition)) / self._width()
        drawn, divergence = self.posterior.draw(encoded, self.draws[:, None])
        bound = self._reconstruction(self._centres(drawn, condition), target) + divergence.mean(0)
        found = {
            "reconstruction": pull.square().mean(1),
            "latent": place.square().sum(1),
            "bound": bound,
        }
        if self.posterior.uniform:
            tail = 2.0 * torch.minimum(latent, 1.0 - latent)
            found["copula"] = -2.0 * torch.log(tail).sum(1)
        if self.discriminator is not None:
            found["discriminator"] = -self._verdict(target, condition)
        return found

    def places(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return where rows lie in latent space, in standard normal numbers [rows, latent]."""
        return self.posterior.place(self._encoded(target, condition))

    def encode(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and log variance of the latent numbers, [rows, latent] each."""
        return self.posterior.parameters_of(self._encoded(target, condition))

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Return the targets' centres [..., targets] of latent numbers [..., latent]."""
        read = self.posterior.decoded(latent)
        centres: Tensor = self.decoder(torch.cat([read, condition], -1))
        return centres

    def _encoded(self, target: Tensor, condition: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(torch.cat([target, condition], 1))
        return encoded

    def _latent(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return latent numbers [draws, rows, latent] and their mean divergence [rows]."""
        encoded = self._encoded(batch.target, batch.condition)
        shape = (1, len(encoded), self.config.latent)
        normal = encoded.new_empty(shape).normal_() if self.training else self.draws[:, None]
        latent, divergence = self.posterior.draw(encoded, normal)
        return latent, divergence.mean(0)

    def _centres(self, latent: Tensor, condition: Tensor) -> Tensor:
        return self.decode(latent, condition.expand(len(latent), -1, -1))

    def _reconstruction(self, centres: Tensor, target: Tensor) -> Tensor:
        pull = (target - centres) / self._width()
        constant = torch.log(self._width()) + 0.5 * math.log(2.0 * math.pi)
        return (0.5 * pull.square() + constant).sum(2).mean(0)

    def _found(self, centres: Tensor, batch: Batch) -> Tensor:
        """Return how surely reconstructed and generated rows are told from true ones, [rows]."""
        own = self._width() * torch.randn_like(centres[0])
        pair = (centres[0] + own, self._generated(batch))
        return sum(functional.softplus(-self._verdict(one, batch.condition)) for one in pair) / 2  # type: ignore[return-value]

    def _judged(self, batch: Batch) -> dict[str, Tensor]:
        """Return the discriminator's loss on true, reconstructed and generated rows, [rows]."""
        with torch.no_grad():
            centres = self._centres(self._latent(batch)[0][:1], batch.condition)[0]
            reconstructed = centres + self._width() * torch.randn_like(centres)
            generated = self._generated(batch)
        true = self._verdict(batch.target, batch.condition)
        made = [self._verdict(one, batch.condition) for one in (reconstructed, generated)]
        return {
            "true": functional.softplus(-true),
            "reconstructed": 0.5 * functional.softplus(made[0]),
            "generated": 0.5 * functional.softplus(made[1]),
        }

    def _generated(self, batch: Batch) -> Tensor:
        shape, like = self.noise, batch.target
        normal = torch.randn(len(like), shape.normal, dtype=like.dtype, device=like.device)
        uniform = torch.rand(len(like), shape.uniform, dtype=like.dtype, device=like.device)
        return self.sample(batch.condition, torch.cat([normal, uniform], 1))

    def _verdict(self, target: Tensor, condition: Tensor) -> Tensor:
        assert self.discriminator is not None
        verdict: Tensor = self.discriminator(torch.cat([target, condition], 1))[:, 0]
        return verdict

    def _features(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return the discriminator's last hidden numbers."""
        assert self.discriminator is not None
        hidden: Tensor = self.discriminator[:-1](torch.cat([target, condition], -1))
        return hidden

    def _width(self) -> Tensor:
        return torch.exp(self.log_width) + LEAST_WIDTH


def _balanced(draws: int, columns: int) -> Tensor:
    """Return fixed normal numbers [draws, columns], each column of mean 0 and variance 1."""
    half = torch.randn(draws // 2, columns, generator=torch.Generator().manual_seed(1))
    half = half / half.square().mean(0).sqrt()
    return torch.cat([half, -half])
