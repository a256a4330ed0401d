"""A small Gaussian regression under the model protocol, with all that a fit must carry along."""

import os
import signal
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gen2reco.models.protocol import Batch, Model, Noise, Shape, weighted_mean
from gen2reco.study import Training

SHAPE = Shape(targets=2, conditions=3)


class Toy(Model):
    """p(target | condition) = a Gaussian with a learned mean and a learned width per feature."""

    def __init__(
        self,
        shape: Shape = SHAPE,
        *,
        width: int = 16,
        dropout: float = 0.0,
        norm: bool = False,
        several: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.several = several
        self.mean = nn.Sequential(
            nn.Linear(shape.conditions, width),
            nn.BatchNorm1d(width) if norm else nn.Identity(),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, shape.targets),
        )
        self.log_width = nn.Parameter(torch.zeros(shape.targets))

    @property
    def noise(self) -> Noise:
        return Noise(normal=self.shape.targets)

    def objectives(self) -> Mapping[str, Sequence[nn.Parameter]]:
        if self.several:
            return {"mean": list(self.mean.parameters()), "width": [self.log_width]}
        return super().objectives()

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        residual = batch.target - self.mean(batch.condition)
        if objective == "mean":
            return weighted_mean(residual.square().sum(1), batch.weight)
        pull = residual * torch.exp(-self.log_width)
        return weighted_mean((0.5 * pull.square() + self.log_width).sum(1), batch.weight)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        return self.mean(condition) + torch.exp(self.log_width) * noise


class Fatal(Toy):
    """Takes its process along, as a system short of memory does."""

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch, objective)


def toy_rows(count: int, *, seed: int = 0, shape: Shape = SHAPE) -> Batch:
    """Rows of a truth that the toy can learn: a linear mean and the widths 0.5, 0.3, ..."""
    generator = torch.Generator().manual_seed(seed)
    condition = torch.randn(count, shape.conditions, generator=generator)
    mean = torch.stack(
        [0.7 * condition[:, k % shape.conditions] + 0.3 * k for k in range(shape.targets)], 1
    )
    widths = 0.5 / (1 + torch.arange(shape.targets) * 0.667)
    target = mean + widths * torch.randn(count, shape.targets, generator=generator)
    return Batch(target, condition, torch.ones(count))


def settings(**changes: object) -> Training:
    """Quick settings for the toy."""
    return Training(
        **{"epochs": 4, "batch": 128, "learning_rate": 3e-2, "device": "cpu", **changes}
    )
