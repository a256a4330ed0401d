"""Outcomes of GEN rows, found or not, tagged or not: does FastSim give them as often as FullSim?

Both sides hold the same GEN rows, so each row contributes its observed outcome minus the expected
one. In closure these residuals have mean zero, whatever the efficiency does inside a bin, and what
they scatter by follows from the expected probability; that objects of one event influence each
other is measured from their sums per event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2 as chi2_law
from scipy.stats import norm

from gen2reco.validation.binned import bin_index, merge_bins, quantile_edges, sums
from gen2reco.validation.multiple import holm
from gen2reco.validation.object_records import (
    Efficiency,
    EfficiencyCurve,
    OverallRate,
    Reliability,
)
from gen2reco.validation.records import Metric, Statistic, to_row
from gen2reco.validation.shares import BinnedShare, binned_share
from gen2reco.validation.weighted import covariance_by_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gen2reco.validation.columns import Flags, Integers, Reals
    from gen2reco.validation.inputs import Outcome
    from gen2reco.validation.settings import Settings

ALL = "all"
"""Name of the group of all rows."""
LEAST_EXPECTED = 10.0
"""Effective rows of either answer that a bin of the closure test is expected to have."""
LEAST_ROWS = 20
"""Rows that a curve needs to be drawn at all."""
RELIABILITY_BINS = 8
LEAST_IN_BIN = 50
"""Rows that a bin of predicted probability needs."""
TOYS = 200
"""Right predictions that are played for the null of the calibration error."""
WELL_MEASURED = 1 / 3
"""A bin has the statistics where the error of its ratio is below this share of the tolerance."""


@dataclass(frozen=True)
class _Rows:
    """Rows of one group, [n] each.

    Attributes:
        observed: outcome in FullSim, 0 or 1.
        expected: outcome in FastSim: a probability, or the mean of draws.
        scatter: variance of observed minus expected in closure.
        noise: variance of the expected one, given the GEN row.
        weight: event weight.
        event: identity of the event.
    """

    observed: Reals
    expected: Reals
    scatter: Reals
    noise: Reals
    weight: Reals
    event: Integers

    @classmethod
    def of(cls, outcome: Outcome) -> _Rows:
        observed = outcome.full.astype(np.float64)
        if outcome.probability is not None:
            expected = outcome.probability
            scatter, noise = expected * (1 - expected), np.zeros(len(expected))
        else:
            assert outcome.fast is not None
            replicas = outcome.fast.shape[1]
            expected = outcome.fast.mean(axis=1)
            if replicas > 1:
                binomial = expected * (1 - expected) * replicas / (replicas - 1)
                scatter, noise = binomial * (1 + 1 / replicas), binomial / replicas
            else:  # one draw says nothing on its own scatter
                scatter = (observed - expected) ** 2
                noise = scatter / 2
        return cls(observed, expected, scatter, noise, outcome.weight, outcome.event)

    def take(self, mask: Flags) -> _Rows:
        return _Rows(
            self.observed[mask],
            self.expected[mask],
            self.scatter[mask],
            self.noise[mask],
            self.weight[mask],
            self.event[mask],
        )

    @property
    def residual(self) -> Reals:
        """Weighted expected minus observed."""
        return self.weight * (self.expected - self.observed)

    def covariance(self, bins: Integers, count: int) -> Reals:
        """Covariance of the residuals' sums per bin in closure, [count, count].

        A row's own variance is the expected one, which does not depend on what was observed: with
        few failures the observed one is small just where failures lack. Products of different rows
        of an event are taken as observed.
        """
        inside = bins >= 0
        own = (self.weight**2 * self.scatter - self.residual**2)[inside]
        together = covariance_by_event(bins, self.residual, self.event, count)
        return together + np.diag(sums(bins[inside], own, count))


def judge_outcome(
    name: str,
    outcome: Outcome,
    settings: Settings,
    label: Callable[[str], str] = str,
) -> Efficiency:
    """Compare how often an outcome happens: overall, against GEN quantities, and by probability.

    Args:
        name: the outcome.
        outcome: FullSim and FastSim on the same GEN rows.
        settings: number of bins, tolerance of the ratio, seed.
        label: axis label of a GEN quantity.

    Returns:
        Shares and curves for all rows and for every group, the p-values corrected (Holm) over the
        curves and the reliability together.
    """
    everything = _Rows.of(outcome)
    groups = {ALL: np.ones(len(outcome.weight), np.bool_), **outcome.groups}
    overall = tuple(
        _overall(group, everything.take(mask)) for group, mask in groups.items() if mask.any()
    )
    curves = list(_curves(outcome, everything, groups, settings, label))
    reliability = None
    if outcome.probability is not None and len(everything.observed) >= LEAST_ROWS:
        reliability = _reliability(everything, settings.seed)
    tests = [curve.test.p for curve in curves] + ([reliability.test.p] if reliability else [])
    corrected = holm(tests)
    curves = [
        replace(curve, test=replace(curve.test, p_holm=p))
        for curve, p in zip(curves, corrected, strict=False)
    ]
    if reliability:
        reliability = replace(reliability, test=replace(reliability.test, p_holm=corrected[-1]))
    drawn = outcome.fast is not None and outcome.probability is None
    replicas = outcome.fast.shape[1] if drawn and outcome.fast is not None else 0
    return Efficiency(name, outcome.kind, overall, tuple(curves), reliability, replicas)


def _overall(group: str, rows: _Rows) -> OverallRate:
    bins = np.zeros(len(rows.observed), np.int64)
    full, fast = _shares(rows, bins, 1)
    ratio, error = _ratio(rows, bins, full, fast)
    spread = float(_error(rows, bins, full)[0])
    pull = float(fast[0] - full.share[0]) / spread if spread > 0 else 0.0
    return OverallRate(
        group=group,
        rows=len(rows.observed),
        full=float(full.share[0]),
        full_error=float(full.error[0]),
        fast=float(fast[0]),
        fast_error=float(_noise(rows, bins, full.total)[0]),
        ratio=Metric(float(ratio[0]), float(error[0]), 1.0),
        p=float(2 * norm.sf(abs(pull))),
    )


def _curves(
    outcome: Outcome,
    everything: _Rows,
    groups: dict[str, Flags],
    settings: Settings,
    label: Callable[[str], str],
) -> Iterator[EfficiencyCurve]:
    for by, axis in outcome.bins.items():
        there = np.isfinite(axis)
        if there.sum() < LEAST_ROWS or np.ptp(axis[there]) == 0:
            continue
        for group, mask in groups.items():
            rows = mask & there
            if rows.sum() >= LEAST_ROWS:
                edges = axis_edges(axis[rows], settings.response_bins)
                curve = _curve(everything.take(rows), axis[rows], edges, settings)
                yield replace(curve, by=by, by_label=label(by), group=group)


def axis_edges(values: Reals, bins: int) -> Reals:
    """Edges of equal population; between the numbers where there are few whole ones."""
    known = np.unique(values)
    if len(known) <= bins and np.all(known == np.round(known)):
        inner = 0.5 * (known[1:] + known[:-1])
        return np.concatenate([[known[0] - 0.5], inner, [known[-1] + 0.5]])
    return quantile_edges(values, bins)


def _curve(rows: _Rows, axis: Reals, edges: Reals, settings: Settings) -> EfficiencyCurve:
    count = len(edges) - 1
    bins = bin_index(axis, edges)
    full, fast = _shares(rows, bins, count)
    ratio, error = _ratio(rows, bins, full, fast)
    return EfficiencyCurve(
        by="",
        by_label="",
        group="",
        edges=to_row(edges),
        rows=tuple(int(n) for n in np.bincount(bins[bins >= 0], minlength=count)),
        full=to_row(full.share),
        full_error=to_row(full.error),
        fast=to_row(fast),
        fast_error=to_row(_noise(rows, bins, full.total)),
        ratio=to_row(ratio),
        ratio_error=to_row(error),
        test=_closure_test(rows, bins, count),
        largest=_largest(ratio, error, settings.targets.efficiency),
        judged=int(np.sum(error <= WELL_MEASURED * settings.targets.efficiency)),
    )


def _shares(rows: _Rows, bins: Integers, count: int) -> tuple[BinnedShare, Reals]:
    """Shares of FullSim with their errors, and shares of FastSim, per bin."""
    full = binned_share(rows.observed, rows.weight, rows.event, bins, count)
    inside = bins >= 0
    fast = sums(bins[inside], (rows.weight * rows.expected)[inside], count) / full.total
    return full, fast


def _ratio(rows: _Rows, bins: Integers, full: BinnedShare, fast: Reals) -> tuple[Reals, Reals]:
    """FastSim over FullSim and its error, per bin; nan where FullSim has none."""
    share = np.where(full.share > 0, full.share, np.nan)
    return fast / share, _error(rows, bins, full) / share


def _error(rows: _Rows, bins: Integers, full: BinnedShare) -> Reals:
    """Error of FastSim's share minus FullSim's, per bin."""
    count = len(full.share)
    variance = np.maximum(np.diag(rows.covariance(bins, count)), 0.0)
    inside = bins >= 0
    at, weight, expected = bins[inside], rows.weight[inside], rows.expected[inside]
    fewest = np.min(
        [
            sums(at, weight * p, count) ** 2 / np.maximum(sums(at, weight**2 * p, count), 1e-300)
            for p in (expected, 1 - expected)
        ],
        axis=0,
    )
    # where FastSim hardly ever gives an answer, it cannot say how much that scatters
    return np.where(
        fewest < LEAST_EXPECTED,
        np.hypot(full.error, _noise(rows, bins, full.total)),
        np.sqrt(variance) / full.total,
    )


def _noise(rows: _Rows, bins: Integers, total: Reals) -> Reals:
    inside = bins >= 0
    return np.sqrt(sums(bins[inside], (rows.weight**2 * rows.noise)[inside], len(total))) / total


def _closure_test(rows: _Rows, bins: Integers, count: int) -> Statistic:
    """chi2 of the residuals over bins joined until both answers are expected often enough."""
    inside = bins >= 0
    at, weight, expected = bins[inside], rows.weight[inside], rows.expected[inside]
    yes, no = (
        (sums(at, weight * share, count), sums(at, weight**2 * share, count))
        for share in (expected, 1 - expected)
    )
    groups = merge_bins(yes, no, LEAST_EXPECTED)
    together = np.zeros((int(groups.max()) + 1, count))
    together[groups, np.arange(count)] = 1.0
    for content, variance in (yes, no):
        if np.any((together @ content) ** 2 < LEAST_EXPECTED * (together @ variance)):
            return Statistic(float("nan"), float("nan"))
    difference = together @ sums(at, rows.residual[inside], count)
    spread = together @ rows.covariance(bins, count) @ together.T
    if np.linalg.eigvalsh(spread)[0] <= 1e-9 * np.trace(spread):
        # products of rows of few events can outweigh the rest: without them
        spread = np.diag(together @ sums(at, (rows.weight**2 * rows.scatter)[inside], count))
    if np.any(np.diag(spread) <= 0):
        return Statistic(float("nan"), float("nan"))
    value = float(difference @ np.linalg.solve(spread, difference))
    return Statistic(value, float(chi2_law.sf(value, len(spread))), ndf=len(spread))


def _largest(ratio: Reals, error: Reals, tolerance: float) -> Metric:
    measured = np.flatnonzero(error <= WELL_MEASURED * tolerance)
    if len(measured) == 0:
        return Metric(float("nan"))
    worst = measured[np.argmax(np.abs(ratio[measured] - 1))]
    return Metric(float(abs(ratio[worst] - 1)), float(error[worst]), 0.0)


def _reliability(rows: _Rows, seed: int) -> Reliability:
    edges = _probability_edges(rows.expected)
    count = len(edges) - 1
    bins = bin_index(rows.expected, edges)
    full, predicted = _shares(rows, bins, count)
    share = full.total / np.nansum(full.total)

    def calibration(values: Reals) -> float:
        return float(np.nansum(share * np.abs(values - predicted)))

    rng = np.random.default_rng([seed, 19])
    null = []
    for _ in range(TOYS):
        played = rng.random(len(bins)) < rows.expected
        null.append(calibration(sums(bins, rows.weight * played, count) / full.total))
    return Reliability(
        edges=to_row(edges),
        rows=tuple(int(n) for n in np.bincount(bins, minlength=count)),
        predicted=to_row(predicted),
        observed=to_row(full.share),
        error=to_row(np.sqrt(np.maximum(np.diag(rows.covariance(bins, count)), 0)) / full.total),
        test=_closure_test(rows, bins, count),
        calibration=Metric(
            calibration(full.share),
            float(np.std(null, ddof=1)),
            float(np.median(null)),
            float(np.quantile(null, 0.95)),
        ),
    )


def _probability_edges(probability: Reals) -> Reals:
    """Bins of 0.1, and of equal population where most rows are; each with enough rows."""
    low, high = float(probability.min()), float(probability.max())
    if not high > low:
        return np.array([low - 1e-9, high + 1e-9])
    populated = np.quantile(probability, np.arange(1, RELIABILITY_BINS) / RELIABILITY_BINS)
    inner = np.union1d(populated, np.arange(1, 10) / 10)
    edges = [low]
    below = np.searchsorted(np.sort(probability), [*inner, high], side="left")
    taken = 0
    for edge, count in zip(inner, below[:-1], strict=True):
        if count - taken >= LEAST_IN_BIN and below[-1] - count >= LEAST_IN_BIN:
            edges.append(float(edge))
            taken = count
    return np.array([*edges, high])
