"""What every model family provides, and nothing else that the rest of gen2reco may rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """Sizes of one row as the model sees it, after encoding.

    The first `len(levels)` target columns are discrete, column i with the whole numbers from 0 to
    levels[i] - 1; the others are continuous.

    Attributes:
        targets: number of encoded RECO features, discrete ones included, at least 1.
        conditions: number of encoded GEN features, 0 for pure generation.
        levels: how many values each discrete column takes; empty without `takes_levels`.
        combinations: the values of the discrete columns that may occur together; empty for any.
        shares: share of the training rows with each combination; empty where that is unknown.
        slots: constituents of a set on either side, whose columns follow one another; 0 for rows
            that are no sets.
        moments: of sets, mean and deviation by which each continuous column of a constituent was
            standardised, those of GEN and then those of RECO; empty where they were not.
    """

    targets: int
    conditions: int
    levels: tuple[int, ...] = ()
    combinations: tuple[tuple[int, ...], ...] = ()
    shares: tuple[float, ...] = ()
    slots: int = 0
    moments: tuple[tuple[float, float], ...] = ()

    @property
    def continuous(self) -> int:
        """Number of continuous target columns."""
        return self.targets - len(self.levels)


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
        known: bool [rows], which rows of a sample without pairs are pairs; None: not said.
    """

    target: Tensor
    condition: Tensor
    weight: Tensor
    known: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with a function applied to each of its tensors."""
        known = None if self.known is None else change(self.known)
        return Batch(change(self.target), change(self.condition), change(self.weight), known)


class ModelConfig(BaseModel):
    """Settings of a family: frozen, unknown fields refused, every default a real value."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    takes_levels: ClassVar[bool] = False
    """Whether flags, categories and point masses reach the family as discrete columns."""
    plain: ClassVar[frozenset[str]] = frozenset()
    """Sides (`condition`, `target`) whose columns come in units of the study, not standardised."""
    representation: ClassVar[str] = ""
    """Of sets, for families of such: how constituents reach the family (`features.sets`)."""
    monitored: ClassVar[bool] = False
    """Whether `monitor` of the family, not the validation loss, picks the best epoch."""
    kind: str

    @property
    def runs_back(self) -> bool:
        """Whether models have the capability `unfold` as well."""
        return False

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

    @property
    def couples_rows(self) -> bool:
        """Whether the loss of a row depends on the others in its batch, as batch norms make it."""
        norms = nn.modules.batchnorm._BatchNorm  # noqa: SLF001
        return any(isinstance(module, norms) for module in self.modules())

    @property
    def pace(self) -> float:
        """Factor on the learning rate of the present step, for families that learn in stages."""
        return 1.0

    @abstractmethod
    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        """Return the weighted mean loss of a batch, a scalar with gradient."""

    def measures(self, batch: Batch) -> Mapping[str, float]:  # noqa: ARG002
        """Return further numbers about validation rows for the history of the fit, by name."""
        return {}

    @abstractmethod
    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets], row by row a pure function of the arguments."""


class HasDensity(Protocol):
    """Capability of families with a density."""

    capability: ClassVar[str] = "log_prob"

    def log_prob(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return log p(target | condition) in encoded space, [rows]; probabilities of levels."""


class HasScores(Protocol):
    """Capability of families that tell how unlike the training rows a row is."""

    capability: ClassVar[str] = "score"

    def score(self, target: Tensor, condition: Tensor) -> dict[str, Tensor]:
        """Return scores by name, [rows] each; larger is stranger."""


class HasMonitor(Protocol):
    """Capability of families whose best epoch is not that of the least loss."""

    capability: ClassVar[str] = "monitor"

    def monitor(self, rows: Batch) -> float:
        """Return what is to become small, from validation rows."""


class HasProbabilities(Protocol):
    """Capability of families that know the probability of every combination of discrete values."""

    capability: ClassVar[str] = "probabilities"
    combinations: Tensor

    def probabilities(self, condition: Tensor) -> Tensor:
        """Return p(combination | condition), [rows, combinations], in the order of those."""


class HasUnfolding(Protocol):
    """Capability of families that also go from RECO to GEN."""

    capability: ClassVar[str] = "unfold"

    @property
    def unfold_noise(self) -> Noise:
        """Random numbers that one row of `unfold` consumes."""

    def unfold(self, target: Tensor, noise: Tensor) -> Tensor:
        """Return encoded GEN columns [rows, conditions], a pure function of the arguments."""


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return sum(w v) / sum(w) over rows, with signed weights."""
    return (values * weight).sum() / weight.sum()
