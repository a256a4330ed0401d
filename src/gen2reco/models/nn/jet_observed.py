"""What is observed of each step of a jet's response: which RECO particle belongs to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.hits import (
    COPY,
    NEUTRAL,
    PHOTON,
    Cells,
    Particles,
    match_moved,
    match_tracks,
)
from gen2reco.models.nn.jet_scene import Scene
from gen2reco.models.nn.jet_units import ELSEWHERE, FOUND, LOST, turn_back

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.calorimeter import Detector, Grid

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]


MOST_OF, NEARLY_ALL = 0.5, 0.7
"""A particle dominates a cell of photons, or of hadrons, with more than this of its energy."""
LITTLE_OF = 0.3
"""Energy of a cell that says nothing of a neutral hadron that dominates it."""


@dataclass(frozen=True, eq=False)
class Observed:
    """GEN and RECO of some jets, taken apart into steps.

    Attributes:
        scene: the GEN side.
        decay: `LOST`, `FOUND` or `ELSEWHERE` of each decay: no sign of its products, signs
            of some, or one that is elsewhere.
        track: `LOST`, `FOUND` or `ELSEWHERE` of each charged particle.
        turn: difference in phi of each charged particle, 0 where it is lost.
        pt: RECO pt of each charged particle, 0 where it is lost.
        photon: the same of each cell of photons.
        photon_place: differences in eta and phi to the cell's leading particle, where elsewhere.
        photon_energy: GeV.
        neutral: 1 where a cell of hadrons gives a neutral hadron.
        neutral_energy: GeV.
        left: number of particles that belong to no GEN particle, of each jet.
        left_jet: jet of each of them.
        left_kind: their types.
        left_momentum: pt, and eta and phi relative to the axis, [n, 3].
    """

    scene: Scene
    decay: Index
    track: Index
    turn: Numbers
    pt: Numbers
    photon: Index
    photon_place: Numbers
    photon_energy: Numbers
    neutral: Index
    neutral_energy: Numbers
    left: Index
    left_jet: Index
    left_kind: Index
    left_momentum: Numbers

    @classmethod
    def of(
        cls,
        gen: Particles,
        reco: Particles,
        detector: Detector,
        most_left: int,
    ) -> Observed:
        """Find out which RECO particle belongs to what."""
        scene, grids = Scene.of(gen, detector), detector.grids
        owner = np.full(len(reco.jet), -1)
        partner = match_tracks(gen, reco)
        tracks = np.flatnonzero(partner >= 0)
        owner[tracks] = 0
        pt, turn = np.zeros(len(gen.jet)), np.zeros(len(gen.jet))
        pt[partner[tracks]] = reco.pt[tracks]
        turn[partner[tracks]] = turn_back(reco.phi[tracks] - gen.phi[partner[tracks]])
        pt, turn = pt[scene.charged], turn[scene.charged]
        track = np.where(pt > 0, np.where(np.abs(turn) < COPY, FOUND, ELSEWHERE), LOST)

        photon, photon_energy, mine = _of_cells(scene.em, reco, reco.kind == PHOTON, grids[0])
        owner[mine] = 1
        place = np.zeros((len(photon), 2))
        free = np.flatnonzero((owner < 0) & (reco.kind == PHOTON))
        moved = match_moved(scene.em, scene.gen, reco, free, photon == LOST)
        at, who = np.flatnonzero(moved >= 0), moved[moved >= 0]
        photon[at], photon_energy[at], owner[who] = ELSEWHERE, reco.energy[who], 1
        lead = scene.em.lead[at]
        place[at, 0] = reco.eta[who] - gen.eta[lead]
        place[at, 1] = turn_back(reco.phi[who] - gen.phi[lead])

        neutral, neutral_energy, mine = _of_cells(scene.had, reco, reco.kind == NEUTRAL, grids[1])
        owner[mine] = 1
        decay = _of_decays(scene, track, pt, photon, neutral_energy)
        rest = np.flatnonzero(owner < 0)
        jet = reco.jet[rest]
        axis = (gen.axis[0][jet], gen.axis[1][jet])
        momentum = [reco.pt[rest], reco.eta[rest] - axis[0], turn_back(reco.phi[rest] - axis[1])]
        return cls(
            scene, decay, track, turn, pt, photon, place, photon_energy, neutral, neutral_energy,
            np.minimum(np.bincount(jet, minlength=gen.jets), most_left), jet, reco.kind[rest],
            np.stack(momentum, axis=1),
        )  # fmt: skip


def _of_cells(
    cells: Cells, reco: Particles, chosen: Flags, grid: Grid
) -> tuple[Index, Numbers, Index]:
    """Return `FOUND` or `LOST` and the energy of each cell, and the RECO particles of cells.

    The most energetic particle of a cell is the cell's.
    """
    which = np.flatnonzero(chosen)
    at = cells.find(reco.jet[which], grid.find(reco.eta[which], reco.phi[which]), grid)
    which, at = which[at >= 0], at[at >= 0]
    order = np.lexsort((reco.energy[which], at))
    which, at = which[order], at[order]
    last = np.append(at[1:] != at[:-1], np.ones(min(len(at), 1), np.bool_))
    which, at = which[last], at[last]
    outcome, energy = np.full(len(cells), LOST), np.zeros(len(cells))
    outcome[at], energy[at] = FOUND, reco.energy[which]
    return outcome, energy, which


def _of_decays(
    scene: Scene, track: Index, pt: Numbers, photon: Index, neutral_energy: Numbers
) -> Index:
    """Return what becomes of each decay.

    Signs are tracks, photons from cells that a product dominates, and energy in cells that a
    neutral hadron dominates. What several particles share says nothing.
    """
    gen, energy, em, had = scene.gen, scene.energy, scene.em, scene.had
    photons = em.sums(energy * (gen.kind == PHOTON))
    outcome = np.full(len(gen.jet), LOST)
    outcome[scene.charged] = track
    at = np.flatnonzero((gen.kind == PHOTON) & (em.of >= 0))
    at = at[energy[at] > MOST_OF * photons[em.of[at]]]
    outcome[at] = photon[em.of[at]]
    tracks = np.zeros(len(gen.jet))
    tracks[scene.charged] = pt * np.cosh(gen.eta[scene.charged])
    share = (had.sums(tracks) + neutral_energy) / had.sums(energy)
    at = np.flatnonzero((gen.kind == NEUTRAL) & (had.of >= 0))
    at = at[energy[at] > NEARLY_ALL * had.sums(energy)[had.of[at]]]
    outcome[at] = np.where(share[had.of[at]] > LITTLE_OF, FOUND, LOST)
    decays = scene.decays
    some, beside = (decays.sums((outcome == what) * 1.0) > 0 for what in (FOUND, ELSEWHERE))
    return np.where(beside, ELSEWHERE, np.where(some, FOUND, LOST))
