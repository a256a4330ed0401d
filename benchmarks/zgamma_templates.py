"""Templates of the m_lly spectrum from simulation and from a flow, and their uncertainties."""

from __future__ import annotations

from typing import Any

import numpy as np

Template = dict[str, np.ndarray]
"""Shape and uncertainty of the background, as `significance` takes them."""


def spread_of(ensembles: list[np.ndarray]) -> np.ndarray:
    """Covariance of the relative errors of generated shapes, pooled over the ensembles."""
    found = []
    for made in ensembles:
        shapes = made / made.sum(axis=1, keepdims=True)
        found.append(np.cov(shapes / shapes.mean(axis=0), rowvar=False))
    pooled: np.ndarray = np.mean(found, axis=0)
    return pooled


def directions_of(covariance: np.ndarray) -> np.ndarray:
    """Displacements by one standard deviation along the principal axes."""
    values, axes = np.linalg.eigh(covariance)
    kept = values > 1e-9
    found: np.ndarray = (axes[:, kept] * np.sqrt(values[kept])).T
    return found


def templates(world: dict[str, Any], covariance: np.ndarray) -> dict[str, Template]:
    """Name -> template of one world."""
    learned = np.array(world["training"])
    made = np.array(world["generated"][0])
    simulated, generated = learned / learned.sum(), made / made.sum()
    return {
        "simulation, no uncertainty": {"shape": simulated},
        "simulation, its statistics": {"shape": simulated, "relative": 1 / np.sqrt(learned)},
        "generated, no uncertainty": {"shape": generated},
        "generated, its own statistics": {"shape": generated, "relative": 1 / np.sqrt(made)},
        "generated, errors of the bins": {
            "shape": generated,
            "relative": np.sqrt(np.diag(covariance)),
        },
        "generated, covariance": {
            "shape": generated,
            "directions": directions_of(covariance),
        },
        "generated, statistics of the training part": {
            "shape": generated,
            "relative": 1 / np.sqrt(learned),
        },
    }


def sizes(
    found: list[dict[str, Any]], ensembles: list[np.ndarray], window: np.ndarray
) -> dict[str, Any]:
    """Errors of the templates, typical of a bin, and how stable the ensemble's is."""
    learned = np.array([one["training"] for one in found])
    made = np.array([one["generated"][0] for one in found])
    of_each = [float(np.sqrt(np.median(np.diag(spread_of([one]))))) for one in ensembles]
    of_all = float(np.sqrt(np.median(np.diag(spread_of(ensembles)))))
    statistical = float(np.median(1 / np.sqrt(learned)))
    shapes = made / made.sum(axis=1, keepdims=True)
    away = shapes.mean(axis=0) / (window / window.sum()) - 1
    return {
        "events_in_window": int(window.sum()),
        "training_events_in_window": float(learned.sum(axis=1).mean()),
        "generated_events_in_window": float(made.sum(axis=1).mean()),
        "error_of_simulation": statistical,
        "error_of_generated_by_its_statistics": float(np.median(1 / np.sqrt(made))),
        "error_of_generated_by_the_ensemble": of_all,
        "the_same_of_each_ensemble": of_each,
        "spread_of_generated_over_worlds": float(
            np.median(shapes.std(axis=0, ddof=1) / shapes.mean(axis=0))
        ),
        "events_of_simulation_that_would_have_this_error": (statistical / of_all) ** 2,
        "mean_of_flows_from_whole_sample": float(np.median(np.abs(away))),
        "error_of_whole_sample": float(np.median(1 / np.sqrt(window))),
    }
