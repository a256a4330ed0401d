"""The GEN particles of some jets, one after the other, with the calorimeter cells they enter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows.segments import compiled, delta_r2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.calorimeter import Grid, Tracker

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

HADRON, NEUTRAL, PHOTON, ELECTRON, MUON = range(5)
"""Types of particles: charged and neutral hadrons, photons, electrons, muons."""

FILLING = 0.5
"""What rows that fill up a block are made of."""
SAME = 2e-4
"""Directions closer than this (times eta, where that is above 1) are copies of each other."""
COPY = 1e-3
"""A RECO track within this azimuth of its GEN particle has its direction."""
BESIDE = 0.05
"""A neutral RECO particle within this distance of a GEN one is that one, in another cell."""
LARGEST_SHIFT = 1.0
"""Tracks farther than this in azimuth from any GEN particle have no partner."""


@dataclass(frozen=True, eq=False)
class Particles:
    """Particles of some jets, those of a jet side by side.

    Attributes:
        jets: number of jets.
        jet: jet of each particle, int64 [n].
        slot: its place among the jet's slots, int64 [n].
        pt, eta, phi, pdg_id, charge: float64 [n], GeV and radians.
        kind: its type, int64 [n].
    """

    jets: int
    jet: Index
    slot: Index
    pt: Numbers
    eta: Numbers
    phi: Numbers
    pdg_id: Numbers
    charge: Numbers
    kind: Index

    @classmethod
    def of(cls, fields: NDArray[Any]) -> Particles:
        """Take the particles out of padded jets [jets, slots, 5].

        Slots of pt 0 are empty, and those of nothing but `FILLING`.
        """
        jet, slot = np.nonzero((fields[..., 0] > 0) & (fields != FILLING).any(axis=2))
        pt, eta, phi, pdg_id, charge = fields[jet, slot].astype(np.float64).T
        kind = np.where(charge != 0, HADRON, NEUTRAL)
        for number, code in ((PHOTON, 22), (ELECTRON, 11), (MUON, 13)):
            kind = np.where(np.abs(pdg_id) == code, number, kind)
        return cls(len(fields), jet, slot, pt, eta, phi, pdg_id, charge, kind)

    @property
    def energy(self) -> Numbers:
        """Energies of massless particles, GeV."""
        return np.asarray(self.pt * np.cosh(self.eta))

    @cached_property
    def ends(self) -> Index:
        """Where the particles of each jet begin, and where the last one's end, [jets + 1]."""
        return np.searchsorted(self.jet, np.arange(self.jets + 1))

    @cached_property
    def axis(self) -> tuple[Numbers, Numbers]:
        """Eta and phi of each jet's sum, 0 for a jet without particles."""
        return axes(self.jets, self.jet, self.pt, self.eta, self.phi)

    def sums(self, values: Numbers) -> Numbers:
        """Return the sum of numbers per particle over each jet, [jets]."""
        return np.asarray(np.bincount(self.jet, values, self.jets), np.float64)


def axes(jets: int, jet: Index, pt: Numbers, eta: Numbers, phi: Numbers) -> tuple[Numbers, Numbers]:
    """Return eta and phi, [jets] each, of the sums of massless particles."""
    waves = (np.cos(phi), np.sin(phi), np.sinh(eta))
    px, py, pz = (np.bincount(jet, pt * wave, jets).astype(np.float64) for wave in waves)
    return np.arcsinh(pz / np.maximum(np.hypot(px, py), 1e-9)), np.arctan2(py, px)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells that particles enter.

    Attributes:
        of: cell of each particle among those here, int64 [particles]; -1 for none.
        jets: number of jets.
        key: jet and cell of each, ascending, int64 [cells].
        jet: its jet, int64 [cells].
        cell: its number in the grid, int64 [cells].
        lead: its particle of highest energy, int64 [cells].
    """

    of: Index
    jets: int
    key: Index
    jet: Index
    cell: Index
    lead: Index

    def __len__(self) -> int:
        return len(self.key)

    @cached_property
    def ends(self) -> Index:
        """Where the cells of each jet begin, and where the last one's end, [jets + 1]."""
        return np.searchsorted(self.jet, np.arange(self.jets + 1))

    def sums(self, values: Numbers) -> Numbers:
        """Return the sum of numbers per particle over each cell, [cells]."""
        inside = self.of >= 0
        return np.asarray(np.bincount(self.of[inside], values[inside], len(self)), np.float64)

    def find(self, jet: Index, cell: Index, grid: Grid) -> Index:
        """Return which of these cells others are, -1 for none of them."""
        if not len(self):
            return np.full(len(jet), -1)
        wanted = jet * grid.cells + cell
        place = np.minimum(np.searchsorted(self.key, wanted), len(self) - 1)
        return np.where((self.key[place] == wanted) & (cell >= 0), place, -1)


