"""Sampling in fixed, padded blocks, so that a row's answer does not depend on its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from gen2reco.models.protocol import Model

BLOCK = 2048
"""Rows per call of a model: matrix products of another size may round differently (last bit)."""


def sample_rows(model: Model, condition: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Sample every row of a table in blocks of exactly `BLOCK` rows.

    Args:
        model: the family's network, in evaluation mode.
        condition: encoded GEN features, float32 [rows, conditions].
        noise: random numbers, float32 [rows, model.noise.width].

    Returns:
        Encoded targets [rows, targets], in the precision of the network.
    """
    rows = len(condition)
    weights = next(model.parameters())
    device, dtype = weights.device, weights.dtype
    double = dtype == torch.float64
    sampled = np.empty((rows, model.shape.targets), np.float64 if double else np.float32)
    with torch.inference_mode():
        for start in range(0, rows, BLOCK):
            stop = min(start + BLOCK, rows)
            block = model.sample(
                torch.from_numpy(_padded(condition, start, stop)).to(device, dtype),
                torch.from_numpy(_padded(noise, start, stop)).to(device, dtype),
            )
            sampled[start:stop] = block[: stop - start].cpu().numpy()
    return sampled


def _padded(values: np.ndarray, start: int, stop: int) -> np.ndarray:
    if stop - start == BLOCK:
        return np.ascontiguousarray(values[start:stop])
    # 0.5 is an ordinary value for a standardised feature, a normal and a uniform number alike.
    padded = np.full((BLOCK, values.shape[1]), 0.5, dtype=np.float32)
    padded[: stop - start] = values[start:stop]
    return padded
