"""The verdict on one quantity: distances to FullSim with errors, nulls and references."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import chi2 as chi2_law
from scipy.stats import norm

from gen2reco.errors import SampleError
from gen2reco.validation import binned
from gen2reco.validation.distances import (
    kolmogorov,
    w2_squared,
    wasserstein,
)
from gen2reco.validation.multiple import holm, tail_share
from gen2reco.validation.records import Metric, Statistic
from gen2reco.validation.resplits import Sides, Trials, bootstrap
from gen2reco.validation.results import Categories, Quantity, Reference
from gen2reco.validation.shares import shares_by_event, shares_test
from gen2reco.validation.weighted import (
    design_effect,
    effective_entries,
    event_index,
    half_width,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.validation.columns import Flags, Integers, Reals
    from gen2reco.validation.samples import Sample
    from gen2reco.validation.settings import Settings

COPY_WIDTH = 1e-6
"""A response that varies less than this in FullSim is a copy of GEN."""
COPY_TOLERANCE = 1e-5
"""A FastSim copy may differ by the rounding of single precision."""
MOST_CATEGORIES = 20
LEAST_KNOWN = 20
"""Events with a value that a distribution needs on each side: with fewer, random halves lack it."""
NOWHERE, TOO_FEW = "no events", "too few values"
"""Verdicts on quantities whose distribution cannot be judged."""


@dataclass(frozen=True)
class Comparison:
    """FullSim and FastSim in equal numbers of events, with everything that all quantities share.

    Attributes:
        full: all FullSim rows.
        first: FullSim's rows that stand against FastSim.
        fast: FastSim's rows.
        other: FullSim's other half: the null.
        sides: re-splits of `full`, [trials, n].
        null: the same as signed weights.
        boots: bootstraps of `first` and `fast`, whose rows follow each other.
        settings: sizes and seeds.
        references: other samples in FastSim's place, by name.
    """

    full: Sample
    first: Sample
    fast: Sample
    other: Sample
    sides: Sides
    null: Trials
    boots: Trials
    settings: Settings
    references: Mapping[str, Sample] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        full: Sample,
        pair: tuple[Sample, Sample],
        *,
        other: Sample,
        sides: Sides,
        settings: Settings,
        references: Mapping[str, Sample],
    ) -> Comparison:
        """Draw the bootstraps of a pair, FullSim and FastSim, once for all quantities."""
        first, fast = pair
        rng = np.random.default_rng([settings.seed, 3])
        one = bootstrap(first.event, settings.bootstraps, rng)
        two = bootstrap(fast.event, settings.bootstraps, rng)
        boots = Trials(
            np.concatenate([one, np.zeros_like(two)], axis=1),
            np.concatenate([np.zeros_like(one), two], axis=1),
            np.concatenate([first.weight, fast.weight]),
        )
        null = Trials.of_sides(sides, full.weight)
        return cls(full, first, fast, other, sides, null, boots, settings, references)

    @cached_property
    def clustered(self) -> bool:
        """Whether events have several rows, as with one row per object."""
        return len(np.unique(self.first.event)) < len(self.first)


@dataclass(frozen=True)
class Judged:
    """A quantity's verdict and its floor ratio in every re-split, for family-wise limits."""

    quantity: Quantity
    null_ratios: Reals


def judge(key: str, name: str, label: str, comparison: Comparison) -> Judged:
    """Judge one column of the samples.

    Args:
        key: name among `Sample.columns`.
        name: name in the study.
        label: axis label.
        comparison: the samples.
    """
    first, fast, full = (
        s.columns[key] for s in (comparison.first, comparison.fast, comparison.full)
    )
    there, there_fast = np.isfinite(first), np.isfinite(fast)
    missing, pull = _missing(comparison, there, there_fast)
    quantity = Quantity(
        name=name,
        group="response" if key != name else "quantity",
        kind="continuous",
        label=label,
        rows=(int(there.sum()), int(there_fast.sum())),
        missing=missing,
        missing_pull=pull,
        width=half_width(first, comparison.first.weight),
    )
    none = np.full(len(comparison.sides), np.nan)
    if not there.any() or not there_fast.any():
        word = NOWHERE if there.any() == there_fast.any() else "only on one side"
        return Judged(replace(quantity, agrees=word == NOWHERE, word=word), none)
    values = full[np.isfinite(full)]
    known = np.unique(np.concatenate([values, fast[there_fast]]))
    discrete = len(known) <= MOST_CATEGORIES and bool(np.all(known == np.round(known)))
    constant = np.ptp(values) <= COPY_WIDTH * max(1.0, abs(float(values[0])))
    # a rare flag may be off in all of FullSim, which makes it no copy
    if constant and not (discrete and len(known) > 1 and quantity.group == "quantity"):
        return Judged(_copy(quantity, float(np.median(values)), comparison, first, fast), none)
    if discrete:
        return Judged(_discrete(quantity, known, comparison, first, fast), none)
    events = comparison.first.event[there], comparison.fast.event[there_fast]
    if min(len(np.unique(event)) for event in events) < LEAST_KNOWN:
        return Judged(replace(quantity, word=TOO_FEW), none)
    try:
        return _continuous(quantity, key, comparison)
    except SampleError as error:
        raise SampleError(f"{key}: {error}") from error


