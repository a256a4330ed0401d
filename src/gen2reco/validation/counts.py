"""How many objects events have: shares of 0, 1, 2, 3 and more, and the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from gen2reco.errors import SampleError
from gen2reco.validation.object_records import Counts
from gen2reco.validation.records import Metric, Statistic, to_row
from gen2reco.validation.shares import (
    ROUNDING,
    Shares,
    error_with_one_more,
    joined_test,
    shares_by_event,
    shares_test,
)
from gen2reco.validation.weighted import effective_entries, event_index, quantile

if TYPE_CHECKING:
    from gen2reco.validation.columns import Integers, Reals
    from gen2reco.validation.inputs import Counted, Tally

OPEN_END = 3
"""The last number that is told apart stands for itself and more."""
MOST_IN_OPEN_END = 0.25
"""Where more of FullSim would be in it, as with jets of busy events, it lies higher."""
LEAST_ENTRIES = 10.0
"""Effective events that a number needs on both sides, else it is joined with its neighbour."""


def compare_counts(name: str, full: Tally, fast: Tally, label: str = "") -> Counts:
    """Compare the number of objects per event of disjoint GEN events.

    Replicas of an event are taken together: they are correlated, and the error knows it.

    Args:
        name: what is counted.
        full: FullSim.
        fast: FastSim, from other GEN events.
        label: axis label.

    Raises:
        SampleError: a GEN event is on both sides.
    """
    shared = np.intersect1d(full.event, fast.event)
    if len(shared):
        raise SampleError(
            f"{len(shared)} GEN events of {name!r} are in FullSim and in FastSim; count the "
            "objects of disjoint events"
        )
    top = _open_end(full.count, full.weight, fast.count)
    one, two = (_shares(t.count, t.weight, t.event, top) for t in (full, fast))
    value, ndf, p = shares_test(one, two)
    means = [_mean(t.count, t.weight, t.event) for t in (full, fast)]
    ratio = means[1].value / means[0].value if means[0].value > 0 else float("nan")
    spread = float(np.hypot(means[0].error, means[1].error))
    pull = (means[1].value - means[0].value) / spread
    error = np.hypot(means[1].error, ratio * means[0].error)
    return Counts(
        name=name,
        label=label or name,
        values=tuple(float(k) for k in range(top + 1)),
        full=to_row(one.share),
        full_error=to_row(one.error),
        fast=to_row(two.share),
        fast_error=to_row(two.error),
        pulls=to_row(one.pulls(two)),
        test=Statistic(value, p, ndf=ndf),
        mean_full=means[0],
        mean_fast=means[1],
        mean_ratio=Metric(ratio, _relative(float(error), means[0].value), 1.0),
        mean_p=float(2 * norm.sf(abs(pull))),
        events=(len(np.unique(full.event)), len(np.unique(fast.event))),
    )


def compare_counts_of_the_same_events(name: str, counted: Counted, label: str = "") -> Counts:
    """Compare the number of objects per event on the same GEN events.

    Each event contributes FastSim's mean over its replicas minus FullSim, which has mean zero in
    closure. How busy the events are thus drops out, and smaller differences show.

    Args:
        name: what is counted.
        counted: FullSim and replicas of FastSim.
        label: axis label.
    """
    full, weight, event = np.asarray(counted.full), counted.weight, counted.event
    replicas = counted.fast.shape[1]
    every, repeated = counted.fast.ravel(), np.repeat(weight / replicas, replicas)
    events = np.repeat(event, replicas)
    top = _open_end(full, weight, every)
    one, two = _shares(full, weight, event, top), _shares(every, repeated, events, top)
    numbers = np.arange(top + 1)
    seen = (np.minimum(full, top)[:, None] == numbers).astype(np.float64)
    made = (np.minimum(counted.fast, top)[:, :, None] == numbers).mean(axis=1)
    total = weight.sum()
    covariance = _by_event((made - seen) * weight[:, None], event)
    value, ndf, p = joined_test(one, two, covariance / total**2, LEAST_ENTRIES)
    errors = np.sqrt(np.maximum(np.diag(covariance), 0)) / total
    means = [_mean(full, weight, event), _mean(every, repeated, events)]
    ratio = means[1].value / means[0].value if means[0].value > 0 else float("nan")
    mean_fast = counted.fast.mean(axis=1)
    moved = (mean_fast - full - (means[1].value - means[0].value)) * weight
    spread = _error_of_mean(moved, weight, event)
    pull = (means[1].value - means[0].value) / spread
    difference = two.share - one.share
    return Counts(
        name=name,
        label=label or name,
        values=tuple(float(k) for k in numbers),
        full=to_row(one.share),
        full_error=to_row(one.error),
        fast=to_row(two.share),
        fast_error=to_row(two.error),
        pulls=to_row(np.divide(difference, errors, out=np.zeros(top + 1), where=errors > 0)),
        test=Statistic(value, p, ndf=ndf),
        mean_full=means[0],
        mean_fast=means[1],
        mean_ratio=Metric(ratio, _relative(spread, means[0].value), 1.0),
        mean_p=float(2 * norm.sf(abs(pull))),
        events=(len(np.unique(event)), len(np.unique(event))),
        replicas=replicas,
    )


def _open_end(full: npt.NDArray[Any], weight: Reals, fast: npt.NDArray[Any]) -> int:
    many = weight[full >= OPEN_END].sum() / weight.sum() > MOST_IN_OPEN_END
    if many:
        return max(OPEN_END, int(quantile(full.astype(np.float64), np.abs(weight), 0.95)))
    return max(min(OPEN_END, int(max(full.max(), fast.max()))), 1)


def _shares(count: npt.NDArray[Any], weight: Reals, event: Integers, top: int) -> Shares:
    return shares_by_event(np.minimum(count, top).astype(np.int64), weight, event, top + 1)


def _mean(count: npt.NDArray[Any], weight: Reals, event: Integers) -> Metric:
    total = weight.sum()
    mean = float(weight @ count / total)
    return Metric(mean, _error_of_mean(weight * (count - mean), weight, event))


def _error_of_mean(moved: Reals, weight: Reals, event: Integers) -> float:
    """Error of a mean from what rows move it by; where all are alike, one more could be one off."""
    error = float(np.sqrt(_by_event(moved[:, None], event)[0, 0]) / weight.sum())
    if error > ROUNDING:
        return error
    return float(error_with_one_more(1.0, effective_entries(weight, event)))


def _by_event(terms: Reals, event: Integers) -> Reals:
    """Sum over events of the products of what an event's rows [n, k] sum to, [k, k]."""
    (index,), events = event_index(event)
    per_event = np.stack([np.bincount(index, column, events) for column in terms.T], axis=1)
    return np.asarray(per_event.T @ per_event)


def _relative(error: float, mean: float) -> float:
    return error / mean if mean > 0 else float("nan")
