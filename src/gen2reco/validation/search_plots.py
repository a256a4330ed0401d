"""Pictures of a search of settings: its history, and which settings matter."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

FEWEST = 8
"""Finished trials, fewer of which tell nothing about settings."""


def draw_search(folder: Path, search: Any, monitor: str) -> None:
    """Draw `history.png`, and `importance.png` where enough trials came to their end.

    Args:
        folder: where they go.
        search: the study of Optuna, with one finished trial at least.
        monitor: what counts in it.
    """
    complete = [t for t in search.trials if t.state.name == "COMPLETE"]
    pruned = [t for t in search.trials if t.state.name == "PRUNED" and t.intermediate_values]
    _history(complete, pruned, monitor).savefig(folder / "history.png", dpi=90)
    varied = [t for t in complete if t.params]
    if len(varied) < FEWEST:
        return
    from optuna.importance import get_param_importances  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few trials: the picture says how many
            shares = get_param_importances(search)
    except (RuntimeError, ValueError) as error:
        logger.info("no importances: %s", error)
        return
    figure = Figure(figsize=(6, 4), layout="tight")
    axes = figure.subplots()
    axes.barh(list(shares)[::-1], list(shares.values())[::-1])
    axes.set(
        xlim=(0, None),
        xlabel="importance: share of what the settings decide",
        title=f"{len(varied)} finished trials",
    )
    figure.savefig(folder / "importance.png", dpi=90)


def _history(complete: list[Any], pruned: list[Any], monitor: str) -> Figure:
    figure = Figure(figsize=(6, 4), layout="tight")
    axes = figure.subplots()
    stopped = [list(t.intermediate_values.values())[-1] for t in pruned]
    axes.plot(
        [t.number for t in pruned], stopped, "x", color="0.6", ms=5, label="pruned, its last value"
    )
    values = [t.value for t in complete]
    axes.plot([t.number for t in complete], values, "k.", label="finished")
    best = [min(values[: i + 1]) for i in range(len(values))]
    last = max(t.number for t in [*complete, *pruned])
    steps = [t.number for t in complete] + [last]
    axes.step(steps, [*best, best[-1]], where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=f"{monitor} on the validation rows")
    if min([*values, *stopped]) > 0:  # a loss may be below
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.legend(fontsize=8)
    return figure