def _continuous(quantity: Quantity, key: str, comparison: Comparison) -> Judged:
    settings = comparison.settings
    first, fast, full = (
        s.columns[key] for s in (comparison.first, comparison.fast, comparison.full)
    )
    weights = comparison.first.weight, comparison.fast.weight
    a, b = np.isfinite(first), np.isfinite(fast)
    w1 = wasserstein(first[a], fast[b], weights[0][a], weights[1][b])
    boot_w1, _ = comparison.boots.differences(np.concatenate([first, fast]))
    null_w1, null_ks = comparison.null.differences(full)
    floor = float(np.median(null_w1))
    error = float(np.std(boot_w1, ddof=1))
    limit = float(np.quantile(null_w1, 0.95))
    entries = (
        _independent(first[a], weights[0][a], comparison.first.event[a]),
        _independent(fast[b], weights[1][b], comparison.fast.event[b]),
    )
    ks, ks_p = kolmogorov(first[a], fast[b], weights[0][a], weights[1][b], entries)
    chi2, apart = _binned(first, fast, full, comparison)
    signed = bool(np.any(weights[0] < 0) or np.any(weights[1] < 0))
    w2 = None
    if settings.w2 and not signed:
        w2 = Metric(
            w2_squared(first[a], fast[b], weights[0][a], weights[1][b]), *_w2(full, comparison)
        )
    width = quantity.width
    judged = replace(
        quantity,
        w1=Metric(w1, error, floor, limit),
        relative_w1=Metric(w1 / width, error / width, floor / width, limit / width)
        if width > 0
        else None,
        floor_ratio=Metric(w1 / floor, error / floor, 1.0, limit / floor) if floor > 0 else None,
        w1_p=tail_share(w1, null_w1),
        ks=Statistic(
            ks,
            ks_p,
            null=float(np.median(null_ks)),
            null_95=float(np.quantile(null_ks, 0.95)),
        ),
        chi2=chi2,
        separation=apart,
        w2=w2,
        references=_references(first[a], weights[0][a], key, comparison, floor),
    )
    return Judged(judged, null_w1 / floor if floor > 0 else np.full(len(null_w1), np.nan))


def _independent(values: Reals, weight: Reals, event: Integers) -> float:
    """Effective number of independent rows, as the cumulated distribution sees them."""
    cuts = np.quantile(values, np.arange(1, 10) / 10)
    below = values[:, None] <= cuts
    moved = weight[:, None] * (below - weight @ below / weight.sum())
    rows = effective_entries(weight, np.arange(len(weight)))
    return rows / design_effect(moved, event)


def _references(
    first: Reals, weight: Reals, key: str, comparison: Comparison, floor: float
) -> dict[str, Reference]:
    found = {}
    others = {"FullSim, other half": comparison.other, **comparison.references}
    for name, sample in others.items():
        values = sample.columns.get(key)
        if values is None or not np.isfinite(values).any():
            continue
        b = np.isfinite(values)
        w1 = wasserstein(first, values[b], weight, sample.weight[b])
        ks = kolmogorov(first, values[b], weight, sample.weight[b])[0]
        found[name] = Reference(w1, w1 / floor if floor > 0 else float("nan"), ks)
    return found


def _binned(
    first: Reals, fast: Reals, full: Reals, comparison: Comparison
) -> tuple[Statistic, Metric | None]:
    """chi2 and separation on merged bins, with the null from re-splits."""
    settings = comparison.settings
    a, b = comparison.first, comparison.fast
    edges = binned.distribution_edges(first, a.weight, settings.bins)
    # what lies outside the drawn range counts as well
    edges = np.concatenate([[-np.inf], edges, [np.inf]])
    one = binned.histogram(first, a.weight, a.event, edges)
    two = binned.histogram(fast, b.weight, b.event, edges)
    groups = binned.merge_bins(one, two)
    one, two = ((binned.merged(h[0], groups), binned.merged(h[1], groups)) for h in (one, two))
    value, ndf, p = binned.chi2_test(one, two)
    if ndf == 0:
        return Statistic(float("nan"), float("nan")), None
    # an event's rows are always on one side, so its sums per bin can be made once for all trials
    bins = binned.bin_index(full, edges)
    rows = np.flatnonzero(bins >= 0)
    (index,), _ = event_index(comparison.full.event[rows])
    count = int(groups.max()) + 1
    cells, at, where = np.unique(
        index * count + groups[bins[rows]], return_index=True, return_inverse=True
    )
    sums = np.bincount(where, comparison.full.weight[rows], len(cells))
    group, row = cells % count, rows[at]
    place = (group, np.arange(len(cells)))
    fill = csr_array((sums, place), shape=(count, len(cells)))
    spread = csr_array((sums**2, place), shape=(count, len(cells)))
    on_first, on_second = (
        np.ascontiguousarray(counts[:, row].T.astype(np.float64))
        for counts in (comparison.null.first, comparison.null.second)
    )
    tables = (
        [(fill @ on).T for on in (on_first, on_second)],
        [(spread @ on).T for on in (on_first, on_second)],
    )
    null_chi2, null_apart = [], []
    for one_trial, two_trial, one_spread, two_spread in zip(*tables[0], *tables[1], strict=True):
        null_chi2.append(
            binned.chi2_value((one_trial, one_spread), (two_trial, two_spread))[0] / ndf
        )
        null_apart.append(binned.separation(one_trial, two_trial))
    if comparison.clustered:
        # sums per event know the number of events, which shapes do not: scaled to the null
        scale = float(np.median(null_chi2)) * ndf / chi2_law.median(ndf)
        p = float(chi2_law.sf(value / scale, ndf))
    test = Statistic(
        value,
        p,
        ndf=ndf,
        null=float(np.median(null_chi2)),
        null_95=float(np.quantile(null_chi2, 0.95)),
    )
    apart = Metric(
        binned.separation(one[0], two[0]),
        float(np.std(null_apart, ddof=1)),
        float(np.median(null_apart)),
        float(np.quantile(null_apart, 0.95)),
    )
    return test, apart


