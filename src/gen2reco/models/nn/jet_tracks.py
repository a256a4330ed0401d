"""Tracks of charged hadrons, cell by cell: their common scale, and how they share its energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.hits import HADRON
from gen2reco.models.nn.jet_features import of_tracks
from gen2reco.models.nn.jet_units import (
    FARTHEST,
    SCALE,
    log_ratio,
    squeezed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.jet_arrivals import Arrivals
    from gen2reco.models.nn.jet_scene import Scene

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of charged hadrons, cell by cell, and those of leptons.

    Tracks that share a cell share its energy: the hardest takes a part, the next one a part of the
    rest, and so on; the softest takes what is left.

    Attributes:
        arrivals: the GEN side.
        inside: which particles are charged hadrons with a track and a cell, bool [particles].
        count: tracks of each cell of hadrons.
        several: those particles that share their cell with another one, by their place: cell by
            cell, harder ones first.
        rank: how many of its cell come before each of them.
        leptons: electrons and muons with a track, and what enters no cell.
    """

    arrivals: Arrivals
    inside: Flags
    count: Numbers
    several: Index
    rank: Index
    leptons: Index

    @classmethod
    def of(cls, arrivals: Arrivals, found: Flags) -> Tracks:
        """Sort out which particles have a track where."""
        scene = arrivals.scene
        gen, cells = scene.gen, scene.had
        inside = found & (gen.kind == HADRON) & (cells.of >= 0)
        count = cells.sums(inside * 1.0)
        several = np.flatnonzero(inside)
        several = several[count[cells.of[several]] > 1]
        several = several[np.lexsort((-scene.energy[several], cells.of[several]))]
        of = cells.of[several]
        rank = np.arange(len(of)) - np.searchsorted(of, of)
        return cls(arrivals, inside, count, several, rank, np.flatnonzero(found & ~inside))

    @property
    def scene(self) -> Scene:
        """The GEN side."""
        return self.arrivals.scene

    @cached_property
    def parted(self) -> Index:
        """Which of `several` take a part: all but the softest of each cell, by place in it."""
        return np.flatnonzero(self.rank + 1 < self.count[self._cell])

    @cached_property
    def _cell(self) -> Index:
        return self.scene.had.of[self.several]

    def scale(self, response: Numbers) -> Numbers:
        """Return log(sum of RECO energies over sum of GEN energies) of each cell, 0 without one."""
        energy = self.scene.energy * self.inside
        return log_ratio(self.scene.had.sums(energy * response), self.scene.had.sums(energy))

    def energy(self, scale: Numbers) -> Numbers:
        """Return the sum of RECO energies of each cell's tracks, GeV, given the scales."""
        return self.scene.had.sums(self.scene.energy * self.inside) * np.exp(scale)

    def least(self, scale: Numbers) -> Numbers:
        """Return log(energy of tracks over GEN energy) of each cell, -inf without tracks.

        That of tracks and neutral hadron together is not below it; in units of those of `Arrivals`.
        """
        known, arrivals = self.energy(scale), self.arrivals
        ratio = squeezed(log_ratio(known, arrivals.hadron_scale), arrivals.hadron_unit)
        return np.where(known > 0, ratio, -np.inf)

    def known(self, scale: Numbers) -> Numbers:
        """What is said of the tracks of each cell once their scale is known, [cells, 2]."""
        least = np.maximum(self.least(scale), -FARTHEST) / 2.0
        return np.column_stack([squeezed(scale, SCALE), least])

    def odds(self, response: Numbers | float = 1.0) -> Numbers:
        """Return log(energy over that of the softer ones in the cell) of each of `parted`."""
        energy = (self.scene.energy * response)[self.several]
        softer = np.zeros(len(energy))
        rest = np.zeros(len(self.scene.had))
        for rank in range(self.rank.max(initial=-1), -1, -1):
            rows = np.flatnonzero(self.rank == rank)
            softer[rows] = rest[self._cell[rows]]
            rest[self._cell[rows]] += energy[rows]
        return np.asarray(np.log(energy[self.parted] / softer[self.parted]))

    def shared_out(self, odds: Numbers, scale: Numbers) -> Numbers:
        """Return RECO over GEN of each of `several`, given the odds of `parted` and the scales."""
        energy = self.scene.energy
        part = np.ones(len(self.several))
        part[self.parted] = 1.0 / (1.0 + np.exp(-odds))
        rest = self.energy(scale)
        taken = np.zeros(len(part))
        for rank in range(self.rank.max(initial=-1) + 1):
            rows = np.flatnonzero(self.rank == rank)
            taken[rows] = rest[self._cell[rows]] * part[rows]
            rest[self._cell[rows]] -= taken[rows]
        return np.asarray(taken / energy[self.several])

    def about(self, cells: Numbers, neutral: Index, scale: Numbers) -> Numbers:
        """What is said of `parted`, given features of cells."""
        which = self.several[self.parted]
        gen, of = self.scene.gen, self.scene.had.of[which]
        seen = self.scene.had.sums(self.scene.energy * self.inside)[of]
        share = self.scene.energy[which] / seen
        own = [share, np.log(share), np.log(gen.pt[which]) / 1.5 - 1.0, neutral[of],
               squeezed(scale[of], SCALE), self.odds() / 2.0, self.rank[self.parted] / 2.0,
               (self.count[of] - self.rank[self.parted]) / 2.0 - 1.0]  # fmt: skip
        return np.concatenate([cells[of], np.stack(own, axis=1)], axis=1)

    def of_leptons(self) -> Numbers:
        """What is said of electrons and muons."""
        scene, which = self.scene, self.leptons
        photons = np.append(self.arrivals.photon_scale, 0.0)[scene.em.of[which]]
        share = photons / (photons + scene.energy[which])
        return np.column_stack([of_tracks(self.arrivals, which), share])
