"""Compare FullSim with FastSim: every metric with its error and its null."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import SampleError, nearest
from gen2reco.validation import verdict
from gen2reco.validation.classifier import c2st
from gen2reco.validation.correlations import compare_correlations
from gen2reco.validation.coverage import judge_coverage
from gen2reco.validation.labels import label_of, residual_label, response_label
from gen2reco.validation.quantities import (
    COPY_TOLERANCE,
    Comparison,
    correct_families,
    judge,
)
from gen2reco.validation.resplits import resplit, thin
from gen2reco.validation.response import Side, profile
from gen2reco.validation.results import (
    Assessment,
    Classifier,
    CorrelationMatrix,
    Distribution,
    Metric,
    Picture2D,
    Quantity,
    ResponseProfile,
)
from gen2reco.validation.samples import (
    Closure,
    Coverage,
    Flags,
    Integers,
    Rate,
    Reals,
    Sample,
    response_key,
)
from gen2reco.validation.settings import Settings
from gen2reco.validation.shapes import (
    kinds_of,
    picture,
    picture_edges,
    quantity_distribution,
    residual_distributions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

IDENTITY = "GEN taken as RECO"
LEAST_EVENTS = 20


def assess(
    full: Sample,
    half: Any,
    fast: Sample | Sequence[Sample],
    *,
    coverage: Coverage | None = None,
    closure: Closure | None = None,
    rates: Mapping[str, Rate] | None = None,
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
    events, at random where one has more.

    Args:
        full: all FullSim rows of the test part, after the final selection.
        half: 0 or 1 per row of `full`: half A or B of the GEN events.
        fast: FastSim from the GEN events of half B, after the same selection; several samples are
            several noise seeds, of which the C2ST uses all and everything else the first.
        coverage: ranks of the truth among draws; None: coverage is not judged.
        closure: responses on the same GEN rows; None: FullSim's half A against FastSim, in bins of
            those `response_bins` that are among `full.gen`.
        rates: shares such as that of the final selection, by name.
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
    labels = dict(labels or {})
    samples = [fast] if isinstance(fast, Sample) else list(fast)
    in_a = _check(full, np.asarray(half), samples)
    nominal = [sample.nominal() for sample in samples]
    kinds = kinds_of(full.responses, kinds or {})
    others = {name: sample.nominal() for name, sample in (references or {}).items()}
    if nominal[0].gen_quantities:
        others[IDENTITY] = _identity(nominal[0], kinds)
    comparison, in_first, notes = _equal_sizes(full, in_a, nominal[0], others, settings)
    quantities, ratios, limit = _judge_all(comparison, labels, kinds, settings)
    log.info("judged %d quantities and responses", len(quantities))
    matrices = _correlations(comparison, in_first)
    profiles = _responses(comparison, closure, labels, kinds, response_bins, settings)
    pits = (
        judge_coverage(coverage, _labels(coverage.ranks, labels), settings.seed) if coverage else ()
    )
    passed = tuple(verdict.rate_result(name, rate) for name, rate in (rates or {}).items())
    classifier = _classify(comparison, in_first, [comparison.fast, *nominal[1:]], others, settings)
    family = verdict.checks(
        quantities, ratios, passed, classifier, matrices, profiles, pits, settings.level
    )
    events = _events(comparison)
    sentence, agrees = verdict.headline(family, quantities, events[:2], settings.level)
    distributions, pictures = _shapes(comparison, samples[0], labels, kinds, settings)
    return Assessment(
        headline=sentence,
        agrees=agrees,
        checks=family,
        targets=verdict.targets(settings.targets, ratios, classifier, pits),
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
        notes=(*notes, *_notes(settings, comparison, closure, profiles)),
        not_judged=(*_left_out(coverage, closure, profiles, passed, classifier), *not_judged),
        settings=settings,
    )


def _check(full: Sample, half: Integers, samples: list[Sample]) -> Flags:
    if not samples:
        raise SampleError("there is no FastSim sample")
    if len(half) != len(full) or not np.all((half == 0) | (half == 1)):
        raise SampleError(f"`half` must hold 0 or 1 for each of the {len(full)} FullSim rows")
    for i, sample in enumerate(samples):
        for group in ("quantities", "responses", "gen"):
            have, want = getattr(sample, group), getattr(full, group)
            for name in want:
                if name not in have:
                    hint = nearest(name, have)
                    raise SampleError(f"FastSim sample {i} lacks {name!r} among its {group}.{hint}")
    in_a: Flags = half == 0
    a, b = full.event[in_a], full.event[~in_a]
    both = np.intersect1d(a, b)
    if len(both):
        raise SampleError(f"{len(both)} FullSim events are in both halves; halves are of events")
    if min(len(np.unique(a)), len(np.unique(b))) < LEAST_EVENTS:
        raise SampleError(
            f"the halves of FullSim have {len(np.unique(a))} and {len(np.unique(b))} events; a "
            f"comparison needs at least {LEAST_EVENTS} in each"
        )
    for i, sample in enumerate(samples):
        shared = np.intersect1d(a, sample.event)
        if len(shared):
            raise SampleError(
                f"{len(shared)} GEN events of FastSim sample {i} are also in half A of FullSim, "
                "which hides differences; emulate from the GEN events of half B alone"
            )
        if len(np.unique(sample.event)) < LEAST_EVENTS:
            raise SampleError(f"FastSim sample {i} has fewer than {LEAST_EVENTS} events")
    return in_a


def _equal_sizes(
    full: Sample, in_a: Flags, fast: Sample, others: Mapping[str, Sample], settings: Settings
) -> tuple[Comparison, Flags, list[str]]:
    """Cut both sides and the null to the same number of events."""
    rng = np.random.default_rng([settings.seed, 1])
    counts = [len(np.unique(event)) for event in (full.event[in_a], full.event[~in_a], fast.event)]
    size = min(*counts, sum(counts[:2]) // 2)
    notes = []
    if max(counts) > 1.1 * size:
        notes.append(
            f"Half A, half B and FastSim have {counts[0]}, {counts[1]} and {counts[2]} events; all "
            f"were cut to {size} at random, since the null needs equal sizes."
        )
    in_first = in_a.copy()
    in_first[in_a] = thin(full.event[in_a], size, rng)
    in_other = ~in_a
    in_other[~in_a] = thin(full.event[~in_a], size, rng)
    kept = fast.take(thin(fast.event, size, rng))
    sides = resplit(full.event, size, settings.resplits, rng)
    cut = {name: sample.take(thin(sample.event, size, rng)) for name, sample in others.items()}
    per_event = len(kept) / max(1, len(np.unique(kept.event)))
    per_event_full = in_first.sum() / size
    if abs(per_event / per_event_full - 1) > 0.1:
        notes.append(
            f"FastSim has {per_event:.2f} rows per event, FullSim {per_event_full:.2f}: if that is "
            "oversampling, floor ratios come out too low."
        )
    comparison = Comparison.of(
        full, full.take(in_first), kept, full.take(in_other), sides, settings, cut
    )
    return comparison, in_first, notes


def _identity(fast: Sample, kinds: Mapping[str, str]) -> Sample:
    """GEN in place of RECO: what an emulator that does nothing would give."""
    ones = {
        name: np.full(len(fast), 1.0 if kinds[name] == "ratio" else 0.0) for name in fast.responses
    }
    return replace(fast, quantities=fast.gen_quantities, responses=ones)


def _judge_all(
    comparison: Comparison, labels: Mapping[str, str], kinds: Mapping[str, str], settings: Settings
) -> tuple[list[Quantity], verdict.FloorRatios | None, float]:
    names = [(name, name, label_of(name, labels)) for name in comparison.full.quantities]
    names += [
        (response_key(name), name, response_label(name, kinds[name], labels))
        for name in comparison.full.responses
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
            comparison.full.columns,
            comparison.full.weight,
            in_first,
            comparison.fast.columns,
            comparison.fast.weight,
            comparison.sides,
            kind,
        )
        for kind in ("spearman", "pearson")
    ]
    return tuple(matrix for matrix in found if matrix)


def _responses(
    comparison: Comparison,
    closure: Closure | None,
    labels: Mapping[str, str],
    kinds: Mapping[str, str],
    response_bins: Sequence[str],
    settings: Settings,
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
            settings,
            name=name,
            by=by,
            label=response_label(name, kinds.get(name, "difference"), labels),
            by_label=label_of(by, labels),
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
    full = comparison.full
    size = len(np.unique(comparison.fast.event))
    rng = np.random.default_rng([settings.seed, 5])
    seeds = [s.take(thin(s.event, size, rng)) for s in fasts[: settings.classifier_seeds]]
    return c2st(
        _features(full, copies),
        full.weight,
        full.event,
        in_first,
        [(_features(s, copies), s.weight, s.event) for s in seeds],
        settings,
        {name: (_features(s, copies), s.weight, s.event) for name, s in others.items()},
    )


def _features(sample: Sample, without: set[str]) -> dict[str, Reals]:
    """Raw and relative features: RECO, RECO relative to GEN, GEN."""
    columns = {**sample.columns, **{f"gen:{name}": v for name, v in sample.gen.items()}}
    return {name: values for name, values in columns.items() if name not in without}


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
    comparison: Comparison,
    members: Sample,
    labels: Mapping[str, str],
    kinds: Mapping[str, str],
    settings: Settings,
) -> tuple[tuple[Distribution, ...], tuple[Picture2D, ...]]:
    first, fast = comparison.first, comparison.fast
    distributions = [
        quantity_distribution(name, label_of(name, labels), first, fast, members, settings.bins)
        for name in first.quantities
        if np.isfinite(first.quantities[name]).any()
    ]
    pictures = []
    for name, values in first.responses.items():
        there = values[np.isfinite(values)]
        if len(there) and np.ptp(there) > COPY_TOLERANCE:
            label = residual_label(name, kinds[name], labels)
            distributions += residual_distributions(
                name, label, kinds[name], first, fast, members, settings.bins
            )
        if name in first.quantities:
            edges = picture_edges(first.quantities[name], first.weight)
            pictures.append(picture(name, label_of(name, labels), comparison.other, fast, edges))
    return tuple(distributions), tuple(p for p in pictures if p)


def _labels(names: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    return {name: label_of(name, labels) for name in names}


def _events(comparison: Comparison) -> tuple[int, int, int]:
    first, fast, other = (
        len(np.unique(s.event)) for s in (comparison.first, comparison.fast, comparison.other)
    )
    return first, fast, other


def _members(fast: Sample) -> int:
    return 0 if fast.member is None else int(np.sum(np.unique(fast.member) != 0))


def _notes(
    settings: Settings,
    comparison: Comparison,
    closure: Closure | None,
    profiles: tuple[ResponseProfile, ...],
) -> list[str]:
    notes = []
    if settings.quick:
        notes.append(
            f"Quick settings: {settings.classifier_seeds} noise seed(s) and "
            f"{settings.classifier_resplits} re-splits for the C2ST, {settings.bootstraps} "
            "bootstraps. A full comparison takes 5, 10 and 100."
        )
    negative = float(np.mean(comparison.full.weight < 0))
    if negative > 0:
        notes.append(
            f"{negative:.1%} of the FullSim weights are negative: distances use signed cumulated "
            "weights, W2^2 is left out, the classifier is trained on absolute weights and judged "
            "with signed ones."
        )
    if profiles and closure is None:
        notes.append("Scale and resolution compare half A with FastSim, not the same GEN rows.")
    return notes


def _left_out(
    coverage: Coverage | None,
    closure: Closure | None,
    profiles: tuple[ResponseProfile, ...],
    rates: tuple[Any, ...],
    classifier: Classifier | None,
) -> list[str]:
    missing = []
    if coverage is None:
        missing.append("Coverage (PIT): no draws of the emulator for the same GEN rows were given.")
    if not profiles:
        missing.append("Response scale and resolution against GEN: no GEN quantity to bin in.")
    elif closure is None:
        missing.append("Response closure on the same GEN rows: only disjoint events were compared.")
    if not rates:
        missing.append(
            "Efficiencies: only the shapes of rows that pass the selection are compared."
        )
    if classifier is None:
        missing.append("C2ST: switched off in the settings.")
    return missing