def _w2(full: Reals, comparison: Comparison) -> tuple[float, float, float]:
    null = []
    weight = comparison.full.weight
    there = np.isfinite(full)
    for side in comparison.sides[:50]:
        one, two = (side == 1) & there, (side == -1) & there
        null.append(w2_squared(full[one], full[two], weight[one], weight[two]))
    return float(np.std(null, ddof=1)), float(np.median(null)), float(np.quantile(null, 0.95))


def _copy(
    quantity: Quantity, constant: float, comparison: Comparison, first: Reals, fast: Reals
) -> Quantity:
    shares = []
    for values, sample in ((first, comparison.first), (fast, comparison.fast)):
        there = np.isfinite(values)
        near = np.abs(values - constant) <= COPY_TOLERANCE * max(1.0, abs(constant))
        # counted without weights: a copy holds in every row or it does not hold
        shares.append(float(np.mean(near[there])) if len(sample) else float("nan"))
    equal = shares[1] == 1.0
    return replace(
        quantity,
        kind="copy",
        equal=(shares[0], shares[1]),
        agrees=equal,
        word="equal" if equal else "not equal",
    )


def _discrete(
    quantity: Quantity, known: Reals, comparison: Comparison, first: Reals, fast: Reals
) -> Quantity:
    edges = np.concatenate([[-np.inf], 0.5 * (known[1:] + known[:-1]), [np.inf]])
    one, two = (
        shares_by_event(binned.bin_index(values, edges), sample.weight, sample.event, len(known))
        for values, sample in ((first, comparison.first), (fast, comparison.fast))
    )
    pulls = one.pulls(two)
    if len(known) == 2:  # a flag has one free share; its pull is the test
        value, ndf, p = float(pulls[1] ** 2), 1, float(2 * norm.sf(abs(pulls[1])))
    else:
        value, ndf, p = shares_test(one, two)
    test = Statistic(value, p, ndf=ndf)
    return replace(
        quantity,
        kind="discrete",
        chi2=test,
        categories=Categories(
            tuple(known.tolist()),
            tuple(one.share.tolist()),
            tuple(two.share.tolist()),
            tuple(pulls.tolist()),
            test,
        ),
    )


def _missing(
    comparison: Comparison, there: Flags, there_fast: Flags
) -> tuple[tuple[float, float], float]:
    one, two = (
        shares_by_event((~mask).astype(np.int64), sample.weight, sample.event, 2)
        for mask, sample in ((there, comparison.first), (there_fast, comparison.fast))
    )
    return (float(one.share[1]), float(two.share[1])), float(one.pulls(two)[1])


def correct_families(quantities: list[Quantity], limit: float, level: float) -> list[Quantity]:
    """Apply Holm's correction over all quantities and say the verdict on each.

    Args:
        quantities: as judged one by one.
        limit: floor ratio that 95 % of the re-splits stay below in every quantity at once.
        level: family-wise error rate.
    """
    ks_p = holm([q.ks.p if q.ks else float("nan") for q in quantities])
    chi2_p = holm([q.chi2.p if q.chi2 else float("nan") for q in quantities])
    return [
        _said(q, limit, level, ks_holm, chi2_holm)
        for q, ks_holm, chi2_holm in zip(quantities, ks_p, chi2_p, strict=True)
    ]


def _said(
    quantity: Quantity, limit: float, level: float, ks_holm: float, chi2_holm: float
) -> Quantity:
    agrees, word = quantity.agrees, quantity.word
    if word == "":
        if quantity.kind == "continuous":
            ratio = quantity.floor_ratio.value if quantity.floor_ratio else float("nan")
            agrees = not (ratio > limit or ks_holm < level)
        else:
            agrees = not chi2_holm < level
        word = "agrees" if agrees else "differs"
    return replace(
        quantity,
        ks=replace(quantity.ks, p_holm=ks_holm) if quantity.ks else None,
        chi2=replace(quantity.chi2, p_holm=chi2_holm) if quantity.chi2 else None,
        agrees=agrees,
        word=word,
    )
