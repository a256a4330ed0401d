"""One function per plot: records of a comparison in, a matplotlib figure out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mplhep
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from gen2reco.validation.labels import split_unit
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gen2reco.validation.records import Matrix, Row
    from gen2reco.validation.results import (
        Classifier,
        CorrelationMatrix,
        Picture2D,
        Pit,
        Quantity,
        ResponseProfile,
    )
    from gen2reco.validation.transport import Plan


def picture_plot(picture: Picture2D) -> Figure:
    """FastSim against RECO and GEN against RECO of the same events, on one colour scale."""
    panels = [("FastSim", picture.fast, picture.correlation[0])]
    if picture.gen:
        panels.append(("GEN", picture.gen, picture.correlation[1]))
    return _planes(panels, "RECO", picture.edges, picture.label)


def plan_plot(plan: Plan) -> Figure:
    """RECO of FullSim and of FastSim against the GEN value that became it, on one colour scale."""
    panels = [
        ("FullSim", plan.full, plan.correlation[0]),
        ("FastSim", plan.fast, plan.correlation[1]),
    ]
    return _planes(panels, "GEN", plan.edges, plan.label)


def _planes(
    panels: Sequence[tuple[str, Matrix, float]], across: str, axes_edges: Row, label: str
) -> Figure:
    """Planes side by side: names go up, `across` goes right."""
    with style():
        width = 4.6 * len(panels) + 1.1
        # square panels of 3.5 inches
        figure = new_figure(width, 4.58, right=1.1, between=(0.28, 0))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        edges = np.asarray(axes_edges)
        largest = max(float(np.max(table)) for _, table, _ in panels)
        symbol, unit = split_unit(label)
        unit = f" [{unit}]" if unit else ""
        mesh: Any = None
        for axis, (name, table, rho) in zip(axes, panels, strict=True):
            shown = np.ma.masked_less_equal(np.asarray(table).T, 0)
            mesh = axis.pcolormesh(
                edges, edges, shown, cmap="viridis", norm="log", vmin=1, vmax=max(largest, 2),
                rasterized=True,
            )  # fmt: skip
            axis.plot(edges[[0, -1]], edges[[0, -1]], color=GEN, lw=0.8, ls=":")
            axis.set_xlabel(f"{symbol} {across}{unit}")
            axis.set_ylabel(f"{symbol} {name}{unit}")
            place_labels(axis)
            set_title(axis, f"{name} against {across}", f"Spearman {rho:.3f}")
        place = axes[-1].get_position()
        bar = figure.add_axes((place.x1 + 0.15 / width, place.y0, 0.16 / width, place.height))
        figure.colorbar(mesh, cax=bar, label="events").minorticks_off()
        figure.set_dpi(DPI)
        return figure


def correlation_plot(matrix: CorrelationMatrix) -> Figure:
    """Correlation matrices of FullSim and FastSim, and their difference."""
    with style():
        full, fast = np.asarray(matrix.full), np.asarray(matrix.fast)
        size = len(matrix.names)
        figure = new_figure(15.6, 5.9, left=1.6, right=0.75, bottom=1.4, top=0.3, between=(0.16, 0))
        axes = figure.subplots(1, 3)
        names = [short_name(name) for name in matrix.names]
        reach = max(0.02, float(np.max(np.abs(fast - full))), 1.2 * matrix.largest.null_95)
        font = float(np.clip(240 / size, 6.5, 12))
        panels = (
            ("FullSim", full, 1.0),
            ("FastSim", fast, 1.0),
            ("FastSim $-$ FullSim", fast - full, reach),
        )
        for axis, (title, values, limit) in zip(axes, panels, strict=True):
            image = axis.imshow(
                values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
            )
            axis.set_xticks(range(size), names, rotation=90, fontsize=font)
            axis.set_yticks(range(size), names if axis is axes[0] else [], fontsize=font)
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_minor_locator(NullLocator())
            axis.tick_params(length=0)
            axis.set_title(title, fontsize=14)
            figure.colorbar(image, ax=axis, fraction=0.045, pad=0.02)
        figure.set_dpi(DPI)
        return figure


def response_plot(profile: ResponseProfile) -> Figure:
    """Scale and resolution of one response in bins of a GEN quantity, and their agreement."""
    with style():
        figure = new_figure(5.6, 6.2, between=(0, 0.07))
        axes = figure.subplots(3, 1, sharex=True, height_ratios=[2, 2, 1.3])
        edges = np.asarray(profile.edges)
        log = bool(edges[0] > 0 and edges[-1] > 8 * edges[0])
        centre = np.sqrt(edges[1:] * edges[:-1]) if log else 0.5 * (edges[1:] + edges[:-1])
        for axis, what in zip(axes[:2], ("median", "width"), strict=True):
            for name, colour, marker, side in (("full", FULL, "o", -1), ("fast", FAST, "s", 1)):
                values = np.asarray(getattr(profile, f"{what}_{name}"))
                errors = np.asarray(getattr(profile, f"{what}_{name}_error"))
                near = edges[:-1] if side < 0 else edges[1:]
                x = centre ** (0.9) * np.abs(near) ** 0.1 if log else 0.9 * centre + 0.1 * near
                axis.errorbar(
                    x, values, errors, fmt=marker, color=colour, ms=4.5, lw=1.2,
                    label="FullSim" if name == "full" else "FastSim",
                )  # fmt: skip
                axis.stairs(values, edges, baseline=None, color=colour, lw=0.6, alpha=0.7)
            headroom(axis, 0.1 if what == "width" else 0.28)
        axes[0].set_ylabel("median")
        axes[0].legend(loc="upper right", ncols=2, borderaxespad=0.2)
        axes[1].set_ylabel("half 68 % width")
        axes[2].axhline(1, color=FULL, lw=0.8)
        ratio, error = np.asarray(profile.width_ratio), np.asarray(profile.width_ratio_error)
        axes[2].stairs(ratio, edges, baseline=None, color=FAST, lw=0.6, alpha=0.7)
        axes[2].errorbar(centre, ratio, error, fmt="s", color=FAST, ms=4.5, lw=1.2)
        reach = float(np.nanmax(np.abs(ratio - 1) + error)) if np.isfinite(ratio).any() else 0.1
        reach = 1.15 * max(reach, 0.04)
        axes[2].set_ylim(max(1 - reach, 0.0), 1 + reach)
        axes[2].set_ylabel("width ratio", loc="center")
        axes[2].set_xlabel(profile.by_label)
        axes[2].set_xlim(edges[0], edges[-1])
        if log:
            log_axis(axes[2])
        # The left corner is where a power of ten of the axis stands.
        set_title(axes[0], "", profile.label)
        for axis in axes:
            place_labels(axis)
            axis.yaxis.set_minor_locator(NullLocator())
        hide_minor_ticks(axes[0])
        hide_minor_ticks(axes[1])
        return figure


def pit_plot(pit: Pit) -> Figure:
    """Share of true values per decile of the emulator's draws; 10 % each is coverage."""
    with style():
        figure = new_figure(4.6, 3.6, left=0.8)
        axis = figure.subplots()
        edges = np.linspace(0, 1, 11)
        shares = 100 * np.asarray(pit.deciles)
        for width, alpha in ((2, 0.18), (1, 0.3)):
            axis.axhspan(
                10 - width * 100 * pit.error,
                10 + width * 100 * pit.error,
                color=GEN,
                alpha=alpha,
                lw=0,
            )
        axis.axhline(10, color=GEN, lw=1, ls="--")
        error = np.full(10, 100 * pit.error)
        options = {"histtype": "errorbar", "xerr": True, "flow": "none"}
        mplhep.histplot(shares, edges, ax=axis, yerr=error, color=FAST, **options)
        reach = 1.4 * max(float(np.max(np.abs(shares - 10))), 300 * pit.error)
        axis.set_ylim(10 - reach, 10 + reach)
        axis.set_xlim(0, 1)
        axis.set_xlabel("rank of the truth among draws")
        axis.set_ylabel("rows per decile [%]")
        place_labels(axis)
        set_title(axis, _symbol(pit.label), _p(pit.test.p_holm))
        return figure


