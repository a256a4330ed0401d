"""Tracks of charged hadrons, cell by cell: their common scale, and what they deviate from it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.hits import HADRON
from gen2reco.models.nn.jet_units import SCALE, log_ratio, photon_energy, squeezed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.jet_features import Scene

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of charged hadrons, cell by cell, and those of leptons.

    Attributes:
        scene: the GEN side.
        inside: which particles are charged hadrons with a track and a cell, bool [particles].
        count: tracks of each cell of hadrons.
        several: those particles that share their cell with another one, by their place.
        leptons: electrons and muons with a track, and what enters no cell.
    """

    scene: Scene
    inside: Flags
    count: Numbers
    several: Index
    leptons: Index

    @classmethod
    def of(cls, scene: Scene, found: Flags) -> Tracks:
        """Sort out which particles have a track where."""
        gen, cells = scene.gen, scene.had
        inside = found & (gen.kind == HADRON) & (cells.of >= 0)
        count = cells.sums(inside * 1.0)
        several = np.flatnonzero(inside)
        several = several[count[cells.of[several]] > 1]
        return cls(scene, inside, count, several, np.flatnonzero(found & ~inside))

    def scale(self, response: Numbers) -> Numbers:
        """Return log(sum of RECO energies over sum of GEN energies) of each cell, 0 without one."""
        energy = self.scene.energy * self.inside
        return log_ratio(self.scene.had.sums(energy * response), self.scene.had.sums(energy))

    def about(self, cells: Numbers, neutral: Index, scale: Numbers, which: Index) -> Numbers:
        """What is said of tracks that share a cell, given features of cells."""
        gen, of = self.scene.gen, self.scene.had.of[which]
        seen = self.scene.had.sums(self.scene.energy * self.inside)[of]
        share = self.scene.energy[which] / seen
        own = [share, np.log(share), np.log(gen.pt[which]) / 1.5 - 1.0, neutral[of],
               squeezed(scale[of], SCALE)]  # fmt: skip
        return np.concatenate([cells[of], np.stack(own, axis=1)], axis=1)

    def of_leptons(self, which: Index) -> Numbers:
        """What is said of electrons and muons."""
        scene = self.scene
        photons = np.append(photon_energy(scene), 0.0)[scene.em.of[which]]
        share = photons / (photons + scene.energy[which])
        return np.column_stack([scene.of_tracks(which), share])
