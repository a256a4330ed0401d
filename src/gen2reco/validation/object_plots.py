"""Plots on objects: efficiency, reliability, counts per event, matching, gain of oversampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from gen2reco.validation.efficiency import ALL
from gen2reco.validation.pictures import (
    DPI,
    FAST,
    FULL,
    GEN,
    hide_minor_ticks,
    new_figure,
    place_labels,
    set_title,
    style,
)
from gen2reco.validation.plots import headroom, log_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gen2reco.validation.columns import Reals
    from gen2reco.validation.object_records import (
        Counts,
        EfficiencyCurve,
        Gain,
        Matching,
        Reliability,
    )

GROUPS = ("#5790fc", "#e42536", "#f89c20", "#964a8b", "#7a21dd", "#9c9ca1")
"""Colours of groups that stay apart for the colour-blind (Petroff)."""
MARKERS = ("o", "s", "^", "D", "v", "P")


def efficiency_plot(
    curves: Sequence[EfficiencyCurve], outcome: str, tolerance: float = 0.0
) -> Figure:
    """Share with an outcome against one GEN quantity: FullSim as points, FastSim as lines.

    Args:
        curves: of the same GEN quantity, one per group.
        outcome: what is counted.
        tolerance: band around 1 in the ratio; 0: none.
    """
    groups = [c for c in curves if c.group != ALL] or list(curves)
    alone = len(groups) == 1
    with style():
        figure = new_figure(5.6, 5.2, between=(0, 0.08))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
        log_x = bool(groups[0].edges[0] > 0 and groups[0].edges[-1] > 8 * groups[0].edges[0])
        reach = 0.02
        for number, curve in enumerate(groups):
            look = (FULL, FAST) if alone else (GROUPS[number % len(GROUPS)],) * 2
            marker = MARKERS[number % len(MARKERS)]
            edges, x = np.asarray(curve.edges), _places(curve.edges, number, len(groups), log_x)
            fast, noise = np.asarray(curve.fast), np.asarray(curve.fast_error)
            above.stairs(fast, edges, baseline=None, color=look[1], lw=1.4)
            above.stairs(
                fast + noise,
                edges,
                baseline=fast - noise,
                fill=True,
                color=look[1],
                alpha=0.25,
                lw=0,
            )
            above.errorbar(
                x, curve.full, curve.full_error, fmt=marker, color=look[0], ms=4.5, lw=1.2
            )
            ratio, error = np.asarray(curve.ratio), np.asarray(curve.ratio_error)
            below.errorbar(x, ratio, error, fmt=marker, color=look[1], ms=4.5, lw=1.2)
            reach = max(reach, _reach(ratio, error))
        below.axhline(1, color=FULL, lw=0.8)
        if tolerance:
            below.axhspan(1 - tolerance, 1 + tolerance, color=GEN, alpha=0.18, lw=0)
        below.set_ylim(1 - 1.15 * reach, 1 + 1.15 * reach)
        below.set_ylabel("Fast / Full", loc="center")
        below.yaxis.set_major_locator(MaxNLocator(4))
        below.yaxis.set_minor_locator(NullLocator())
        below.set_xlabel(groups[0].by_label)
        below.set_xlim(min(c.edges[0] for c in groups), max(c.edges[-1] for c in groups))
        if log_x:
            log_axis(below)
        above.set_ylabel(f"share {outcome}")
        _share_axis(above, groups)
        entries = [
            Line2D([], [], color=FULL, marker="o", ls="", ms=4.5, label="FullSim"),
            Line2D([], [], color=FAST if alone else FULL, lw=1.4, label="FastSim"),
        ]
        if not alone:
            entries += [
                Line2D(
                    [], [], color=GROUPS[i % len(GROUPS)], marker=MARKERS[i % len(MARKERS)],
                    ms=4.5, lw=1.4, label=curve.group,
                )
                for i, curve in enumerate(groups)
            ]  # fmt: skip
        above.legend(
            handles=entries, loc="upper center", ncols=3, fontsize=11, columnspacing=0.9,
            handlelength=1.3, borderaxespad=0.3,
        )  # fmt: skip
        for axis in (above, below):
            place_labels(axis)
        hide_minor_ticks(above)
        return figure


def reliability_plot(found: Reliability, outcome: str) -> Figure:
    """Share in FullSim against the predicted probability, and their difference below."""
    with style():
        figure = new_figure(5.6, 5.2, between=(0, 0.08))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
        predicted, observed = np.asarray(found.predicted), np.asarray(found.observed)
        error = np.asarray(found.error)
        low = min(float(np.nanmin(predicted)), float(np.nanmin(observed - error)))
        high = max(float(np.nanmax(predicted)), float(np.nanmax(observed + error)))
        margin = 0.05 * (high - low) + 0.005
        above.plot([0, 1], [0, 1], color=GEN, lw=1, ls="--", label="as predicted")
        above.errorbar(
            predicted, observed, error, fmt="o", color=FULL, ms=4.5, lw=1.2, label="FullSim"
        )
        below.axhline(0, color=GEN, lw=1, ls="--")
        below.errorbar(predicted, observed - predicted, error, fmt="o", color=FULL, ms=4.5, lw=1.2)
        reach = 1.15 * max(0.005, _reach(1 + observed - predicted, error))
        below.set_ylim(-reach, reach)
        above.set_xlim(max(0.0, low - margin), min(1.0, high + margin))
        above.set_ylim(max(0.0, low - margin), min(1.02, high + margin))
        above.set_ylabel(f"share {outcome}")
        above.legend(loc="upper left")
        below.set_ylabel("difference", loc="center")
        below.set_xlabel(f"predicted probability of {outcome}")
        below.yaxis.set_major_locator(MaxNLocator(4))
        for axis in (above, below):
            place_labels(axis)
            axis.yaxis.set_minor_locator(NullLocator())
        hide_minor_ticks(above)
        return figure


def counts_plot(found: Counts) -> Figure:
    """Shares of events with 0, 1, 2, 3 and more objects, with the ratio to FullSim below."""
    with style():
        figure = new_figure(4.6, 4.4, left=0.8, between=(0, 0.08))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
        x = np.arange(len(found.values))
        edges = np.arange(len(x) + 1) - 0.5
        full, fast = 100 * np.asarray(found.full), 100 * np.asarray(found.fast)
        error, noise = 100 * np.asarray(found.full_error), 100 * np.asarray(found.fast_error)
        above.stairs(fast, edges, color=FAST, lw=1.4, label="FastSim")
        above.stairs(
            fast + noise, edges, baseline=fast - noise, fill=True, color=FAST, alpha=0.25, lw=0
        )
        above.errorbar(x, full, error, fmt="o", color=FULL, ms=4.5, lw=1.2, label="FullSim")
        above.set_ylim(0, 1.35 * max(float(full.max()), float(fast.max())))
        above.set_ylabel("events [%]")
        above.legend(loc="upper right", ncols=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(full > 0, fast / full, np.nan)
            spread = np.where(full > 0, np.hypot(noise, ratio * error) / full, np.nan)
        below.axhline(1, color=FULL, lw=0.8)
        below.errorbar(x, ratio, spread, fmt="s", color=FAST, ms=4.5, lw=1.2)
        reach = 1.15 * max(0.02, _reach(ratio, spread))
        below.set_ylim(1 - reach, 1 + reach)
        below.set_ylabel("Fast / Full", loc="center")
        names = [f"{value:g}" for value in found.values]
        below.set_xticks(x, [*names[:-1], f"{names[-1]}+"])
        below.set_xlim(edges[0], edges[-1])
        below.set_xlabel(found.label)
        below.yaxis.set_major_locator(MaxNLocator(4))
        for axis in (above, below):
            axis.yaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_minor_locator(NullLocator())
            place_labels(axis)
        return figure


def matching_plot(found: Matching) -> Figure:
    """Distance and pt ratio of the pairs, efficiency and spurious share against pt."""
    with style():
        figure = new_figure(11.2, 8.0, between=(0.24, 0.3))
        (distance, ratio), (efficiency, spurious) = figure.subplots(2, 2)
        edges = np.asarray(found.delta_r_edges)
        for values, colour, name in (
            (found.neighbour, GEN, "next RECO object"),
            (found.delta_r, FAST, "pairs"),
        ):
            distance.stairs(values, edges, color=colour, lw=1.4, label=name)
        distance.set_xscale("log")
        distance.set_xlim(edges[0], edges[-1])
        if np.isfinite(found.reach):
            distance.axvline(found.reach, color=FULL, ls=":", lw=1.2, label="largest allowed")
        distance.set_ylim(0, 1.35 * max(*found.delta_r, *found.neighbour, 1))
        distance.legend(loc="upper left", fontsize=11)
        distance.set_xlabel(r"$\Delta R$(GEN, RECO)")
        distance.set_ylabel("GEN objects")
        ratio.stairs(found.ratio, found.ratio_edges, color=FAST, lw=1.4)
        ratio.axvline(1, color=GEN, lw=0.8, ls=":")
        ratio.set_xlim(found.ratio_edges[0], found.ratio_edges[-1])
        ratio.set_ylim(0, 1.15 * max(*found.ratio, 1))
        ratio.set_xlabel(r"$p_{T}$ RECO / GEN of pairs")
        ratio.set_ylabel("pairs")
        _share_against_pt(
            efficiency, found.gen_pt_edges, found.efficiency_by_pt, found.efficiency_error
        )
        efficiency.set_xlabel(r"GEN $p_{T}$ [GeV]")
        efficiency.set_ylabel("GEN objects with a partner")
        _share_against_pt(spurious, found.reco_pt_edges, found.spurious_by_pt, found.spurious_error)
        spurious.set_xlabel(r"RECO $p_{T}$ [GeV]")
        spurious.set_ylabel("RECO objects without")
        for axis in (distance, ratio, efficiency, spurious):
            place_labels(axis)
        figure.set_dpi(DPI)
        return figure


def gain_plot(found: Gain) -> Figure:
    """Gain in effective statistics per bin of a distribution."""
    with style():
        figure = new_figure(5.6, 3.6)
        axis = figure.subplots()
        axis.stairs(found.gain, found.edges, baseline=None, color=FAST, lw=1.4)
        axis.axhline(found.replicas, color=GEN, ls="--", lw=1, label="independent replicas")
        axis.axhline(1, color=GEN, ls=":", lw=1, label="replicas that only repeat")
        axis.set_xlim(found.edges[0], found.edges[-1])
        axis.set_ylim(0, 1.45 * found.replicas)
        axis.set_xlabel(found.label)
        axis.set_ylabel("gain in statistics")
        axis.legend(loc="upper center", ncols=2, fontsize=11, borderaxespad=0.3)
        place_labels(axis)
        set_title(axis, "", f"{found.replicas} replicas, mean gain {found.mean:.1f}")
        return figure


def _share_against_pt(
    axis: Axes, edges: Sequence[float], share: Sequence[float], error: Sequence[float]
) -> None:
    x = _places(edges, 0, 1, log=edges[0] > 0)
    axis.errorbar(x, share, error, fmt="o", color=FULL, ms=4.5, lw=1.2)
    axis.stairs(np.asarray(share), np.asarray(edges), baseline=None, color=FULL, lw=0.6, alpha=0.7)
    axis.set_xlim(edges[0], edges[-1])
    if edges[0] > 0 and edges[-1] > 8 * edges[0]:
        log_axis(axis)
    headroom(axis, 0.05)
    axis.set_ylim(bottom=max(axis.get_ylim()[0], 0.0))


def _places(edges: Sequence[float], number: int, count: int, log: bool) -> Reals:
    """Where the points of one of several groups stand in their bins, apart from each other."""
    sides = np.asarray(edges)
    share = 0.5 + 0.12 * (number - (count - 1) / 2)
    if log:
        return np.asarray(sides[:-1] ** (1 - share) * sides[1:] ** share)
    return np.asarray(sides[:-1] * (1 - share) + sides[1:] * share)


def _reach(ratio: Reals, error: Reals) -> float:
    """How far a ratio panel must reach to hold what is measured to better than a third."""
    good = np.isfinite(ratio) & (error < 0.33)
    reach = float(np.max((np.abs(ratio - 1) + error)[good], initial=0.0))
    return min(reach, 1.0)


def _share_axis(axis: Axes, curves: Sequence[EfficiencyCurve]) -> None:
    """Linear, or logarithmic where groups differ by a lot, with room for the legend above."""
    values = np.concatenate([[*c.full, *c.fast] for c in curves])
    values = values[np.isfinite(values)]
    typical = np.array([np.nanmedian(c.full) for c in curves])
    if typical.min() < 0.05 and typical.max() > 10 * typical.min():
        filled = values[values > 0]
        low, high = 0.6 * float(filled.min()), float(filled.max())
        axis.set_yscale("log")
        axis.set_ylim(low, high * (high / low) ** 0.35)
        axis.yaxis.set_major_locator(LogLocator(10, (1.0, 3.0)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        return
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    span = max(high - low, 0.02)
    axis.set_ylim(max(0.0, low - 0.1 * span), high + 0.45 * span)
    ticks = MaxNLocator(6).tick_values(*axis.get_ylim())
    # a share above one is no share
    axis.set_yticks([tick for tick in ticks if axis.get_ylim()[0] <= tick <= 1])
    axis.yaxis.set_minor_locator(NullLocator())
