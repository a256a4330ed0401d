"""The flow of the published FlashSim prototype, in plain PyTorch: a baseline for `flow`.

As in the prototype: as many steps as targets, each a permutation, an invertible linear map (a
triangular product L U) and a coupling, which maps every other column by rational-quadratic splines
given the rest and GEN; a linear map at the end; a standard normal base. The conditioners are
residual networks of 10 blocks of two layers, 298 wide (256 for muons), with ReLU and batch
normalisation, each block gated by GEN; splines have 128 bins and are linear outside.

Ours: the splines are those of `nn.spline`, whose least bin is narrower. They act on [-6, 6] of
standardised targets, where the prototype has [-1, 1] of columns as they are. The permutations are
drawn from `order_seed`; the prototype's come from the global generator.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.models.nn import spline
from gen2reco.models.nn.residual import ResidualNetwork
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class FlashSimConfig(ModelConfig):
    """Settings of FlashSim's flow; the defaults are those published for jets."""

    kind: Literal["flashsim"] = "flashsim"
    layers: Annotated[int, Field(ge=1)] | Literal["targets"] = Field(
        "targets", description="spline couplings; `targets`: as many as there are targets"
    )
    blocks: int = Field(10, ge=0, description="residual blocks of each coupling's network")
    width: int = Field(298, ge=1, description="of the network's layers")
    bins: int = Field(128, ge=2, le=256, description="pieces of each spline")
    bound: float = Field(
        6.0, gt=0, description="splines act on [-bound, bound] of the encoded targets"
    )
    activation: Literal["relu", "elu", "leaky_relu"] = Field(
        "relu", description="before each layer of a block"
    )
    batch_norm: bool = Field(
        True, description="normalise before each activation; it knows no weights"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of hidden numbers left out at random in training"
    )
    order_seed: int = Field(
        1, ge=0, description="of the permutations: part of the model, not of the fit"
    )

    def build(self, shape: Shape) -> FlashSim:
        """Return a flow close to a permutation of the normal base."""
        return FlashSim(self, shape)


