"""Distributions and residuals: FullSim, FastSim and GEN with the ratio to FullSim below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mplhep
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from gen2reco.validation.labels import split_unit
from gen2reco.validation.pictures import (
    BAND,
    FAST,
    FULL,
    GEN,
    hide_minor_ticks,
    new_figure,
    place_labels,
    set_title,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gen2reco.validation.columns import Reals
    from gen2reco.validation.results import Distribution


def distribution_plot(shape: Distribution, note: str = "") -> Figure:
    """FullSim, FastSim and GEN over one quantity, with the ratio to FullSim below."""
    with style():
        figure = new_figure(5.6, 5.2, between=(0, 0.08))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        _spectrum(above, below, shape)
        set_title(above, "", note)
        return figure


def residual_plot(core: Distribution, tails: Distribution | None, note: str = "") -> Figure:
    """Residual of RECO to GEN: its core, and the whole of it on a logarithmic axis."""
    with style():
        columns = 1 if tails is None else 2
        figure = new_figure(5.6 * columns, 5.2, between=(0.23, 0.08))
        axes = figure.subplots(2, columns, squeeze=False, sharex="col", height_ratios=[3, 1])
        for column, shape in enumerate((core, tails)):
            if shape is not None:
                _spectrum(axes[0, column], axes[1, column], shape)
        set_title(axes[0, 0], "", note)
        return figure


def _spectrum(above: Axes, below: Axes, shape: Distribution) -> None:
    edges = np.asarray(shape.edges)
    full, fast = np.asarray(shape.full), np.asarray(shape.fast)
    error = np.sqrt(np.asarray(shape.full_variance))
    spread = np.sqrt(np.asarray(shape.fast_variance))
    band = np.asarray(shape.band)
    both = np.hypot(spread, band)
    ensemble = bool(np.any(band > 0))
    if ensemble:
        _stairs_band(above, edges, (fast, both), (FAST, 0.25), r"stat. $\oplus$ ensemble")
        _stairs_band(above, edges, (fast, band), (BAND, 0.6), "ensemble rms")
    else:
        _stairs_band(above, edges, (fast, both), (FAST, 0.25), "FastSim stat.")
    options = {"ax": above, "flow": "none"}
    if shape.gen:
        mplhep.histplot(
            np.asarray(shape.gen), edges, color=GEN, ls="--", lw=1.2, label="GEN", **options
        )
    mplhep.histplot(fast, edges, color=FAST, label="FastSim", **options)
    mplhep.histplot(
        full, edges, yerr=error, histtype="errorbar", color=FULL, ms=5, label="FullSim", **options
    )
    _spectrum_axes(above, shape, edges, full, fast)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, truth = fast / full, (np.asarray(shape.gen) / full if shape.gen else None)
        relative = [values / full for values in (error, both, band)]
    _stairs_band(below, edges, (ratio, relative[1]), (FAST, 0.25))
    if ensemble:
        _stairs_band(below, edges, (ratio, relative[2]), (BAND, 0.6))
    below.axhline(1, color=FULL, lw=0.8)
    if truth is not None:
        below.stairs(truth, edges, color=GEN, ls="--", lw=1.0)
    below.stairs(ratio, edges, color=FAST, lw=1.4)
    centre = 0.5 * (edges[1:] + edges[:-1])
    there = full > 0
    below.errorbar(
        centre[there], np.ones(there.sum()), relative[0][there], fmt=".", color=FULL, ms=4, lw=1
    )
    low, high = _ratio_range(ratio, np.hypot(relative[0], relative[1]))
    for mask, y, marker in ((ratio > high, high, "^"), (ratio < low, low, "v")):
        below.plot(
            centre[mask], np.full(mask.sum(), y), marker, color=FAST, ms=5, clip_on=False, zorder=5
        )
    below.set_ylim(low, high)
    below.set_ylabel("Fast / Full", loc="center")
    below.set_xlabel(shape.label)
    below.yaxis.set_major_locator(MaxNLocator(4, prune="upper"))
    below.yaxis.set_minor_locator(NullLocator())
    if np.allclose(np.diff(edges), 1) and np.allclose(edges % 1, 0.5):
        below.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        below.xaxis.set_minor_locator(NullLocator())
    elif not np.allclose(edges[[0, -1]], (-np.pi, np.pi)):
        below.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    for axis in (above, below):
        place_labels(axis)
    hide_minor_ticks(above)


def _spectrum_axes(axis: Axes, shape: Distribution, edges: Reals, full: Reals, fast: Reals) -> None:
    unit = split_unit(shape.label)[1]
    width = f"{edges[1] - edges[0]:.3g}"
    axis.set_ylabel(f"Events / {width}" + (f" {unit}" if unit else ""))
    axis.set_xlim(edges[0], edges[-1])
    tops = [full.max(), fast.max(), max(shape.gen, default=0.0)]
    top = max(float(min(max(tops), 3 * max(tops[:2]))), 1e-9)
    if shape.log:
        filled = full[full > 0]
        low = 0.5 * float(filled.min()) if len(filled) else 0.1
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylim(low, top * (top / low) ** 0.4)
    else:
        axis.set_ylim(min(0.0, 1.1 * float(full.min())), 1.42 * top)
    _legend(axis)


def _legend(axis: Axes) -> None:
    """Legend in the free strip above the data, FullSim first, bands last."""
    entries = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    first = [name for name in ("FullSim", "FastSim", "GEN") if name in entries]
    names = first + [name for name in entries if name not in first]
    axis.legend(
        [entries[name] for name in names],
        names,
        loc="upper center",
        ncols=3,
        fontsize=11,
        handlelength=1.3,
        columnspacing=0.9,
        borderaxespad=0.3,
    )


def _stairs_band(
    axis: Axes,
    edges: Reals,
    band: tuple[Reals, Reals],
    look: tuple[str, float],
    label: str = "",
) -> None:
    values, spread = band
    there = np.isfinite(values) & np.isfinite(spread)
    values, spread = np.where(there, values, 0.0), np.where(there, spread, 0.0)
    low, high = values - spread, values + spread
    axis.stairs(
        high,
        edges,
        baseline=low,
        fill=True,
        color=look[0],
        alpha=look[1],
        lw=0,
        label=label or None,
    )


def _ratio_range(ratio: Reals, error: Reals) -> tuple[float, float]:
    """The tightest of a few ranges that holds the well measured bins and most of the others."""
    there = np.isfinite(ratio)
    off = np.abs(ratio - 1)
    good = there & (error < 0.35)
    reach = float(np.max(off[good] + error[good], initial=0.0))
    if there.any():
        reach = max(reach, float(np.quantile(off[there], 0.7)))
    for limit in (0.2, 0.5):
        if reach <= limit:
            return 1 - limit, 1 + limit
    return (0.0, 2.0) if reach <= 1.5 else (0.0, 3.0)
