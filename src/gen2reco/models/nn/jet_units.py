"""Outcomes of the steps of a jet's response, and how their numbers become of order one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.hits import COPY, HADRON, NEUTRAL, PHOTON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]


LOST, FOUND, ELSEWHERE = range(3)
"""What becomes of a decay, a charged particle or a cell: no sign, RECO there, or beside."""

KINDS = 5
STANDS_FOR = np.array([211.0, 130.0, 22.0, 11.0, 13.0])
"""pdgId of what belongs to no GEN particle, by type; charged hadrons count as pions."""
MASSES = {
    11: 0.000511, 13: 0.10566, 211: 0.13957, 321: 0.49368, 2212: 0.93827, 3112: 1.19745,
    3222: 1.18937, 3312: 1.32171, 3334: 1.67245,
}  # fmt: skip
"""GeV, by |pdgId|; what calorimeters see has none."""

SHIFT, MOVE, AXIS = 2.0, 100.0, 10.0
"""What makes azimuths and displacements numbers of order one."""
SCALE, FINE, LEPTON = 0.05, 0.05, 0.05
"""Log ratios of RECO to GEN enter the flows in these units; far tails are compressed."""
UPWARDS = 0.35
"""Power that compresses log ratios above 0: gently, for what a smooth tail adds there is energy."""
MOST = 3.0
"""Largest log ratio that is drawn: energy that soft particles cannot have is rare in training."""
LEAST = 0.1
"""GeV: a neutral hadron that is there has at least this."""
LITTLE = 0.1
"""Energy in GeV below which logarithms stop to care."""
FARTHEST = 9.0
"""Compressed numbers beyond this are cut."""


def log_of(energy: Numbers) -> Numbers:
    """Return the logarithm of energies in GeV, as far as it matters."""
    return np.asarray(np.log(np.maximum(energy, LITTLE)))


def masses(pdg_id: Numbers) -> Numbers:
    """Return the mass of each particle, GeV."""
    kinds = np.abs(pdg_id)
    return np.select([kinds == kind for kind in MASSES], list(MASSES.values()), 0.0)


def one_hot(kind: Index) -> Numbers:
    """Return types as columns of which one is 1."""
    return np.asarray((kind[:, None] == np.arange(KINDS)) * 1.0)


def turn_back(angle: Numbers) -> Numbers:
    """Return angles brought into [-pi, pi]; the upper end is reached by rounding alone."""
    return np.asarray(np.mod(angle + np.pi, 2.0 * np.pi) - np.pi)


def log_ratio(above: Numbers, below: Numbers) -> Numbers:
    """Return log(above / below), 0 where one of them is 0."""
    both = (above > 0) & (below > 0)
    ratio = np.where(both, above, 1.0) / np.where(both, below, 1.0)
    return np.asarray(np.log(ratio))


def squeezed(log_ratio: Numbers, unit: Numbers | float) -> Numbers:
    """Return log ratios in a unit, far tails compressed: by a power above 0, asinh below."""
    pull = log_ratio / unit
    above = ((1.0 + np.maximum(pull, 0.0)) ** UPWARDS - 1.0) / UPWARDS
    return np.asarray(np.where(pull > 0, above, np.arcsinh(pull)))


def ratio_of(squeezed: Numbers, unit: Numbers | float) -> Numbers:
    """Return the ratio whose logarithm was squeezed."""
    kept = np.clip(squeezed, -FARTHEST, FARTHEST)
    above = (1.0 + UPWARDS * np.maximum(kept, 0.0)) ** (1.0 / UPWARDS) - 1.0
    pull = np.where(kept > 0, above, np.sinh(np.minimum(kept, 0.0)))
    return np.asarray(np.exp(np.clip(pull * unit, -6.0, MOST)))


def shrunk(turn: Numbers) -> Numbers:
    """Return differences in azimuth, beyond those of copies, as numbers of order one."""
    return np.asarray(np.sign(turn) * np.log1p(np.abs(turn) / COPY) / SHIFT)


def grown(shrunk: Numbers) -> Numbers:
    """Return the differences that `shrunk` was made from."""
    size = np.minimum(np.abs(shrunk) * SHIFT, 7.0)
    return np.asarray(np.sign(shrunk) * np.expm1(size) * COPY)


def compressed(momentum: Numbers) -> Numbers:
    """Make numbers of order one of pt and of eta and phi relative to the axis."""
    return np.column_stack([np.log(momentum[:, 0]), np.arcsinh(AXIS * momentum[:, 1:])])


def expanded(drawn: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the pt, and eta and phi relative to the axis, that `compressed` was made from."""
    pt = np.exp(np.clip(drawn[:, 0], -4.0, 8.0))
    eta, phi = (np.sinh(np.clip(drawn[:, k], -5.0, 5.0)) / AXIS for k in (1, 2))
    return pt, eta, phi


def identities(kind: Index, uniform: Numbers) -> tuple[Numbers, Numbers]:
    """Return pdgId and charge of particles of some types; uniform numbers give their signs."""
    charged = (kind != NEUTRAL) & (kind != PHOTON)
    charge = np.where(charged, np.where(uniform < 0.5, -1.0, 1.0), 0.0)
    # Leptons of negative charge have a positive pdgId, hadrons a negative one.
    sign = np.where(kind == HADRON, charge, -charge) + (charge == 0)
    return sign * STANDS_FOR[kind], charge
