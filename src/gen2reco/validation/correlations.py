"""Correlations between quantities and responses: are they the same in FastSim?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit

from gen2reco.errors import SampleError
from gen2reco.validation.multiple import tail_share
from gen2reco.validation.records import Metric
from gen2reco.validation.results import CorrelationMatrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.validation.columns import Flags, Integers, Reals
    from gen2reco.validation.resplits import Sides

Kind = Literal["spearman", "pearson"]
LEAST_SPREAD = 1e-6
"""Columns that vary less are copies."""
LEAST_VARIED = 30
"""Rows in which a column differs from its most common value; a rare flag has fewer."""


def correlation_matrix(table: Reals, weight: Reals, kind: Kind) -> Reals:
    """Weighted correlation coefficients between the columns of `table` [n, k]: [k, k].

    Raises:
        SampleError: with negative weights a column has no positive variance.
    """
    columns = Ranker(table).ranks(weight) if kind == "spearman" else _centred(table, weight)
    return _coefficients(columns, weight)


def _centred(table: Reals, weight: Reals) -> Reals:
    """Columns as rows [k, n], each around its mean, so that products lose no digits."""
    return np.ascontiguousarray((table - weight @ table / weight.sum()).T)


def _coefficients(columns: Reals, weight: Reals) -> Reals:
    """Weighted correlation coefficients of roughly centred columns [k, n]."""
    share = weight / weight.sum()
    mean = columns @ share
    covariance = (columns * share) @ columns.T - np.outer(mean, mean)
    variance = np.diag(covariance)
    if np.any(variance <= 0):
        raise SampleError(
            f"column {int(np.argmin(variance))} of a correlation matrix has no positive variance: "
            "it is constant, or the negative weights outweigh it"
        )
    scale = 1 / np.sqrt(variance)
    return np.asarray(covariance * scale[:, None] * scale)


class Ranker:
    """Weighted ranks of the same columns for many sets of weights, sorted only once."""

    def __init__(self, table: Reals) -> None:
        columns = np.ascontiguousarray(table.T)
        self._order = np.argsort(columns, axis=1, kind="stable")
        ordered = np.take_along_axis(columns, self._order, axis=1)
        first = np.ones((len(columns), 1), dtype=bool)
        self._new = np.concatenate([first, np.diff(ordered, axis=1) > 0], axis=1)

    def ranks(self, weight: Reals) -> Reals:
        """Ranks from -0.5 to 0.5, [k, n]; ties share their mean rank; weight 0: not there."""
        ranks: Reals = _ranks(self._order, self._new, weight)
        return ranks


@njit(cache=True)
def _ranks(order: Integers, new: Flags, weight: Reals) -> Reals:
    columns, rows = order.shape
    ranks = np.empty((columns, rows))
    for j in range(columns):
        below, i = 0.0, 0
        while i < rows:
            tied = weight[order[j, i]]
            end = i + 1
            while end < rows and not new[j, end]:
                tied += weight[order[j, end]]
                end += 1
            for place in range(i, end):
                ranks[j, order[j, place]] = below + 0.5 * tied
            below += tied
            i = end
        for row in range(rows):
            ranks[j, row] = ranks[j, row] / below - 0.5
    return ranks


def compare_correlations(
    full: tuple[Mapping[str, Reals], Reals],
    half: Flags,
    fast: tuple[Mapping[str, Reals], Reals],
    sides: Sides,
    kind: Kind,
) -> CorrelationMatrix | None:
    """Difference of the correlation matrices of FullSim's half and FastSim, against re-splits.

    Args:
        full: columns and weights of all FullSim rows, [n] each; rows where a column is not finite
            are left out.
        half: True for the rows that stand against FastSim [n].
        fast: columns and weights of FastSim, [m] each.
        sides: re-splits of FullSim, [trials, n].
        kind: which coefficient.

    Returns:
        The comparison; None where fewer than two columns vary on both sides, or where rows that
        have all of them are few.
    """
    columns, full_weight = full
    columns_fast, fast_weight = fast
    names = [
        k
        for k in columns
        if min(_spread(columns[k]), _spread(columns_fast[k])) > LEAST_SPREAD
        and min(_known(columns[k][half]), _known(columns_fast[k])) >= LEAST_VARIED
    ]
    if not names:
        return None
    table, there = _table(columns, names)
    other, there_fast = _table(columns_fast, names)
    varied = [
        i
        for i in range(len(names))
        if min(_varied(table[half & there, i]), _varied(other[there_fast, i])) >= LEAST_VARIED
    ]
    if len(varied) < 2:
        return None
    names, table, other = [names[i] for i in varied], table[:, varied], other[:, varied]
    a = correlation_matrix(table[half & there], full_weight[half & there], kind)
    b = correlation_matrix(other[there_fast], fast_weight[there_fast], kind)
    null_norm, null_largest = np.zeros(len(sides)), np.zeros(len(sides))
    inside, weight, sides = table[there], full_weight[there], sides[:, there]
    ranker = Ranker(inside) if kind == "spearman" else None
    centred = _centred(inside, weight)
    for trial, side in enumerate(sides):
        pair = []
        for sign in (1, -1):
            counted = weight * (side == sign)
            pair.append(_coefficients(ranker.ranks(counted) if ranker else centred, counted))
        null_norm[trial], null_largest[trial] = _sizes(pair[0] - pair[1])
    norm, largest = _sizes(a - b)
    limits = np.quantile(null_norm, 0.95), np.quantile(null_largest, 0.95)
    i, j = np.unravel_index(int(np.argmax(np.abs(a - b))), a.shape)
    # one p-value for both: the worse of the two, each in units of its own null
    together = np.maximum(null_norm / limits[0], null_largest / limits[1])
    return CorrelationMatrix(
        kind=kind,
        names=tuple(names),
        full=_rows(a),
        fast=_rows(b),
        frobenius=Metric(
            norm, float(np.std(null_norm, ddof=1)), float(np.median(null_norm)), float(limits[0])
        ),
        largest=Metric(
            largest,
            float(np.std(null_largest, ddof=1)),
            float(np.median(null_largest)),
            float(limits[1]),
        ),
        pair=(names[int(i)], names[int(j)]),
        p=tail_share(float(max(norm / limits[0], largest / limits[1])), together),
    )


def _spread(values: Reals) -> float:
    there = values[np.isfinite(values)]
    return float(np.std(there)) if len(there) else 0.0


def _known(values: Reals) -> int:
    return int(np.sum(np.isfinite(values)))


def _varied(values: Reals) -> int:
    """Rows that do not have the most common value."""
    counts = np.unique(values, return_counts=True)[1]
    return int(len(values) - counts.max()) if len(values) else 0


def _table(columns: Mapping[str, Reals], names: list[str]) -> tuple[Reals, Flags]:
    table = np.stack([columns[name] for name in names], axis=1)
    return table, np.all(np.isfinite(table), axis=1)


def _sizes(difference: Reals) -> tuple[float, float]:
    return float(np.linalg.norm(difference)), float(np.max(np.abs(difference)))


def _rows(matrix: Reals) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in matrix)
