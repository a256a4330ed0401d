"""Scale and resolution: median and half 68 % width of RECO relative to GEN, in bins of GEN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2 as chi2_law

from gen2reco.validation.binned import bin_index, quantile_edges, sums
from gen2reco.validation.records import Metric, Statistic
from gen2reco.validation.resplits import resplit
from gen2reco.validation.results import ResponseProfile
from gen2reco.validation.weighted import (
    HALF_68,
    Ordered,
    effective_entries,
    event_index,
    quantile_influence,
)

if TYPE_CHECKING:
    from gen2reco.validation.columns import Flags, Integers, Reals
    from gen2reco.validation.settings import Settings

LEAST_ROWS = 50
"""Rows that a bin needs on each side, so that its 16 % and 84 % points mean something."""


@dataclass(frozen=True)
class Side:
    """Responses of one side: GEN quantity of the axis, response, weight, event, [n] each."""

    axis: Reals
    response: Reals
    weight: Reals
    event: Integers

    def take(self, mask: Flags) -> Side:
        """Return the rows under a mask."""
        return Side(self.axis[mask], self.response[mask], self.weight[mask], self.event[mask])


@dataclass(frozen=True)
class _Bin:
    """Median and half width in one bin, and how much each event moves them, [events]."""

    median: float
    width: float
    median_by_event: Reals
    width_by_event: Reals


def profile(
    full: Side,
    fast: Side,
    settings: Settings,
    *,
    name: str,
    by: str,
    label: str = "",
    by_label: str = "",
    same_rows: bool,
) -> ResponseProfile | None:
    """Compare scale and resolution of one response in bins of one GEN quantity.

    The bins hold equal numbers of FullSim rows. Errors come from the influence of each event on a
    quantile, summed over its rows, so that replicas and rows shared by both sides count rightly.

    Args:
        full: FullSim.
        fast: FastSim, possibly several replicas of each row.
        settings: number of bins, re-splits, seed.
        name: the response.
        by: the GEN quantity.
        label: axis label of the response.
        by_label: axis label of the GEN quantity.
        same_rows: both sides hold the same GEN events.

    Returns:
        The profile; None where no bin has 50 rows on each side, or the response is constant or a
        whole number.
    """
    full, fast = (
        side.take(np.isfinite(side.response) & np.isfinite(side.axis)) for side in (full, fast)
    )
    if min(len(full.axis), len(fast.axis)) < 2 * LEAST_ROWS or np.ptp(full.response) < 1e-6:
        return None
    if np.all(full.response == np.round(full.response)):
        return None  # a median of whole numbers jumps; their shares are compared elsewhere
    edges = quantile_edges(full.axis, settings.response_bins)
    (index_full, index_fast), events = event_index(full.event, fast.event)
    bins_full, bins_fast = bin_index(full.axis, edges), bin_index(fast.axis, edges)
    kept, table = [], []
    for i in range(len(edges) - 1):
        in_full, in_fast = bins_full == i, bins_fast == i
        if min(in_full.sum(), in_fast.sum()) < LEAST_ROWS:
            continue
        a = _measure(full.take(in_full), index_full[in_full], events)
        b = _measure(fast.take(in_fast), index_fast[in_fast], events)
        if not (a.width > 0 and b.width > 0):
            continue
        kept.append(i)
        table.append(_compare(a, b, int(in_full.sum())))
    if not kept:
        return None
    columns = {key: np.array([row[key] for row in table]) for key in table[0]}
    null_closure, null_width = _null(full, bins_full, kept, settings)
    # bins left out are gaps: the edges of a gap stay, with nan in it
    every = {key: np.full(len(edges) - 1, np.nan) for key in columns}
    for key, values in columns.items():
        every[key][kept] = values
    worst = int(np.argmax(columns["closure"]))
    widest = int(np.argmax(np.abs(columns["width_ratio"] - 1)))
    pulls = columns["difference"] / np.maximum(columns["difference_error"], 1e-300)
    width_pulls = (columns["width_ratio"] - 1) / np.maximum(columns["width_ratio_error"], 1e-300)
    shown = {key: tuple(values.tolist()) for key, values in every.items()}
    return ResponseProfile(
        name=name,
        label=label or name,
        by=by,
        by_label=by_label or by,
        edges=tuple(edges.tolist()),
        rows=tuple(int(np.sum(bins_full == i)) for i in range(len(edges) - 1)),
        **{
            key: shown[key]
            for key in shown
            if key not in ("rows", "difference", "difference_error")
        },
        largest_closure=Metric(
            float(columns["closure"][worst]), float(columns["closure_error"][worst]), *null_closure
        ),
        largest_width=Metric(
            float(abs(columns["width_ratio"][widest] - 1)),
            float(columns["width_ratio_error"][widest]),
            *null_width,
        ),
        scale=_chi2(pulls),
        resolution=_chi2(width_pulls),
        same_rows=same_rows,
    )


def _measure(side: Side, index: Integers, events: int) -> _Bin:
    ordered = Ordered.of(side.response, side.weight)
    entries = effective_entries(side.weight, side.event)
    low, middle, high = (
        quantile_influence(side.response, side.weight, ordered, p, entries)
        for p in (HALF_68[0], 0.5, HALF_68[1])
    )
    return _Bin(
        ordered.quantile(0.5),
        ordered.half_width(),
        sums(index, middle, events),
        sums(index, 0.5 * (high - low), events),
    )


def _compare(full: _Bin, fast: _Bin, rows: int) -> dict[str, float]:
    def size(by_event: Reals) -> float:
        return float(np.sqrt(np.sum(by_event**2)))

    difference = fast.median - full.median
    error = size(fast.median_by_event - full.median_by_event)
    ratio = fast.width / full.width
    ratio_error = size(fast.width_by_event - ratio * full.width_by_event) / full.width
    return {
        "rows": rows,
        "median_full": full.median,
        "median_full_error": size(full.median_by_event),
        "median_fast": fast.median,
        "median_fast_error": size(fast.median_by_event),
        "width_full": full.width,
        "width_full_error": size(full.width_by_event),
        "width_fast": fast.width,
        "width_fast_error": size(fast.width_by_event),
        "difference": difference,
        "difference_error": error,
        "closure": abs(difference) / full.width,
        "closure_error": error / full.width,
        "width_ratio": ratio,
        "width_ratio_error": ratio_error,
    }


def _null(
    full: Side, bins: Integers, kept: list[int], settings: Settings
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Largest closure and width deviation between halves of FullSim: median and 95 %."""
    events = len(np.unique(full.event))
    if events < 4:
        return (np.nan, np.nan), (np.nan, np.nan)
    rng = np.random.default_rng([settings.seed, 11])
    sides = resplit(full.event, events // 2, settings.response_resplits, rng)
    closure = np.zeros((len(sides), len(kept)))
    width = np.zeros((len(sides), len(kept)))
    for column, i in enumerate(kept):
        rows = np.flatnonzero(bins == i)
        rows = rows[np.argsort(full.response[rows], kind="stable")]
        values, weight = full.response[rows], full.weight[rows]
        for trial, side in enumerate(sides[:, rows]):
            # rows are sorted already, so each side is
            a, b = (Ordered.of(values[side == s], weight[side == s]) for s in (1, -1))
            closure[trial, column] = abs(a.quantile(0.5) - b.quantile(0.5)) / b.half_width()
            width[trial, column] = abs(a.half_width() / b.half_width() - 1)
    worst, widest = np.nanmax(closure, axis=1), np.nanmax(width, axis=1)
    return (
        (float(np.median(worst)), float(np.quantile(worst, 0.95))),
        (float(np.median(widest)), float(np.quantile(widest, 0.95))),
    )


def _chi2(pulls: Reals) -> Statistic:
    value = float(np.sum(pulls**2))
    return Statistic(value, float(chi2_law.sf(value, len(pulls))), ndf=len(pulls))
