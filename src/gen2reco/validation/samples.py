"""What the comparison reads: plain columns of FullSim and FastSim, whatever their origin."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gen2reco.errors import SampleError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Passing = tuple[Flags, Reals, npt.NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """Rows of one side, after the final selection.

    A value that is not finite means that the quantity does not exist in that row: it is left out
    of that quantity's metrics, and the share of such rows is itself compared.

    Attributes:
        quantities: RECO quantity (or its emulation) by name, [n] each.
        responses: RECO relative to GEN by name, [n] each; ratios or differences.
        gen: GEN values the row is conditioned on, [n] each.
        weight: event weight [n]; negative weights are allowed, their sum must be positive.
        event: integer identity of the GEN event [n]; rows of one event share it.
        gen_quantities: the same quantities taken from GEN, [n] each, where they exist.
        member: ensemble member [n]; 0 is the nominal one. None: all rows are nominal.
        replica: number of the replica of the GEN event [n], for oversampled FastSim. None: one.
        row: identity of the GEN object [n], where an event has several rows: the same object of
            FullSim and FastSim has the same one. None: an event's only row is meant.

    Raises:
        SampleError: lengths differ, a weight is not finite, or the weights do not sum to more
            than zero.
    """

    quantities: Mapping[str, Reals]
    responses: Mapping[str, Reals]
    gen: Mapping[str, Reals]
    weight: Reals
    event: npt.NDArray[Any]
    gen_quantities: Mapping[str, Reals] = field(default_factory=dict)
    member: Integers | None = None
    replica: Integers | None = None
    row: Integers | None = None

    def __post_init__(self) -> None:
        weight = np.asarray(self.weight, dtype=np.float64)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "event", _identities(self.event))
        for group in ("quantities", "responses", "gen", "gen_quantities"):
            columns = _columns(getattr(self, group), len(weight), group)
            object.__setattr__(self, group, columns)
        _same_length(self.event, len(weight), "event")
        for name in ("member", "replica", "row"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, np.asarray(given, dtype=np.int64))
                _same_length(given, len(weight), name)
        check_weight(weight)
        unknown = sorted(set(self.gen_quantities) - set(self.quantities))
        if unknown:
            hint = nearest(unknown[0], self.quantities)
            raise SampleError(
                f"gen_quantities has {unknown[0]!r}, which is not among the quantities.{hint}"
            )

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def columns(self) -> dict[str, Reals]:
        """Quantities and responses under one name space; responses carry the prefix `response:`."""
        return {**self.quantities, **{response_key(k): v for k, v in self.responses.items()}}

    def take(self, index: npt.NDArray[Any]) -> Sample:
        """Return the rows that a mask or an index array picks."""

        def pick(columns: Mapping[str, Reals]) -> dict[str, Reals]:
            return {name: values[index] for name, values in columns.items()}

        return replace(
            self,
            quantities=pick(self.quantities),
            responses=pick(self.responses),
            gen=pick(self.gen),
            weight=self.weight[index],
            event=self.event[index],
            gen_quantities=pick(self.gen_quantities),
            member=None if self.member is None else self.member[index],
            replica=None if self.replica is None else self.replica[index],
            row=None if self.row is None else self.row[index],
        )

    def nominal(self) -> Sample:
        """Return the rows of ensemble member 0, or all where there are no members."""
        return self if self.member is None else self.take(self.member == 0)

    @staticmethod
    def concatenate(samples: Sequence[Sample]) -> Sample:
        """Join samples of the same columns; where only some say members or replicas, 0 is meant."""

        def joined(group: str) -> dict[str, Reals]:
            columns = [getattr(sample, group) for sample in samples]
            return {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}

        def numbers(name: str) -> Integers | None:
            given = [getattr(sample, name) for sample in samples]
            if all(column is None for column in given):
                return None
            pairs = zip(given, samples, strict=True)
            zeros = [
                np.zeros(len(s), np.int64) if column is None else column for column, s in pairs
            ]
            return np.concatenate(zeros)

        return Sample(
            quantities=joined("quantities"),
            responses=joined("responses"),
            gen=joined("gen"),
            weight=np.concatenate([sample.weight for sample in samples]),
            event=np.concatenate([sample.event for sample in samples]),
            gen_quantities=joined("gen_quantities"),
            member=numbers("member"),
            replica=numbers("replica"),
            row=numbers("row"),
        )

    def replicas(self) -> list[Sample]:
        """Return one sample per replica: as if the GEN events had been emulated once each."""
        if self.replica is None:
            return [self]
        return [self.take(self.replica == number) for number in np.unique(self.replica)]


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
        weight = np.asarray(self.weight, dtype=np.float64)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "event", _identities(self.event))
        check_weight(weight)
        _same_length(self.event, len(weight), "event")
        for name, values in self.ranks.items():
            _same_length(values, len(weight), f"ranks of {name!r}")
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
        weight = np.asarray(self.weight, dtype=np.float64)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "event", _identities(self.event))
        check_weight(weight)
        _same_length(self.event, len(weight), "event")
        object.__setattr__(self, "bins", _columns(self.bins, len(weight), "bins"))
        object.__setattr__(self, "full", _columns(self.full, len(weight), "full"))
        if set(self.full) != set(self.fast):
            odd = min(set(self.full) ^ set(self.fast))
            raise SampleError(f"the response {odd!r} is on one side of the closure only")
        fast = {}
        for name, values in self.fast.items():
            array = np.asarray(values, dtype=np.float64)
            fast[name] = array[:, None] if array.ndim == 1 else array
            _same_length(fast[name], len(weight), f"fast response {name!r}")
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
            errors.append(float(np.sqrt(np.sum(moved**2))) / total)
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
        weight = np.asarray(self.weight, dtype=np.float64)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "event", _identities(self.event))
        object.__setattr__(self, "bins", _columns(self.bins, len(weight), "bins"))
        check_weight(weight)
        _same_length(self.event, len(weight), "event")
        object.__setattr__(self, "full", _outcomes(self.full, len(weight), "the FullSim outcome"))
        groups = {
            name: _outcomes(mask, len(weight), f"group {name!r}")
            for name, mask in self.groups.items()
        }
        object.__setattr__(self, "groups", groups)
        if self.probability is None and self.fast is None:
            raise SampleError("an outcome needs the emulator's probability or its draws")
        if self.probability is not None:
            probability = np.asarray(self.probability, dtype=np.float64)
            _same_length(probability, len(weight), "probability")
            if not np.all((probability >= 0) & (probability <= 1)):
                raise SampleError("a probability must lie between 0 and 1")
            object.__setattr__(self, "probability", probability)
        if self.fast is not None:
            fast = np.asarray(self.fast)
            fast = fast[:, None] if fast.ndim == 1 else fast
            fast = _outcomes(fast, len(weight), "the FastSim outcome")
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
        weight = np.asarray(self.weight, dtype=np.float64)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "event", _identities(self.event))
        check_weight(weight)
        _same_length(self.event, len(weight), "event")
        _same_length(self.count, len(weight), "count")
        _check_counts(self.count)


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
        weight = np.asarray(self.weight, dtype=np.float64)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "event", _identities(self.event))
        check_weight(weight)
        fast = np.asarray(self.fast)
        object.__setattr__(self, "fast", fast[:, None] if fast.ndim == 1 else fast)
        for values, what in ((self.event, "event"), (self.full, "full"), (self.fast, "fast")):
            _same_length(values, len(weight), what)
        _check_counts(self.full)
        _check_counts(self.fast)


def response_key(name: str) -> str:
    """Name of a response where quantities and responses share one table."""
    return f"response:{name}"


def check_weight(weight: Reals) -> None:
    """Raise SampleError where weights are not finite or do not sum to more than zero."""
    bad = np.flatnonzero(~np.isfinite(weight))
    if len(bad):
        raise SampleError(f"the weight of row {bad[0]} is not finite ({len(bad)} such rows)")
    if len(weight) == 0:
        raise SampleError("there are no rows; is the final selection too tight?")
    if weight.sum() <= 0:
        raise SampleError(
            f"the weights sum to {weight.sum():.6g}; a distribution needs a positive sum"
        )


def _columns(columns: Mapping[str, Any], length: int, group: str) -> dict[str, Reals]:
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    for name, values in arrays.items():
        _same_length(values, length, f"{group} {name!r}")
    return arrays


def _outcomes(values: Any, length: int, what: str) -> Flags:
    array = np.asarray(values)
    _same_length(array, length, what)
    if array.dtype != np.bool_ and not np.all((array == 0) | (array == 1)):
        raise SampleError(f"{what} must hold true or false (or 1 and 0) for every row")
    return array.astype(np.bool_)


def _check_counts(values: npt.NDArray[Any]) -> None:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise SampleError("counts must be whole numbers, none of them negative")


def _same_length(values: Any, length: int, what: str) -> None:
    if len(values) != length:
        raise SampleError(f"{what} has {len(values)} rows, the weights have {length}")


def _identities(event: Any) -> npt.NDArray[Any]:
    array = np.asarray(event)
    if array.dtype.kind not in "iu":
        raise SampleError(f"event identities must be integers, not {array.dtype}")
    return array