def enter(particles: Particles, chosen: Flags, grid: Grid, tracker: Tracker) -> Cells:
    """Return the cells that chosen particles enter."""
    eta, phi = tracker.entrance(particles.pt, particles.eta, particles.phi, particles.charge)
    cell = np.where(chosen, grid.find(eta, phi), -1)
    inside = np.flatnonzero(cell >= 0)
    key, place = np.unique(particles.jet[inside] * grid.cells + cell[inside], return_inverse=True)
    of = np.full(len(cell), -1)
    of[inside] = place
    order = np.lexsort((particles.energy[inside], place))
    last = np.searchsorted(place[order], np.arange(len(key)), side="right") - 1
    lead = inside[order[last]] if len(key) else inside[:0]
    return Cells(of, particles.jets, key, key // grid.cells, key % grid.cells, lead)


def match_tracks(gen: Particles, reco: Particles) -> Index:
    """Return the GEN particle of each charged RECO particle, int64 [reco], -1 for none.

    A track keeps eta, charge and type of its particle and mostly its phi; those with the same phi
    are matched first, then the nearest ones.
    """
    partner = np.full(len(reco.jet), -1)
    taken = np.zeros(len(gen.jet), np.bool_)
    ends = [side.ends for side in (gen, reco)]
    columns = [(side.eta, side.phi, side.charge, side.kind) for side in (gen, reco)]
    for reach in (COPY, LARGEST_SHIFT):
        _match(ends[0], ends[1], columns[0], columns[1], reach, partner, taken)
    return partner


def match_moved(cells: Cells, gen: Particles, reco: Particles, free: Index, empty: Flags) -> Index:
    """Return the RECO particle that lies beside each empty cell, int64 [cells], -1 for none.

    The softer of two that lie beside the same cell has another one, or none.

    Args:
        cells: the cells.
        gen: the particles that enter them.
        reco: RECO particles.
        free: those of them that have no cell, by their place, jet by jet.
        empty: which cells have no RECO particle.
    """
    found = np.full(len(cells), -1)
    order = free[np.lexsort((-reco.energy[free], reco.jet[free]))]
    lead = cells.lead
    _match_moved(
        cells.ends,
        (gen.eta[lead], gen.phi[lead], empty),
        order,
        reco.jet,
        reco.eta,
        reco.phi,
        found,
    )
    return found


@compiled
def _match_moved(
    ends: Any, cells: Any, order: Any, jet: Any, eta: Any, phi: Any, found: Any
) -> None:
    cell_eta, cell_phi, empty = cells
    for i in order:
        best, where = BESIDE * BESIDE, -1
        for k in range(ends[jet[i]], ends[jet[i] + 1]):
            if empty[k] and found[k] < 0:
                far = delta_r2(cell_eta[k], cell_phi[k], eta[i], phi[i])
                if far < best:
                    best, where = far, k
        if where >= 0:
            found[where] = i


@compiled
def _match(
    gen_ends: Any, reco_ends: Any, gen: Any, reco: Any, reach: Any, partner: Any, taken: Any
) -> None:
    gen_eta, gen_phi, gen_charge, gen_kind = gen
    reco_eta, reco_phi, reco_charge, reco_kind = reco
    for jet in range(len(gen_ends) - 1):
        for i in range(reco_ends[jet], reco_ends[jet + 1]):
            if reco_charge[i] == 0 or partner[i] >= 0:
                continue
            best, found = reach, -1
            for k in range(gen_ends[jet], gen_ends[jet + 1]):
                if taken[k] or gen_charge[k] != reco_charge[i] or gen_kind[k] != reco_kind[i]:
                    continue
                if abs(gen_eta[k] - reco_eta[i]) > SAME * max(1.0, abs(gen_eta[k])):
                    continue
                step = abs(gen_phi[k] - reco_phi[i]) % (2.0 * np.pi)
                step = min(step, 2.0 * np.pi - step)
                if step < best:
                    best, found = step, k
            if found >= 0:
                partner[i] = found
                taken[found] = True
