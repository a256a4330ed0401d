"""Particles that probably come from the same decay: what becomes of one says much of the other.

A long-lived neutral hadron that decays far out takes all that comes of it along: it is lost, or
displaced, together. Decays are not in the list of stable particles, but leave their mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from gen2reco.models.nn.hits import HADRON, Cells, Particles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

PION, PROTON, NEUTRON = 0.13957, 0.93827, 0.93957
KAON_SHORT, LAMBDA, SIGMA = 0.49761, 1.11568, (1.18937, 1.19745)
"""Masses in GeV."""
CLOSE = 0.03
"""A pair within this of a mass, in GeV, is taken for its decay."""
ROUNDED = 1e-4
"""Of a pair's energy: what stored momenta leave unknown of its mass."""
SURE = 2e-5
"""The same where there are many wrong pairs."""
FAR = 100.0
BESIDE = 0.3
"""GeV: more transverse momentum than the decay of a hyperon gives."""
REACH = 0.05
"""Cells within this distance look at each other."""


@dataclass(frozen=True, eq=False)
class Siblings:
    """Pairs of opposite charge with the mass of a K0S or a Lambda, mutually the closest to it.

    Attributes:
        partner: the other of the pair of each particle, int64 [particles], -1 for none.
        off: distance of the pair's mass from that of the decay, GeV; 0 without a partner.
        energy: of the pair, GeV; 0 without a partner.
        second: whether it is the softer of its pair.
        baryon: whether it is a Lambda's.
    """

    partner: Index
    off: Numbers
    energy: Numbers
    second: NDArray[np.bool_]
    baryon: NDArray[np.bool_]

    @classmethod
    def of(cls, gen: Particles, *, known: bool = True) -> Siblings:
        """Find the pairs; none where they are not to be known."""
        ends = gen.ends
        best = np.full(len(gen.jet), -1)
        off = np.full(len(gen.jet), CLOSE)
        proton = np.abs(gen.pdg_id) == 2212
        hadron = (gen.kind == HADRON) & (proton | (np.abs(gen.pdg_id) == 211))
        mass = np.where(proton, PROTON, PION)
        momentum = _momenta(gen)
        energy = np.sqrt((momentum**2).sum(axis=1) + mass**2)
        if known:
            _pairs(ends, momentum, energy, np.where(hadron, gen.charge, 0.0), proton, best, off)
        partner = np.where((best >= 0) & (best[best] == np.arange(len(best))), best, -1)
        paired = partner >= 0
        other = np.where(paired, energy[partner], 0.0)
        here = np.arange(len(partner))
        softer = (energy < other) | ((energy == other) & (here > partner))
        return cls(
            partner, np.where(paired, off, 0.0), np.where(paired, energy + other, 0.0),
            paired & softer, paired & (proton | proton[partner]),
        )  # fmt: skip

    @property
    def unlikely(self) -> Numbers:
        """How far off masses are, see `_unlikely`; 0 without a partner."""
        return np.where(self.partner >= 0, _unlikely(self.off, self.energy), 0.0)

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Which particles are one of a pair whose mass is right up to rounding."""
        return (self.partner >= 0) & (self.off < ROUNDED * self.energy)


@dataclass(frozen=True, eq=False)
class Sigmas:
    """Charged pions and neutrons that have the mass of a Sigma, and what else is close to baryons.

    Attributes:
        partner: the neutron of each charged pion, int64 [particles], -1 for none.
        off: distance of their mass from the nearer one of the two Sigmas, GeV.
        energy: of both, GeV; 0 without a partner.
        beside: transverse momentum in GeV of each particle with respect to the neutron in whose
            direction it has the least; `FAR` without one.
        neutron: that neutron, int64 [particles], -1 for none.
        by_proton: the same transverse momentum with respect to protons.
        proton: that proton.
    """

    partner: Index
    off: Numbers
    energy: Numbers
    beside: Numbers
    neutron: Index
    by_proton: Numbers
    proton: Index

    @classmethod
    def of(cls, gen: Particles, *, known: bool = True) -> Sigmas:
        """Find the pairs; none where they are not to be known."""
        ends = gen.ends
        kinds = np.abs(gen.pdg_id)
        neutron, pion = kinds == 2112, kinds == 211
        momentum = _momenta(gen)
        size = np.sqrt((momentum**2).sum(axis=1))
        energy = np.hypot(size, np.where(neutron, NEUTRON, PION))
        partner = np.full(len(kinds), -1)
        off = np.full(len(kinds), 1.0)
        close = [(np.full(len(kinds), FAR), np.full(len(kinds), -1)) for _ in range(2)]
        if known:
            _sigmas(ends, momentum, energy, neutron, pion, partner, off)
            for side, baryon in zip(close, (neutron, kinds == 2212), strict=True):
                _beside(ends, momentum, size, baryon, *side)
        paired = partner >= 0
        total = np.where(paired, energy + energy[partner], 0.0)
        return cls(partner, off, total, *close[0], *close[1])

    @property
    def unlikely(self) -> Numbers:
        """How far off masses are, see `_unlikely`; 4 without a partner."""
        return np.where(self.partner >= 0, _unlikely(self.off, self.energy), 4.0)

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Which pions have the mass of a Sigma up to rounding."""
        return (self.partner >= 0) & (self.off < SURE * self.energy)

    def taken_along(self, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which neutrons come from a Sigma whose pion is lost, [particles]."""
        out = np.zeros(len(lost), np.bool_)
        out[self.partner[self.sure & lost]] = True
        return out


def _unlikely(off: Numbers, energy: Numbers) -> Numbers:
    """Return how far masses are off on a scale of what rounded momenta explain.

    The logarithm: momenta are stored to some 10^-4, which an energy turns into a mass.
    """
    return np.log10(off / np.where(energy > 0, energy, 1.0) / ROUNDED + 0.01)


def _momenta(gen: Particles) -> Numbers:
    """Return px, py, pz in GeV, [particles, 3]."""
    vectors = gen.pt * np.cos(gen.phi), gen.pt * np.sin(gen.phi), gen.pt * np.sinh(gen.eta)
    return np.stack(vectors, axis=1)


@njit(cache=True, nogil=True)
def _mass(i: Any, k: Any, momentum: Any, energy: Any) -> Any:
    squared = (energy[i] + energy[k]) ** 2
    for axis in range(3):
        squared -= (momentum[i, axis] + momentum[k, axis]) ** 2
    return np.sqrt(max(squared, 0.0))


@njit(cache=True, nogil=True)
def _pairs(
    ends: Any, momentum: Any, energy: Any, charge: Any, proton: Any, best: Any, off: Any
) -> None:
    for jet in range(len(ends) - 1):
        for i in range(ends[jet], ends[jet + 1]):
            for k in range(ends[jet], ends[jet + 1]):
                if charge[i] * charge[k] >= 0 or (proton[i] and proton[k]):
                    continue
                wanted = LAMBDA if proton[i] or proton[k] else KAON_SHORT
                apart = abs(_mass(i, k, momentum, energy) - wanted)
                if apart < off[i]:
                    off[i], best[i] = apart, k


@njit(cache=True, nogil=True)
def _sigmas(
    ends: Any, momentum: Any, energy: Any, neutron: Any, pion: Any, partner: Any, off: Any
) -> None:
    for jet in range(len(ends) - 1):
        for n in range(ends[jet], ends[jet + 1]):
            for i in range(ends[jet], ends[jet + 1]):
                if neutron[n] and pion[i]:
                    mass = _mass(i, n, momentum, energy)
                    apart = min(abs(mass - SIGMA[0]), abs(mass - SIGMA[1]))
                    if apart < off[i]:
                        off[i], partner[i] = apart, n


@njit(cache=True, nogil=True)
def _beside(ends: Any, momentum: Any, size: Any, baryon: Any, least: Any, nearest: Any) -> None:
    """Find the baryon in whose direction each particle has the least transverse momentum."""
    for jet in range(len(ends) - 1):
        for n in range(ends[jet], ends[jet + 1]):
            for i in range(ends[jet], ends[jet + 1]):
                if i != n and baryon[n]:
                    along = (momentum[i] * momentum[n]).sum() / size[n]
                    across = np.sqrt(max(size[i] * size[i] - along * along, 0.0))
                    if along > 0 and across < least[i]:
                        least[i], nearest[i] = across, n


@dataclass(frozen=True, eq=False)
class Chain:
    """Cells in an order in which each comes after the nearest of the more energetic ones around.

    Attributes:
        before: that cell, int64 [cells], -1 for none.
        distance: to it, 0 for none.
        turn: in which round the cell comes, int64 [cells].
    """

    before: Index
    distance: Numbers
    turn: Index

    @classmethod
    def of(cls, cells: Cells, gen: Particles, energy: Numbers, *, known: bool = True) -> Chain:
        """Order cells by energy [cells], equal energies in the order of the cells.

        All come in the first round where they are not to know of each other.
        """
        ends = np.searchsorted(cells.jet, np.arange(gen.jets + 1))
        before, distance = np.full(len(cells), -1), np.zeros(len(cells))
        order = np.lexsort((np.arange(len(cells)), -energy, cells.jet))
        lead = cells.lead
        turn = np.zeros(len(cells), np.int64)
        if known:
            _chain(ends, order, gen.eta[lead], gen.phi[lead], before, distance, turn)
        return cls(before, distance, turn)

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return int(self.turn.max(initial=-1)) + 1


@njit(cache=True, nogil=True)
def _chain(
    ends: Any, order: Any, eta: Any, phi: Any, before: Any, distance: Any, turn: Any
) -> None:
    for jet in range(len(ends) - 1):
        for place in range(ends[jet], ends[jet + 1]):
            i = order[place]
            nearest = REACH * REACH
            for earlier in range(ends[jet], place):
                k = order[earlier]
                step = abs(phi[i] - phi[k]) % (2.0 * np.pi)
                step = min(step, 2.0 * np.pi - step)
                apart = step * step + (eta[i] - eta[k]) ** 2
                if apart < nearest:
                    nearest, before[i] = apart, k
            if before[i] >= 0:
                distance[i] = np.sqrt(nearest)
                turn[i] = turn[before[i]] + 1
