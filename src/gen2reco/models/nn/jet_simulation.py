"""Draw the response of jets, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from gen2reco.models.nn.hits import HADRON, NEUTRAL, PHOTON, Particles, axes
from gen2reco.models.nn.jet_arrivals import Arrivals
from gen2reco.models.nn.jet_features import (
    of_before,
    of_decays,
    of_em,
    of_had,
    of_missing,
    of_tracks,
)
from gen2reco.models.nn.jet_scene import Scene
from gen2reco.models.nn.jet_tracks import Tracks
from gen2reco.models.nn.jet_units import (
    ELSEWHERE,
    FINE,
    LEAST,
    LEPTON,
    LOST,
    MOVE,
    SCALE,
    STANDS_FOR,
    grown,
    ratio_of,
    turn_back,
)
from gen2reco.models.nn.set_left import draw_left

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.calorimeter import Detector, Grid
    from gen2reco.models.nn.jet_response import Draws
    from gen2reco.models.nn.jet_steps import Steps
    from gen2reco.models.nn.slots import Made

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]


def simulate(steps: Steps, gen: Particles, draws: Draws, detector: Detector) -> Made:
    """Return RECO particles: jet, pt, eta, phi, pdgId, charge of each."""
    scene = Scene.of(gen, detector)
    made = _joined(_draw_tracks(steps, scene, draws, detector.grids))
    return _joined([made, _draw_left(steps, scene, draws, made, detector.radius)])


def _joined(made: list[Made]) -> Made:
    return cast("Made", tuple(np.concatenate(columns) for columns in zip(*made, strict=True)))


def _draw_tracks(steps: Steps, scene: Scene, draws: Draws, grids: tuple[Grid, Grid]) -> list[Made]:
    gen, charged = scene.gen, scene.charged
    _, uniform = _lanes(draws, gen, scene.decays.lead)
    arrivals = Arrivals.of(scene, steps.choice("decay").draw(of_decays(scene), uniform[:, 7]))
    about = of_tracks(arrivals, charged)
    _, uniform = _lanes(draws, gen, charged)
    outcome = steps.choice("track").draw(about, uniform[:, 0])
    outcome[arrivals.gone[charged]] = LOST
    found = np.zeros(len(gen.jet), np.bool_)
    found[charged] = outcome != LOST
    phi = gen.phi.copy()
    beside = charged[outcome == ELSEWHERE]
    normal, _ = _lanes(draws, gen, beside)
    turned = steps.response("turn").draw(about[outcome == ELSEWHERE], normal[:, :1])[:, 0]
    phi[beside] = turn_back(phi[beside] + grown(turned))
    photons, dark = _draw_photons(steps, arrivals, draws, grids[0], found)
    neutrals, response = _draw_neutrals(steps, arrivals, draws, grids[1], (found, dark))
    kept = np.flatnonzero(found)
    pt = gen.pt[kept] * response[kept]
    tracks = (gen.jet[kept], pt, gen.eta[kept], phi[kept], gen.pdg_id[kept], gen.charge[kept])
    return [tracks, photons, neutrals]


def _draw_photons(
    steps: Steps, arrivals: Arrivals, draws: Draws, grid: Grid, found: Flags
) -> tuple[Made, Flags]:
    """Return photons, and which cells give none."""
    scene, about = arrivals.scene, of_em(arrivals, found)
    gen = scene.gen
    _, uniform = _lanes(draws, gen, scene.em.lead)
    outcome = np.full(len(about), LOST)
    for number in range(scene.chain.rounds):
        rows = np.flatnonzero(scene.chain.turn == number)
        wide = np.concatenate([about[rows], of_before(scene, outcome, rows)], axis=1)
        outcome[rows] = steps.choice("photon").draw(wide, uniform[rows, 1])
    there = np.flatnonzero(outcome != LOST)
    lead = scene.em.lead[there]
    normal, uniform = _lanes(draws, gen, lead)
    eta, phi = grid.direction(scene.em.cell[there], uniform[:, 2], uniform[:, 3])
    beside = outcome[there] == ELSEWHERE
    place = steps.response("photon_place").draw(about[there][beside], normal[beside, 1:3])
    place = np.sinh(np.clip(place, -6.0, 6.0)) / MOVE
    eta[beside] = gen.eta[lead[beside]] + place[:, 0]
    phi[beside] = gen.phi[lead[beside]] + place[:, 1]
    energy = np.zeros(len(about))
    for number in range(scene.chain.rounds):
        of_round = np.flatnonzero(scene.chain.turn[there] == number)
        rows = there[of_round]
        harder = of_before(scene, outcome, rows)
        missing = of_missing(arrivals, outcome == LOST, energy, rows)
        wide = np.column_stack([about[rows], harder, missing, beside[of_round]])
        drawn = steps.response("photon_energy").draw(wide, normal[of_round, 3:4])[:, 0]
        energy[rows] = arrivals.photon_scale[rows] * ratio_of(drawn, arrivals.photon_unit[rows])
    made = _neutral(scene.em.jet[there], energy[there], eta, phi, PHOTON)
    return made, outcome == LOST


def _draw_neutrals(
    steps: Steps, arrivals: Arrivals, draws: Draws, grid: Grid, before: tuple[Flags, Flags]
) -> tuple[Made, Numbers]:
    """Return neutral hadrons, and RECO pt over GEN pt of every particle that leaves a track.

    `before`: which particles have a track, which cells of photons give none.
    """
    found, scene = before[0], arrivals.scene
    gen, cells, about = scene.gen, scene.had, of_had(arrivals, *before)
    normal, uniform = _lanes(draws, gen, cells.lead)
    neutral = steps.choice("neutral").draw(about, uniform[:, 4])
    tracks = Tracks.of(arrivals, found)
    scale = np.zeros(len(cells))
    some = tracks.count > 0
    wide = np.column_stack([about, neutral])
    drawn = steps.response("scale").draw(wide[some], normal[some, 4:5])[:, 0]
    scale[some] = np.log(ratio_of(drawn, SCALE))
    there = np.flatnonzero(neutral)
    wide = np.column_stack([about, tracks.known(scale)])[there]
    least = tracks.least(scale)[there]
    drawn = steps.histogram("cell_energy").draw(wide, normal[there, 5:6], least)[:, 0]
    energy = arrivals.hadron_scale[there] * ratio_of(drawn, arrivals.hadron_unit[there])
    energy = np.maximum(energy - tracks.energy(scale)[there], LEAST)
    eta, phi = grid.direction(cells.cell[there], uniform[there, 5], uniform[there, 6])
    made = _neutral(cells.jet[there], energy, eta, phi, NEUTRAL)

    response = np.ones(len(gen.jet))
    inside = found & (gen.kind == HADRON) & (cells.of >= 0)
    response[inside] = np.exp(scale[cells.of[inside]])
    normal, _ = _lanes(draws, gen, tracks.several[tracks.parted])
    wide = tracks.about(about, neutral, scale)
    apart = steps.response("sharing").draw(wide, normal[:, 6:7])[:, 0]
    odds = tracks.odds() + np.log(ratio_of(apart, FINE))
    response[tracks.several] = tracks.shared_out(odds, scale)
    normal, _ = _lanes(draws, gen, tracks.leptons)
    lepton = steps.response("lepton").draw(tracks.of_leptons(), normal[:, 6:7])
    response[tracks.leptons] = ratio_of(lepton[:, 0], LEPTON)
    return made, response


def _draw_left(steps: Steps, scene: Scene, draws: Draws, made: Made, radius: float | None) -> Made:
    """Return what belongs to no GEN particle, inside of the jet that the others make."""
    axis = axes(scene.gen.jets, *made[:4])

    def outside(jet: Index, eta: Numbers, phi: Numbers) -> Flags:
        apart = np.hypot(eta - axis[0][jet], turn_back(phi - axis[1][jet]))
        return np.asarray(apart > radius)

    networks = steps.choice("left"), steps.choice("left_type"), steps.response("left_momentum")
    return draw_left(
        networks, scene.jets, scene.gen.axis, draws.left, draws.left_normal, draws.left_uniform,
        outside if radius else None,
    )  # fmt: skip


def _neutral(jet: Index, energy: Numbers, eta: Numbers, phi: Numbers, kind: int) -> Made:
    pdg_id = np.full(len(jet), STANDS_FOR[kind])
    return jet, energy / np.cosh(eta), eta, turn_back(phi), pdg_id, np.zeros(len(jet))


def _lanes(draws: Draws, gen: Particles, which: Index) -> tuple[Numbers, Numbers]:
    place = gen.jet[which], gen.slot[which]
    return draws.normal[place], draws.uniform[place]
