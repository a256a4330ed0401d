"""Residual network that a condition gates: the conditioner of FlashSim's flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": functional.relu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
}

SMALL = 1e-3
"""Largest weight of a fresh block's last layer: a fresh block changes next to nothing."""
STEADY = 1e-3
"""Added to the variance that batch normalisation divides by."""


class ResidualNetwork(nn.Module):
    """Inputs and condition [rows, ...] to hidden numbers [rows, width], through residual blocks.

    Args:
        inputs: columns of the inputs, at least 1 where there is no condition.
        conditions: columns of the condition.
        width: hidden numbers.
        blocks: residual blocks of two layers each.
        activation: before each layer of a block.
        batch_norm: whether batch normalisation precedes it; it knows no weights.
        dropout: share of hidden numbers left out in training.
    """

    def __init__(
        self,
        inputs: int,
        conditions: int,
        *,
        width: int,
        blocks: int,
        activation: str,
        batch_norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs + conditions, width)
        self.blocks = nn.ModuleList(
            _Block(
                width, conditions, ACTIVATIONS[activation], batch_norm=batch_norm, dropout=dropout
            )
            for _ in range(blocks)
        )

    def forward(self, inputs: Tensor, condition: Tensor) -> Tensor:
        """Return hidden numbers [rows, width]."""
        hidden: Tensor = self.first(torch.cat([inputs, condition], 1))
        for block in self.blocks:
            hidden = block(hidden, condition)
        return hidden


class _Block(nn.Module):
    """Two layers whose outcome, times a gate that the condition opens, is added to the input."""

    def __init__(
        self,
        width: int,
        conditions: int,
        activation: Activation,
        *,
        batch_norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.normalize = nn.ModuleList(
            nn.BatchNorm1d(width, eps=STEADY) if batch_norm else nn.Identity() for _ in range(2)
        )
        # Batch normalisation takes away what a bias in front of it would add.
        self.first = nn.Linear(width, width, bias=not batch_norm)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(width, width)
        for parameter in self.second.parameters():
            nn.init.uniform_(parameter, -SMALL, SMALL)
        self.gate = nn.Linear(conditions, width) if conditions else None

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        change: Tensor = self.first(self.activation(self.normalize[0](hidden)))
        change = self.second(self.dropout(self.activation(self.normalize[1](change))))
        if self.gate is not None:
            change = change * torch.sigmoid(self.gate(condition))
        return hidden + change
