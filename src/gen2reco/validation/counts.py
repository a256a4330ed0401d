"""How many objects events have: shares of 0, 1, 2, 3 and more, and the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from gen2reco.errors import SampleError
from gen2reco.validation.object_records import Counts
from gen2reco.validation.records import Metric, Statistic
from gen2reco.validation.shares import shares_by_event, shares_test
from gen2reco.validation.weighted import event_index, quantile

if TYPE_CHECKING:
    from gen2reco.validation.samples import Reals, Tally

OPEN_END = 3
"""The last number that is told apart stands for itself and more."""
MOST_IN_OPEN_END = 0.25
"""Where more of FullSim would be in it, as with jets of busy events, it lies higher."""


def compare_counts(name: str, full: Tally, fast: Tally, label: str = "") -> Counts:
    """Compare the number of objects per event.

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
    top = _open_end(full, int(max(full.count.max(), fast.count.max())))
    one, two = (
        shares_by_event(np.minimum(t.count, top), t.weight, t.event, top + 1) for t in (full, fast)
    )
    value, ndf, p = shares_test(one, two)
    means = [_mean(tally) for tally in (full, fast)]
    ratio, error = _ratio(means[1], means[0])
    spread = float(np.hypot(means[0].error, means[1].error))
    pull = (means[1].value - means[0].value) / spread if spread > 0 else 0.0
    return Counts(
        name=name,
        label=label or name,
        values=tuple(float(k) for k in range(top + 1)),
        full=_row(one.share),
        full_error=_row(one.error),
        fast=_row(two.share),
        fast_error=_row(two.error),
        pulls=_row(one.pulls(two)),
        test=Statistic(value, p, ndf=ndf),
        mean_full=means[0],
        mean_fast=means[1],
        mean_ratio=Metric(ratio, error, 1.0),
        mean_p=float(2 * norm.sf(abs(pull))),
        events=(len(np.unique(full.event)), len(np.unique(fast.event))),
    )


def _open_end(full: Tally, highest: int) -> int:
    many = full.weight[full.count >= OPEN_END].sum() / full.weight.sum() > MOST_IN_OPEN_END
    if many:
        counts = full.count.astype(np.float64)
        return max(OPEN_END, int(quantile(counts, np.abs(full.weight), 0.95)))
    return max(min(OPEN_END, highest), 1)


def _mean(tally: Tally) -> Metric:
    total = tally.weight.sum()
    mean = float(tally.weight @ tally.count / total)
    (index,), events = event_index(tally.event)
    moved = np.bincount(index, tally.weight * (tally.count - mean), events) / total
    return Metric(mean, float(np.sqrt(np.sum(moved**2))))


def _ratio(fast: Metric, full: Metric) -> tuple[float, float]:
    if full.value <= 0:
        return float("nan"), float("nan")
    ratio = fast.value / full.value
    return ratio, float(np.hypot(fast.error, ratio * full.error) / full.value)


def _row(values: Reals) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
