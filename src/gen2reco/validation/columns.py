"""Columns of samples: their types, and checks of what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gen2reco.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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


def checked_columns(columns: Mapping[str, Any], length: int, group: str) -> dict[str, Reals]:
    """Return columns as float64, all of one length."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    for name, values in arrays.items():
        check_length(values, length, f"{group} {name!r}")
    return arrays


def checked_outcomes(values: Any, length: int, what: str) -> Flags:
    """Return true or false for every row; 1 and 0 are taken as well."""
    array = np.asarray(values)
    check_length(array, length, what)
    if array.dtype != np.bool_ and not np.all((array == 0) | (array == 1)):
        raise SampleError(f"{what} must hold true or false (or 1 and 0) for every row")
    return array.astype(np.bool_)


def check_counts(values: npt.NDArray[Any]) -> None:
    """Raise SampleError where counts are not whole numbers from 0 on."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise SampleError("counts must be whole numbers, none of them negative")


def check_length(values: Any, length: int, what: str) -> None:
    """Raise SampleError where a column is not as long as the weights."""
    if len(values) != length:
        raise SampleError(f"{what} has {len(values)} rows, the weights have {length}")


def checked_identities(event: Any) -> npt.NDArray[Any]:
    """Return the identities of events, which must be integers."""
    array = np.asarray(event)
    if array.dtype.kind not in "iu":
        raise SampleError(f"event identities must be integers, not {array.dtype}")
    return array


def settle_events(rows: Any) -> int:
    """Make `weight` and `event` of a frozen dataclass arrays, check them, return their length."""
    weight = np.asarray(rows.weight, dtype=np.float64)
    object.__setattr__(rows, "weight", weight)
    object.__setattr__(rows, "event", checked_identities(rows.event))
    check_weight(weight)
    check_length(rows.event, len(weight), "event")
    return len(weight)