def roc_plot(classifier: Classifier) -> Figure:
    """ROC of the classifier test, and its distance to the diagonal beside that of the null."""
    with style():
        figure = new_figure(5.6, 5.6, top=0.15, between=(0, 0.07))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.6])
        x = np.asarray(classifier.false_positive)
        true, null = np.asarray(classifier.true_positive), np.asarray(classifier.null_true_positive)
        spread = np.asarray(classifier.null_spread)
        above.plot([0, 1], [0, 1], color=GEN, lw=0.8, ls=":")
        null_auc, auc = np.mean(classifier.null), np.mean(classifier.auc)
        above.plot(
            x, null, color=FULL, lw=1.2, label=f"FullSim against FullSim, AUC {null_auc:.3f}"
        )
        above.plot(x, true, color=FAST, label=f"FastSim against FullSim, AUC {auc:.3f}")
        above.set_ylabel("FastSim taken as FastSim")
        above.set_ylim(0, 1.02)
        above.legend(loc="lower right")
        below.fill_between(x, null - x - spread, null - x + spread, color=GEN, alpha=0.4, lw=0)
        below.plot(x, null - x, color=FULL, lw=1.2)
        below.plot(x, true - x, color=FAST)
        below.axhline(0, color=GEN, lw=0.8, ls=":")
        reach = 1.2 * max(
            0.02, float(np.max(np.abs(true - x))), float(np.max(np.abs(null - x) + spread))
        )
        below.set_ylim(-reach, reach)
        below.set_ylabel("above diagonal", loc="center")
        below.set_xlabel("FullSim taken as FastSim")
        below.set_xlim(0, 1)
        for axis in (above, below):
            place_labels(axis)
        hide_minor_ticks(above)
        return figure


