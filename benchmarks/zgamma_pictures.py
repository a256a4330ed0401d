"""Pictures of the comparison of Z gamma generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

if TYPE_CHECKING:
    from pathlib import Path

    Features = dict[str, np.ndarray]

BINS = 30
UNITS = {"m_": "GeV", "pt_": "GeV", "e_": "GeV", "met": "GeV", "phi_": "rad", "dphi_": "rad"}
RATIO = (0.6, 1.4)


def labelled(name: str) -> str:
    """A feature with its unit."""
    if name in {"met_phi", "pt_ll_over_m_lly"}:
        return f"{name} [rad]" if name == "met_phi" else name
    unit = next((unit for start, unit in UNITS.items() if name.startswith(start)), "")
    return f"{name} [{unit}]" if unit else name


def distributions(full: Features, made: dict[str, Features], path: Path) -> None:
    """Every feature: FullSim as points, each generator as a line, and their ratio to FullSim."""
    figure = Figure(figsize=(13, 20), layout="constrained")
    grids = figure.add_gridspec(6, 3, hspace=0.04)
    for place, (name, values) in enumerate(full.items()):
        cell = grids[place // 3, place % 3].subgridspec(2, 1, height_ratios=(3, 1.3), hspace=0)
        above = figure.add_subplot(cell[0])
        below = figure.add_subplot(cell[1], sharex=above)
        if name.startswith("n_"):
            edges = np.arange(-0.5, 5.5)
            above.set_yscale("log")
        else:
            edges = np.linspace(*np.quantile(values, (0.002, 0.99)), BINS + 1)
        counts, _ = np.histogram(values, edges)
        norm = len(values) * np.diff(edges)
        centres = 0.5 * (edges[1:] + edges[:-1])
        above.errorbar(centres, counts / norm, np.sqrt(counts) / norm, fmt="k.", ms=4)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = 1 / np.sqrt(counts)
            below.fill_between(
                edges, *(np.append(1 + s * error, 1) for s in (-1, 1)), step="post",
                color="0.85", lw=0,
            )  # fmt: skip
            for number, one in enumerate(made.values()):
                density = np.histogram(one[name], edges)[0] / (len(one[name]) * np.diff(edges))
                width = 2.0 if number == 0 else 0.9
                above.stairs(density, edges, lw=width, color=f"C{number}")
                below.stairs(
                    density * norm / counts, edges, lw=width, color=f"C{number}", baseline=None
                )
        above.tick_params(labelbottom=False)
        above.yaxis.set_major_locator(MaxNLocator(5)) if not name.startswith("n_") else None
        below.set(ylim=RATIO, xlabel=labelled(name), yticks=(0.8, 1.0, 1.2))
    handles: list[Any] = [
        Line2D([], [], color=f"C{number}", lw=2.5 if number == 0 else 1.2)
        for number in range(len(made))
    ]
    handles.append(Line2D([], [], color="k", marker=".", ls=""))
    figure.legend(handles, [*made, "FullSim"], loc="outside upper center", ncols=4, fontsize=12)
    figure.supylabel("density; below: generated / FullSim, grey: FullSim's statistics", fontsize=12)
    figure.savefig(path, dpi=70)


def correlations(
    names: list[str], full: np.ndarray, made: dict[str, np.ndarray], path: Path
) -> None:
    """Rank correlations of FullSim, and what each generator differs by."""
    figure = Figure(figsize=(18, 10), layout="compressed")
    axes = figure.subplots(2, 4)
    shown = {"FullSim": full} | {f"{key} - FullSim": one - full for key, one in made.items()}
    for place, (axis, (title, matrix)) in enumerate(zip(axes.flat, shown.items(), strict=False)):
        limit = 1.0 if title == "FullSim" else 0.25
        image = axis.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=13)
        below, left = place + 4 >= len(shown), place % 4 == 0
        axis.set_xticks(range(len(names)), names if below else [], rotation=90, fontsize=9)
        axis.set_yticks(range(len(names)), names if left else [], fontsize=9)
        if title == "FullSim":
            figure.colorbar(image, ax=axis, shrink=0.8, location="left", label="rank correlation")
    figure.colorbar(image, ax=axes, shrink=0.6, label="difference of rank correlations")
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=70)


def histories(records: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """KS, Spearman and the discriminator's losses on the validation rows, epoch by epoch."""
    figure = Figure(figsize=(15, 5.2), layout="constrained")
    axes = figure.subplots(1, 3)
    styles = {"true": "-", "reconstructed": "--", "generated": ":"}
    for number, history in enumerate(records.values()):
        epochs = [record["epoch"] for record in history]
        for axis, key in zip(axes, ("ks", "spearman"), strict=False):
            axis.plot(epochs, [r["measures"][key] for r in history], color=f"C{number + 1}")
        if "true" in history[0]["measures"]:
            for key, style in styles.items():
                values = [r["measures"][key] for r in history]
                axes[2].plot(epochs, values, style, color=f"C{number + 1}")
    titles = ("mean KS of encoded features", "rms Spearman difference", "discriminator loss [nats]")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="epoch", yscale="log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        low, high = axis.get_ylim()
        ticks = [t for t in (0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5) if low <= t <= high]
        axis.set_yticks(ticks)
    lines = [Line2D([], [], color="0.3", ls=style) for style in styles.values()]
    axes[2].legend(lines, list(styles), fontsize=10)
    handles = [Line2D([], [], color=f"C{number + 1}", lw=2) for number in range(len(records))]
    figure.legend(handles, list(records), loc="outside upper center", ncols=6, fontsize=11)
    figure.savefig(path, dpi=70)
