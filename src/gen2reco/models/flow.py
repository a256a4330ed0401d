"""Conditional neural spline flow: p(RECO | GEN) as an invertible map of RECO to normal noise.

A stack of couplings with rational-quadratic splines carries encoded targets to a normal base with a
trained location and scale. Splines act on [-bound, bound] only and are the identity outside: tails
must be compressed by the features' transforms. The maths is in `nn.spline` and `nn.coupling`, in
plain PyTorch; `nn.passes` runs the same compiled on the CPU, several times faster.
"""

from __future__ import annotations

import logging
import math
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gen2reco.errors import StudyError
from gen2reco.models.nn import lanes, spline
from gen2reco.models.nn.coupling import Coupling, Network, balanced_halves, pack, unpack
from gen2reco.models.nn.passes import Passes
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean

logger = logging.getLogger(__name__)

Width = Annotated[int, Field(ge=1)]
Mode = Literal["compiled", "eager"]


class FlowConfig(ModelConfig):
    """Settings of the neural spline flow."""

    kind: Literal["flow"] = "flow"
    couplings: int = Field(
        8, ge=1, description="each maps half of the targets given the other half and the condition"
    )
    hidden: tuple[Width, ...] = Field(
        (64, 64), description="widths of the hidden layers of each coupling's network"
    )
    bins: int = Field(16, ge=2, le=128, description="pieces of each spline")
    bound: float = Field(
        6.0, gt=0, description="splines act on [-bound, bound] of the encoded targets"
    )
    activation: Literal["relu", "hardswish", "silu"] = Field(
        "hardswish",
        description="between the hidden layers; relu learns the sample by heart soonest",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of hidden numbers left out at random in training"
    )
    halves_seed: int = Field(
        1, ge=0, description="which targets move together: part of the model, not of the fit"
    )
    mode: Literal["auto", "compiled", "eager"] = Field(
        "auto",
        description="compiled: own kernels, float32 on the CPU; eager: plain PyTorch; auto:"
        " compiled where possible; the log says which",
    )

    def build(self, shape: Shape) -> Flow:
        """Return a flow close to the identity."""
        return Flow(self, shape)


