"""Likelihood fits of many pseudo-experiments at once: a spectrum of background and a signal.

Every bin is Poisson of b g t + mu s: the background's size b is free, its shape t is known within
an uncertainty, and mu is free or 0. Two kinds of uncertainty: independent Poisson errors of the
bins (`independent`, pyhf's shapesys), and displacements of all bins together (`correlated`, pyhf's
histosys), which are rows of a matrix: relative displacements by one standard deviation each.
"""

from __future__ import annotations

import numpy as np
import pyhf

STEPS = 30
CONVERGED = 1e-6
"""Steps smaller than this are the last."""
CERTAIN = 1e-4
"""Relative error of a template that is taken for exact."""


def significance(
    counts: np.ndarray,
    shape: np.ndarray,
    signal: np.ndarray,
    *,
    relative: np.ndarray | None = None,
    directions: np.ndarray | None = None,
) -> np.ndarray:
    """Signed square root of the test statistic for discovery, 0 where signal is negative.

    Args:
        counts: of the experiments [n, bins].
        shape: of the background, [bins] or one for each experiment.
        signal: expected counts for mu = 1.
        relative: independent errors of the bins, [bins] or [n, bins].
        directions: displacements [k, bins].
    """
    shape = np.broadcast_to(shape, counts.shape)
    if directions is not None:
        with_signal, mu = correlated(counts, shape, signal, directions, free=True)
        without, _ = correlated(counts, shape, signal, directions, free=False)
    else:
        relative = np.broadcast_to(CERTAIN if relative is None else relative, counts.shape)
        with_signal, mu = independent(counts, shape, signal, relative, free=True)
        without, _ = independent(counts, shape, signal, relative, free=False)
    return np.where(mu > 0, np.sqrt(np.maximum(without - with_signal, 0.0)), 0.0)


def independent(
    counts: np.ndarray, shape: np.ndarray, signal: np.ndarray, relative: np.ndarray, *, free: bool
) -> tuple[np.ndarray, np.ndarray]:
    """-2 log likelihood and mu [n] with a Poisson error of each bin."""
    b, mu = counts.sum(axis=1), np.zeros(len(counts))
    tau = 1.0 / np.maximum(relative, 1e-6) ** 2
    for _ in range(STEPS):
        expected, part = b[:, None] * shape, mu[:, None] * signal
        g = _factors(counts, expected, part, tau)
        nu = np.maximum(g * expected + part, 1e-9)
        pull = counts / nu - 1.0
        variance = nu + (expected * relative) ** 2
        slope = np.stack([(pull * g * shape).sum(1), (pull * signal).sum(1)])
        tt = (shape**2 / variance).sum(1)
        ts = (shape * signal / variance).sum(1)
        ss = (signal**2 / variance).sum(1)
        before = b, mu
        if free:
            determinant = tt * ss - ts**2
            b = b + (ss * slope[0] - ts * slope[1]) / determinant
            mu = mu + (tt * slope[1] - ts * slope[0]) / determinant
        else:
            b = b + slope[0] / tt
        b = np.maximum(b, 1.0)
        mu = np.maximum(mu, _least(b[:, None] * shape, signal))
        moved = np.abs(b / before[0] - 1.0).max(), np.abs(mu - before[1]).max()
        if max(moved) < CONVERGED:
            break
    expected, part = b[:, None] * shape, mu[:, None] * signal
    g = _factors(counts, expected, part, tau)
    nu = np.maximum(g * expected + part, 1e-9)
    likelihood = counts * np.log(nu) - nu + tau * (np.log(g) - g + 1.0)
    return -2.0 * likelihood.sum(axis=1), mu


