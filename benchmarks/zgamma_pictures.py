"""Pictures of the comparison of Z gamma generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    Features = dict[str, np.ndarray]

BINS = 40


def distributions(full: Features, made: dict[str, Features], path: Path) -> None:
    """Every feature: FullSim as points, each generator as a line."""
    figure, axes = plt.subplots(6, 3, figsize=(12, 18))
    for axis, (name, values) in zip(axes.flat, full.items(), strict=True):
        if name.startswith("n_"):
            edges = np.arange(-0.5, 5.5)
        else:
            edges = np.linspace(*np.quantile(values, (0.002, 0.99)), BINS + 1)
        counts, _ = np.histogram(values, edges)
        norm = len(values) * np.diff(edges)
        centres = 0.5 * (edges[1:] + edges[:-1])
        axis.errorbar(
            centres, counts / norm, np.sqrt(counts) / norm, fmt="k.", ms=4, label="FullSim"
        )
        for number, (label, one) in enumerate(made.items()):
            density = np.histogram(one[name], edges)[0] / (len(one[name]) * np.diff(edges))
            width = 1.8 if number == 0 else 0.9
            axis.stairs(density, edges, label=label, lw=width, color=f"C{number}")
        axis.set_xlabel(name)
        if name.startswith("n_"):
            axis.set_yscale("log")
    axes.flat[0].legend(fontsize=7)
    _save(figure, path)


def correlations(
    names: list[str], full: np.ndarray, made: dict[str, np.ndarray], path: Path
) -> None:
    """Rank correlations of FullSim, and what each generator differs by."""
    figure, axes = plt.subplots(2, 4, figsize=(18, 9.5))
    shown = {"FullSim": full} | {name: matrix - full for name, matrix in made.items()}
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (title, matrix) in zip(axes.flat, shown.items(), strict=False):
        limit = 1.0 if title == "FullSim" else 0.25
        image = axis.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(title if title == "FullSim" else f"{title} - FullSim", fontsize=10)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axis.set_yticks(range(len(names)), names, fontsize=6)
        figure.colorbar(image, ax=axis, shrink=0.7)
    _save(figure, path)


def histories(records: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """KS, Spearman and the discriminator's losses on the validation rows, epoch by epoch."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2))
    for number, (name, history) in enumerate(records.items()):
        epochs = [record["epoch"] for record in history]
        for axis, key in zip(axes, ("ks", "spearman"), strict=False):
            axis.plot(epochs, [r["measures"][key] for r in history], color=f"C{number}", label=name)
        if "true" in history[0]["measures"]:
            for style, key in (("-", "true"), ("--", "reconstructed"), (":", "generated")):
                axes[2].plot(
                    epochs,
                    [r["measures"][key] for r in history],
                    style,
                    color=f"C{number}",
                    label=f"{name}, {key}",
                )
    titles = ("mean KS of encoded features", "rms Spearman difference", "discriminator loss (nats)")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.set_yscale("log")
        axis.legend(fontsize=6)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)
