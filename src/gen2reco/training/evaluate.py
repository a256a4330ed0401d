"""Loss of a model on many rows, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gen2reco.models.protocol import Batch
from gen2reco.training.feed import LEAST_NET_WEIGHT

if TYPE_CHECKING:
    from gen2reco.models.protocol import Model

_BLOCK = 4096
"""Rows per forward pass, at least: few enough to stay in cache."""


def weighted_loss(model: Model, rows: Batch, objective: str = "loss", block: int = _BLOCK) -> float:
    """Return the weighted mean loss of `rows` under one objective, without gradients.

    Blocks are combined by their net weights, which is exact for losses that are weighted means over
    rows. A block whose signed weights cancel has no mean and is left out.
    """
    size = max(block, _BLOCK)
    blocks = list(
        zip(
            *(torch.split(t, size) for t in (rows.target, rows.condition, rows.weight)), strict=True
        )
    )
    net = torch.stack([weight.double().sum() for _, _, weight in blocks]).tolist()
    gross = torch.stack([weight.double().abs().sum() for _, _, weight in blocks]).tolist()
    total = weights = 0.0
    with torch.no_grad():
        for (target, condition, weight), n, g in zip(blocks, net, gross, strict=True):
            if abs(n) > LEAST_NET_WEIGHT * g:
                total += n * float(model.loss(Batch(target, condition, weight), objective))
                weights += n
    return total / weights
