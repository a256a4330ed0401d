"""Shares of categories in two weighted samples whose rows may share events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2 as chi2_law
from scipy.stats import norm

from gen2reco.validation.binned import LEAST_ENTRIES, merge_bins, sums
from gen2reco.validation.weighted import covariance_by_event, event_index

if TYPE_CHECKING:
    from gen2reco.validation.columns import Integers, Reals

ROUNDING = 1e-9
"""Errors and differences of shares below this are rounding of sums of weights."""


def share_error(share: Reals | float, scatter: Reals | float, entries: Reals | float) -> Reals:
    """Standard error of shares, not zero where all entries or none are counted.

    That such entries do not scatter says nothing: one more of either kind could have been there.

    Args:
        share: [k].
        scatter: standard error from the scatter of the entries [k].
        entries: effective number of all entries [k].
    """
    extreme = (share <= ROUNDING) | (share >= 1 - ROUNDING)
    return np.where(extreme, error_with_one_more(share, entries), scatter)


def error_with_one_more(share: Reals | float, entries: Reals | float) -> Reals:
    """Standard error of shares [k] if one more entry of either kind had been there."""
    shrunk = (np.clip(share, 0, 1) * entries + 1) / (entries + 2)
    return np.asarray(np.sqrt(shrunk * (1 - shrunk) / entries))


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
        """Standard errors [k], not zero for shares of 0 and 1."""
        scatter = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return share_error(self.share, scatter, self.together)

    @property
    def together(self) -> Reals:
        """Effective entries of all categories together, [k] times the same."""
        used = self.entries > 0
        squares = float(np.sum(self.share[used] ** 2 / self.entries[used]))
        return np.full(len(self.share), 1 / squares)

    def pulls(self, other: Shares) -> Reals:
        """Differences of the other one to this in standard errors [k].

        Where every event has the same mix, on both sides, shares are sure; they are then taken as
        those of independent rows.
        """
        difference = other.share - self.share
        difference = np.where(np.abs(difference) > ROUNDING, difference, 0.0)
        spread = np.hypot(self.error, other.error)
        alone = [error_with_one_more(one.share, one.together) for one in (self, other)]
        return difference / np.where(spread > ROUNDING, spread, np.hypot(*alone))

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
    sides; a category that one side lacks is tested by itself (see `joined_test`).
    """
    return joined_test(first, second, first.covariance + second.covariance)


def joined_test(
    first: Shares, second: Shares, covariance: Reals, least: float = LEAST_ENTRIES
) -> tuple[float, int, float]:
    """chi2 between two sets of shares whose difference has a known covariance.

    Neighbouring categories are joined until each has enough effective entries on both sides. That
    hides categories that one side lacks altogether: where the largest pull of those, corrected for
    the number of categories, is less likely than the chi2, it is the test.

    Args:
        first: one side.
        second: the other.
        covariance: of the difference of the shares [k, k].
        least: effective entries of a category on each side.

    Returns:
        chi2, its degrees of freedom, and the p-value; 0, 0, 1 where nothing can be tested.
    """
    groups = merge_bins((first.entries, first.entries), (second.entries, second.entries), least)
    ndf = int(groups.max())
    together = np.zeros((ndf + 1, len(groups)))
    together[groups, np.arange(len(groups))] = 1.0
    difference = (together @ (second.share - first.share))[:-1]
    spread = (together @ covariance @ together.T)[:-1, :-1]
    value = float(difference @ np.linalg.pinv(spread, hermitian=True) @ difference) if ndf else 0.0
    p = float(chi2_law.sf(value, ndf)) if ndf else 1.0
    lacking = (first.entries <= 0) != (second.entries <= 0)
    if lacking.any():
        pull = float(np.max(np.abs(first.pulls(second)[lacking])))
        alone = min(1.0, float(2 * norm.sf(pull)) * len(groups))
        if alone < p:
            return pull**2, 1, alone
    return value, ndf, p


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
    return BinnedShare(total, share, share_error(share, np.sqrt(variance) / total, entries))
