"""Compare FullSim with FastSim: every metric with its error and its null."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import SampleError, nearest
from gen2reco.validation import verdict
from gen2reco.validation.classifier import Columns, c2st
from gen2reco.validation.correlations import compare_correlations
from gen2reco.validation.counts import compare_counts, compare_counts_of_the_same_events
from gen2reco.validation.coverage import judge_coverage
from gen2reco.validation.efficiency import judge_outcome
from gen2reco.validation.inputs import Closure, Counted, Coverage, Outcome, Rate, Tally
from gen2reco.validation.labels import Labels
from gen2reco.validation.object_verdict import object_targets
from gen2reco.validation.oversampling import gains
from gen2reco.validation.pairing import check, equal_sizes, identity
from gen2reco.validation.quantities import (
    COPY_TOLERANCE,
    Comparison,
    correct_families,
    judge,
)
from gen2reco.validation.records import Metric
from gen2reco.validation.remarks import left_out, notes_on
from gen2reco.validation.resplits import thin
from gen2reco.validation.response import Side, profile
from gen2reco.validation.results import (
    Assessment,
    Classifier,
    CorrelationMatrix,
    Distribution,
    Picture2D,
    Quantity,
    ResponseProfile,
)
from gen2reco.validation.samples import Sample, response_key
from gen2reco.validation.settings import Settings
from gen2reco.validation.shapes import (
    Sides,
    kinds_of,
    picture,
    picture_edges,
    quantity_distribution,
    residual_distributions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.validation.columns import Flags
    from gen2reco.validation.object_records import Matching

log = logging.getLogger(__name__)

IDENTITY = "GEN taken as RECO"


def assess(
    full: Sample,
    half: Any,
    fast: Sample | Sequence[Sample],
    *,
    coverage: Coverage | None = None,
    closure: Closure | None = None,
    rates: Mapping[str, Rate] | None = None,
    outcomes: Mapping[str, Outcome] | None = None,
    counts: Mapping[str, Counted | tuple[Tally, Tally]] | None = None,
    matching: Matching | None = None,
    references: Mapping[str, Sample] | None = None,
    labels: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    response_bins: Sequence[str] = (),
    not_judged: Sequence[str] = (),
    settings: Settings | None = None,
) -> Assessment:
    """Judge FastSim against FullSim of other GEN events.

    FullSim stands for half A of the test rows, the null for A against B and for random re-splits,
    FastSim was emulated from the GEN events of half B. All three are cut to equal numbers of
    events, at random where one has more. Where FastSim has replicas, histograms hold all of them;
    everything that needs equal sizes takes the first, and the C2ST each as one noise seed.

    Args:
        full: all FullSim rows of the test part, after the final selection.
        half: 0 or 1 per row of `full`: half A or B of the GEN events.
        fast: FastSim from the GEN events of half B, after the same selection; several samples are
            several noise seeds, of which the C2ST uses all and everything else the first.
        coverage: ranks of the truth among draws; None: coverage is not judged.
        closure: responses on the same GEN rows; None: FullSim's half A against FastSim, in bins of
            those `response_bins` that are among `full.gen`.
        rates: shares such as that of the final selection, by name.
        outcomes: what happens to GEN rows or not, by name: found, tagged.
        counts: objects per event by name: FullSim and FastSim of the same GEN events, or FullSim of
            some and FastSim of others.
        matching: how FullSim's objects were paired, from `describe_matching`.
        references: other samples in FastSim's place, by name (a plain smearing, an older version).
        labels: axis labels by name, unit in brackets; `response:NAME` for a response.
        kinds: `ratio`, `difference` or `angle` per response; default: a ratio where it is positive.
        response_bins: names of GEN columns, used without `closure`.
        not_judged: sentences on what the caller knows this comparison to leave out.
        settings: sizes, seeds and targets; default: the full comparison.

    Returns:
        Everything found, as plain records.

    Raises:
        SampleError: the samples do not fit together, or FastSim shares GEN events with half A.
    """
    settings = settings or Settings()
    enough = verdict.enough_resplits(len(outcomes or {}), settings.level)
    settings = replace(settings, resplits=max(settings.resplits, enough))
    samples = [fast] if isinstance(fast, Sample) else list(fast)
    in_a = check(full, np.asarray(half), samples)
    whole = samples[0].nominal()
    nominal = [replica for sample in samples for replica in sample.nominal().replicas()]
    texts = Labels(dict(labels or {}), kinds_of(full.responses, kinds or {}))
    others = {name: sample.nominal() for name, sample in (references or {}).items()}
    if nominal[0].gen_quantities:
        others[IDENTITY] = identity(nominal[0], texts)
    comparison, in_first, notes = equal_sizes(full, in_a, nominal[0], others, settings)
    quantities, ratios, limit = _judge_all(comparison, texts)
    log.info("judged %d quantities and responses", len(quantities))
    matrices = _correlations(comparison, in_first)
    profiles = _responses(comparison, closure, texts, response_bins)
    pits = judge_coverage(coverage, texts.quantity, settings.seed) if coverage else ()
    passed = tuple(verdict.rate_result(name, rate) for name, rate in (rates or {}).items())
    efficiencies = tuple(
        judge_outcome(name, outcome, settings, texts.quantity)
        for name, outcome in (outcomes or {}).items()
    )
    numbers = tuple(
        compare_counts_of_the_same_events(name, given, texts.quantity(name))
        if isinstance(given, Counted)
        else compare_counts(name, *given, label=texts.quantity(name))
        for name, given in (counts or {}).items()
    )
    classifier = _classify(comparison, in_first, [comparison.fast, *nominal[1:]], others, settings)
    family = verdict.checks(
        quantities,
        ratios,
        passed,
        classifier=classifier,
        correlations=matrices,
        responses=profiles,
        coverage=pits,
        efficiencies=efficiencies,
        counts=numbers,
        level=settings.level,
    )
    events = _events(comparison)
    sentence, agrees = verdict.headline(family, quantities, events[:2], settings.level)
    distributions, pictures = _shapes(comparison, samples[0], texts)
    return Assessment(
        headline=sentence,
        agrees=agrees,
        checks=family,
        targets=(
            *verdict.targets(settings.targets, ratios, classifier, pits),
            *object_targets(settings.targets, efficiencies, numbers),
        ),
        quantities=tuple(quantities),
        family_limit=limit,
        median_floor_ratio=ratios.median if ratios else Metric(float("nan")),
        rates=passed,
        distributions=distributions,
        pictures=pictures,
        correlations=matrices,
        classifier=classifier,
        responses=profiles,
        coverage=pits,
        rows=(len(comparison.first), len(comparison.fast), len(comparison.other)),
        events=events,
        members=_members(samples[0]),
        notes=(
            *notes,
            *notes_on(
                settings,
                comparison,
                closure,
                profiles,
                efficiencies,
                len(samples[0].nominal().replicas()),
            ),
        ),
        not_judged=(
            *left_out(coverage, closure, profiles, passed, classifier, efficiencies, quantities),
            *not_judged,
        ),
        settings=settings,
        efficiencies=efficiencies,
        counts=numbers,
        matching=matching,
        gains=gains(whole, distributions),
    )


def _judge_all(
    comparison: Comparison, labels: Labels
) -> tuple[list[Quantity], verdict.FloorRatios | None, float]:
    settings = comparison.settings
    names = [(name, name, labels.quantity(name)) for name in comparison.full.quantities]
    names += [
        (response_key(name), name, labels.response(name)) for name in comparison.full.responses
    ]
    judged = [judge(key, name, label, comparison) for key, name, label in names]
    with_ratio = [j for j in judged if j.quantity.floor_ratio]
    ratios = None
    limit = float("nan")
    if with_ratio:
        null = np.stack([j.null_ratios for j in with_ratio])
        ratios = verdict.floor_ratios([j.quantity for j in with_ratio], null)
        limit = float(np.quantile(np.max(null, axis=0), 1 - settings.level))
    quantities = correct_families([j.quantity for j in judged], limit, settings.level)
    return quantities, ratios, limit


def _correlations(comparison: Comparison, in_first: Flags) -> tuple[CorrelationMatrix, ...]:
    found = [
        compare_correlations(
            (comparison.full.columns, comparison.full.weight),
            in_first,
            (comparison.fast.columns, comparison.fast.weight),
            comparison.sides,
            kind,
        )
        for kind in ("spearman", "pearson")
    ]
    return tuple(matrix for matrix in found if matrix)


def _responses(
    comparison: Comparison,
    closure: Closure | None,
    labels: Labels,
    response_bins: Sequence[str],
) -> tuple[ResponseProfile, ...]:
    pairs: list[tuple[str, str, Side, Side]] = []
    if closure is not None:
        for name, values in closure.full.items():
            fast = closure.fast[name]
            replicas = fast.shape[1]
            for by, axis in closure.bins.items():
                full = Side(axis, values, closure.weight, closure.event)
                repeated = (np.repeat(x, replicas) for x in (axis, closure.weight, closure.event))
                axis_fast, weight, event = repeated
                pairs.append((name, by, full, Side(axis_fast, fast.ravel(), weight, event)))
    else:
        for by in response_bins:
            if by not in comparison.full.gen:
                hint = nearest(by, comparison.full.gen)
                raise SampleError(f"response_bins names {by!r}, which is not a GEN column.{hint}")
        for name in comparison.full.responses:
            for by in response_bins:
                sides = [
                    Side(s.gen[by], s.responses[name], s.weight, s.event)
                    for s in (comparison.first, comparison.fast)
                ]
                pairs.append((name, by, sides[0], sides[1]))
    found = [
        profile(
            full,
            fast,
            comparison.settings,
            name=name,
            by=by,
            label=labels.response(name),
            by_label=labels.quantity(by),
            same_rows=closure is not None,
        )
        for name, by, full, fast in pairs
    ]
    return tuple(p for p in found if p)


def _classify(
    comparison: Comparison,
    in_first: Flags,
    fasts: list[Sample],
    others: Mapping[str, Sample],
    settings: Settings,
) -> Classifier | None:
    if settings.classifier_resplits < 1 or settings.classifier_seeds < 1:
        return None
    copies = _equal_copies(comparison)
    size = len(np.unique(comparison.fast.event))
    if settings.classifier_rows and len(comparison.fast) > settings.classifier_rows:
        size = max(1, round(size * settings.classifier_rows / len(comparison.fast)))
    rng = np.random.default_rng([settings.seed, 5])
    seeds = [s.take(thin(s.event, size, rng)) for s in fasts[: settings.classifier_seeds]]
    half = in_first.copy()
    half[in_first] = thin(comparison.first.event, size, rng)
    return c2st(
        _features(comparison.full, copies),
        half,
        [_features(s, copies) for s in seeds],
        settings,
        {n: _features(s.take(thin(s.event, size, rng)), copies) for n, s in others.items()},
    )


def _features(sample: Sample, without: set[str]) -> Columns:
    """Raw and relative features: RECO, RECO relative to GEN, GEN."""
    columns = {**sample.columns, **{f"gen:{name}": v for name, v in sample.gen.items()}}
    kept = {name: values for name, values in columns.items() if name not in without}
    return Columns(kept, sample.weight, sample.event)


def _equal_copies(comparison: Comparison) -> set[str]:
    """Columns that are one constant on both sides but for rounding, which trees would find."""
    found = set()
    for name, values in comparison.full.columns.items():
        both = np.concatenate([values, comparison.fast.columns[name]])
        both = both[np.isfinite(both)]
        if len(both) and np.ptp(both) <= 2 * COPY_TOLERANCE * max(1.0, abs(float(both[0]))):
            found.add(name)
    return found


def _shapes(
    comparison: Comparison, members: Sample, labels: Labels
) -> tuple[tuple[Distribution, ...], tuple[Picture2D, ...]]:
    first, fast, bins = comparison.first, comparison.fast, comparison.settings.bins
    # a histogram's error knows that replicas are correlated, so it may hold them all
    shown = fast if members.replica is None else members.nominal()
    sides = Sides(first, shown, members)
    distributions = [
        quantity_distribution(name, labels.quantity(name), sides, bins)
        for name in first.quantities
        if np.isfinite(first.quantities[name]).any()
    ]
    pictures = []
    for name, values in first.responses.items():
        there = values[np.isfinite(values)]
        if len(there) and np.ptp(there) > COPY_TOLERANCE:
            distributions += residual_distributions(name, labels, sides, bins)
        if np.isfinite(first.quantities.get(name, np.nan)).any():
            edges = picture_edges(first.quantities[name], first.weight)
            pictures.append(picture(name, labels.quantity(name), comparison.other, fast, edges))
    return tuple(distributions), tuple(p for p in pictures if p)


def _events(comparison: Comparison) -> tuple[int, int, int]:
    first, fast, other = (
        len(np.unique(s.event)) for s in (comparison.first, comparison.fast, comparison.other)
    )
    return first, fast, other


def _members(fast: Sample) -> int:
    return 0 if fast.member is None else int(np.sum(np.unique(fast.member) != 0))
