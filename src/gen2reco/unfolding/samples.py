"""What is unfolded and what it is unfolded with: tables of numbers, and which of them are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Measured:
    """Events of the measurement.

    Attributes:
        reco: float64 [events, features], finite.
        weight: float64 [events], not negative.
        left_out: events that had a RECO quantity or a weight that is not finite.
    """

    reco: Reals
    weight: Reals
    left_out: int = 0

    @classmethod
    def of(cls, reco: Mapping[str, Reals], weight: Reals | None = None) -> Measured:
        """Make a sample of named RECO quantities, [events] each.

        Args:
            reco: quantities of the events that were reconstructed.
            weight: weights of the events; None: every event counts 1.

        Raises:
            SampleError: lengths differ, a weight is negative, or no event is left.
        """
        table = _table(reco, "reco")
        weights = _weights(weight, len(table))
        sound = np.isfinite(table).all(axis=1) & np.isfinite(weights)
        if not weights[sound].sum() > 0:
            raise SampleError(f"the measurement has no usable event among {len(table)}")
        return cls(table[sound], weights[sound], int(np.count_nonzero(~sound)))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Simulated events with GEN and RECO, one of which may be missing.

    Attributes:
        gen: float64 [events, features]; meaningless where there is no truth.
        reco: float64 [events, features]; meaningless where there is no RECO.
        weight: prior weights of the simulation, float64 [events], not negative.
        has_gen: bool [events]; False for a fake, RECO without truth.
        has_reco: bool [events]; False for a loss, truth without RECO.
        nonfinite: what was not finite -> events; such a side counts as missing, as it is left out
            of the measurement too.
    """

    gen: Reals
    reco: Reals
    weight: Reals
    has_gen: Flags
    has_reco: Flags
    nonfinite: Mapping[str, int]

    @classmethod
    def of(
        cls,
        gen: Mapping[str, Reals],
        reco: Mapping[str, Reals],
        weight: Reals | None = None,
        *,
        has_gen: Flags | None = None,
        has_reco: Flags | None = None,
    ) -> Pairs:
        """Make a sample of named GEN and RECO quantities, [events] each.

        Args:
            gen: quantities of the truth.
            reco: the RECO quantities of `Measured`, in the same order.
            weight: prior weights of the simulation; None: every event counts 1.
            has_gen: which events have a truth; None: all.
            has_reco: which events were reconstructed; None: all.

        Raises:
            SampleError: lengths differ, a weight is negative, or no event has both sides.
        """
        truth, seen = _table(gen, "gen"), _table(reco, "reco")
        if len(truth) != len(seen):
            raise SampleError(f"gen has {len(truth)} events and reco has {len(seen)}")
        weights = _weights(weight, len(truth))
        there = [
            np.ones(len(truth), np.bool_) if flags is None else np.asarray(flags, np.bool_)
            for flags in (has_gen, has_reco)
        ]
        for name, flags in zip(("has_gen", "has_reco"), there, strict=True):
            if len(flags) != len(truth):
                raise SampleError(f"{name} has {len(flags)} entries for {len(truth)} events")
        sound = [np.isfinite(table).all(axis=1) for table in (truth, seen)]
        usable = np.isfinite(weights)
        counts = {
            "GEN": int(np.count_nonzero(there[0] & ~sound[0])),
            "RECO": int(np.count_nonzero(there[1] & ~sound[1])),
            "weight": int(np.count_nonzero(~usable)),
        }
        sides = [flags & good & usable for flags, good in zip(there, sound, strict=True)]
        if not weights[sides[0] & sides[1]].sum() > 0:
            raise SampleError(f"no event of the simulation has GEN and RECO, of {len(truth)}")
        return cls(
            np.where(sides[0][:, None], truth, 0.0),
            np.where(sides[1][:, None], seen, 0.0),
            np.where(usable, weights, 0.0),
            sides[0],
            sides[1],
            {name: count for name, count in counts.items() if count},
        )

    def __len__(self) -> int:
        return len(self.weight)


def _table(columns: Mapping[str, Reals], side: str) -> Reals:
    if not columns:
        raise SampleError(f"{side} holds no quantity")
    arrays = {name: np.asarray(column, np.float64) for name, column in columns.items()}
    sizes = {name: column.shape for name, column in arrays.items()}
    if len(set(sizes.values())) > 1 or any(len(size) != 1 for size in sizes.values()):
        raise SampleError(f"quantities of {side} have different lengths: {sizes}")
    return np.stack([*arrays.values()], axis=1)


def _weights(weight: Reals | None, events: int) -> Reals:
    weights = np.ones(events) if weight is None else np.asarray(weight, np.float64)
    if weights.shape != (events,):
        raise SampleError(f"{weights.shape} weights for {events} events")
    negative = int(np.count_nonzero(weights < 0))
    if negative:
        raise SampleError(
            f"{negative} of {events} weights are negative: a density ratio cannot be learned from"
            " them. Average them out first, such as by resampling to positive weights"
        )
    return weights
