"""What reaches the calorimeters of some jets, once it is known which decays left no sign."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.hits import ELECTRON, PHOTON
from gen2reco.models.nn.jet_units import LOST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.jet_scene import Scene

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

OF_PHOTONS, OF_HADRONS = (0.4, 0.1, 0.01), (0.5, 0.8, 0.05)
"""Unit of log ratios in cells at energy E (GeV): these over E, over its root, and by itself."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """The GEN side of some jets with what becomes of their decays.

    Attributes:
        scene: the GEN side.
        fate: what becomes of the decay of each particle, -1 without one, int64 [particles].
    """

    scene: Scene
    fate: Index

    @classmethod
    def of(cls, scene: Scene, outcome: Index) -> Arrivals:
        """Take what is left after decays have had their outcomes, [decays]."""
        return cls(scene, scene.decays.fate(outcome))

    @cached_property
    def gone(self) -> Flags:
        """Which particles are products of a decay that left no sign."""
        return np.asarray(self.fate == LOST)

    @cached_property
    def energy(self) -> Numbers:
        """Energy of each particle, 0 of those that are gone, GeV."""
        return np.where(self.gone, 0.0, self.scene.energy)

    @cached_property
    def photons(self) -> Numbers:
        """Energy of photons that enter each cell, GeV."""
        scene = self.scene
        return scene.em.sums(self.energy * (scene.gen.kind == PHOTON))

    @cached_property
    def photon_scale(self) -> Numbers:
        """What photons' energies are relative to: of what enters, or would, each cell, GeV."""
        scene = self.scene
        electrons = scene.em.sums(scene.energy * (scene.gen.kind == ELECTRON))
        some = np.where(self.photons > 0, self.photons, electrons)
        return np.where(some > 0, some, scene.entering)

    @cached_property
    def hadrons(self) -> Numbers:
        """Energy of hadrons that enter each cell, GeV."""
        return self.scene.had.sums(self.energy)

    @cached_property
    def hadron_scale(self) -> Numbers:
        """What hadrons' energies are relative to, GeV."""
        return np.where(self.hadrons > 0, self.hadrons, self.scene.had.sums(self.scene.energy))

    @cached_property
    def photon_unit(self) -> Numbers:
        """Unit of photons' log ratios in each cell."""
        return _unit(self.photon_scale, OF_PHOTONS)

    @cached_property
    def hadron_unit(self) -> Numbers:
        """Unit of hadrons' log ratios in each cell."""
        return _unit(self.hadron_scale, OF_HADRONS)


def _unit(energy: Numbers, terms: tuple[float, float, float]) -> Numbers:
    energy = np.maximum(energy, 0.1)
    noise, stochastic, constant = terms
    return np.sqrt(constant**2 + stochastic**2 / energy + (noise / energy) ** 2)
