"""The headline: one family of tests, Holm's correction, and a plain sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2 as chi2_law
from scipy.stats import norm

from gen2reco.validation.multiple import holm, tail_share
from gen2reco.validation.object_verdict import region_pull, worst_closure
from gen2reco.validation.records import Metric, Statistic
from gen2reco.validation.results import (
    Check,
    Classifier,
    CorrelationMatrix,
    Pit,
    Quantity,
    RateResult,
    ResponseProfile,
    Target,
)
from gen2reco.validation.shares import share_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.validation.columns import Reals
    from gen2reco.validation.inputs import Rate
    from gen2reco.validation.object_records import Counts, Efficiency
    from gen2reco.validation.settings import Targets


FAMILY = 8
"""Tests behind the headline, at most, beside one for each outcome."""


def enough_resplits(outcomes: int, level: float) -> int:
    """Re-splits that let a p-value out of them fail alone in the whole family.

    The smallest one that n re-splits can give is 1 / (n + 1), which Holm's correction multiplies by
    the number of tests.

    Args:
        outcomes: number of outcomes that are judged.
        level: family-wise error rate.
    """
    return math.ceil((FAMILY + outcomes) / level)


@dataclass(frozen=True)
class FloorRatios:
    """Floor ratios of all quantities, and of every re-split.

    Attributes:
        largest: the worst quantity's, with the null of the worst of all quantities.
        median: over quantities, with its null.
        largest_p: share of re-splits whose worst quantity is farther off.
        worst: name of the worst quantity.
    """

    largest: Metric
    median: Metric
    largest_p: float
    worst: str


def floor_ratios(quantities: Sequence[Quantity], null: Reals) -> FloorRatios | None:
    """Summarise floor ratios over quantities.

    The re-splits are the same for all quantities, so that the null of the worst one knows how the
    quantities go together.

    Args:
        quantities: those that have a floor ratio.
        null: their floor ratios in every re-split, [quantities, trials].

    Returns:
        The summary; None without quantities.
    """
    ratios = [q.floor_ratio for q in quantities if q.floor_ratio]
    if not ratios:
        return None
    values = np.array([r.value for r in ratios])
    worst = int(np.argmax(values))
    largest, median = np.max(null, axis=0), np.median(null, axis=0)
    return FloorRatios(
        largest=Metric(
            float(values[worst]),
            ratios[worst].error,
            float(np.median(largest)),
            float(np.quantile(largest, 0.95)),
        ),
        median=Metric(
            float(np.median(values)),
            float(np.std(median, ddof=1)),
            float(np.median(median)),
            float(np.quantile(median, 0.95)),
        ),
        largest_p=tail_share(float(values[worst]), largest),
        worst=title(quantities[worst]),
    )


def rate_result(name: str, rate: Rate) -> RateResult:
    """Compare a share that passes something, with binomial errors of weighted events."""
    shares, errors = [], []
    for (passed, total), squares in (
        (rate.full, rate.full_squared or rate.full),
        (rate.fast, rate.fast_squared or rate.fast),
    ):
        share = passed / total
        variance = squares[0] * (1 - share) ** 2 + (squares[1] - squares[0]) * share**2
        shares.append(share)
        scatter = np.sqrt(max(variance, 0.0)) / total
        errors.append(float(share_error(share, scatter, total**2 / squares[1])))
    if rate.errors:
        errors = list(rate.errors)
    pull = (shares[1] - shares[0]) / float(np.hypot(errors[0], errors[1]))
    return RateResult(
        name, shares[0], errors[0], shares[1], errors[1], pull, float(2 * norm.sf(abs(pull)))
    )


def title(quantity: Quantity) -> str:
    """How a quantity is called where quantities and responses stand together."""
    return f"{quantity.name} response" if quantity.group == "response" else quantity.name


def checks(
    quantities: Sequence[Quantity],
    ratios: FloorRatios | None,
    rates: Sequence[RateResult],
    *,
    classifier: Classifier | None,
    correlations: Sequence[CorrelationMatrix],
    responses: Sequence[ResponseProfile],
    coverage: Sequence[Pit],
    efficiencies: Sequence[Efficiency] = (),
    counts: Sequence[Counts] = (),
    level: float,
) -> tuple[Check, ...]:
    """Make the family of tests behind the headline, corrected by Holm."""
    family: list[Check] = []

    def add(name: str, value: Metric, p: float, worst: str) -> None:
        family.append(Check(name, value, p, p, agrees=True, worst=worst))

    if ratios:
        add("W1 of all quantities", ratios.largest, ratios.largest_p, ratios.worst)
    tested = [(title(q), q.ks) for q in quantities if q.ks]
    if tested:
        name, test = min(tested, key=lambda pair: pair[1].p)
        value = Metric(test.value, float("nan"), test.null, test.null_95)
        add("KS of all quantities", value, min(1.0, test.p_holm), name)
    _add_shares(add, quantities, rates, counts, [e for e in efficiencies if e.kind == "region"])
    copies = [q for q in quantities if q.kind == "copy" and q.equal]
    if copies:
        worst = min(copies, key=lambda q: q.equal[1] if q.equal else 1.0)
        assert worst.equal is not None
        add(
            "copies of GEN",
            Metric(worst.equal[1], 0.0, worst.equal[0], worst.equal[0]),
            1.0 if worst.agrees else 0.0,
            "" if worst.agrees else title(worst),
        )
    if classifier:
        add("C2ST excess", classifier.excess, classifier.p, "")
    spearman = [c for c in correlations if c.kind == "spearman"]
    if spearman:
        matrix = spearman[0]
        pair = " and ".join(name.replace("response:", "response of ") for name in matrix.pair)
        add("correlations (Spearman)", matrix.largest, matrix.p, pair)
    _add_responses(add, responses)
    _add_efficiencies(add, efficiencies)
    if coverage:
        pit = min(coverage, key=lambda c: c.test.p)
        add("coverage", pit.deviation, pit.test.p_holm, pit.name)
    assert len(family) <= FAMILY + len(efficiencies), "enough_resplits counts on it"
    corrected = holm([check.p for check in family])
    return tuple(
        Check(c.name, c.value, c.p, p, agrees=not p < level, worst=c.worst)
        for c, p in zip(family, corrected, strict=True)
    )


def targets(
    wanted: Targets,
    ratios: FloorRatios | None,
    classifier: Classifier | None,
    coverage: Sequence[Pit],
) -> tuple[Target, ...]:
    """Hold what was reached against what was asked."""
    found = []

    def most(name: str, value: float, limit: float) -> None:
        found.append(Target(name, value, limit, bool(value <= limit)))

    if ratios:
        most("median floor ratio", ratios.median.value, wanted.median_floor_ratio)
        most("largest floor ratio", ratios.largest.value, wanted.largest_floor_ratio)
    if classifier:
        most("C2ST excess", classifier.excess.value, wanted.excess)
    if coverage:
        most("largest decile deviation", max(c.deviation.value for c in coverage), wanted.decile)
        p = min(c.test.p_holm for c in coverage)
        found.append(
            Target(
                "smallest coverage p (Holm), at least", p, wanted.coverage_p, p >= wanted.coverage_p
            )
        )
    return tuple(found)


def headline(
    family: Sequence[Check], quantities: Sequence[Quantity], events: tuple[int, int], level: float
) -> tuple[str, bool]:
    """The verdict in one plain sentence, and whether FastSim agrees."""
    failed = [check for check in family if not check.agrees]
    size = (
        f"{len(quantities)} quantities and responses, {events[0]} + {events[1]} events, "
        f"family-wise level {level:.0%}"
    )
    if not failed:
        sentence = (
            f"FastSim cannot be told from FullSim: none of {len(family)} tests fails ({size})."
        )
        return sentence, True
    parts = []
    for check in failed:
        error = f" ± {check.value.error:.2g}" if check.value.error > 0 else ""
        worst = f"{check.worst} " if check.worst else ""
        parts.append(f"{check.name} ({worst}{check.value.value:.3g}{error})")
    sentence = (
        f"FastSim can be told from FullSim: {len(failed)} of {len(family)} tests "
        f"{'fails' if len(failed) == 1 else 'fail'}: {'; '.join(parts)} ({size})."
    )
    return sentence, False


def _add_shares(  # type: ignore[no-untyped-def]
    add,
    quantities: Sequence[Quantity],
    rates: Sequence[RateResult],
    counts: Sequence[Counts],
    regions: Sequence[Efficiency],
) -> None:
    found = [(f"share passing {r.name}", r.pull, r.p) for r in rates]
    found += [(f"share in {r.name}", region_pull(r), r.overall[0].p) for r in regions]
    for c in counts:
        found.append((f"shares of {c.name}", max(c.pulls, key=abs), c.test.p))
        means = c.mean_full, c.mean_fast
        if c.mean_ratio.error > 0:
            pull = (c.mean_ratio.value - 1) / c.mean_ratio.error
            found.append((f"mean of {c.name}", pull, c.mean_p))
        elif means[1].value > 0:  # and none in FullSim, so that there is no ratio
            pull = means[1].value / float(np.hypot(means[0].error, means[1].error))
            found.append((f"mean of {c.name}", pull, c.mean_p))
    for q in quantities:
        if q.categories:
            found.append(
                (f"shares of {q.name}", max(q.categories.pulls, key=abs), q.categories.test.p)
            )
        if q.missing_pull:
            pull = q.missing_pull
            found.append((f"rows without {title(q)}", pull, float(2 * norm.sf(abs(pull)))))
    if found:
        corrected = holm([p for _, _, p in found])
        i = int(np.argmin(corrected))
        add(
            "shares (in standard errors)",
            Metric(found[i][1], 1.0, 0.0, 1.96),
            corrected[i],
            found[i][0],
        )


def _add_efficiencies(add, efficiencies: Sequence[Efficiency]) -> None:  # type: ignore[no-untyped-def]
    for outcome in efficiencies:
        where, test = worst_closure(outcome)
        if test:
            name = f"closure of {outcome.name} (chi2/ndf)"
            add(name, _per_degree(test), test.p_holm, where)


def _add_responses(add, responses: Sequence[ResponseProfile]) -> None:  # type: ignore[no-untyped-def]
    found: list[tuple[ResponseProfile, str, Statistic]] = []
    for r in responses:
        found += [(r, "scale", r.scale), (r, "resolution", r.resolution)]
    if found:
        corrected = holm([test.p for *_, test in found])
        i = int(np.argmin(corrected))
        r, what, test = found[i]
        add(
            "response scale and resolution (chi2/ndf)",
            _per_degree(test),
            corrected[i],
            f"{what} of {r.name} against {r.by}",
        )


def _per_degree(test: Statistic) -> Metric:
    """A chi2 over its degrees of freedom, with the limit of 5 %."""
    limit = float(chi2_law.isf(0.05, test.ndf)) / test.ndf
    return Metric(test.value / test.ndf, float("nan"), 1.0, limit)