class Flow(Model):
    """Neural spline flow with density (`log_prob`), sampling and inversion (`invert`)."""

    def __init__(self, config: FlowConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        # One target without a condition leaves a network nothing to read: it reads a constant.
        self._reads_constant = shape.targets == 1 and shape.conditions == 0
        conditions = 1 if self._reads_constant else shape.conditions
        self.couplings = nn.ModuleList(
            Coupling(half, shape.targets, conditions, hidden=config.hidden, bins=config.bins)
            for half in balanced_halves(shape.targets, config.couplings, config.halves_seed)
        )
        self.networks = nn.Parameter(pack([coupling.fresh() for coupling in self._couplings()]))
        self.location = nn.Parameter(torch.zeros(shape.targets))
        self.log_scale = nn.Parameter(torch.zeros(shape.targets))
        self._reported: set[str] = set()
        self._held: Passes | None = None
        self._addresses: list[int] = []

    @property
    def noise(self) -> Noise:
        """One normal number per target."""
        return Noise(normal=self.shape.targets)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the weighted mean of -log p(target | condition) in nats."""
        rows = (batch.target, batch.condition, batch.weight)
        learning = torch.is_grad_enabled() and not any(tensor.requires_grad for tensor in rows)
        if learning and self.mode(batch.target) == "compiled":
            passes = self._passes()
            dropout = self.config.dropout if self.training else 0.0
            tensors = (batch.target, self._read(batch.condition), batch.weight)
            return self._differentiable(_Loss, passes, dropout, tensors)
        return weighted_mean(-self.log_prob(batch.target, batch.condition), batch.weight)

    def log_prob(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return log p(target | condition) in nats, [rows], in the space of encoded targets.

        Differentiable; dropout acts here in eager mode only, and in training on `loss` alone.
        """
        condition = self._read(condition)
        if self.mode(target) == "eager":
            return self._density(target, condition)[1]
        passes = self._passes()
        if torch.is_grad_enabled():
            return self._differentiable(_LogProb, passes, target, condition)
        return passes.density(target, condition)[1]

    def invert(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return the noise from which `sample` makes `target`, [rows, targets].

        Differentiable in eager mode only.
        """
        condition = self._read(condition)
        if self.mode(target) == "eager":
            return self._density(target, condition)[0]
        return self._passes().density(target.detach(), condition.detach())[0]

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded targets [rows, targets] for noise [rows, targets].

        Differentiable in eager mode only.
        """
        condition = self._read(condition)
        if self.mode(noise) == "compiled":
            return self._passes().sample(condition.detach(), noise.detach())
        state = (noise * torch.exp(self.log_scale) + self.location).t()
        columns = condition.t()
        for coupling, network in reversed(self._pairs()):
            raw = self._raw(coupling, network, state, columns)
            moved = spline.inverse(state[coupling.moved], raw, self.config.bound)
            state = state.index_copy(0, coupling.moved, moved)
        return state.t()

    def mode(self, like: Tensor) -> Mode:
        """Return how rows like this tensor are computed, and log it the first time.

        Raises:
            StudyError: the settings demand compiled mode where it cannot be had.
        """
        obstacle = self._obstacle(like)
        if obstacle and self.config.mode == "compiled":
            raise StudyError(
                f"model.mode: 'compiled' needs float32 on the CPU, but {obstacle}; set `mode: auto`"
            )
        mode: Mode = "eager" if obstacle or self.config.mode == "eager" else "compiled"
        report = f"flow runs in mode {mode}" + (f": {obstacle}" if obstacle else "")
        if report not in self._reported:
            self._reported.add(report)
            logger.info(report)
        return mode

    def _obstacle(self, like: Tensor) -> str:
        if self.location.device.type != "cpu" or like.device.type != "cpu":
            return f"the model is on {self.location.device} and the data on {like.device}"
        if self.location.dtype != torch.float32 or like.dtype != torch.float32:
            return f"the model is {self.location.dtype} and the data {like.dtype}"
        if torch.compiler.is_compiling():
            return "the model is being exported"
        if torch.is_autocast_enabled("cpu"):
            return "products are in half precision"
        return "" if lanes.supported() else "this processor has no fused multiply-add"

    def _read(self, condition: Tensor) -> Tensor:
        return condition.new_ones(condition.shape[0], 1) if self._reads_constant else condition

    def _couplings(self) -> list[Coupling]:
        return [cast("Coupling", coupling) for coupling in self.couplings]

    def _pairs(self) -> list[tuple[Coupling, Network]]:
        couplings = self._couplings()
        networks = unpack(self.networks, [coupling.shapes for coupling in couplings])
        return list(zip(couplings, networks, strict=True))

    def _raw(
        self, coupling: Coupling, network: Network, state: Tensor, condition: Tensor
    ) -> Tensor:
        activation, dropout = self.config.activation, self.config.dropout
        raw = coupling.raw(network, state, condition, activation=activation, dropout=dropout)
        return raw.to(state.dtype)  # splines need more than the half precision of an autocast

    def _passes(self) -> Passes:
        rows = [rows for pair in self._couplings() for rows in (pair.kept, pair.moved)]
        tensors = (self.networks, self.location, self.log_scale, *rows)
        # Weights that moved in memory need passes of their own.
        addresses = [tensor.data_ptr() for tensor in tensors]
        if self._held is None or self._addresses != addresses:
            self._addresses = addresses
            config = self.config
            self._held = Passes(
                self._couplings(),
                self.networks,
                self.location,
                self.log_scale,
                bins=config.bins,
                bound=config.bound,
                activation=config.activation,
            )
        return self._held

    def _differentiable(self, function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
        tensors = (*arguments, self.networks, self.location, self.log_scale)
        return cast("Tensor", function.apply(*tensors))  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        # A copy makes its own passes: these hold addresses and buffers of this one.
        return self.__dict__ | {"_held": None}

    def _density(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise and log p in plain PyTorch."""
        state, columns = target.t(), condition.t()
        log_slope = torch.zeros_like(state[0])
        for coupling, network in self._pairs():
            raw = self._raw(coupling, network, state, columns)
            moved, slopes = spline.forward(state[coupling.moved], raw, self.config.bound)
            state = state.index_copy(0, coupling.moved, moved)
            log_slope = log_slope + slopes.sum(0)
        pull = (state.t() - self.location) * torch.exp(-self.log_scale)
        constant = self.log_scale.sum() + 0.5 * self.shape.targets * math.log(2.0 * math.pi)
        return pull, log_slope - 0.5 * (pull * pull).sum(1) - constant


class _Loss(torch.autograd.Function):
    """Weighted mean of -log p; its gradient is computed along, while the numbers are in cache."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: Passes,
        dropout: float,
        rows: tuple[Tensor, Tensor, Tensor],
        *_: Tensor,
    ) -> Tensor:
        target, condition, weight = rows
        share = weight / weight.sum()
        found = passes.gradients(target, condition, -share, dropout=dropout)
        log_prob, ctx.gradients = found[:2]
        return -(log_prob * share).sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        factor = upstream[0]
        gradients = ctx.gradients
        if factor.item() != 1.0:
            gradients = [gradient * factor for gradient in gradients]
        return None, None, None, *gradients


class _LogProb(torch.autograd.Function):
    """Log p row by row; its gradient runs the way there once more instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, passes: Passes, target: Tensor, condition: Tensor, *_: Tensor) -> Tensor:
        ctx.passes = passes
        ctx.save_for_backward(target, condition)
        return passes.density(target, condition)[1]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        target, condition = ctx.saved_tensors
        _, gradients, by_target, by_condition = ctx.passes.gradients(
            target, condition, upstream[0], dropout=0.0, of_rows=True
        )
        return None, by_target, by_condition, *gradients
