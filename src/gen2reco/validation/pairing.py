"""Put FullSim and FastSim side by side: disjoint GEN events, the same columns, equal sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import SampleError, nearest
from gen2reco.validation.quantities import Comparison
from gen2reco.validation.resplits import resplit, thin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.validation.columns import Flags, Integers
    from gen2reco.validation.labels import Labels
    from gen2reco.validation.samples import Sample
    from gen2reco.validation.settings import Settings

LEAST_EVENTS = 20


def check(full: Sample, half: Integers, samples: list[Sample]) -> Flags:
    """Return the mask of half A [n]; SampleError where the samples do not fit together."""
    if not samples:
        raise SampleError("there is no FastSim sample")
    if len(half) != len(full) or not np.all((half == 0) | (half == 1)):
        raise SampleError(f"`half` must hold 0 or 1 for each of the {len(full)} FullSim rows")
    in_a: Flags = half == 0
    a, b = np.unique(full.event[in_a]), np.unique(full.event[~in_a])
    both = np.intersect1d(a, b)
    if len(both):
        raise SampleError(f"{len(both)} FullSim events are in both halves; halves are of events")
    if min(len(a), len(b)) < LEAST_EVENTS:
        raise SampleError(
            f"the halves of FullSim have {len(a)} and {len(b)} events; a comparison needs at least "
            f"{LEAST_EVENTS} in each"
        )
    for i, sample in enumerate(samples):
        _check_fast(f"FastSim sample {i}", sample, full, a)
    return in_a


def _check_fast(name: str, fast: Sample, full: Sample, half_a: Integers) -> None:
    for group in ("quantities", "responses", "gen"):
        have, want = getattr(fast, group), getattr(full, group)
        lacking = [column for column in want if column not in have]
        if lacking:
            hint = nearest(lacking[0], have)
            raise SampleError(f"{name} lacks {lacking[0]!r} among its {group}.{hint}")
    shared = np.intersect1d(half_a, fast.event)
    if len(shared):
        raise SampleError(
            f"{len(shared)} GEN events of {name} are also in half A of FullSim, which hides "
            "differences; emulate from the GEN events of half B alone"
        )
    if len(np.unique(fast.event)) < LEAST_EVENTS:
        raise SampleError(f"{name} has fewer than {LEAST_EVENTS} events")


def equal_sizes(
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
        full,
        (full.take(in_first), kept),
        other=full.take(in_other),
        sides=sides,
        settings=settings,
        references=cut,
    )
    return comparison, in_first, notes


def identity(fast: Sample, labels: Labels) -> Sample:
    """GEN in place of RECO: what an emulator that does nothing would give."""
    ones = {
        name: np.full(len(fast), 1.0 if labels.is_ratio(name) else 0.0) for name in fast.responses
    }
    return replace(fast, quantities=fast.gen_quantities, responses=ones)
