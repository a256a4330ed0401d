"""The GEN side of some jets, laid out for the steps of their response."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.chain import Chain
from gen2reco.models.nn.decays import Decays
from gen2reco.models.nn.hits import ELECTRON, HADRON, NEUTRAL, PHOTON, Cells, Particles, enter
from gen2reco.models.nn.jet_units import log_of, turn_back

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.calorimeter import Detector, Grid

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

OF_JET = 7
"""How many numbers jets are described by."""
EDGE = 0.875
"""Of the radius: what lies farther out may be in another jet behind the detector."""


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
        detector: what else is known.
        edge: distance from the axis within which whether a particle is found is up to the
            detector; farther out it is up to the jet too.
    """

    gen: Particles
    em: Cells
    had: Cells
    em_at: tuple[Numbers, Numbers]
    had_at: tuple[Numbers, Numbers]
    behind: Index
    detector: Detector
    edge: float

    @classmethod
    def of(cls, gen: Particles, detector: Detector) -> Scene:
        """Let the particles enter the cells of a detector."""
        grids, tracker = detector.grids, detector.tracker
        em = enter(gen, (gen.kind == PHOTON) | (gen.kind == ELECTRON), grids[0], tracker)
        had = enter(gen, (gen.kind == HADRON) | (gen.kind == NEUTRAL), grids[1], tracker)
        em_at, had_at = (_middle(grid, cells) for grid, cells in zip(grids, (em, had), strict=True))
        behind = had.find(em.jet, grids[1].find(*em_at), grids[1])
        edge = np.inf if detector.radius is None else EDGE * detector.radius
        return cls(gen, em, had, em_at, had_at, behind, detector, edge)

    @cached_property
    def charged(self) -> Index:
        """Charged particles, by their place among all."""
        return np.flatnonzero(self.gen.charge != 0)

    @cached_property
    def energy(self) -> Numbers:
        """Energy of each particle, GeV."""
        return self.gen.energy

    @cached_property
    def decays(self) -> Decays:
        """Decays that particles probably come from."""
        detector = self.detector
        return Decays.of_jets(self.gen, detector.digits, known=detector.together)

    @cached_property
    def chain(self) -> Chain:
        """Cells of photons, one after the other."""
        return Chain.of(self.em, self.gen, self.entering, known=self.detector.together)

    @cached_property
    def entering(self) -> Numbers:
        """Energy of photons and electrons that enter each of their cells, GeV."""
        return self.em.sums(self.energy)

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
                log_of(pt) - 6.0,
                gen.sums(np.ones(len(gen.jet))) / 25.0 - 2.0,
                np.abs(gen.axis[0]) - 1.0,
                log_of(neutral) / 2.0 - 1.5,
                log_of(photons) / 2.0 - 2.0,
                4.0 * width - 0.5,
                10.0 * gen.sums(gen.pt * (self.distance > 0.6)) / np.maximum(pt, 1e-9),
            ],
            axis=1,
        )

    @cached_property
    def decay_distance(self) -> Numbers:
        """That of the farthest product of each decay."""
        decays = self.decays
        apart = np.where(decays.there, self.distance[decays.members], 0.0)
        return np.asarray(apart.max(axis=1, initial=0.0))

    def _from_axis(self, eta: Numbers, phi: Numbers, jet: Index) -> Numbers:
        axis = [part[jet] for part in self.gen.axis]
        return np.hypot(eta - axis[0], turn_back(phi - axis[1]))


def _middle(grid: Grid, cells: Cells) -> tuple[Numbers, Numbers]:
    middle = np.full(len(cells), 0.5)
    eta, phi = grid.direction(cells.cell, middle, middle)
    return eta, phi