def loss_plot(history: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Training and validation loss per epoch; the best epoch is marked."""
    with style():
        figure = new_figure(5.6, 4.0)
        axis = figure.subplots()
        x = np.array([record.get("epoch", i + 1) for i, record in enumerate(history)], dtype=float)
        curves = {
            name: np.array([_number(record.get(name)) for record in history])
            for name in ("train", "validation")
        }
        for (name, values), colour, dashes in zip(
            curves.items(), (GEN, FAST), ("--", "-"), strict=True
        ):
            if np.isfinite(values).any():
                axis.plot(
                    x, values, dashes, color=colour, label=name, marker="." if len(x) < 3 else None
                )
        judged = curves["validation"]
        monitor = np.array([_number(record.get("monitor")) for record in history])
        pick = monitor if np.isfinite(monitor).any() else judged
        if np.isfinite(pick).any() and np.isfinite(judged).any():
            best = int(np.nanargmin(pick))
            axis.plot(
                x[best],
                judged[best],
                "o",
                color=FAST,
                ms=7,
                mfc="none",
                label=f"kept: epoch {x[best]:g}",
            )
        everything = np.concatenate([values[np.isfinite(values)] for values in curves.values()])
        if len(everything):
            # the first epochs may be far off; the figure is about the end
            low, high = everything.min(), np.quantile(everything, 0.97)
            axis.set_ylim(low - 0.06 * (high - low or 1), high + 0.3 * (high - low or 1))
            axis.legend(loc="upper right")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
        axis.set_ylabel("loss per row")
        place_labels(axis)
        set_title(axis, title, "")
        return figure


def floor_plot(quantities: Sequence[Quantity], family_limit: float) -> Figure:
    """W1 floor ratio of every quantity, each with its error, beside the null's range."""
    with style():
        shown = [q for q in quantities if q.floor_ratio]
        figure = new_figure(6.6, 1.55 + 0.27 * len(shown), left=2.0, top=0.75)
        axis = figure.subplots()
        rows = np.arange(len(shown))[::-1]
        ratios = [q.floor_ratio for q in shown if q.floor_ratio]
        values = np.array([r.value for r in ratios])
        errors = np.array([r.error for r in ratios])
        limits = np.array([r.null_95 for r in ratios])
        axis.barh(
            rows,
            limits,
            height=0.7,
            color=GEN,
            alpha=0.25,
            lw=0,
            label="95 % of FullSim re-splits, each",
        )
        axis.axvline(
            family_limit, color=GEN, ls="--", lw=1.2, label="95 % of re-splits, all at once"
        )
        axis.axvline(1, color=FULL, lw=0.8)
        other = [q.references.get("FullSim, other half") for q in shown]
        null = [r.floor_ratio if r else np.nan for r in other]
        axis.plot(null, rows, "x", color=FULL, ms=5, mew=1.2, label="FullSim, half A against B")
        axis.errorbar(
            values,
            rows,
            xerr=np.minimum(errors, values),
            fmt="o",
            color=FAST,
            ms=5,
            lw=1.2,
            label="FastSim",
        )
        names = [q.name + (" response" if q.group == "response" else "") for q in shown]
        axis.set_yticks(rows, names, fontsize=11)
        axis.yaxis.set_minor_locator(NullLocator())
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(-0.8, len(shown) - 0.2)
        top = max(float(np.max(values + errors)), family_limit) * 1.08
        if top > 12:
            axis.set_xscale("log")
            axis.set_xlim(0.2, top * 1.3)
        else:
            axis.set_xlim(0, top)
        axis.set_xlabel("W1 floor ratio (1: as FullSim against FullSim)")
        place_labels(axis)
        figure.legend(loc="upper center", ncols=2, fontsize=10.5, borderaxespad=0.3)
        return figure


def log_axis(axis: Axes) -> None:
    """Logarithmic x axis with plain numbers."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def headroom(axis: Axes, share: float) -> None:
    """Leave a share of the height free above the data."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + share * (high - low))


def long_name(key: str) -> str:
    """Name of a column in a sentence."""
    return f"the response of {key.removeprefix('response:')}" if ":" in key else key


def short_name(key: str) -> str:
    """Name of a column where there is little room."""
    return f"{key.removeprefix('response:')} resp." if key.startswith("response:") else key


def _symbol(label: str) -> str:
    return split_unit(label)[0]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-3 else "p < 0.001"
