"""Kinematics of samples of four-momenta (px, py, pz, E in GeV) for `otus.py`: masses, tops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

M_W, M_TOP = 80.4, 172.5
"""GeV; jets are assigned by them, and MET gets its pz from the first."""


def pt(momenta: Numbers) -> Numbers:
    """Transverse momentum of [..., 4]."""
    return np.asarray(np.hypot(momenta[..., 0], momenta[..., 1]))


def eta(momenta: Numbers) -> Numbers:
    """Pseudorapidity of [..., 4]."""
    return np.asarray(np.arcsinh(momenta[..., 2] / np.maximum(pt(momenta), 1e-9)))


def phi(momenta: Numbers) -> Numbers:
    """Azimuth of [..., 4]."""
    return np.asarray(np.arctan2(momenta[..., 1], momenta[..., 0]))


def mass(momenta: Numbers, *objects: int) -> Numbers:
    """Mass of the sum of some objects, [n]."""
    total = momenta[:, list(objects)].sum(1)
    return np.sqrt(np.maximum(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(1), 0.0))


def transverse_mass(electron: Numbers, met: Numbers) -> Numbers:
    """Transverse mass of electron and MET, [n, 4] each."""
    opening = 1 - np.cos(phi(electron) - phi(met))
    return np.asarray(np.sqrt(2 * pt(electron) * pt(met) * opening))


def neutrino(electron: Numbers, met: Numbers) -> Numbers:
    """MET with the pz that gives electron and neutrino the W's mass, [..., 4].

    Of two solutions the smaller pz is taken; without one (the transverse mass is above the W's),
    the real part.
    """
    along = M_W**2 / 2 + (electron[..., :2] * met[..., :2]).sum(-1)
    square = np.maximum(pt(electron), 1e-9) ** 2
    middle = along * electron[..., 2] / square
    root = np.maximum(middle**2 - (electron[..., 3] ** 2 * pt(met) ** 2 - along**2) / square, 0.0)
    both = np.stack([middle - np.sqrt(root), middle + np.sqrt(root)])
    pz = np.take_along_axis(both, np.abs(both).argmin(0)[None], 0)[0]
    found = met.copy()
    found[..., 2], found[..., 3] = pz, np.hypot(pt(met), pz)
    return found


@dataclass(frozen=True)
class Tops:
    """Masses of semileptonic ttbar from electron, MET and four jets, [n] each.

    The pair of jets nearest to the W's mass is the W, the jet that brings it nearest to the top's
    makes the hadronic top, and the jet that is left goes with electron and neutrino.
    """

    hadronic_w: Numbers
    hadronic_top: Numbers
    leptonic_w: Numbers
    leptonic_top: Numbers

    @classmethod
    def of(cls, momenta: Numbers) -> Tops:
        """Assign the jets of events [n, 6, 4]."""
        jets = set(range(2, 6))
        pairs = [(i, j) for i in sorted(jets) for j in sorted(jets) if i < j]
        masses = np.stack([mass(momenta, *pair) for pair in pairs], 1)
        best = np.abs(masses - M_W).argmin(1)
        tops = np.full((len(momenta), 4), np.inf)
        left = np.zeros((len(momenta), 4), np.int64)
        for number, pair in enumerate(pairs):
            one, two = sorted(jets - set(pair))
            chosen = best == number
            for third, last in ((one, two), (two, one)):
                tops[chosen, third - 2] = mass(momenta[chosen], *pair, third)
                left[chosen, third - 2] = last
        third = np.abs(tops - M_TOP).argmin(1)[:, None]
        last = np.take_along_axis(left, third, 1)
        jet = np.take_along_axis(momenta, last[..., None], 1)
        electron, met = momenta[:, :1], momenta[:, 1:2]
        return cls(
            np.take_along_axis(masses, best[:, None], 1)[:, 0],
            np.take_along_axis(tops, third, 1)[:, 0],
            transverse_mass(electron[:, 0], met[:, 0]),
            mass(np.concatenate([electron, neutrino(electron, met), jet], 1), 0, 1, 2),
        )
