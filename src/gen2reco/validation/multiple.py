"""Judging many p-values together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.validation.columns import Reals


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's correction: adjusted p-values that may be held against the family-wise level.

    Sorted, the i-th smallest of m is multiplied by m - i + 1; none may be below the one before.
    A p-value that does not exist (nan) is left out of the family and stays nan.
    """
    p = np.asarray(p_values, dtype=np.float64)
    there = np.flatnonzero(np.isfinite(p))
    order = there[np.argsort(p[there], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return tuple(float(value) for value in adjusted)


def tail_share(value: float, null: Reals) -> float:
    """p-value of a value among draws of its null: (1 + how many are as large) / (1 + draws)."""
    return (1 + int(np.sum(null >= value))) / (1 + len(null))
