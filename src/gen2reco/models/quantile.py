"""Centre and 84.1 % quantile per quantity, the regression of arXiv:2010.01835: the baseline.

Two heads on one network: one learns the centre of each RECO quantity (mean absolute error), the
other its 84.1 % quantile (pinball loss), one standard deviation above the centre if the response is
normal. A sample is centre + |quantile - centre| * normal, each quantity on its own: no correlations
and no tails beyond normal ones, which is what the flow is there to improve on.

As in the source: batch normalisation of the GEN inputs, derived quantities computed inside from the
inputs as they are before it, a latent layer of 100, LeakyReLU with slope 0.05. Ours, because the
source does not say: two layers of 200 before the latent one, one of 100 in each head, and batch
normalisation of the derived quantities too.
"""

from __future__ import annotations

import itertools
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gen2reco.errors import StudyError
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean

LEVEL = 0.841
"""The quantile that lies one standard deviation above the centre of a normal distribution."""

Width = Annotated[int, Field(ge=1)]


class QuantileConfig(ModelConfig):
    """Settings of the centre-and-quantile regression."""

    plain: ClassVar[frozenset[str]] = frozenset({"condition"})
    kind: Literal["quantile"] = "quantile"
    derived: Literal["wjet", "none"] = Field(
        "wjet",
        description="quantities computed inside; `wjet` needs the 9 conditions muon px py pz, jet"
        " px py pz, log jet mass, MET x y, in GeV and not standardised",
    )
    hidden: tuple[Width, ...] = Field(
        (200, 200), description="widths of the layers before the latent one"
    )
    latent: int = Field(100, ge=1, description="width of the layer that both heads read")
    head: tuple[Width, ...] = Field((100,), description="widths of each head's own layers")
    negative_slope: float = Field(0.05, ge=0, lt=1, description="of LeakyReLU")

    def build(self, shape: Shape) -> Quantile:
        """Return a freshly initialised network.

        Raises:
            StudyError: derived quantities are asked for without the nine conditions they need.
        """
        return Quantile(self, shape)


class Quantile(Model):
    """Network of centre and quantile."""

    def __init__(self, config: QuantileConfig, shape: Shape) -> None:
        super().__init__()
        if config.derived == "wjet" and shape.conditions != 9:
            raise StudyError(
                "model.derived: 'wjet' computes quantities from 9 conditions (muon px py pz, jet px"
                f" py pz, log jet mass, MET x y), but the study has {shape.conditions}; set"
                " `derived: none`"
            )
        self.config, self.shape = config, shape
        derived = 12 if config.derived == "wjet" else 0
        inputs = max(shape.conditions + derived, 1)
        self.normalize = nn.BatchNorm1d(inputs)
        self.trunk = _layers((inputs, *config.hidden, config.latent), config.negative_slope)
        self.centre = self._head()
        self.upper = self._head()

    @property
    def noise(self) -> Noise:
        """One normal number per target."""
        return Noise(normal=self.shape.targets)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the centre's absolute error plus the quantile's pinball loss, weighted mean."""
        centre, upper = self._heads(batch.condition)
        error = (batch.target - centre).abs()
        above = batch.target - upper
        pinball = torch.maximum(LEVEL * above, (LEVEL - 1.0) * above)
        return weighted_mean((error + pinball).mean(1), batch.weight)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets] for noise [rows, targets]."""
        centre, upper = self._heads(condition)
        return centre + (upper - centre).abs() * noise

    def _head(self) -> nn.Sequential:
        config = self.config
        widths = (config.latent, *config.head)
        body = _layers(widths, config.negative_slope)
        return nn.Sequential(*body, nn.Linear(widths[-1], self.shape.targets))

    def _heads(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        inputs = condition
        if self.config.derived == "wjet":
            inputs = torch.cat([condition, wjet_quantities(condition)], 1)
        elif not self.shape.conditions:
            inputs = condition.new_ones(condition.shape[0], 1)
        latent = self.trunk(self.normalize(inputs))
        return self.centre(latent), self.upper(latent)


def wjet_quantities(condition: Tensor) -> Tensor:
    """Return the 12 derived quantities of W + 1 jet, [rows, 12].

    Args:
        condition: muon px py pz, jet px py pz, log of the jet mass, MET x y, [rows, 9]; GeV.

    Returns:
        Muon pt, eta, phi; jet pt, eta, phi; MET and its phi; transverse mass; scalar sum of the
        three transverse momenta; jet mass; azimuth between muon and MET. GeV and radians.
    """
    mu_x, mu_y, mu_z, jet_x, jet_y, jet_z, log_mass, met_x, met_y = condition.unbind(1)
    pairs = ((mu_x, mu_y), (jet_x, jet_y), (met_x, met_y))
    # A millionth of a GeV, so that no direction is undefined.
    mu, jet, met = (torch.hypot(x, y).clamp(min=1e-6) for x, y in pairs)
    mu_phi, jet_phi, met_phi = (torch.atan2(y, x) for x, y in pairs)
    between = torch.remainder(mu_phi - met_phi + torch.pi, 2.0 * torch.pi) - torch.pi
    m_t = torch.sqrt((2.0 * mu * met * (1.0 - torch.cos(between))).clamp(min=0.0))
    mass = torch.exp(log_mass.clamp(max=15.0))
    mu_eta, jet_eta = torch.asinh(mu_z / mu), torch.asinh(jet_z / jet)
    muon, jets = [mu, mu_eta, mu_phi], [jet, jet_eta, jet_phi]
    return torch.stack([*muon, *jets, met, met_phi, m_t, mu + jet + met, mass, between], 1)


def _layers(widths: tuple[int, ...], negative_slope: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(negative_slope)]
    return nn.Sequential(*layers)
