"""Random re-splits and bootstraps of a sample, by event: where nulls and errors come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit

from gen2reco.errors import SampleError
from gen2reco.validation.weighted import event_index

if TYPE_CHECKING:
    from gen2reco.validation.columns import Integers, Reals

Sides = npt.NDArray[np.int8]
"""Per trial and row: 1 on the first side, -1 on the second, 0 left out."""


def resplit(event: Integers, size: int, trials: int, rng: np.random.Generator) -> Sides:
    """Draw pairs of disjoint sets of `size` events each, at random.

    Args:
        event: identity of each row's event [n].
        size: events on each side; at most half of the distinct events.
        trials: number of re-splits.
        rng: source of randomness.

    Returns:
        Sides [trials, n]; the rows of one event are always on the same side.

    Raises:
        SampleError: there are fewer than two events per side.
    """
    (index,), events = event_index(event)
    if size < 1 or 2 * size > events:
        raise SampleError(f"cannot re-split {events} events into two sets of {size}")
    sides = np.zeros((trials, len(index)), dtype=np.int8)
    labels = np.zeros(events, dtype=np.int8)
    labels[:size], labels[size : 2 * size] = 1, -1
    for trial in range(trials):
        sides[trial] = rng.permutation(labels)[index]
    return sides


def bootstrap(event: Integers, trials: int, rng: np.random.Generator) -> Sides:
    """How often each row occurs in bootstrap samples over events, [trials, n]."""
    (index,), events = event_index(event)
    # more than 127 draws of one event do not happen
    counts = np.empty((trials, len(index)), dtype=np.int8)
    for trial in range(trials):
        drawn = np.bincount(rng.integers(0, events, events), minlength=events)
        counts[trial] = drawn[index]
    return counts


def thin(event: Integers, size: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Mask [n] of the rows of `size` events drawn at random; all where there are not more."""
    (index,), events = event_index(event)
    if events <= size:
        return np.ones(len(index), dtype=bool)
    kept = np.zeros(events, dtype=bool)
    kept[rng.permutation(events)[:size]] = True
    return kept[index]


@dataclass(frozen=True)
class Trials:
    """Many comparisons on the same rows: how often each row counts on either side.

    Attributes:
        first: int8 [trials, n].
        second: int8 [trials, n].
        weight: event weight [n].
    """

    first: Sides
    second: Sides
    weight: Reals

    @classmethod
    def of_sides(cls, sides: Sides, weight: Reals) -> Trials:
        """Make the trials of re-splits."""
        return cls((sides == 1).astype(np.int8), (sides == -1).astype(np.int8), weight)

    def __len__(self) -> int:
        return len(self.first)

    def differences(self, values: Reals) -> tuple[Reals, Reals]:
        """Integral and largest value of |F - G| in every trial, rows sorted only once.

        Args:
            values: [n]; rows that are not finite are left out.

        Returns:
            Integral over the quantity and maximum, [trials] each.

        Raises:
            SampleError: the weights of a side do not sum to more than zero.
        """
        there = np.flatnonzero(np.isfinite(values))
        order = there[np.argsort(values[there], kind="stable")]
        integral, largest, bad = _differences(
            order, np.diff(values[order]), self.first, self.second, self.weight
        )
        if bad:
            raise SampleError(
                "the weights of a random half of the events do not sum to more than zero: too few "
                "events, or too many negative weights, for a null from re-splits"
            )
        return integral, largest


@njit(cache=True)
def _differences(
    order: Integers, gaps: Reals, first: Sides, second: Sides, weight: Reals
) -> tuple[Reals, Reals, bool]:
    trials = len(first)
    integral, largest = np.zeros(trials), np.zeros(trials)
    for trial in range(trials):
        total_first, total_second = 0.0, 0.0
        for row in order:
            total_first += first[trial, row] * weight[row]
            total_second += second[trial, row] * weight[row]
        if total_first <= 0 or total_second <= 0:
            return integral, largest, True
        cumulated = 0.0
        for i in range(len(gaps)):
            row = order[i]
            cumulated += weight[row] * (
                first[trial, row] / total_first - second[trial, row] / total_second
            )
            size = abs(cumulated)
            integral[trial] += size * gaps[i]
            if gaps[i] > 0 and size > largest[trial]:
                largest[trial] = size
    return integral, largest, False
