"""What the comparison reads beside samples: draws, closures, rates, outcomes, matches, counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gen2reco.errors import SampleError
from gen2reco.validation.columns import (
    Flags,
    Reals,
    check_counts,
    check_length,
    checked_columns,
    checked_outcomes,
    settle_events,
)
from gen2reco.validation.shares import share_error
from gen2reco.validation.weighted import effective_entries

if TYPE_CHECKING:
    from collections.abc import Mapping

Passing = tuple[Flags, Reals, npt.NDArray[Any]]
"""Which rows pass, their weights and the identities of their events."""


@dataclass(frozen=True)
class Coverage:
    """Ranks of the true RECO values among draws for the same GEN row, before the final selection.

    Attributes:
        ranks: by name, [n] integers from 0 to `draws`: how many draws lie below the truth, ties
            broken at random (see `gen2reco.validation.coverage.ranks`).
        weight: event weight [n].
        event: identity of the GEN event [n].
        draws: number of draws per row.
    """

    ranks: Mapping[str, npt.NDArray[Any]]
    weight: Reals
    event: npt.NDArray[Any]
    draws: int = 99

    def __post_init__(self) -> None:
        rows = settle_events(self)
        for name, values in self.ranks.items():
            check_length(values, rows, f"ranks of {name!r}")
            if len(values) and (np.min(values) < 0 or np.max(values) > self.draws):
                raise SampleError(f"ranks of {name!r} must lie between 0 and {self.draws}")


@dataclass(frozen=True)
class Closure:
    """Responses of FullSim and of several FastSim replicas on the same GEN rows.

    A value that is not finite means that the row is not there on that side (for example since it
    fails the final selection).

    Attributes:
        bins: GEN quantity by name, [n] each: scale and resolution are shown in its bins.
        full: response of FullSim by name, [n] each.
        fast: response of FastSim by name, [n, replicas] each.
        weight: event weight [n].
        event: identity of the GEN event [n].
    """

    bins: Mapping[str, Reals]
    full: Mapping[str, Reals]
    fast: Mapping[str, Reals]
    weight: Reals
    event: npt.NDArray[Any]

    def __post_init__(self) -> None:
        rows = settle_events(self)
        object.__setattr__(self, "bins", checked_columns(self.bins, rows, "bins"))
        object.__setattr__(self, "full", checked_columns(self.full, rows, "full"))
        if set(self.full) != set(self.fast):
            odd = min(set(self.full) ^ set(self.fast))
            raise SampleError(f"the response {odd!r} is on one side of the closure only")
        fast = {}
        for name, values in self.fast.items():
            array = np.asarray(values, dtype=np.float64)
            fast[name] = array[:, None] if array.ndim == 1 else array
            check_length(fast[name], rows, f"fast response {name!r}")
        object.__setattr__(self, "fast", fast)


@dataclass(frozen=True)
class Rate:
    """How much of two samples passes something: sums of weights and sums of squared weights.

    Attributes:
        full: passed and total weight of FullSim.
        fast: passed and total weight of FastSim.
        full_squared: the sums of squared weights that belong to them; unweighted: the same numbers.
        fast_squared: the same of FastSim.
        errors: standard errors of the two shares, where rows are not independent.
    """

    full: tuple[float, float]
    fast: tuple[float, float]
    full_squared: tuple[float, float] | None = None
    fast_squared: tuple[float, float] | None = None
    errors: tuple[float, float] | None = None

    @classmethod
    def of(cls, full: Passing, fast: Passing) -> Rate:
        """Count rows, the replicas of an event taken together.

        Args:
            full: of each FullSim row whether it passes, its weight, its event, [n] each.
            fast: the same of FastSim.
        """
        sums, errors = [], []
        for passed, weight, event in (full, fast):
            total = float(weight.sum())
            share = float(weight[passed].sum()) / total
            index = np.unique(event, return_inverse=True)[1]
            moved = np.bincount(index, weight * (passed - share))
            sums.append((share * total, total))
            scatter = np.sqrt(np.sum(moved**2)) / total
            errors.append(float(share_error(share, scatter, effective_entries(weight, event))))
        return cls(sums[0], sums[1], errors=(errors[0], errors[1]))


@dataclass(frozen=True)
class Outcome:
    """A yes or no of every GEN row, such as found in RECO or tagged, FullSim and FastSim.

    Both sides hold the same GEN rows. FastSim is a probability, draws, or both; where there is a
    probability, efficiencies are compared with it, without the noise of draws.

    Attributes:
        full: whether it happened in FullSim, bool [n].
        bins: GEN quantity by name, [n] each; values that are not finite are in no bin.
        weight: event weight [n].
        event: identity of the GEN event [n].
        probability: what the emulator says, [n] between 0 and 1.
        fast: whether it happened in FastSim, bool [n, replicas].
        groups: category by name, bool [n] each; they may overlap.
        kind: `presence` (a RECO partner: the efficiency must agree in every bin), `flag` (a tag:
            its share must agree in every group) or `region` (an analysis selection: the number that
            passes must agree).

    Raises:
        SampleError: FastSim is missing, lengths differ, or a probability is none.
    """

    full: Flags
    bins: Mapping[str, Reals]
    weight: Reals
    event: npt.NDArray[Any]
    probability: Reals | None = None
    fast: npt.NDArray[Any] | None = None
    groups: Mapping[str, Flags] = field(default_factory=dict)
    kind: Literal["presence", "flag", "region"] = "presence"

    def __post_init__(self) -> None:
        rows = settle_events(self)
        object.__setattr__(self, "bins", checked_columns(self.bins, rows, "bins"))
        object.__setattr__(self, "full", checked_outcomes(self.full, rows, "the FullSim outcome"))
        groups = {
            name: checked_outcomes(mask, rows, f"group {name!r}")
            for name, mask in self.groups.items()
        }
        object.__setattr__(self, "groups", groups)
        if self.probability is None and self.fast is None:
            raise SampleError("an outcome needs the emulator's probability or its draws")
        if self.probability is not None:
            probability = np.asarray(self.probability, dtype=np.float64)
            check_length(probability, rows, "probability")
            if not np.all((probability >= 0) & (probability <= 1)):
                raise SampleError("a probability must lie between 0 and 1")
            object.__setattr__(self, "probability", probability)
        if self.fast is not None:
            fast = np.asarray(self.fast)
            fast = fast[:, None] if fast.ndim == 1 else fast
            fast = checked_outcomes(fast, rows, "the FastSim outcome")
            object.__setattr__(self, "fast", fast)


@dataclass(frozen=True)
class Tally:
    """How many objects each event has.

    Attributes:
        count: objects per event, or per replica of an event, [n].
        weight: event weight [n].
        event: identity of the GEN event [n]; replicas share it.
    """

    count: npt.NDArray[Any]
    weight: Reals
    event: npt.NDArray[Any]

    def __post_init__(self) -> None:
        rows = settle_events(self)
        check_length(self.count, rows, "count")
        check_counts(self.count)


@dataclass(frozen=True)
class Counted:
    """How many objects each GEN event has in FullSim, and in several replicas of FastSim.

    Attributes:
        full: objects per event in FullSim [n].
        fast: objects per event in FastSim [n, replicas].
        weight: event weight [n].
        event: identity of the GEN event [n].
    """

    full: npt.NDArray[Any]
    fast: npt.NDArray[Any]
    weight: Reals
    event: npt.NDArray[Any]

    def __post_init__(self) -> None:
        rows = settle_events(self)
        fast = np.asarray(self.fast)
        object.__setattr__(self, "fast", fast[:, None] if fast.ndim == 1 else fast)
        for values, what in ((self.full, "full"), (self.fast, "fast")):
            check_length(values, rows, what)
        check_counts(self.full)
        check_counts(self.fast)
