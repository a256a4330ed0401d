"""Quantiles, ranks and effective numbers of weighted events; negative weights are allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from gen2reco.validation.columns import Integers, Reals

HALF_68 = (0.158655, 0.841345)
"""Probabilities that enclose the central 68.27 %, one Gaussian standard deviation each side."""


def event_index(*events: Integers) -> tuple[list[Integers], int]:
    """Number the distinct events of several samples together, from 0.

    Returns:
        One index array per sample, and the number of distinct events.
    """
    together = np.concatenate([np.asarray(event) for event in events])
    known, index = np.unique(together, return_inverse=True)
    ends = np.cumsum([len(event) for event in events])[:-1]
    return [part.astype(np.int64) for part in np.split(index, ends)], len(known)


def effective_entries(weight: Reals, event: Integers) -> float:
    """(sum w)^2 / sum over events of (sum of the event's w)^2: unweighted events count one each."""
    per_event = np.bincount(event_index(event)[0][0], weight)
    squares = float(np.sum(per_event**2))
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def covariance_by_event(bins: Integers, terms: Reals, event: Integers, count: int) -> Reals:
    """Covariance of sums of terms per bin, rows of one event taken together, [count, count].

    With s_ev,i the sum of the terms of event ev in bin i, it is sum over events of s_ev,i s_ev,j:
    right where the terms of an event have mean zero, however they hang together.

    Args:
        bins: bin of each row [n], from 0; negative: the row is in no bin.
        terms: [n].
        event: identity of the event [n].
        count: number of bins.
    """
    inside = bins >= 0
    (index,), events = event_index(event[inside])
    table = csr_array((terms[inside], (index, bins[inside])), shape=(events, count))
    return np.asarray((table.T @ table).toarray())


def design_effect(terms: Reals, event: Integers) -> float:
    """How much more the sum of terms [n, k] scatters than if all rows were independent.

    Terms must have mean zero. One row per event gives exactly 1, m copies of one row m.
    """
    (index,), events = event_index(event)
    alone = float(np.sum(terms**2))
    if alone <= 0:
        return 1.0
    together = sum(float(np.sum(np.bincount(index, column, events) ** 2)) for column in terms.T)
    return together / alone


@dataclass(frozen=True)
class Ordered:
    """Values in rising order with their cumulated weight, scaled to one at the end.

    With negative weights the cumulated weight can fall; quantiles then use the mean of its least
    rising majorant and greatest rising minorant.
    """

    values: Reals
    cumulated: Reals

    @classmethod
    def of(cls, values: Reals, weight: Reals) -> Ordered:
        """Sort values; rows whose value is not finite are left out."""
        there = np.isfinite(values)
        values, weight = values[there], weight[there]
        order = np.argsort(values, kind="stable")
        weight = weight[order]
        total = weight.sum()
        if len(values) == 0 or total <= 0:
            return cls(np.empty(0), np.empty(0))
        cumulated = np.cumsum(weight) / total
        if np.any(weight < 0):
            upper = np.maximum.accumulate(cumulated)
            lower = np.minimum.accumulate(cumulated[::-1])[::-1]
            cumulated = np.clip(0.5 * (upper + lower), 0.0, 1.0)
        return cls(values[order], cumulated)

    def quantile(self, probability: float) -> float:
        """Return the smallest value whose cumulated weight reaches `probability`; nan if empty."""
        if len(self.values) == 0:
            return float("nan")
        # rounding in the cumulated sum must not move the quantile to the next event
        place = np.searchsorted(self.cumulated, probability - 1e-12, side="left")
        return float(self.values[min(int(place), len(self.values) - 1)])

    def half_width(self) -> float:
        """Half the width of the central 68.27 %."""
        return 0.5 * (self.quantile(HALF_68[1]) - self.quantile(HALF_68[0]))


def quantile(values: Reals, weight: Reals, probability: float) -> float:
    """Weighted quantile: the smallest value whose cumulated weight reaches `probability`."""
    return Ordered.of(values, weight).quantile(probability)


def half_width(values: Reals, weight: Reals) -> float:
    """Half the width of the central 68.27 % of a weighted sample."""
    return Ordered.of(values, weight).half_width()


def quantile_influence(
    values: Reals, weight: Reals, ordered: Ordered, probability: float, entries: float
) -> Reals:
    """How much each row moves a quantile, so that the quantile's variance is a sum over events.

    Args:
        values: the sample [n], finite.
        weight: its weights [n].
        ordered: the same sample, sorted.
        probability: which quantile.
        entries: effective number of entries; sets over which span the density is measured.

    Returns:
        Influence [n]; zero where the sample has a point mass at the quantile.
    """
    span = float(np.clip(0.5 * max(entries, 1.0) ** (-1 / 3), 0.01, 0.1))
    low, high = ordered.quantile(probability - span), ordered.quantile(probability + span)
    at = ordered.quantile(probability)
    if not high > low:
        return np.zeros(len(values))
    slope = (high - low) / (2 * span)  # one over the density at the quantile
    return np.asarray((probability - (values <= at)) * weight / weight.sum() * slope)


def mid_ranks(values: Reals, weight: Reals) -> Reals:
    """Weighted ranks in [0, 1]; ties share their mean rank, as Spearman's definition asks."""
    order = np.argsort(values, kind="stable")
    ordered, w = values[order], weight[order]
    cumulated = np.cumsum(w)
    first = np.concatenate([[True], np.diff(ordered) > 0])
    group = np.cumsum(first) - 1
    ends = np.flatnonzero(np.concatenate([first[1:], [True]]))
    upper = cumulated[ends]
    lower = np.concatenate([[0.0], upper[:-1]])
    ranks = np.empty(len(values))
    ranks[order] = (0.5 * (upper + lower))[group] / cumulated[-1]
    return ranks