class FlashSim(Model):
    """Spline flow with density (`log_prob`), sampling and inversion (`invert`)."""

    def __init__(self, config: FlashSimConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        layers = shape.targets if config.layers == "targets" else config.layers
        draw = random.Random(config.order_seed)  # noqa: S311  (not for secrets)
        orders = [draw.sample(range(shape.targets), shape.targets) for _ in range(layers + 1)]
        self.mixings = nn.ModuleList(_Mixing(order) for order in orders)
        self.couplings = nn.ModuleList(
            _Coupling(config, shape, parity=number % 2) for number in range(layers)
        )

    @property
    def noise(self) -> Noise:
        """One normal number per target."""
        return Noise(normal=self.shape.targets)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the weighted mean of -log p(target | condition) in nats."""
        return weighted_mean(-self.log_prob(batch.target, batch.condition), batch.weight)

    def log_prob(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return log p(target | condition) in nats, [rows], in the space of encoded targets."""
        return self._density(target, condition)[1]

    def invert(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return the noise from which `sample` makes `target`, [rows, targets]."""
        return self._density(target, condition)[0]

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets] for noise [rows, targets]."""
        first, *others = [cast("_Mixing", mixing) for mixing in self.mixings]
        state = noise
        pairs = list(zip(self.couplings, others, strict=True))
        for coupling, mixing in reversed(pairs):
            state = cast("_Coupling", coupling).inverse(mixing.inverse(state), condition)
        return first.inverse(state)

    def _density(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise and log p."""
        first, *others = self.mixings
        state, log_slope = first(target)
        for coupling, mixing in zip(self.couplings, others, strict=True):
            state, bent = coupling(state, condition)
            state, stretched = mixing(state)
            log_slope = log_slope + bent + stretched
        base = 0.5 * (state * state).sum(1) + 0.5 * self.shape.targets * math.log(2.0 * math.pi)
        return state, log_slope - base


class _Mixing(nn.Module):
    """Columns in another order, times a triangular product L U, plus a shift.

    One matrix holds both: L below the diagonal, with ones on it; U above, and the logarithms of its
    diagonal on it. All zero is the identity.
    """

    order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor(order, dtype=torch.int64))
        self.matrix = nn.Parameter(torch.zeros(len(order), len(order)))
        self.shift = nn.Parameter(torch.zeros(len(order)))

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map towards noise; return the state and the log-determinant, a scalar."""
        lower, upper = self._triangles()
        mixed = functional.linear(state[:, self.order], lower @ upper, self.shift)
        return mixed, self.matrix.diagonal().sum()

    def inverse(self, state: Tensor) -> Tensor:
        """Map towards targets."""
        lower, upper = self._triangles()
        unit = torch.eye(len(self.order), dtype=lower.dtype, device=lower.device)
        # The inverse as a matrix: solving row by row would round by the place in the block.
        back = torch.linalg.solve_triangular(lower, unit, upper=False, unitriangular=True)
        back = torch.linalg.solve_triangular(upper, back, upper=True)
        return functional.linear(state - self.shift, back)[:, torch.argsort(self.order)]

    def _triangles(self) -> tuple[Tensor, Tensor]:
        unit = torch.eye(len(self.order), dtype=self.matrix.dtype, device=self.matrix.device)
        diagonal = torch.diag(torch.exp(self.matrix.diagonal()))
        return self.matrix.tril(-1) + unit, self.matrix.triu(1) + diagonal


class _Coupling(nn.Module):
    """Every other column through splines, which the rest and the condition set."""

    kept: Tensor
    moved: Tensor
    scale: Tensor

    def __init__(self, config: FlashSimConfig, shape: Shape, *, parity: int) -> None:
        super().__init__()
        self.bound, columns = config.bound, range(shape.targets)
        moved = [column for column in columns if column % 2 == parity] or [0]
        kept = [column for column in columns if column not in moved]
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.int64))
        self.register_buffer("moved", torch.tensor(moved, dtype=torch.int64))
        # Raw widths and heights are divided by the root of the network's width, slopes are not.
        self.sizes = (len(moved), spline.raw_parameters(config.bins))
        sizes = torch.ones(self.sizes)
        sizes[:, : 2 * config.bins] /= math.sqrt(config.width)
        self.register_buffer("scale", sizes.flatten(), persistent=False)
        self.network: nn.Module | None = None
        if kept or shape.conditions:
            self.network = ResidualNetwork(
                len(kept),
                shape.conditions,
                width=config.width,
                blocks=config.blocks,
                activation=config.activation,
                batch_norm=config.batch_norm,
                dropout=config.dropout,
            )
            self.last = nn.Linear(config.width, len(self.scale))
        else:  # One target without a condition: there is nothing to read.
            self.constant = nn.Parameter(torch.zeros(len(self.scale)))

    def forward(self, state: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Map towards noise; return the state and the log-determinant of each row."""
        moved, log_slope = spline.forward(*self._columns(state, condition), self.bound)
        return state.index_copy(1, self.moved, moved.t()), log_slope.sum(0)

    def inverse(self, state: Tensor, condition: Tensor) -> Tensor:
        """Map towards targets."""
        moved = spline.inverse(*self._columns(state, condition), self.bound)
        return state.index_copy(1, self.moved, moved.t())

    def _columns(self, state: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved columns [moved, rows] and their raw parameters, feature-major too."""
        if self.network is None:
            raw = (self.constant * self.scale)[:, None].expand(-1, state.shape[0])
        else:
            hidden = self.network(state[:, self.kept], condition)
            weight, bias = self.last.weight * self.scale[:, None], self.last.bias * self.scale
            raw = torch.addmm(bias[:, None], weight, hidden.t())
        return state[:, self.moved].t(), raw.reshape(*self.sizes, state.shape[0])
