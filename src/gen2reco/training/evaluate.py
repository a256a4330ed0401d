"""Loss of a model on many rows, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gen2reco.training.feed import LEAST_NET_WEIGHT

if TYPE_CHECKING:
    from gen2reco.models.protocol import Batch, Model

_BLOCK = 4096
"""Rows per forward pass, at least: few enough to stay in cache."""


def weighted_loss(model: Model, rows: Batch, objective: str = "loss", block: int = _BLOCK) -> float:
    """Return the weighted mean loss of `rows` under one objective, without gradients.

    Blocks are combined by their net weights, which is exact for losses that are weighted means over
    rows. A block whose signed weights cancel has no mean and is left out.
    """
    size = max(block, _BLOCK)
    blocks = [
        rows.map(lambda tensor, first=first: tensor[first : first + size])  # type: ignore[misc]
        for first in range(0, len(rows.weight), size)
    ]
    net = torch.stack([part.weight.double().sum() for part in blocks]).tolist()
    gross = torch.stack([part.weight.double().abs().sum() for part in blocks]).tolist()
    total = weights = 0.0
    with torch.no_grad():
        for part, n, g in zip(blocks, net, gross, strict=True):
            if abs(n) > LEAST_NET_WEIGHT * g:
                total += n * float(model.loss(part, objective))
                weights += n
    return total / weights
