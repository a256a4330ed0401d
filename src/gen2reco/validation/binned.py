"""Histograms whose errors know that replicas of one GEN event are correlated, and tests on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2 as chi2_law

from gen2reco.validation.weighted import event_index, quantile

if TYPE_CHECKING:
    from gen2reco.validation.columns import Flags, Integers, Reals

AnyReal = TypeVar("AnyReal", bound=np.floating[Any])

LEAST_ENTRIES = 5.0
"""Effective entries that a bin of the chi2 needs on each side."""
TREE_BINS = 255
"""Quantile bins of a feature, as many as trees can hold."""


def histogram(
    values: Reals, weight: Reals, event: npt.NDArray[np.integer] | None, edges: Reals
) -> tuple[Reals, Reals]:
    """Contents and variances of a histogram, replicas of one event taken together.

    With s_ev,i the sum of the weights of event ev in bin i, the content is sum s_ev,i and the
    variance sum s_ev,i^2; for one row per event that is the usual sum of squared weights.

    Args:
        values: [n]; values outside the edges or not finite are left out.
        weight: [n].
        event: identity of the event [n]; None: every row is an event of its own.
        edges: rising bin edges [bins + 1]; the last bin includes its upper edge.

    Returns:
        Content and variance, [bins] each.
    """
    bins = bin_index(values, edges)
    inside = bins >= 0
    bins, weight = bins[inside], weight[inside]
    count = len(edges) - 1
    content = sums(bins, weight, count)
    if event is None:
        return content, sums(bins, weight**2, count)
    (index,), _ = event_index(np.asarray(event)[inside].astype(np.int64, copy=False))
    cell, where = np.unique(index * count + bins, return_inverse=True)
    per_event = sums(where.astype(np.int64), weight, len(cell))
    return content, sums(cell % count, per_event**2, count)


def sums(index: Integers, weight: Reals, count: int) -> Reals:
    """Sum of weights per index, [count]."""
    return np.bincount(index, weight, count).astype(np.float64, copy=False)


def bin_index(values: Reals, edges: Reals) -> Integers:
    """Bin of each value, -1 outside the edges or where the value is not finite."""
    bins = np.searchsorted(edges, values, side="right") - 1
    bins[values == edges[-1]] = len(edges) - 2
    bins[~np.isfinite(values) | (bins >= len(edges) - 1)] = -1
    return bins.astype(np.int64)


def nice_step(span: float, factors: tuple[float, ...] = (1.0, 2.0, 2.5, 5.0, 10.0)) -> float:
    """Round a positive step up to one of the factors times a power of ten."""
    power = 10.0 ** np.floor(np.log10(span))
    factor = min(f for f in factors if f * power >= span * (1 - 1e-9))
    return float(factor * power)


def regular_edges(low: float, high: float, bins: int) -> Reals:
    """At most about `bins` equal bins from `low` to `high` with round edges."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    # steps of 2.5, 5 and 10 meet the thresholds that selections have
    step = nice_step((high - low) / bins)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return np.asarray(step * np.arange(first, last + 1))


def distribution_edges(values: Reals, weight: Reals, bins: int) -> Reals:
    """Bin edges that show a distribution: whole turns for angles, else 99.6 % of the events.

    Whole numbers lie in the middle of their bins, as many of them in each.
    """
    there = np.isfinite(values)
    values, weight = values[there], np.abs(weight[there])
    low, high = quantile(values, weight, 0.002), quantile(values, weight, 0.998)
    if np.all(values == np.round(values)):
        return _whole_edges(low, high, bins)
    if np.max(np.abs(values)) <= np.pi * (1 + 1e-6) and low < -3.0 and high > 3.0:
        return np.linspace(-np.pi, np.pi, 33)
    return regular_edges(low, high, bins)


def _whole_edges(low: float, high: float, bins: int) -> Reals:
    step = max(1.0, nice_step((high - low + 1) / bins, (1.0, 2.0, 5.0, 10.0)))
    return np.asarray(low - 0.5 + step * np.arange(np.ceil((high - low + 1) / step) + 1))


def core_edges(values: Reals, weight: Reals, bins: int, widths: float = 5.0) -> Reals:
    """Bin edges over the core of a narrow response: its median and some half 68 % widths around."""
    there = np.isfinite(values)
    values, weight = values[there], np.abs(weight[there])
    low, middle, high = (quantile(values, weight, p) for p in (0.159, 0.5, 0.841))
    reach = widths * 0.5 * (high - low)
    low, high = quantile(values, weight, 0.0005), quantile(values, weight, 0.9995)
    if np.all(values == np.round(values)):
        return _whole_edges(low, high, bins)
    return regular_edges(max(middle - reach, low), min(middle + reach, high), round(1.5 * bins))


