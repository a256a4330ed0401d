"""What the comparison reads: plain columns of FullSim and FastSim, whatever their origin."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gen2reco.errors import SampleError, nearest
from gen2reco.validation.columns import (
    Integers,
    Reals,
    check_length,
    check_weight,
    checked_columns,
    checked_identities,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        object.__setattr__(self, "event", checked_identities(self.event))
        for group in ("quantities", "responses", "gen", "gen_quantities"):
            columns = checked_columns(getattr(self, group), len(weight), group)
            object.__setattr__(self, group, columns)
        check_length(self.event, len(weight), "event")
        for name in ("member", "replica", "row"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, np.asarray(given, dtype=np.int64))
                check_length(given, len(weight), name)
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


def response_key(name: str) -> str:
    """Name of a response where quantities and responses share one table."""
    return f"response:{name}"
