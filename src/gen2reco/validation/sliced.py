"""Sliced W2^2: how far apart two samples of four-momenta are, all components at once.

The mean of W2^2 along random directions, in GeV^2, as arXiv:2101.08944 (OTUS) quotes it. It is zero
for the same distribution only, however many components there are. Large momenta count most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import SampleError
from gen2reco.validation.records import Metric, Real
from gen2reco.validation.resplits import bootstrap, resplit, thin

if TYPE_CHECKING:
    from gen2reco.validation.columns import Flags, Integers, Reals
    from gen2reco.validation.settings import Settings

DIRECTIONS = 100


@dataclass(frozen=True)
class Sliced:
    """Sliced W2^2 of one pair of samples, and whether it is that of two halves of FullSim.

    Attributes:
        name: what is compared.
        value: in GeV^2.
        p: share of the null at or above the value.
        events: on each side, in the null as well.
        components: of the momenta.
    """

    name: str
    value: Metric
    p: Real
    events: int
    components: int


def directions(components: int, count: int, rng: np.random.Generator) -> Reals:
    """Return unit vectors in random directions, [components, count]."""
    along = rng.normal(size=(components, count))
    return np.asarray(along / np.linalg.norm(along, axis=0))


def sliced_w2(first: Reals, second: Reals, along: Reals) -> float:
    """Return the mean W2^2 of two samples of one size along some directions.

    Args:
        first: one sample, [n, components].
        second: the other, [n, components].
        along: [components, directions].

    Raises:
        SampleError: the sizes differ.
    """
    if len(first) != len(second):
        raise SampleError(
            f"sliced W2^2 compares samples of one size, not {len(first)} and {len(second)} rows;"
            " take as many of the larger"
        )
    one, two = np.sort(first @ along, 0), np.sort(second @ along, 0)
    return float(np.mean((one - two) ** 2))


def compare_sliced(
    name: str, full: Reals, in_first: Flags, fast: Reals, settings: Settings
) -> Sliced:
    """Compare FullSim's half A with FastSim; null: FullSim against itself, in the same sizes.

    Args:
        name: what is compared.
        full: momenta of FullSim, [n, components], a row per event; all rows count alike.
        in_first: which of them are in half A, [n].
        fast: momenta of FastSim of other events, [m, components].
        settings: numbers of re-splits and bootstrap samples, seed.

    Raises:
        SampleError: a side has fewer than two events.
    """
    rng = np.random.default_rng([settings.seed, 17])
    size = min(int(in_first.sum()), int((~in_first).sum()), len(fast))
    if size < 2:
        raise SampleError(f"sliced W2^2 of {name}: a side has {size} events; give more events")
    first = full[in_first]
    first = first[thin(np.arange(len(first)), size, rng)]
    fast = fast[thin(np.arange(len(fast)), size, rng)]
    along = directions(full.shape[1], DIRECTIONS, rng)
    sides = resplit(np.arange(len(full)), size, settings.resplits, rng)
    counts = [bootstrap(np.arange(size), settings.bootstraps, rng) for _ in range(2)]
    null, again = np.zeros(len(sides)), np.zeros(settings.bootstraps)
    for direction in along.T:
        values, order = _ordered(full @ direction)
        for trial, side in enumerate(sides):
            there = side[order]
            null[trial] += np.mean((values[there == 1] - values[there == -1]) ** 2)
        (one, by_one), (two, by_two) = (_ordered(sample @ direction) for sample in (first, fast))
        for trial, (count_one, count_two) in enumerate(zip(*counts, strict=True)):
            difference = np.repeat(one, count_one[by_one]) - np.repeat(two, count_two[by_two])
            again[trial] += np.mean(difference**2)
    null /= DIRECTIONS
    value = sliced_w2(first, fast, along)
    return Sliced(
        name=name,
        value=Metric(
            value,
            float(np.std(again / DIRECTIONS, ddof=1)),
            float(np.median(null)),
            float(np.quantile(null, 0.95)),
        ),
        p=float((1 + np.sum(null >= value)) / (1 + len(null))),
        events=size,
        components=full.shape[1],
    )


def _ordered(values: Reals) -> tuple[Reals, Integers]:
    order = np.argsort(values)
    return values[order], np.asarray(order, np.int64)
