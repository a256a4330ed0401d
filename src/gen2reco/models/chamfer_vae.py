"""Particle VAE (arXiv:2203.00520): constituents of a jet as an image, one row per momentum axis.

An encoder takes GEN constituents to a normal distribution of latent numbers, a decoder takes latent
numbers to RECO constituents. The loss is a Chamfer distance of the decoded and the true
constituents, squared differences of jet mass and jet pt, and the divergence of the latent
distribution from the standard normal one. All that is random is the latent number.

Two extensions that the source names as outlook: `padding: mask`, where a learned number per slot
says whether it holds a particle, in place of particles without momentum; and `network: attention`,
in which encoder and decoder are blind to the order of particles.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from gen2reco.errors import StudyError
from gen2reco.features.sets import KEPT
from gen2reco.models.nn.particle_networks import AttentionPair, ConvolutionPair
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean
from gen2reco.rows.substructure import jet_features

Width = Annotated[int, Field(ge=1)]

AXES = 3
"""Columns of a particle: px, py, pz."""
MONITORED = ("pt", "eta", "phi", "mass", "energy")
"""Jet features whose distances pick the best epoch."""
MOST_LOG_VARIANCE = 20.0
LEAST = 1e-6
"""GeV^2 below which a squared mass or pt counts as this, for a gradient."""


class ChamferVAEConfig(ModelConfig):
    """Settings of the particle VAE; the defaults are those published."""

    representation: ClassVar[str] = "cartesian"
    monitored: ClassVar[bool] = True
    kind: Literal["chamfer-vae"] = "chamfer-vae"
    latent: int = Field(20, ge=1, description="latent numbers")
    channels: tuple[Width, Width, Width] = Field(
        (32, 64, 128), description="of the three convolutions (`network: convolution`)"
    )
    hidden: int = Field(1500, ge=1, description="width of the dense layer, or of a token")
    blocks: int = Field(2, ge=1, description="attention blocks (`network: attention`)")
    network: Literal["convolution", "attention"] = Field(
        "convolution", description="as published, or blind to the order of particles"
    )
    padding: Literal["zeros", "mask"] = Field(
        "zeros", description="as published, or a learned number that says which slots are filled"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="after dense layers")
    convolution_dropout: float = Field(0.05, ge=0, lt=1, description="after convolutions")
    constituents: float = Field(0.015, ge=0, description="weight of the Chamfer distance")
    mass: float = Field(1.0, ge=0, description="weight of the squared difference of masses")
    pt: float = Field(0.1, ge=0, description="weight of the squared difference of pt")
    beta: float = Field(0.5, ge=0, description="weight of the divergence of the latent numbers")
    reconstruction: float = Field(1.0, ge=0, description="weight of all other terms together")
    presence: float = Field(
        1.0, ge=0, description="weight of the cross entropy of filled slots (`padding: mask`)"
    )
    units: Literal["GeV", "standardised"] = Field(
        "GeV", description="in which units distances of constituents are taken"
    )

    def build(self, shape: Shape) -> ChamferVAE:
        """Return a freshly initialised encoder and decoder.

        Raises:
            StudyError: the settings do not fit the number of slots.
        """
        return ChamferVAE(self, shape)


class ChamferVAE(Model):
    """Encoder, decoder and what was fitted to bring their columns back to GeV."""

    mean: Tensor
    scale: Tensor
    draw: Tensor

    def __init__(self, config: ChamferVAEConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        outputs = AXES + (config.padding == "mask")
        pair = ConvolutionPair if config.network == "convolution" else AttentionPair
        if config.network == "convolution" and shape.slots < ConvolutionPair.FEWEST:
            raise StudyError(
                f"model.network: convolutions need rows of at least {ConvolutionPair.FEWEST}"
                f" constituents, not {shape.slots}"
            )
        self.networks = pair(
            slots=shape.slots, outputs=outputs, latent=config.latent, channels=config.channels,
            hidden=config.hidden, blocks=config.blocks,
            dropout=(config.convolution_dropout, config.dropout),
        )  # fmt: skip
        moments = torch.tensor(shape.moments or ((0.0, 1.0),) * (2 * AXES))
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("draw", torch.randn(config.latent, generator=generator))
        self.register_buffer("mean", moments[:, 0].reshape(2, 1, AXES), persistent=False)
        self.register_buffer("scale", moments[:, 1].reshape(2, 1, AXES), persistent=False)

    @property
    def noise(self) -> Noise:
        """One normal number per latent number."""
        return Noise(normal=self.config.latent)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the weighted mean of all terms over jets."""
        config = self.config
        gen, reco = self._particles(batch.condition), self._particles(batch.target)
        centre, log_variance = self.encode(gen)
        draw = torch.randn_like(centre) if self.training else self.draw
        made = self.networks.decode(centre + torch.exp(0.5 * log_variance) * draw, *self._seen(gen))
        momenta, truth = self._momenta(made[..., :AXES], 1), self._momenta(reco, 1)
        filled = self._filled(truth)
        terms = config.beta * _divergence(centre, log_variance)
        if config.padding == "mask":
            logits = made[..., AXES]
            chance = torch.sigmoid(logits)
            number = filled.sum(1)
            count = (chance.sum(1) - number) ** 2 / self.shape.slots
            entropy = functional.binary_cross_entropy_with_logits(
                logits, filled.float(), reduction="none"
            )
            known = config.network == "convolution"
            terms = terms + config.presence * (entropy.mean(1) if known else count)
            momenta = momenta * chance[..., None]
        own, other = (momenta, truth) if config.units == "GeV" else (made[..., :AXES], reco)
        masked = filled if config.padding == "mask" else None
        apart = config.constituents * chamfer(own, other, masked)
        (pt, mass), (true_pt, true_mass) = _jet(momenta), _jet(truth)
        apart = apart + config.mass * (mass - true_mass) ** 2 + config.pt * (pt - true_pt) ** 2
        return weighted_mean(terms + config.reconstruction * apart, batch.weight)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return standardised momenta [rows, slots x 3] for noise [rows, latent]."""
        gen = self._particles(condition)
        centre, log_variance = self.encode(gen)
        latent = centre + torch.exp(0.5 * log_variance) * noise
        made = self.networks.decode(latent, *self._seen(gen))
        momenta = made[..., :AXES]
        if self.config.padding == "mask":
            empty = -self.mean[1] / self.scale[1]
            momenta = torch.where(made[..., AXES:] > 0, momenta, empty)
        return momenta.reshape(len(condition), -1)

    def monitor(self, rows: Batch) -> float:
        """Return the sum of W1 of jet features over their standard deviations.

        The features are `MONITORED`; simulated jets get the same random numbers every time.
        """
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(len(rows.condition), self.config.latent, generator=generator)
        with torch.no_grad():
            made = self.sample(rows.condition, noise.to(rows.condition.device))
        sides = [self._features(self._particles(side)) for side in (made, rows.target)]
        total = 0.0
        for name in MONITORED:
            one, two = (np.sort(side[name]) for side in sides)
            total += float(np.mean(np.abs(one - two)) / max(float(np.std(two)), 1e-9))
        return total

    def _features(self, particles: Tensor) -> dict[str, np.ndarray]:
        momenta = self._momenta(particles, 1).double().cpu().numpy()
        pt = np.hypot(momenta[..., 0], momenta[..., 1])
        there = pt >= KEPT
        eta = np.arcsinh(np.divide(momenta[..., 2], pt, out=np.zeros_like(pt), where=there))
        phi = np.arctan2(momenta[..., 1], momenta[..., 0])
        return jet_features(np.where(there, pt, 0.0), eta, phi)

    def encode(self, gen: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and log variance of the latent numbers, [rows, latent] each."""
        centre, log_variance = self.networks.encode(*self._seen(gen)).chunk(2, 1)
        return centre, log_variance.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def _particles(self, side: Tensor) -> Tensor:
        return side.reshape(len(side), self.shape.slots, AXES)

    def _seen(self, gen: Tensor) -> tuple[Tensor, Tensor]:
        """Return GEN particles and which slots are filled."""
        return gen, self._filled(self._momenta(gen, 0))

    def _momenta(self, standardised: Tensor, side: int) -> Tensor:
        return standardised * self.scale[side] + self.mean[side]

    def _filled(self, momenta: Tensor) -> Tensor:
        return (momenta.detach()[..., :2] ** 2).sum(-1) > 1e-6


