"""Plots of jets as sets of particles: constituents, average jets, single jets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.validation.pictures import DPI, new_figure, place_labels, set_title, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gen2reco.validation.set_records import Display, JetImage

COLOURS = ("#bd1f01", "#717581", "#3f90da", "#ffa90e", "#94a4a2")
NAMES = ("charged hadron", "neutral hadron", "photon", "electron", "muon")
REACH = 0.9


def image_plot(image: JetImage) -> Figure:
    """Average jet of FullSim and of FastSim, and their difference relative to FullSim."""
    with style():
        figure = new_figure(15.6, 4.58, right=1.0, between=(0.42, 0))
        axes = figure.subplots(1, 3)
        edges = np.asarray(image.edges)
        full, fast = np.asarray(image.full), np.asarray(image.fast)
        largest = float(full.max())
        apart = np.divide(fast - full, full, out=np.zeros_like(full), where=full > 1e-3 * largest)
        scale: dict[str, Any] = {"cmap": "viridis", "norm": "log", "vmin": 1e-4 * largest}
        panels = [
            ("FullSim", full, scale | {"vmax": largest}, "mean $p_T$ [GeV]"),
            ("FastSim", fast, scale | {"vmax": largest}, "mean $p_T$ [GeV]"),
            ("FastSim / FullSim - 1", apart, {"cmap": "RdBu_r", "vmin": -0.3, "vmax": 0.3}, ""),
        ]
        for axis, (name, table, how, unit) in zip(axes, panels, strict=True):
            shown = table.T if "vmax" in how and not unit else np.ma.masked_less_equal(table.T, 0)
            mesh = axis.pcolormesh(edges, edges, shown, rasterized=True, **how)
            axis.set_xlabel(r"$\eta - \eta_{jet}$")
            axis.set_ylabel(r"$\phi - \phi_{jet}$")
            place_labels(axis)
            set_title(axis, name, "")
            place = axis.get_position()
            bar = figure.add_axes((place.x1 + 0.1 / 15.6, place.y0, 0.14 / 15.6, place.height))
            figure.colorbar(mesh, cax=bar, label=unit).minorticks_off()
        figure.set_dpi(DPI)
        return figure


def display_plot(display: Display) -> Figure:
    """One jet in GEN, FullSim and FastSim: a disc per particle, its area as pt."""
    with style():
        figure = new_figure(13.6, 4.9, between=(0.22, 0))
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