def quantile_edges(axis: Reals, bins: int) -> Reals:
    """Edges of equal population, rounded as far as the narrowest bin allows."""
    edges = np.unique(np.quantile(axis, np.linspace(0, 1, bins + 1)))
    if len(edges) < 2:
        return edges
    step = 10.0 ** np.floor(np.log10(np.min(np.diff(edges))))
    rounded = np.round(edges / step) * step
    rounded[0], rounded[-1] = np.floor(edges[0] / step) * step, np.ceil(edges[-1] / step) * step
    return np.unique(np.round(rounded, 12))


def quantile_bins(features: npt.NDArray[AnyReal]) -> npt.NDArray[AnyReal]:
    """Replace each feature by the number of its quantile bin, as trees would; nan stays.

    Once for all fits: with weights, the trees' own search for bins takes longer than their growth.

    Args:
        features: [n, k].

    Returns:
        Whole numbers from 0, in the type of the features [n, k].
    """
    bins = np.full_like(features, np.nan)
    for column, values in enumerate(features.T):
        known = np.isfinite(values)
        if known.any():
            edges = np.unique(np.quantile(values[known], np.arange(1, TREE_BINS) / TREE_BINS))
            bins[known, column] = np.searchsorted(edges, values[known], side="right")
    return bins


def merge_bins(
    first: tuple[Reals, Reals], second: tuple[Reals, Reals], least: float = LEAST_ENTRIES
) -> Integers:
    """Join neighbouring bins until each has enough effective entries on both sides.

    Args:
        first: contents and variances [bins] of one side.
        second: the same of the other.
        least: effective entries needed.

    Returns:
        The merged bin of each bin, [bins]; all 0 where not even two bins are possible.
    """
    groups = np.zeros(len(first[0]), dtype=np.int64)
    group, sums = 0, np.zeros(4)
    for i in range(len(groups)):
        groups[i] = group
        sums += (first[0][i], first[1][i], second[0][i], second[1][i])
        if min(_entries(sums[0], sums[1]), _entries(sums[2], sums[3])) >= least:
            group, sums = group + 1, np.zeros(4)
    # what is left at the upper end is too little for a bin of its own
    return np.minimum(groups, max(group - 1, 0))


def chi2_test(first: tuple[Reals, Reals], second: tuple[Reals, Reals]) -> tuple[float, int, float]:
    """chi2 between the shapes of two histograms, its degrees of freedom, and the p-value.

    Both are scaled to unit sum; one degree of freedom goes into that. Merge thin bins first.
    """
    value, ndf = chi2_value(first, second)
    return value, ndf, float(chi2_law.sf(value, ndf)) if ndf else 1.0


def chi2_value(first: tuple[Reals, Reals], second: tuple[Reals, Reals]) -> tuple[float, int]:
    """chi2 between the shapes of two histograms and its degrees of freedom."""
    a, b = first[0].sum(), second[0].sum()
    variance = first[1] / a**2 + second[1] / b**2
    used = variance > 0
    difference = (first[0] / a - second[0] / b)[used]
    ndf = max(int(np.sum(used)) - 1, 0)
    return (float(np.sum(difference**2 / variance[used])) if ndf else 0.0), ndf


def separation(first: Reals, second: Reals) -> float:
    """0.5 sum (a - b)^2 / (a + b) of two histograms scaled to unit sum: 0 equal, 1 apart."""
    a, b = first / first.sum(), second / second.sum()
    total = a + b
    used: Flags = total > 0
    return float(0.5 * np.sum((a - b)[used] ** 2 / total[used]))


def merged(content: Reals, groups: Integers) -> Reals:
    """Sum bins [..., bins] into merged bins [..., groups]."""
    total = np.zeros((*content.shape[:-1], int(groups.max()) + 1))
    for i, group in enumerate(groups):
        total[..., group] += content[..., i]
    return total


def oversampling_gain(
    values: Reals,
    weight: Reals,
    event: npt.NDArray[np.integer],
    replica: npt.NDArray[np.integer],
    edges: Reals,
) -> Reals:
    """How many times more events one replica would need for the same relative error, per bin.

    Args:
        values: [n] rows of all replicas.
        weight: [n] of them.
        event: identity of the GEN event [n].
        replica: number of its replica [n].
        edges: bin edges [bins + 1].

    Returns:
        Gain per bin, from 1 (replicas bring nothing) to the number of replicas; nan in empty bins.
    """
    content, variance = histogram(values, weight, event, edges)
    known, number = np.unique(replica, return_inverse=True)
    replicas = len(known)
    (index,), _ = event_index(np.asarray(event))
    # one replica alone: each row weighs `replicas` times more; their mean has the least scatter
    _, single = histogram(values, weight * replicas, index * replicas + number, edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(content != 0, single / replicas / variance, np.nan)


def _entries(content: float, variance: float) -> float:
    return content**2 / variance if content > 0 and variance > 0 else 0.0