def chamfer(first: Tensor, second: Tensor, filled: Tensor | None = None) -> Tensor:
    """Return the Chamfer distance of two sets of particles, [rows].

    Squared distances of each particle to the nearest of the other set, summed both ways.

    Args:
        first: [rows, slots, axes].
        second: [rows, slots, axes].
        filled: which slots of the second set hold particles, [rows, slots]; None: all of them.
    """
    sizes = [(side**2).sum(2) for side in (first, second)]
    apart = sizes[0][:, :, None] + sizes[1][:, None] - 2.0 * first @ second.transpose(1, 2)
    apart = apart.clamp(min=0.0)
    if filled is None:
        return apart.amin(2).sum(1) + apart.amin(1).sum(1)
    there = apart.masked_fill(~filled[:, None], torch.finfo(apart.dtype).max / 4)
    return there.amin(2).sum(1) + (apart.amin(1) * filled).sum(1)


def _divergence(centre: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (centre**2 + torch.exp(log_variance) - 1.0 - log_variance).sum(1)


def _jet(momenta: Tensor) -> tuple[Tensor, Tensor]:
    """Return pt and mass of the sum of massless particles, [rows] each, GeV."""
    total = momenta.sum(1)
    energy = (momenta**2).sum(-1).clamp(min=LEAST).sqrt().sum(1)
    pt = (total[:, :2] ** 2).sum(1).clamp(min=LEAST).sqrt()
    mass = (energy**2 - (total**2).sum(1)).clamp(min=LEAST).sqrt()
    return pt, mass
