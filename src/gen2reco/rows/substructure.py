"""Jets from their constituents: momentum, multiplicity, shapes and N-subjettiness.

Constituents are massless. N-subjettiness has beta = 1 and, as axes, the N subjets of exclusive kT
clustering in which the harder of two merged subjets keeps its direction (winner takes all); it is
divided by the scalar sum of pt times the jet radius.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gen2reco.rows.segments import Array, Numbers, compiled, delta_r2

RADIUS = 0.8
"""Jet radius in N-subjettiness."""

FEATURES = (
    "pt", "eta", "phi", "mass", "energy", "multiplicity", "tau1", "tau2", "tau3", "tau21", "tau32",
    "ptD", "width",
)  # fmt: skip
"""What `jet_features` computes, in this order."""


def jet_features(pt: Array, eta: Array, phi: Array, radius: float = RADIUS) -> dict[str, Numbers]:
    """Return the features of jets.

    Args:
        pt: of the constituents in GeV, [jets, slots]; a slot with NaN or 0 is empty.
        eta: pseudorapidities, [jets, slots].
        phi: azimuths in radians, [jets, slots].
        radius: of the jets, in N-subjettiness.

    Returns:
        Each of `FEATURES` -> float64 [jets]: pt, mass and energy in GeV, phi within [-pi, pi);
        `ptD` = sqrt(sum pt^2) / sum pt, `width` = sum(pt dR) / sum pt with dR to the jet's axis. A
        ratio whose denominator is 0 is 0, and so is everything of a jet without constituents.
    """
    pt = np.where(pt > 0, pt, 0.0).astype(np.float64)
    there = pt > 0
    eta, phi = (np.where(there, angle, 0.0).astype(np.float64) for angle in (eta, phi))
    waves = (np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta))
    px, py, pz, energy = (np.sum(pt * wave, axis=1) for wave in waves)
    total = pt.sum(axis=1)
    jet_pt = np.hypot(px, py)
    jet_eta = np.arcsinh(_ratio(pz, jet_pt))
    jet_phi = np.where(jet_pt > 0, np.arctan2(py, px), 0.0)
    squared = energy**2 - px**2 - py**2 - pz**2
    distance = np.hypot(eta - jet_eta[:, None], turn(phi - jet_phi[:, None]))
    tau = np.zeros((3, len(pt)))
    _subjettiness(pt, eta, phi, tau)
    tau /= np.maximum(total * radius, 1e-300)
    return {
        "pt": jet_pt,
        "eta": jet_eta,
        "phi": jet_phi,
        "mass": np.sqrt(np.maximum(squared, 0.0)),
        "energy": energy,
        "multiplicity": there.sum(axis=1).astype(np.float64),
        "tau1": tau[0],
        "tau2": tau[1],
        "tau3": tau[2],
        "tau21": _ratio(tau[1], tau[0]),
        "tau32": _ratio(tau[2], tau[1]),
        "ptD": _ratio(np.sqrt((pt**2).sum(axis=1)), total),
        "width": _ratio((pt * distance).sum(axis=1), total),
    }


def turn(angle: Array) -> Numbers:
    """Return angles brought into [-pi, pi]; the upper end is reached by rounding alone."""
    return np.mod(angle + np.pi, 2.0 * np.pi) - np.pi


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


@compiled
def _closest(i: Any, count: Any, kt: Any, eta: Any, phi: Any, near: Any, far: Any) -> None:
    """Find the partner with which subjet i has the smallest kT distance."""
    far[i], near[i] = np.inf, -1
    for j in range(count):
        if j != i:
            d = min(kt[i], kt[j]) ** 2 * delta_r2(eta[i], phi[i], eta[j], phi[j])
            if d < far[i]:
                far[i], near[i] = d, j


@compiled
def _merge(i: Any, count: Any, kt: Any, eta: Any, phi: Any, near: Any, far: Any) -> None:
    """Merge subjet i with its partner and put the last one of `count` where the partner was."""
    j, last = near[i], count - 1
    if kt[j] > kt[i]:
        eta[i], phi[i] = eta[j], phi[j]
    kt[i] += kt[j]
    kt[j], eta[j], phi[j], near[j], far[j] = kt[last], eta[last], phi[last], near[last], far[last]
    merged = j if i == last else i
    for k in range(last):
        # Whoever looked at a merged or moved subjet looks again.
        if k == merged or near[k] == i or near[k] == j or near[k] == last:
            _closest(k, last, kt, eta, phi, near, far)
        else:
            d = min(kt[k], kt[merged]) ** 2 * delta_r2(eta[k], phi[k], eta[merged], phi[merged])
            if d < far[k]:
                far[k], near[k] = d, merged


@compiled
def _apart(pt: Any, eta: Any, phi: Any, count: Any, axis_eta: Any, axis_phi: Any) -> Any:
    """Return the sum of pt times the distance to the nearest of `count` axes."""
    total = 0.0
    for k in range(len(pt)):
        if pt[k] > 0:
            least = np.inf
            for i in range(count):
                least = min(least, delta_r2(eta[k], phi[k], axis_eta[i], axis_phi[i]))
            total += pt[k] * np.sqrt(least)
    return total


@compiled
def _subjettiness(pt: Any, eta: Any, phi: Any, tau: Any) -> None:
    """Fill tau [3, jets] with the sums of pt times the distance to the nearest of N axes."""
    slots = pt.shape[1]
    kt, y, f = np.empty(slots), np.empty(slots), np.empty(slots)
    far, near = np.empty(slots), np.empty(slots, np.int64)
    for jet in range(pt.shape[0]):
        count = 0
        for k in range(slots):
            if pt[jet, k] > 0:
                kt[count], y[count], f[count] = pt[jet, k], eta[jet, k], phi[jet, k]
                count += 1
        for i in range(count):
            _closest(i, count, kt, y, f, near, far)
        for left in range(count, 0, -1):
            if left <= 3:
                tau[left - 1, jet] = _apart(pt[jet], eta[jet], phi[jet], left, y, f)
            if left > 1:
                _merge(np.argmin(far[:left]), left, kt, y, f, near, far)