def correlated(
    counts: np.ndarray, shape: np.ndarray, signal: np.ndarray, directions: np.ndarray, *, free: bool
) -> tuple[np.ndarray, np.ndarray]:
    """-2 log likelihood and mu [n] with displacements of all bins together."""
    number, known = len(counts), len(directions)
    b, mu, alpha = counts.sum(axis=1), np.zeros(number), np.zeros((number, known))
    constraint = np.diag(np.r_[0.0, 0.0, np.ones(known)])
    columns = np.arange(known + 2) if free else np.r_[0, 2 : known + 2]
    for _ in range(STEPS):
        factor = np.maximum(1.0 + alpha @ directions, 0.05)
        nu = np.maximum(b[:, None] * shape * factor + mu[:, None] * signal, 1e-9)
        moves = np.concatenate(
            [
                (shape * factor)[:, None],
                np.broadcast_to(signal, counts.shape)[:, None],
                (b[:, None] * shape)[:, None] * directions,
            ],
            axis=1,
        )
        slope = (moves @ (counts / nu - 1.0)[:, :, None])[:, :, 0]
        slope[:, 2:] -= alpha
        curvature = (moves / nu[:, None]) @ moves.transpose(0, 2, 1) + constraint
        step = np.zeros((number, known + 2))
        kept = curvature[:, columns[:, None], columns]
        step[:, columns] = np.linalg.solve(kept, slope[:, columns, None])[:, :, 0]
        b = np.maximum(b + step[:, 0], 1.0)
        alpha = alpha + step[:, 2:]
        mu = np.maximum(mu + step[:, 1], _least(b[:, None] * shape, signal))
        if np.abs(step[:, 1:]).max() < CONVERGED:
            break
    factor = np.maximum(1.0 + alpha @ directions, 0.05)
    nu = np.maximum(b[:, None] * shape * factor + mu[:, None] * signal, 1e-9)
    likelihood = (counts * np.log(nu) - nu).sum(axis=1) - 0.5 * (alpha**2).sum(axis=1)
    return -2.0 * likelihood, mu


def by_pyhf(
    counts: np.ndarray,
    shape: np.ndarray,
    signal: np.ndarray,
    *,
    relative: np.ndarray | None = None,
    directions: np.ndarray | None = None,
) -> float:
    """The significance of one experiment by pyhf."""
    background = shape * counts.sum()
    modifiers: list[dict[str, object]] = [{"name": "size", "type": "normfactor", "data": None}]
    if relative is not None:
        errors = (relative * background).tolist()
        modifiers.append({"name": "shape", "type": "shapesys", "data": errors})
    for number, one in enumerate(() if directions is None else directions):
        moved = {
            "hi_data": (background * (1 + one)).tolist(),
            "lo_data": (background * (1 - one)).tolist(),
        }
        modifiers.append({"name": f"direction_{number}", "type": "histosys", "data": moved})
    mu = {"name": "mu", "type": "normfactor", "data": None}
    channel = {
        "name": "m_lly",
        "samples": [
            {"name": "signal", "data": signal.tolist(), "modifiers": [mu]},
            {"name": "background", "data": background.tolist(), "modifiers": modifiers},
        ],
    }
    model = pyhf.Model({"channels": [channel]}, poi_name="mu")
    bounds = {"mu": (0.0, 10.0), "size": (0.0, 10.0), "shape": (1e-6, 10.0)}
    q0 = pyhf.infer.test_statistics.q0(
        0.0,
        counts.tolist() + model.config.auxdata,
        model,
        model.config.suggested_init(),
        [bounds.get(name.split("[")[0], (-8.0, 8.0)) for name in model.config.par_names],
        model.config.suggested_fixed(),
    )
    return float(np.sqrt(max(float(q0), 0.0)))


def _least(expected: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """The least mu [n]: a sum of background and signal below zero is no rate."""
    least: np.ndarray = -0.9 * (expected / np.maximum(signal, 1e-9)).min(axis=1)
    return least


def _factors(
    counts: np.ndarray, expected: np.ndarray, part: np.ndarray, tau: np.ndarray
) -> np.ndarray:
    """The template's factor in every bin that fits best, in closed form."""
    a = expected**2 + tau * expected
    b = counts * expected - expected * part + tau * expected - tau * part
    return np.maximum((b + np.sqrt(np.maximum(b**2 + 4 * a * tau * part, 0.0))) / (2 * a), 1e-9)
