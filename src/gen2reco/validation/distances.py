"""Distances between two weighted samples of one quantity: W1, Kolmogorov-Smirnov, W2^2.

W1 and KS are exact from the sorted samples, with weights of either sign: both only need the
difference of the two cumulated distributions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import kstwo

from gen2reco.errors import SampleError
from gen2reco.validation.weighted import Ordered, effective_entries

if TYPE_CHECKING:
    from gen2reco.validation.columns import Integers, Reals


def wasserstein(
    first: Reals, second: Reals, weight: Reals | None = None, second_weight: Reals | None = None
) -> float:
    """W1, the integral of |F - G| over the quantity, in its unit.

    Args:
        first: one sample [n].
        second: the other sample [m].
        weight: weights of the first [n]; None: one each.
        second_weight: weights of the second [m].
    """
    gaps, difference, _ = _difference(first, second, weight, second_weight)
    return float(np.abs(difference) @ gaps)


def kolmogorov(
    first: Reals,
    second: Reals,
    weight: Reals | None = None,
    second_weight: Reals | None = None,
    entries: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Kolmogorov-Smirnov statistic and asymptotic p-value.

    Args:
        first: one sample [n].
        second: the other sample [m].
        weight: weights of the first [n]; None: one each.
        second_weight: weights of the second [m].
        entries: effective numbers of entries for the p-value; default: from the weights, every
            row an event of its own.
    """
    gaps, difference, weights = _difference(first, second, weight, second_weight)
    at = gaps > 0
    statistic = float(np.max(np.abs(difference[at]))) if np.any(at) else 0.0
    if entries is None:
        entries = (
            effective_entries(weights[0], np.arange(len(first))),
            effective_entries(weights[1], np.arange(len(second))),
        )
    return statistic, kolmogorov_p(statistic, entries)


def kolmogorov_p(statistic: float, entries: tuple[float, float]) -> float:
    """Two-sided asymptotic p-value of a Kolmogorov-Smirnov statistic."""
    together = entries[0] * entries[1] / (entries[0] + entries[1])
    return float(np.clip(kstwo.sf(min(statistic, 1.0), max(1, round(together))), 0.0, 1.0))


def w2_squared(
    first: Reals, second: Reals, weight: Reals | None = None, second_weight: Reals | None = None
) -> float:
    """W2^2, the mean squared difference of quantiles, in the quantity's unit squared.

    Raises:
        SampleError: a weight is negative: quantiles, and with them W2, are not defined.
    """
    w = np.ones(len(first)) if weight is None else weight
    v = np.ones(len(second)) if second_weight is None else second_weight
    if np.any(w < 0) or np.any(v < 0):
        raise SampleError(
            "W2^2 compares quantiles and is not defined for negative weights; use W1 or chi2"
        )
    one, two = Ordered.of(first, w), Ordered.of(second, v)
    steps = np.union1d(one.cumulated, two.cumulated)
    # between two steps of either distribution both quantiles are constant
    middle = 0.5 * (steps + np.concatenate([[0.0], steps[:-1]]))
    share = np.diff(np.concatenate([[0.0], steps]))
    i = np.minimum(np.searchsorted(one.cumulated, middle), len(one.values) - 1)
    j = np.minimum(np.searchsorted(two.cumulated, middle), len(two.values) - 1)
    return float(np.sum(share * (one.values[i] - two.values[j]) ** 2))


def _difference(
    first: Reals, second: Reals, weight: Reals | None, second_weight: Reals | None
) -> tuple[Reals, Reals, tuple[Reals, Reals]]:
    """Gaps between sorted values, F - G inside them, and the weights used."""
    w = np.ones(len(first)) if weight is None else np.asarray(weight, dtype=np.float64)
    v = np.ones(len(second)) if second_weight is None else np.asarray(second_weight, np.float64)
    if w.sum() <= 0 or v.sum() <= 0:
        raise SampleError("a distance needs events on both sides whose weights sum to a positive")
    values = np.concatenate([first, second])
    signed = np.concatenate([w / w.sum(), -v / v.sum()])
    order: Integers = np.argsort(values, kind="stable")
    return np.diff(values[order]), np.cumsum(signed[order])[:-1], (w, v)
