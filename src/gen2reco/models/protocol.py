"""What every model family provides, and nothing else that the rest of gen2reco may rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """Sizes of one row as the model sees it, after encoding.

    Attributes:
        targets: number of encoded RECO features, at least 1.
        conditions: number of encoded GEN features, 0 for pure generation.
    """

    targets: int
    conditions: int


@dataclass(frozen=True)
class Noise:
    """How many random numbers one row of `sample` consumes.

    They arrive as one tensor [rows, normal + uniform]: the standard normal ones first, then those
    uniform on (0, 1).
    """

    normal: int = 0
    uniform: int = 0

    @property
    def width(self) -> int:
        """Columns of the noise tensor."""
        return self.normal + self.uniform


@dataclass(frozen=True)
class Batch:
    """Encoded rows.

    Attributes:
        target: [rows, targets].
        condition: [rows, conditions].
        weight: [rows], signed.
    """

    target: Tensor
    condition: Tensor
    weight: Tensor


class ModelConfig(BaseModel):
    """Settings of a family: frozen, unknown fields refused, every default a real value."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str

    def build(self, shape: Shape) -> Model:
        """Return a freshly initialised model of this family for rows of `shape`."""
        raise NotImplementedError


class Model(nn.Module, ABC):
    """One family's network. Random numbers are always an argument, never drawn inside `sample`."""

    shape: Shape

    @property
    @abstractmethod
    def noise(self) -> Noise:
        """Random numbers that one row of `sample` consumes."""

    def objectives(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Name the losses and the parameters each one moves; by default one loss over all."""
        return {"loss": list(self.parameters())}

    @abstractmethod
    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        """Return the weighted mean loss of a batch, a scalar with gradient."""

    @abstractmethod
    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets], row by row a pure function of the arguments."""


class HasDensity(Protocol):
    """Capability of families with a density."""

    capability: ClassVar[str] = "log_prob"

    def log_prob(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return log p(target | condition) in encoded space, [rows]."""


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return sum(w v) / sum(w) over rows, with signed weights."""
    return (values * weight).sum() / weight.sum()
