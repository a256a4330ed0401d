"""Shares of categories in two weighted samples whose rows may share events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2 as chi2_law

from gen2reco.validation.binned import merge_bins, sums
from gen2reco.validation.weighted import covariance_by_event, event_index

if TYPE_CHECKING:
    from gen2reco.validation.columns import Integers, Reals


@dataclass(frozen=True)
class Shares:
    """Shares of categories, which sum to one, and how they scatter together.

    Attributes:
        share: [k].
        covariance: [k, k]; its rows sum to zero.
        entries: effective entries per category [k].
    """

    share: Reals
    covariance: Reals
    entries: Reals

    @property
    def error(self) -> Reals:
        """Standard errors [k]."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def pulls(self, other: Shares) -> Reals:
        """Differences of the other one to this in standard errors [k]; 0 where both are sure."""
        spread = np.hypot(self.error, other.error)
        difference = other.share - self.share
        return np.divide(difference, spread, out=np.zeros(len(spread)), where=spread > 0)

    def joined(self, groups: Integers) -> Shares:
        """Shares of joined categories."""
        together = np.zeros((int(groups.max()) + 1, len(groups)))
        together[groups, np.arange(len(groups))] = 1.0
        return Shares(
            together @ self.share,
            together @ self.covariance @ together.T,
            together @ self.entries,
        )


def shares_by_event(category: Integers, weight: Reals, event: Integers, count: int) -> Shares:
    """Weighted shares of categories, the rows of one event taken together.

    A row moves share k by w ([it is in k] - share k) / sum of w; the covariance is the sum over
    events of the products of what an event's rows move together. For one row per event that is the
    multinomial law.

    Args:
        category: of each row [n], from 0; negative: the row has none and is left out.
        weight: [n].
        event: identity of the event [n].
        count: number of categories.
    """
    inside = category >= 0
    category, weight, event = category[inside], weight[inside], event[inside]
    total = weight.sum()
    share = sums(category, weight, count) / total
    (index,), events = event_index(event)
    per_event = sums(index * count + category, weight, events * count).reshape(events, count)
    moved = per_event - per_event.sum(axis=1, keepdims=True) * share
    squares = sums(category, weight**2, count)
    entries = np.divide((share * total) ** 2, squares, out=np.zeros(count), where=squares > 0)
    return Shares(share, moved.T @ moved / total**2, entries)


def shares_test(first: Shares, second: Shares) -> tuple[float, int, float]:
    """chi2 between two sets of shares, its degrees of freedom, and the p-value.

    Neighbouring categories are joined until each has at least five effective entries on both
    sides; where not even two are left, nothing is tested.
    """
    groups = merge_bins((first.entries, first.entries), (second.entries, second.entries))
    one, two = first.joined(groups), second.joined(groups)
    ndf = len(one.share) - 1
    if ndf < 1:
        return 0.0, 0, 1.0
    difference = (two.share - one.share)[:-1]
    covariance = (one.covariance + two.covariance)[:-1, :-1]
    value = float(difference @ np.linalg.pinv(covariance, hermitian=True) @ difference)
    return value, ndf, float(chi2_law.sf(value, ndf))


@dataclass(frozen=True)
class BinnedShare:
    """Share of rows with an outcome per bin [bins]; nan where there is no weight.

    Attributes:
        total: sum of weights.
        share: of it with the outcome.
        error: standard error, not zero where all rows or none have the outcome.
    """

    total: Reals
    share: Reals
    error: Reals


def binned_share(
    outcome: Reals, weight: Reals, event: Integers, bins: Integers, count: int
) -> BinnedShare:
    """Share of rows with an outcome in bins, the rows of one event taken together.

    Args:
        outcome: 0 or 1 [n].
        weight: [n].
        event: identity of the event [n].
        bins: bin of each row [n]; negative: in none.
        count: number of bins.
    """
    inside = bins >= 0
    at, weights = bins[inside], weight[inside]
    total = sums(at, weights, count)
    total = np.where(total > 0, total, np.nan)
    share = sums(at, weights * outcome[inside], count) / total
    known = np.where(np.isfinite(share), share, 0.0)[np.maximum(bins, 0)]
    variance = np.diag(covariance_by_event(bins, weight * (outcome - known), event, count))
    squares = sums(at, weights**2, count)
    entries = np.divide(total**2, squares, out=np.full(count, np.nan), where=squares > 0)
    # the sum of no deviations says nothing: one more row of either kind could have been there
    shrunk = (np.clip(share, 0, 1) * entries + 1) / (entries + 2)
    extreme = (share <= 0) | (share >= 1)
    square = np.where(extreme, shrunk * (1 - shrunk) / entries, variance / total**2)
    return BinnedShare(total, share, np.sqrt(square))
