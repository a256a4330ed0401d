"""Pictures of scores: ROC curves, the latent space, what a cut makes of a quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.validation.samples import Reals

CUTS = (1.0, 0.3, 0.1, 0.03)
"""Shares of the background that pass, of the curves of the sculpted quantity."""
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
    if quantity is not None:
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
    axes.plot(shares, shares, color="grey", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="background efficiency", ylabel="signal efficiency")
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
    low, high = np.quantile(quantity, (0.005, 0.98))
    edges = np.linspace(low, high, 41).tolist()
    for share in CUTS:
        passing = quantity[score >= np.quantile(score, 1 - share)]
        axes.hist(passing, edges, density=True, histtype="step", label=f"{share:.0%} pass")
    axes.set(xlabel=name, ylabel="density", title=f"cut on {label}")
    axes.legend(fontsize=8)
    return figure
