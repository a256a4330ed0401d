"""Plots of jets as sets of particles: constituents, average jets, single jets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.validation.pictures import DPI, new_figure, place_labels, set_title, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gen2reco.validation.columns import Reals
    from gen2reco.validation.set_records import Display, JetImage

COLOURS = ("#bd1f01", "#717581", "#3f90da", "#ffa90e", "#832db6")
NAMES = ("charged hadron", "neutral hadron", "photon", "electron", "muon")
REACH = 0.9
SHOWN = 1e-4
"""The ratio is shown where FullSim has more than this share of its largest bin."""


def image_plot(image: JetImage) -> Figure:
    """Average jet of FullSim and of FastSim, and their ratio in bins four times as large."""
    with style():
        figure = new_figure(16.4, 4.58, right=0.9, between=(0.5, 0))
        axes = figure.subplots(1, 3)
        edges = np.asarray(image.edges)
        full, fast = np.asarray(image.full), np.asarray(image.fast)
        largest = float(full.max())
        scale: dict[str, Any] = {
            "cmap": "viridis", "norm": "log", "vmin": 1e-4 * largest, "vmax": largest,
        }  # fmt: skip
        wide, wide_full = _merged(full, fast)
        ratio = np.divide(wide, wide_full, out=np.ones_like(wide), where=wide_full > 0)
        ratio = np.ma.masked_where(wide_full < SHOWN * wide_full.max(), ratio)
        panels = [
            ("FullSim, mean $p_T$ [GeV]", edges, np.ma.masked_less_equal(full, 0), scale),
            ("FastSim, mean $p_T$ [GeV]", edges, np.ma.masked_less_equal(fast, 0), scale),
            ("FastSim / FullSim", edges[::2], ratio, {"cmap": "RdBu_r", "vmin": 0.5, "vmax": 1.5}),
        ]
        for axis, (name, bounds, table, how) in zip(axes, panels, strict=True):
            mesh = axis.pcolormesh(bounds, bounds, table.T, rasterized=True, **how)
            axis.set_xlabel(r"$\eta - \eta_{jet}$")
            axis.set_ylabel(r"$\phi - \phi_{jet}$")
            place_labels(axis, y=0.62)
            set_title(axis, name, "")
            place = axis.get_position()
            bar = figure.add_axes((place.x1 + 0.1 / 16.4, place.y0, 0.14 / 16.4, place.height))
            figure.colorbar(mesh, cax=bar).minorticks_off()
        figure.set_dpi(DPI)
        return figure


def _merged(full: Reals, fast: Reals) -> tuple[Reals, Reals]:
    """Return FastSim and FullSim in bins of two by two."""
    half = full.shape[0] // 2
    one, two = (side.reshape(half, 2, half, 2).sum(axis=(1, 3)) for side in (fast, full))
    return one, two


def display_plot(display: Display) -> Figure:
    """One jet in GEN, FullSim and FastSim: a disc per particle, its area as pt."""
    with style():
        figure = new_figure(14.4, 4.9, between=(0.32, 0))
        axes = figure.subplots(1, 3)
        sides = (("GEN", display.gen), ("FullSim", display.full), ("FastSim", display.fast))
        most = max((row[0] for _, rows in sides for row in rows), default=1.0)
        for axis, (name, rows) in zip(axes, sides, strict=True):
            table = np.asarray(rows, np.float64).reshape(-1, 4)
            for kind, (colour, label) in enumerate(zip(COLOURS, NAMES, strict=True)):
                pt, eta, phi, _ = table[table[:, 3] == kind].T
                axis.scatter(
                    eta, phi, s=6 + 900 * pt / most, c=colour, alpha=0.55, label=label, lw=0.4,
                    edgecolors="#333333",
                )  # fmt: skip
            axis.set_xlim(-REACH, REACH)
            axis.set_ylim(-REACH, REACH)
            axis.set_xlabel(r"$\eta - \eta_{GEN\ jet}$")
            axis.set_ylabel(r"$\phi - \phi_{GEN\ jet}$")
            place_labels(axis)
            set_title(axis, name, f"{len(table)} particles, {table[:, 0].sum():.0f} GeV")
        legend = axes[0].legend(loc="upper left", fontsize=9, handletextpad=0.2, frameon=False)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_sizes([30])
        return figure
