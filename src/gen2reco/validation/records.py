"""Numbers as every record of a comparison holds them, and the two smallest records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

if TYPE_CHECKING:
    from gen2reco.validation.columns import Reals

Real = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float; `null` in JSON stands for a number that does not exist."""
Row = tuple[Real, ...]
Matrix = tuple[Row, ...]


def to_row(values: Reals) -> Row:
    """Return an array [n] as plain numbers."""
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class Metric:
    """A value with its error and its null: the same metric between FullSim and FullSim.

    Attributes:
        value: FullSim against FastSim.
        error: standard error of the value.
        null: median of FullSim against FullSim.
        null_95: what 95 % of FullSim against FullSim stay below.
    """

    value: Real
    error: Real = math.nan
    null: Real = math.nan
    null_95: Real = math.nan


@dataclass(frozen=True)
class Statistic:
    """A test statistic with its p-value, alone and after Holm's correction over its family."""

    value: Real
    p: Real
    p_holm: Real = math.nan
    ndf: int = 0
    null: Real = math.nan
    null_95: Real = math.nan
