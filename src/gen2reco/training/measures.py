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
    ks = np.mean([_ks(*pair) for pair in zip(true.T, made.T, strict=True)])
    return {KS: float(ks), SPEARMAN: _apart(_spearman(true), _spearman(made))}


def _ks(first: Numbers, second: Numbers) -> float:
    """Return the largest difference of the cumulative distributions of two columns."""
    both = np.concatenate([first, second])
    edges = np.sort(both)
    shares = [
        np.searchsorted(np.sort(one), edges, side="right") / len(one) for one in (first, second)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _spearman(rows: Numbers) -> Numbers:
    """Return the correlations of ranks, [columns, columns]; ties get ranks by their order."""
    ranks = rows.argsort(0).argsort(0)
    return np.atleast_2d(np.corrcoef(ranks, rowvar=False))


def _apart(first: Numbers, second: Numbers) -> float:
    pairs = np.triu_indices(len(first), 1)
    difference = (first - second)[pairs]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else 0.0
