"""What each step of a jet's response sees: numbers of order one about particles, cells and jets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from gen2reco.models.nn.hits import (
    ELECTRON,
    HADRON,
    MUON,
    NEUTRAL,
    PHOTON,
    Cells,
    Particles,
    enter,
)
from gen2reco.models.nn.relatives import BESIDE, Chain, Siblings, Sigmas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.calorimeter import Detector, Grid

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

LITTLE = 0.1
"""Energy in GeV below which logarithms stop to care."""

EDGE = 0.875
"""Of the radius: what lies farther out may be in another jet behind the detector."""

NEAR_EM, NEAR_HAD = 0.03, 0.13
"""How far around a cell others are looked at."""

ETA_STEPS = np.round(np.arange(0.1, 3.05, 0.1), 1)
PT_STEPS = np.array([0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0])
"""Where a response may jump: detectors end, and efficiencies begin, at round numbers."""

OF_JET, OF_TRACK, OF_EM, OF_HAD = (
    7, 23 + len(ETA_STEPS) + len(PT_STEPS), 19 + len(ETA_STEPS), 24 + len(ETA_STEPS),
)  # fmt: skip
OUTCOMES = 3
"""Of a charged particle or a cell: lost, found, elsewhere."""
OF_SIBLING, OF_BEFORE, OF_MISSING = 1 + OUTCOMES, 4 + OUTCOMES, 3
"""How many numbers jets, charged particles and cells are described by."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The GEN side of some jets, laid out for the networks.

    Attributes:
        gen: the particles.
        em: cells that photons and electrons enter.
        had: cells that hadrons enter.
        em_at: eta and phi of the middle of those cells.
        had_at: the same of cells of hadrons.
        behind: cell of hadrons behind each cell of photons, -1 for none.
        together: whether particles of one decay know of each other.
        inside: distance from the axis within which whether a particle is found is up to the
            detector; farther out it is up to the jet too.
    """

    gen: Particles
    em: Cells
    had: Cells
    em_at: tuple[Numbers, Numbers]
    had_at: tuple[Numbers, Numbers]
    behind: Index
    together: bool
    inside: float

    @classmethod
    def of(cls, gen: Particles, detector: Detector) -> Scene:
        """Let the particles enter the cells of a detector."""
        grids, tracker = detector.grids, detector.tracker
        em = enter(gen, (gen.kind == PHOTON) | (gen.kind == ELECTRON), grids[0], tracker)
        had = enter(gen, (gen.kind == HADRON) | (gen.kind == NEUTRAL), grids[1], tracker)
        em_at, had_at = (_middle(grid, cells) for grid, cells in zip(grids, (em, had), strict=True))
        behind = had.find(em.jet, grids[1].find(*em_at), grids[1])
        inside = np.inf if detector.radius is None else EDGE * detector.radius
        return cls(gen, em, had, em_at, had_at, behind, detector.together, inside)

    @cached_property
    def charged(self) -> Index:
        """Charged particles, by their place among all."""
        return np.flatnonzero(self.gen.charge != 0)

    @cached_property
    def energy(self) -> Numbers:
        """Energy of each particle, GeV."""
        return self.gen.energy

    @cached_property
    def siblings(self) -> Siblings:
        """Charged particles that probably come from the same decay."""
        return Siblings.of(self.gen, known=self.together)

    @cached_property
    def sigmas(self) -> Sigmas:
        """Charged pions and neutrons that probably come from the same decay."""
        return Sigmas.of(self.gen, known=self.together)

    @cached_property
    def chain(self) -> Chain:
        """Cells of photons, one after the other."""
        energy = self.em.sums(self.energy)
        return Chain.of(self.em, self.gen, energy, known=self.together)

    @cached_property
    def distance(self) -> Numbers:
        """Distance of each particle from its jet's axis."""
        return self._from_axis(self.gen.eta, self.gen.phi, self.gen.jet)

    @cached_property
    def em_distance(self) -> Numbers:
        """That of each cell of photons."""
        return self._from_axis(*self.em_at, self.em.jet)

    @cached_property
    def had_distance(self) -> Numbers:
        """That of each cell of hadrons; a magnetic field takes soft particles far."""
        return self._from_axis(*self.had_at, self.had.jet)

    def _from_axis(self, eta: Numbers, phi: Numbers, jet: Index) -> Numbers:
        axis = [part[jet] for part in self.gen.axis]
        return np.hypot(eta - axis[0], np.mod(phi - axis[1] + np.pi, 2.0 * np.pi) - np.pi)

    def _told(self, distance: Numbers) -> list[Numbers]:
        """What is said of distances: nothing beyond `inside`."""
        apart = np.minimum(distance, self.inside)
        return [4.0 * apart - 0.5, np.maximum(apart - 0.6, 0.0) * 10.0]

    @cached_property
    def jets(self) -> Numbers:
        """What is said of each jet, [jets, OF_JET]."""
        gen = self.gen
        pt = gen.sums(gen.pt)
        neutral = gen.sums(gen.pt * (gen.kind == NEUTRAL))
        photons = gen.sums(gen.pt * (gen.kind == PHOTON))
        width = gen.sums(gen.pt * self.distance) / np.maximum(pt, 1e-9)
        return np.stack(
            [
                _log(pt) - 6.0,
                gen.sums(np.ones(len(gen.jet))) / 25.0 - 2.0,
                np.abs(self.gen.axis[0]) - 1.0,
                _log(neutral) / 2.0 - 1.5,
                _log(photons) / 2.0 - 2.0,
                4.0 * width - 0.5,
                10.0 * gen.sums(gen.pt * (self.distance > 0.6)) / np.maximum(pt, 1e-9),
            ],
            axis=1,
        )

    def of_tracks(self, which: Index) -> Numbers:
        """What is said of charged particles, [len(which), OF_TRACK]."""
        gen, had = self.gen, self.had
        cell = had.of[which]
        total = np.append(had.sums(self.energy), 0.0)[cell]
        count = np.append(had.sums(np.ones(len(gen.jet))), 0.0)[cell]
        energy, species = self.energy[which], np.abs(gen.pdg_id[which])
        jets, kin, sigmas = self.jets[gen.jet[which]], self.siblings, self.sigmas
        numbers = np.stack(
            [
                _log(gen.pt[which]) / 1.5 - 1.0,
                np.abs(gen.eta[which]) - 1.0,
                *self._told(self.distance[which]),
                (gen.kind[which] == ELECTRON) * 1.0,
                (gen.kind[which] == MUON) * 1.0,
                (species == 321) * 1.0,
                (species == 2212) * 1.0,
                _log(total) / 2.0 - 1.5,
                energy / np.maximum(total, energy),
                count / 3.0 - 1.0,
                jets[:, 0],
                jets[:, 1],
                (kin.partner[which] >= 0) * 1.0,
                (kin.baryon[which]) * 1.0,
                kin.off[which] / 0.01,
                kin.unlikely[which],
                np.where(kin.energy[which] > 0, _log(kin.energy[which]) / 2.0 - 1.0, 0.0),
                _log(gen.pt[which] / 0.2) / 2.0 - 1.5,
                sigmas.unlikely[which],
                _log(sigmas.energy[which]) / 2.0 - 1.0,
                _log(sigmas.beside[which]) / 2.0,
                jets[:, 3],
            ],
            axis=1,
        )
        edges = _passed(gen.eta[which], ETA_STEPS), _passed(gen.pt[which], PT_STEPS)
        return np.concatenate([numbers, *edges], axis=1)

    def of_siblings(self, which: Index, outcome: Index) -> Numbers:
        """What is said of what became of the harder of a pair, [len(which), OF_SIBLING].

        Args:
            which: charged particles.
            outcome: of every particle, [particles].
        """
        second = self.siblings.second[which]
        other = np.where(second, outcome[self.siblings.partner[which]], -1)
        return np.column_stack([second, other[:, None] == np.arange(OUTCOMES)])

    def of_before(self, outcome: Index) -> Numbers:
        """What is said of what became of the cell before each, [cells, OF_BEFORE]."""
        chain, energy = self.chain, self.em.sums(self.energy)
        there = chain.before >= 0
        other = np.where(there, outcome[chain.before], -1)
        ratio = np.where(there, energy[chain.before], 1.0) / np.where(there, energy, 1.0)
        return np.column_stack(
            [
                there,
                chain.distance / 0.02,
                np.exp(-((chain.distance / 0.015) ** 2)) * there,
                np.minimum(np.log(np.maximum(ratio, 1e-9)), 6.0) / 2.0,
                other[:, None] == np.arange(OUTCOMES),
            ]
        )

    def of_missing(self, lost: Flags, energy: Numbers) -> Numbers:
        """What is said of photons' energy that is missing around each cell, [cells, OF_MISSING].

        Energy that leaves one cell for another is missing there and found here. Known are cells
        that give nothing, and the energies of those that come before in the chain.

        Args:
            lost: cells of photons that give none, [cells].
            energy: of the photons of cells, GeV; those of later rounds are not looked at, [cells].
        """
        chain = self.chain
        own = self.em.sums(self.energy * (self.gen.kind == PHOTON))
        missing = np.where(lost, own, own - energy)
        there = chain.before >= 0
        before = np.where(there, missing[chain.before], 0.0)
        ends = np.searchsorted(self.em.jet, np.arange(self.gen.jets + 1))
        place = self.gen.eta[self.em.lead], self.gen.phi[self.em.lead]
        out = np.zeros((len(own), 2))
        _missing(ends, *place, chain.turn, lost, missing, NEAR_EM, out)
        unit = np.maximum(own, LITTLE)
        return np.arcsinh(10.0 * np.column_stack([before, out]) / unit[:, None]) / 3.0

    def of_em(self, found: Flags) -> Numbers:
        """What is said of cells of photons and electrons, [cells, OF_EM], given found tracks."""
        gen, cells, energy = self.gen, self.em, self.energy
        photon, electron = gen.kind == PHOTON, gen.kind == ELECTRON
        total = cells.sums(energy * photon)
        lead, sigmas = cells.lead, self.sigmas
        close = (sigmas.by_proton[lead] < BESIDE) * 1.0
        jets = self.jets[cells.jet]
        numbers = np.stack(
            [
                _log(total) / 1.5 - 1.0,
                np.log(np.maximum(total, LITTLE)) < np.log(0.6),
                cells.sums(photon * 1.0) / 2.0 - 0.7,
                energy[lead] / np.maximum(cells.sums(energy), 1e-9),
                _log(cells.sums(energy * (electron & found))) / 1.5,
                _log(cells.sums(energy * (electron & ~found))) / 1.5,
                np.abs(gen.eta[lead]) - 1.0,
                (np.abs(gen.eta[lead]) > 1.5) * 1.0,
                *self._told(self.em_distance),
                jets[:, 0],
                jets[:, 1],
                _log(self.around(cells, energy * photon, NEAR_EM)) / 2.0 - 1.0,
                np.abs(gen.eta[lead]) > 2.9,
                np.log(sigmas.beside[lead] + 0.01) / 2.0,
                np.log(sigmas.by_proton[lead] + 0.01) / 2.0,
                close * found[sigmas.proton[lead]],
                close * ~found[sigmas.proton[lead]],
                jets[:, 3],
            ],
            axis=1,
        )
        return np.concatenate([numbers, _passed(gen.eta[lead], ETA_STEPS)], axis=1)

    def of_had(self, found: Flags, dark: Flags) -> Numbers:
        """What is said of cells of hadrons, [cells, OF_HAD].

        Args:
            found: particles with a track, [particles].
            dark: cells of photons that give none, [cells of photons].
        """
        gen, cells, energy = self.gen, self.had, self.energy
        charged = gen.kind == HADRON
        # Where both of a pair have no track, their energy is mostly lost too.
        kin = self.siblings
        both = (kin.partner >= 0) & ~found & ~found[kin.partner]
        gone, doubtful = both & kin.sure, both & ~kin.sure
        alone = charged & ~found & (kin.partner < 0)
        gone |= self.sigmas.sure & ~found
        along = self.sigmas.taken_along(charged & ~found)
        tracks = energy * (charged & found)
        total, seen = cells.sums(energy), cells.sums(tracks)
        count = cells.sums((charged & found) * 1.0)
        lead = cells.lead
        jets = self.jets[cells.jet]
        numbers = np.stack(
            [
                _log(total) / 1.5 - 1.5,
                _log(seen) / 1.5 - 1.5,
                _log(cells.sums(energy * (charged & ~found & ~gone))) / 1.5,
                _log(cells.sums(energy * (charged & gone))) / 1.5,
                _log(cells.sums(energy * (gen.kind == NEUTRAL))) / 1.5,
                seen / np.maximum(total, 1e-9),
                count / 2.0 - 1.0,
                (count == 0) * 1.0,
                cells.sums(np.ones(len(energy))) / 2.0 - 1.0,
                np.sqrt(cells.sums(tracks**2)) / np.maximum(seen, LITTLE),
                np.abs(gen.eta[lead]) - 1.0,
                (np.abs(gen.eta[lead]) > 2.5) * 1.0,
                *self._told(self.had_distance),
                jets[:, 0],
                jets[:, 1],
                _log(self.around(cells, energy, NEAR_HAD)) / 2.0 - 1.0,
                _log(self._in_front(self.em.sums(energy) * dark)) / 2.0,
                _log(cells.sums(energy * along)) / 1.5,
                _log(self._by_neutrons(dark)) / 1.5,
                _log(cells.sums(energy * doubtful)) / 1.5,
                cells.sums(energy * doubtful * kin.unlikely) / np.maximum(total, 1e-9),
                cells.sums(energy * alone) / np.maximum(total, 1e-9),
                jets[:, 3],
            ],
            axis=1,
        )
        return np.concatenate([numbers, _passed(gen.eta[lead], ETA_STEPS)], axis=1)

    def _by_neutrons(self, dark: Flags) -> Numbers:
        """Return the energy of photons that are lost right beside the neutrons of each cell."""
        lead, sigmas = self.em.lead, self.sigmas
        chosen = np.flatnonzero(dark & (sigmas.beside[lead] < BESIDE))
        at = self.had.of[sigmas.neutron[lead[chosen]]]
        lost = self.em.sums(self.energy)[chosen]
        return np.bincount(at[at >= 0], lost[at >= 0], len(self.had)).astype(np.float64)

    def _in_front(self, values: Numbers) -> Numbers:
        """Return the sum of numbers per cell of photons over those before each cell of hadrons."""
        at = self.behind
        return np.bincount(at[at >= 0], values[at >= 0], len(self.had)).astype(np.float64)

    def around(self, cells: Cells, values: Numbers, reach: float) -> Numbers:
        """Return the sum of numbers per particle over the other cells around each cell.

        Around is what has its leading particle within `reach`.
        """
        lead = cells.lead
        ends = np.searchsorted(cells.jet, np.arange(self.gen.jets + 1))
        out = np.zeros(len(cells))
        _around(ends, self.gen.eta[lead], self.gen.phi[lead], cells.sums(values), reach, out)
        return out


