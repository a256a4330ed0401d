"""Distances between two samples in several features at once: FPD and KPD.

FPD (Frechet physics distance) is the Frechet distance between Gaussians of the same means and
covariances, extrapolated to infinitely many jets: at N jets it is too large by about b / N. KPD
(kernel physics distance) is the unbiased estimate of the squared maximum mean discrepancy with the
kernel (x y / features + 1)^4. Both act on features in units of FullSim's standard deviations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gen2reco.validation.columns import Reals

SIZES = 8
"""Numbers of jets between a quarter and all, that the Frechet distance is extrapolated from."""
SUBSETS = 10
"""Random subsets of each size."""
DEGREE = 4
"""Of the kernel."""
BLOCKS = 10
"""Random subsets that the kernel distance is the median of."""
BLOCK = 1000
"""Jets in each of them."""


def frechet(first: Reals, second: Reals) -> float:
    """Return the Frechet distance of the Gaussians that two samples [n, k] and [m, k] suggest."""
    means = first.mean(axis=0) - second.mean(axis=0)
    one, two = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (first, second))
    # The trace of sqrt(one two) is that of sqrt(root two root), a symmetric matrix.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ two @ root)
    mixed = np.sqrt(np.maximum(inner, 0.0)).sum()
    return float(means @ means + np.trace(one) + np.trace(two) - 2.0 * mixed)


def fpd(first: Reals, second: Reals, rng: np.random.Generator) -> tuple[float, float]:
    """Return the Frechet physics distance and its error, that of the extrapolation.

    Args:
        first: features of one sample, [n, k].
        second: of the other, [m, k].
        rng: draws the subsets.
    """
    most = min(len(first), len(second))
    sizes = np.unique(np.linspace(most / 4, most, SIZES).astype(int))
    found, inverse = [], []
    for size in sizes:
        for _ in range(SUBSETS):
            one, two = (side[rng.permutation(len(side))[:size]] for side in (first, second))
            found.append(frechet(one, two))
            inverse.append(1.0 / size)
    # Larger subsets scatter less: their variance goes with 1 / N.
    weight = 1.0 / np.sqrt(np.array(inverse))
    design = np.stack([np.ones(len(found)), np.array(inverse)], axis=1)
    answer, *_ = np.linalg.lstsq(design * weight[:, None], np.array(found) * weight, rcond=None)
    rest = (np.array(found) - design @ answer) * weight
    scale = float(rest @ rest) / max(len(found) - 2, 1)
    covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design) * scale
    return float(answer[0]), math.sqrt(float(covariance[0, 0]))


def mmd(first: Reals, second: Reals) -> float:
    """Return the unbiased squared maximum mean discrepancy of two samples, [n, k] and [m, k]."""
    features = first.shape[1]

    def kernel(one: Reals, two: Reals) -> Reals:
        return np.asarray((one @ two.T / features + 1.0) ** DEGREE)

    own = 0.0
    for side in (first, second):
        values = kernel(side, side)
        own += float(values.sum() - np.trace(values)) / (len(side) * (len(side) - 1))
    return own - 2.0 * float(kernel(first, second).mean())


def kpd(first: Reals, second: Reals, rng: np.random.Generator) -> tuple[float, float]:
    """Return the kernel physics distance, the median over random subsets, and its error.

    Args:
        first: features of one sample, [n, k].
        second: of the other, [m, k].
        rng: draws the subsets.
    """
    size = min(BLOCK, len(first), len(second))
    found = [
        mmd(*(side[rng.permutation(len(side))[:size]] for side in (first, second)))
        for _ in range(BLOCKS)
    ]
    low, high = np.quantile(found, [0.16, 0.84])
    return float(np.median(found)), float(high - low) / 2.0 / math.sqrt(BLOCKS)


def in_units_of(reference: Reals, *samples: Reals) -> list[Reals]:
    """Return samples [n, k] in standard deviations from the mean of a reference [m, k]."""
    centre, width = reference.mean(axis=0), reference.std(axis=0)
    return [(side - centre) / np.where(width > 0, width, 1.0) for side in samples]
