"""How far simulated validation rows are from true ones: distributions and rank correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gen2reco.training.feed import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.protocol import Batch, Model

    Numbers = NDArray[np.float64]

MOST_ROWS = 20_000
"""No more validation rows than this are simulated, so that an epoch stays short."""
KS, SPEARMAN = "ks", "spearman"


def distribution_measures(model: Model, rows: Batch, *, seed: int) -> dict[str, float]:
    """Simulate validation rows and compare them with the true ones, target by target and in pairs.

    Args:
        model: in evaluation mode.
        rows: encoded validation rows; weights play no role.
        seed: of the noise, the same in every epoch.

    Returns:
        `ks`: Kolmogorov-Smirnov distance, mean over the targets; `spearman`: root mean square
        difference of the rank correlations of all pairs, 0 for one target.
    """
    target, condition = rows.target[:MOST_ROWS], rows.condition[:MOST_ROWS]
    random = generator("measures", seed)
    width = model.noise
    numbers = np.concatenate(
        [
            random.standard_normal((len(target), width.normal)),
            random.random((len(target), width.uniform)),
        ],
        axis=1,
    )
    noise = torch.from_numpy(numbers.astype(np.float32)).to(target.device)
    with torch.no_grad():
        made = model.sample(condition, noise).double().numpy(force=True)
    true = target.double().numpy(force=True)
    ones = np.ones(len(true))
    ks = np.mean([kolmogorov(*pair, ones) for pair in zip(true.T, made.T, strict=True)])
    return {KS: float(ks), SPEARMAN: _apart(_spearman(true), _spearman(made))}


def kolmogorov(one: Numbers, other: Numbers, weights: Numbers) -> float:
    """Return the largest distance between the cumulative distributions of two columns.

    Both are of the same rows, which have weights [rows].
    """
    values = np.concatenate([one, other])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([weights, -weights])[order]
    last_of_value = np.append(np.diff(values[order]) > 0, True)
    return float(np.abs(np.cumsum(steps)[last_of_value]).max() / weights.sum())


def _spearman(rows: Numbers) -> Numbers:
    """Return the correlations of ranks, [columns, columns]; ties get ranks by their order."""
    ranks = rows.argsort(0).argsort(0)
    return np.atleast_2d(np.corrcoef(ranks, rowvar=False))


def _apart(first: Numbers, second: Numbers) -> float:
    pairs = np.triu_indices(len(first), 1)
    difference = (first - second)[pairs]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else 0.0
