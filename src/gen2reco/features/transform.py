"""What a transform is: an invertible map of k columns, given others, with its log-determinant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gen2reco.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array


class Options(BaseModel):
    """Settings of a kind of transform in a study file: frozen, unknown ones refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounds(Options):
    """Where a quantity begins and ends, in its own unit."""

    low: float = Field(0.0, allow_inf_nan=False)
    high: float = Field(1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must lie below high ({self.high:g})")
        return self


@dataclass(frozen=True)
class Transform(ABC):
    """A fitted invertible map of columns [n, k], a function of each row alone.

    Laws: `inverse(forward(x))` is x to float32 accuracy, at the edges and in the tails too;
    `log_det` is the logarithm of |d forward / d values|, and where noise stands for an exact value,
    what makes exp(log density + log_det) its probability on average over the noise;
    `from_state(state())` is the same transform to the last bit. Values outside the domain may give
    infinities, never exceptions.

    Attributes:
        kind: its name in a study file.
        components: number of columns it mixes; 0 for one that acts on each column by itself.
        roles: columns it needs under `given`, always.
        fit_roles: columns it needs under `given` when it is fitted, and never again.
    """

    kind: ClassVar[str]
    components: ClassVar[int] = 0
    roles: ClassVar[tuple[str, ...]] = ()
    fit_roles: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[Options]] = Options

    @classmethod
    @abstractmethod
    def fit(
        cls, values: NDArray[np.float64], given: Mapping[str, NDArray[Any]], options: Any
    ) -> Self:
        """Return the transform fitted to finite values [n, k], with checked `Options`."""

    @abstractmethod
    def forward(self, values: Array, given: Mapping[str, Array]) -> Array:
        """Return encoded values [n, k]."""

    @abstractmethod
    def inverse(self, values: Array, given: Mapping[str, Array]) -> Array:
        """Return physics values [n, k] of encoded ones."""

    @abstractmethod
    def log_det(self, values: Array, given: Mapping[str, Array]) -> Array:
        """Return log |d forward / d values| at physics values [n, k], one number per row, [n]."""

    def state(self) -> dict[str, Any]:
        """Return kind and fitted numbers as JSON can hold them, exactly."""
        return {"kind": self.kind, **_plain(asdict(self))}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the transform that gave `state`."""
        return cls(**{field.name: _tuples(state[field.name]) for field in fields(cls)})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def floats(values: Any) -> tuple[float, ...]:
    """Return numbers as a tuple of Python floats, the form in which fitted transforms hold them."""
    return tuple(float(value) for value in np.atleast_1d(values))


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the central 68 % width of each column [n, k] -> [k], and never zero.

    Where more than two thirds of the rows agree, the standard deviation stands in; where all do, 1.
    """
    low, high = np.quantile(values, [0.16, 0.84], axis=0)
    width = (high - low) / 2
    width = np.where(width > 0, width, values.std(axis=0))
    return np.asarray(np.where(width > _roundoff(values), width, 1.0))


def _roundoff(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # The sum behind a mean rounds: a constant column has a standard deviation of this order.
    return np.asarray(1e-13 * np.abs(values).max(axis=0))


def mean_and_deviation(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column [n, k], with far outliers pulled in.

    Values beyond ten half 68 % widths from the median count as lying there, if they are less than
    half a percent: one absurd row cannot squeeze all others. A constant column has deviation 1.
    """
    first, low, median, high, last = np.quantile(values, [0.005, 0.16, 0.5, 0.84, 0.995], axis=0)
    reach = 5 * (high - low)
    reach = np.where(reach > 0, reach, np.inf)
    tame = np.clip(values, np.minimum(median - reach, first), np.maximum(median + reach, last))
    deviation = tame.std(axis=0)
    return tame.mean(axis=0), np.where(deviation > _roundoff(values), deviation, 1.0)


def refuse_below(values: NDArray[np.float64], bound: float, kind: str, advice: str) -> None:
    """Raise a StudyError that names the first row with a value below the bound, and what to do."""
    below = (values < bound).any(axis=1)
    if below.any():
        raise StudyError(
            f"{kind} cannot take {np.count_nonzero(below)} of {len(values)} values, "
            f"the first in row {int(np.argmax(below))}: {advice}"
        )
