"""Pictures of scores: ROC curves, the latent space, what a cut makes of a quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.validation.columns import Reals

CUTS = (1.0, 0.3, 0.1, 0.03)
"""Shares of the background that pass, of the curves of the sculpted quantity."""
BINS = 24
"""Of these curves: the smallest share of some thousand events still fills them."""
SHOWN = 3000
"""Points of each side in the picture of the latent space."""


def draw_scores(
    folder: Path,
    scores: tuple[Mapping[str, Reals], Mapping[str, Reals]],
    places: tuple[Reals | None, Reals | None],
    quantity: Reals | None,
    name: str,
) -> None:
    """Draw `roc.png`, `latent.png` where there is a latent space, `sculpting-SCORE.png`.

    Args:
        folder: made if it is missing.
        scores: of background and signal, by name.
        places: in latent space, [n, latent] and [m, latent].
        quantity: of the background, [n]; None: no sculpting.
        name: of the quantity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _roc(*scores).savefig(folder / "roc.png", dpi=90)
    if places[0] is not None and places[1] is not None and places[0].shape[1] > 1:
        _latent(places[0], places[1]).savefig(folder / "latent.png", dpi=90)
    if quantity is not None and np.isfinite(quantity).any():
        for score, values in scores[0].items():
            _sculpting(values, quantity, name, score).savefig(
                folder / f"sculpting-{score}.png", dpi=90
            )


def principal_axes(places: Reals) -> tuple[Reals, Reals]:
    """Return mean [latent] and the two axes of largest variance [2, latent] of points."""
    mean = places.mean(axis=0)
    _, _, axes = np.linalg.svd(places - mean, full_matrices=False)
    return mean, axes[:2]


def _roc(background: Mapping[str, Reals], signal: Mapping[str, Reals]) -> Figure:
    figure = Figure(figsize=(5, 4.5), layout="tight")
    axes = figure.subplots()
    shares = np.concatenate([np.geomspace(1e-3, 0.1, 50), np.linspace(0.1, 1, 50)])
    for name, values in background.items():
        cuts = np.quantile(values, 1 - shares)
        axes.plot(shares, [np.mean(signal[name] > cut) for cut in cuts], label=name)
    axes.plot(shares, shares, color="grey", lw=1, ls=":", label="chance")
    axes.set(
        xscale="log", xlim=(1e-3, 1), ylim=(0, 1.02),
        xlabel="background efficiency", ylabel="signal efficiency",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _latent(background: Reals, signal: Reals) -> Figure:
    figure = Figure(figsize=(5, 4.5), layout="tight")
    axes = figure.subplots()
    mean, along = principal_axes(background)
    for places, label in ((background, "background"), (signal, "signal")):
        points = (places[:SHOWN] - mean) @ along.T
        axes.scatter(points[:, 0], points[:, 1], s=3, alpha=0.4, label=label, rasterized=True)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.legend(fontsize=8)
    return figure


def _sculpting(score: Reals, quantity: Reals, name: str, label: str) -> Figure:
    figure = Figure(figsize=(5, 4.5), layout="tight")
    axes = figure.subplots()
    known = np.isfinite(quantity)
    score, quantity = score[known], quantity[known]
    low, high = np.quantile(quantity, (0.005, 0.98))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    for number, share in enumerate(CUTS):
        passing = quantity[score >= np.quantile(score, 1 - share)]
        counts = np.histogram(passing, edges)[0]
        norm = max(counts.sum(), 1) * np.diff(edges)
        text, color = f"{share:.0%} pass" if share < 1 else "all", f"C{number}"
        axes.stairs(counts / norm, edges, label=text, color=color, lw=2 if share == 1 else 1.2)
        if share == min(CUTS):
            centres = (edges[1:] + edges[:-1]) / 2
            axes.errorbar(centres, counts / norm, np.sqrt(counts) / norm, fmt="none", color=color)
    axes.set(
        xlabel=name, ylabel="density", title=f"background, cut on {label}",
        xlim=(low, high), ylim=(0, None),
    )  # fmt: skip
    axes.legend(fontsize=8)
    return figure