@njit(cache=True, nogil=True)
def _around(ends: Any, eta: Any, phi: Any, values: Any, reach: Any, out: Any) -> None:
    for jet in range(len(ends) - 1):
        for i in range(ends[jet], ends[jet + 1]):
            for k in range(ends[jet], ends[jet + 1]):
                step = abs(phi[i] - phi[k]) % (2.0 * np.pi)
                step = min(step, 2.0 * np.pi - step)
                if k != i and step * step + (eta[i] - eta[k]) ** 2 < reach * reach:
                    out[i] += values[k]


@njit(cache=True, nogil=True)
def _missing(
    ends: Any, eta: Any, phi: Any, turn: Any, lost: Any, missing: Any, reach: Any, out: Any
) -> None:
    """Sums over the cells around each: of earlier rounds, and of those that give nothing."""
    for jet in range(len(ends) - 1):
        for i in range(ends[jet], ends[jet + 1]):
            for k in range(ends[jet], ends[jet + 1]):
                if k == i or not (lost[k] or turn[k] < turn[i]):
                    continue
                step = abs(phi[i] - phi[k]) % (2.0 * np.pi)
                step = min(step, 2.0 * np.pi - step)
                if step * step + (eta[i] - eta[k]) ** 2 < reach * reach:
                    out[i, 1 if lost[k] else 0] += missing[k]


def _middle(grid: Grid, cells: Cells) -> tuple[Numbers, Numbers]:
    middle = np.full(len(cells), 0.5)
    eta, phi = grid.direction(cells.cell, middle, middle)
    return eta, phi


def _passed(values: Numbers, steps: Numbers) -> Numbers:
    """Return which steps the sizes of some numbers have passed, [len(values), len(steps)]."""
    return np.asarray((np.abs(values)[:, None] >= steps) * 1.0)


def _log(values: Numbers) -> Numbers:
    return np.asarray(np.log(np.maximum(values, LITTLE)))
