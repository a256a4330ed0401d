"""What each step of a jet's response sees: numbers of order one about particles, cells and jets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.models.nn.decays import CHANNELS
from gen2reco.models.nn.hits import ELECTRON, HADRON, MUON, NEUTRAL, PHOTON
from gen2reco.models.nn.jet_units import ELSEWHERE, FOUND, LITTLE, log_of
from gen2reco.rows.segments import compiled, delta_r2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.hits import Cells
    from gen2reco.models.nn.jet_arrivals import Arrivals
    from gen2reco.models.nn.jet_scene import Scene

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

NEAR_EM, NEAR_HAD = 0.03, 0.13
"""How far around a cell others are looked at."""

ETA_STEPS = np.round(np.arange(0.1, 3.05, 0.1), 1)
PT_STEPS = np.array([0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0])
"""Where a response may jump: detectors end, and efficiencies begin, at round numbers."""
ENERGY_STEPS = np.exp2(np.arange(11.0))
"""GeV: hard cells are rare, and a network that is told the logarithm alone gives them the tails of
softer ones."""

OUTCOMES = 3
"""Of a decay, a charged particle or a cell of photons: lost, found, elsewhere."""

OF_DECAY, OF_TRACK, OF_EM, OF_HAD = (
    10 + CHANNELS + len(ETA_STEPS), 19 + CHANNELS + len(ETA_STEPS) + len(PT_STEPS),
    22 + len(ETA_STEPS) + len(ENERGY_STEPS), 28 + len(ETA_STEPS) + len(ENERGY_STEPS),
)  # fmt: skip
OF_BEFORE, OF_MISSING = 4 + OUTCOMES, 3
"""How many numbers decays, charged particles and cells are described by."""


def of_decays(scene: Scene) -> Numbers:
    """What is said of each decay, [decays, OF_DECAY]."""
    gen, decays = scene.gen, scene.decays
    energy, pt = decays.sums(scene.energy), decays.sums(gen.pt)
    lead = decays.lead
    jets, size = scene.jets[gen.jet[lead]], np.abs(gen.eta[lead])
    numbers = np.stack(
        [
            decays.off / 5.0 - 1.0,
            decays.spread / 3.0 + 1.0,
            log_of(energy) / 1.5 - 2.0,
            log_of(pt) / 1.5 - 2.0,
            scene.energy[lead] / np.maximum(energy, LITTLE),
            size - 1.0,
            *_told(scene, scene.decay_distance),
            jets[:, 0],
            jets[:, 1],
        ],
        axis=1,
    )
    steps = _passed(size, ETA_STEPS)
    return np.concatenate([numbers, decays.channel[:, None] == np.arange(CHANNELS), steps], axis=1)


def of_tracks(arrivals: Arrivals, which: Index) -> Numbers:
    """What is said of charged particles, by their place, [len(which), OF_TRACK]."""
    scene, fate = arrivals.scene, arrivals.fate
    gen, had, decays = scene.gen, scene.had, scene.decays
    cell = had.of[which]
    total = np.append(had.sums(scene.energy), 0.0)[cell]
    count = np.append(had.sums(np.ones(len(gen.jet))), 0.0)[cell]
    energy, species = scene.energy[which], np.abs(gen.pdg_id[which])
    jets = scene.jets[gen.jet[which]]
    channel = np.append(decays.channel, -1)[decays.of[which]]
    whole = np.append(decays.sums(scene.energy), 1.0)[decays.of[which]]
    numbers = np.stack(
        [
            log_of(gen.pt[which]) / 1.5 - 1.0,
            np.abs(gen.eta[which]) - 1.0,
            *_told(scene, scene.distance[which]),
            (gen.kind[which] == ELECTRON) * 1.0,
            (gen.kind[which] == MUON) * 1.0,
            (species == 321) * 1.0,
            (species == 2212) * 1.0,
            log_of(total) / 2.0 - 1.5,
            energy / np.maximum(total, energy),
            count / 3.0 - 1.0,
            jets[:, 0],
            jets[:, 1],
            log_of(gen.pt[which] / 0.2) / 2.0 - 1.5,
            jets[:, 3],
            log_of(whole) / 2.0,
        ],
        axis=1,
    )
    edges = _passed(gen.eta[which], ETA_STEPS), _passed(gen.pt[which], PT_STEPS)
    kin = channel[:, None] == np.arange(CHANNELS), fate[which][:, None] == np.arange(OUTCOMES)
    return np.concatenate([numbers, *kin, *edges], axis=1)


def of_before(scene: Scene, outcome: Index, which: Index) -> Numbers:
    """What is said of what became of the cell before each of some, [len(which), OF_BEFORE].

    Args:
        scene: the GEN side.
        outcome: of every cell of photons; those of later rounds are not looked at, [cells].
        which: cells of photons, by their place.
    """
    energy, before = scene.entering, scene.chain.before[which]
    distance, there = scene.chain.distance[which], before >= 0
    other = np.where(there, outcome[before], -1)
    ratio = np.where(there, energy[before], 1.0) / np.where(there, energy[which], 1.0)
    return np.column_stack(
        [
            there,
            distance / 0.02,
            np.exp(-((distance / 0.015) ** 2)) * there,
            np.minimum(np.log(np.maximum(ratio, 1e-9)), 6.0) / 2.0,
            other[:, None] == np.arange(OUTCOMES),
        ]
    )


def of_missing(arrivals: Arrivals, lost: Flags, energy: Numbers, which: Index) -> Numbers:
    """What is said of photons' energy that is missing around some cells, [len(which), OF_MISSING].

    Energy that leaves one cell for another is missing there and found here. Known are cells
    that give nothing, and the energies of those that come before in the chain.

    Args:
        arrivals: the GEN side.
        lost: cells of photons that give none, [cells].
        energy: of the photons of cells, GeV; those of later rounds are not looked at, [cells].
        which: cells of photons, by their place.
    """
    scene, own = arrivals.scene, arrivals.photons
    gen, em, chain = scene.gen, scene.em, scene.chain
    missing = np.where(lost, own, own - energy)
    before = chain.before[which]
    before = np.where(before >= 0, missing[before], 0.0)
    place = gen.eta[em.lead], gen.phi[em.lead]
    out = np.zeros((len(which), 2))
    _missing(which, em.jet, em.ends, *place, chain.turn, lost, missing, NEAR_EM, out)
    unit = np.maximum(own[which], LITTLE)
    return np.arcsinh(10.0 * np.column_stack([before, out]) / unit[:, None]) / 3.0


def of_em(arrivals: Arrivals, found: Flags) -> Numbers:
    """What is said of cells of photons and electrons, [cells, OF_EM].

    Args:
        arrivals: the GEN side.
        found: particles with a track, [particles].
    """
    scene, fate = arrivals.scene, arrivals.fate
    gen, cells, energy = scene.gen, scene.em, scene.energy
    photon, electron = gen.kind == PHOTON, gen.kind == ELECTRON
    total, lead = arrivals.photons, cells.lead
    gone = cells.sums(energy * arrivals.gone)
    number = cells.sums(1.0 * (photon & ~arrivals.gone))
    size = np.abs(gen.eta[lead])
    jets = scene.jets[cells.jet]
    numbers = np.stack(
        [
            log_of(total) / 1.5 - 1.0,
            np.log(np.maximum(total, LITTLE)) < np.log(0.6),
            number / 2.0 - 0.7,
            number == 1,
            log_of(np.maximum(total - arrivals.energy[lead], 0.0)) / 1.5 - 1.0,
            arrivals.energy[lead] / np.maximum(total, arrivals.energy[lead] + 1e-9),
            log_of(cells.sums(energy * (electron & found))) / 1.5,
            log_of(cells.sums(energy * (electron & ~found))) / 1.5,
            size - 1.0,
            (size > 1.5) * 1.0,
            *_told(scene, scene.em_distance),
            jets[:, 0],
            jets[:, 1],
            log_of(_around(scene, cells, arrivals.energy * photon, NEAR_EM)) / 2.0 - 1.0,
            size > 2.9,
            gone / np.maximum(gone + total, LITTLE),
            log_of(gone) / 1.5,
            log_of(cells.sums(energy * (fate == ELSEWHERE))) / 1.5,
            log_of(cells.sums(energy * (fate == FOUND))) / 1.5,
            fate[lead] >= 0,
            jets[:, 3],
        ],
        axis=1,
    )
    steps = _passed(size, ETA_STEPS), _passed(total, ENERGY_STEPS)
    return np.concatenate([numbers, *steps], axis=1)


def of_had(arrivals: Arrivals, found: Flags, dark: Flags) -> Numbers:
    """What is said of cells of hadrons, [cells, OF_HAD].

    Args:
        arrivals: the GEN side.
        found: particles with a track, [particles].
        dark: cells of photons that give none, [cells of photons].
    """
    scene, energy, gone = arrivals.scene, arrivals.energy, arrivals.gone
    gen, cells, charged = scene.gen, scene.had, scene.gen.kind == HADRON
    tracks = energy * (charged & found)
    total, seen = arrivals.hadrons, cells.sums(tracks)
    away = cells.sums(scene.energy * gone)
    unseen = energy * ~(charged & found)
    excess = cells.sums(unseen)
    count = cells.sums((charged & found) * 1.0)
    lead = cells.lead
    size = np.abs(gen.eta[lead])
    jets = scene.jets[cells.jet]
    numbers = np.stack(
        [
            log_of(total) / 1.5 - 1.5,
            log_of(seen) / 1.5 - 1.5,
            log_of(cells.sums(energy * (charged & ~found))) / 1.5,
            log_of(cells.sums(energy * (gen.kind == NEUTRAL))) / 1.5,
            log_of(excess) / 1.5 - 1.0,
            np.arcsinh(excess / (arrivals.hadron_unit * arrivals.hadron_scale)) - 1.0,
            log_of(away) / 1.5,
            away / np.maximum(away + total, 1e-9),
            *(
                log_of(cells.sums(energy * (side & (arrivals.fate == what)))) / 1.5
                for side in (charged & ~found, gen.kind == NEUTRAL)
                for what in (FOUND, ELSEWHERE)
            ),
            cells.sums(unseen * (arrivals.fate >= 0)) / np.maximum(excess, LITTLE),
            seen / np.maximum(total, 1e-9),
            count / 2.0 - 1.0,
            (count == 0) * 1.0,
            cells.sums(np.where(gone, 0.0, 1.0)) / 2.0 - 1.0,
            np.sqrt(cells.sums(tracks**2)) / np.maximum(seen, LITTLE),
            size - 1.0,
            (size > 2.5) * 1.0,
            *_told(scene, scene.had_distance),
            jets[:, 0],
            jets[:, 1],
            log_of(_around(scene, cells, energy, NEAR_HAD)) / 2.0 - 1.0,
            log_of(_in_front(scene, scene.em.sums(energy) * dark)) / 2.0,
            cells.sums(energy * (np.abs(gen.pdg_id) == 2112)) / np.maximum(total, 1e-9),
            jets[:, 3],
        ],
        axis=1,
    )
    steps = _passed(size, ETA_STEPS), _passed(total, ENERGY_STEPS)
    return np.concatenate([numbers, *steps], axis=1)


def _told(scene: Scene, distance: Numbers) -> list[Numbers]:
    """What is said of distances from the axis: nothing beyond the edge."""
    apart = np.minimum(distance, scene.edge)
    return [4.0 * apart - 0.5, np.maximum(apart - 0.6, 0.0) * 10.0]


def _in_front(scene: Scene, values: Numbers) -> Numbers:
    """Return the sum of numbers per cell of photons over those before each cell of hadrons."""
    at = scene.behind
    return np.bincount(at[at >= 0], values[at >= 0], len(scene.had)).astype(np.float64)


def _around(scene: Scene, cells: Cells, values: Numbers, reach: float) -> Numbers:
    """Return the sum of numbers per particle over the other cells around each cell.

    Around is what has its leading particle within `reach`.
    """
    gen, lead = scene.gen, cells.lead
    out = np.zeros(len(cells))
    _sum_around(cells.ends, gen.eta[lead], gen.phi[lead], cells.sums(values), reach, out)
    return out


@compiled
def _sum_around(ends: Any, eta: Any, phi: Any, values: Any, reach: Any, out: Any) -> None:
    for jet in range(len(ends) - 1):
        for i in range(ends[jet], ends[jet + 1]):
            for k in range(ends[jet], ends[jet + 1]):
                if k != i and delta_r2(eta[i], phi[i], eta[k], phi[k]) < reach * reach:
                    out[i] += values[k]


@compiled
def _missing(
    which: Any, jet: Any, ends: Any, eta: Any, phi: Any, turn: Any, lost: Any, missing: Any,
    reach: Any, out: Any,
) -> None:  # fmt: skip
    """Sums over the cells around some: of earlier rounds, and of those that give nothing."""
    for row in range(len(which)):
        i = which[row]
        for k in range(ends[jet[i]], ends[jet[i] + 1]):
            if k == i or not (lost[k] or turn[k] < turn[i]):
                continue
            if delta_r2(eta[i], phi[i], eta[k], phi[k]) < reach * reach:
                out[row, 1 if lost[k] else 0] += missing[k]


def _passed(values: Numbers, steps: Numbers) -> Numbers:
    """Return which steps the sizes of some numbers have passed, [len(values), len(steps)]."""
    return np.asarray((np.abs(values)[:, None] >= steps) * 1.0)
