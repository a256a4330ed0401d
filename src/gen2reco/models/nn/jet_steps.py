"""The steps of a jet's response: what is observed of them in training, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.models.nn.hits import (
    COPY,
    ELECTRON,
    HADRON,
    NEUTRAL,
    PHOTON,
    Cells,
    Particles,
    match_moved,
    match_tracks,
)
from gen2reco.models.nn.jet_features import OF_EM, OF_HAD, OF_JET, OF_TRACK, Scene
from gen2reco.models.nn.jet_response import Choice, Draws, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gen2reco.models.nn.calorimeter import Grid, Tracker

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Made = tuple[Index, Numbers, Numbers, Numbers, Numbers, Numbers]

LOST, FOUND, ELSEWHERE = range(3)
"""What becomes of a charged particle or a cell: nothing, RECO at its place, RECO beside it."""

KINDS = 5
STANDS_FOR = np.array([211.0, 130.0, 22.0, 11.0, 13.0])
"""pdgId of what belongs to no GEN particle, by type; charged hadrons count as pions."""

SHIFT, MOVE, SCALE, FINE, AXIS = 2.0, 100.0, 5.0, 10.0, 10.0
"""What makes azimuths, displacements and log ratios numbers of order one."""


@dataclass(frozen=True)
class Step:
    """Sizes of one network: features in, and numbers (a flow) or classes (a classifier) out."""

    features: int
    targets: int = 0
    classes: int = 0

    def build(self, *, hidden: tuple[int, ...], couplings: int, bins: int, most: int) -> nn.Module:
        """Return the network; `most` stands for classes where there are as many as particles."""
        if self.targets:
            return Response(
                self.features, self.targets, hidden=hidden, couplings=couplings, bins=bins
            )
        return Choice(self.features, self.classes or most + 1, hidden)


STEPS = {
    "track": Step(OF_TRACK, classes=3),
    "turn": Step(OF_TRACK, targets=1),
    "photon": Step(OF_EM, classes=3),
    "photon_place": Step(OF_EM, targets=2),
    "photon_energy": Step(OF_EM + 1, targets=1),
    "neutral": Step(OF_HAD, classes=2),
    "scale": Step(OF_HAD + 1, targets=1),
    "neutral_energy": Step(OF_HAD + 1, targets=1),
    "deviation": Step(OF_HAD + 5, targets=1),
    "lepton": Step(OF_TRACK + 1, targets=1),
    "left": Step(OF_JET),
    "left_type": Step(OF_JET, classes=KINDS),
    "left_momentum": Step(OF_JET + KINDS, targets=3),
}
"""Every network of the response, by name."""


@dataclass(frozen=True, eq=False)
class Observed:
    """GEN and RECO of some jets, taken apart into steps.

    Attributes:
        scene: the GEN side.
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
        grids: tuple[Grid, Grid],
        tracker: Tracker,
        most_left: int,
    ) -> Observed:
        """Find out which RECO particle belongs to what."""
        scene = Scene.of(gen, grids, tracker)
        owner = np.full(len(reco.jet), -1)
        partner = match_tracks(gen, reco)
        tracks = np.flatnonzero(partner >= 0)
        owner[tracks] = 0
        pt, turn = np.zeros(len(gen.jet)), np.zeros(len(gen.jet))
        pt[partner[tracks]] = reco.pt[tracks]
        turn[partner[tracks]] = _turn(reco.phi[tracks] - gen.phi[partner[tracks]])
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
        place[at, 1] = _turn(reco.phi[who] - gen.phi[lead])

        neutral, neutral_energy, mine = _of_cells(scene.had, reco, reco.kind == NEUTRAL, grids[1])
        owner[mine] = 1
        rest = np.flatnonzero(owner < 0)
        jet = reco.jet[rest]
        axis = (scene.axis[0][jet], scene.axis[1][jet])
        momentum = [reco.pt[rest], reco.eta[rest] - axis[0], _turn(reco.phi[rest] - axis[1])]
        return cls(
            scene, track, turn, pt, photon, place, photon_energy, neutral, neutral_energy,
            np.minimum(np.bincount(jet, minlength=gen.jets), most_left), jet, reco.kind[rest],
            np.stack(momentum, axis=1),
        )  # fmt: skip


class Steps:
    """The networks, and the losses that they learn from."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._networks = networks

    def choice(self, name: str) -> Choice:
        """Return a classifier."""
        return cast("Choice", self._networks[name])

    def response(self, name: str) -> Response:
        """Return a flow."""
        return cast("Response", self._networks[name])

    def loss(self, seen: Observed, weight: Tensor) -> Tensor:
        """Return -log p per jet in nats, the weighted mean, given weights [jets]."""
        scene, gen = seen.scene, seen.scene.gen
        found = np.zeros(len(gen.jet), np.bool_)
        found[scene.charged] = seen.track != LOST
        losses: list[Tensor] = []

        def choose(name: str, features: Numbers, chosen: Index, jet: Index) -> None:
            rows = weight[torch.from_numpy(jet).to(weight.device)]
            losses.append(self.choice(name).loss(features, chosen, rows))

        def respond(
            name: str, target: Numbers, features: Numbers, jet: Index, which: Index
        ) -> None:
            if len(which):
                rows = weight[torch.from_numpy(jet[which]).to(weight.device)]
                wide = target.reshape(len(target), -1)[which]
                losses.append(self.response(name).loss(wide, features[which], rows))

        about, jet = scene.of_tracks(scene.charged), gen.jet[scene.charged]
        choose("track", about, seen.track, jet)
        respond("turn", _shrunk(seen.turn), about, jet, np.flatnonzero(seen.track == ELSEWHERE))

        about, jet = scene.of_em(found), scene.em.jet
        choose("photon", about, seen.photon, jet)
        beside = np.flatnonzero(seen.photon == ELSEWHERE)
        respond("photon_place", np.arcsinh(MOVE * seen.photon_place), about, jet, beside)
        there = np.flatnonzero(seen.photon != LOST)
        ratio = SCALE * _log_ratio(seen.photon_energy, _photons(scene))
        about = np.column_stack([about, seen.photon == ELSEWHERE])
        respond("photon_energy", ratio, about, jet, there)

        about, jet = scene.of_had(found), scene.had.jet
        choose("neutral", about, seen.neutral, jet)
        tracks = Tracks.of(scene, found)
        reco = np.zeros(len(gen.jet))
        reco[scene.charged] = seen.pt
        scale = tracks.scale(reco / gen.pt)
        wide = np.column_stack([about, seen.neutral])
        respond("scale", SCALE * scale, wide, jet, np.flatnonzero(tracks.count > 0))
        ratio = _log_ratio(seen.neutral_energy, scene.had.sums(scene.energy))
        wide = np.column_stack([about, SCALE * scale])
        respond("neutral_energy", ratio, wide, jet, np.flatnonzero(seen.neutral > 0))
        several = tracks.several
        apart = FINE * (np.log(reco[several] / gen.pt[several]) - scale[scene.had.of[several]])
        wide = tracks.about(about, seen.neutral, scale, several)
        everyone = np.arange(len(several))
        respond("deviation", apart, wide, gen.jet[several], everyone)
        leptons = tracks.leptons
        ratio = FINE * np.log(reco[leptons] / gen.pt[leptons])
        respond("lepton", ratio, tracks.of_leptons(leptons), gen.jet[leptons],
                np.arange(len(leptons)))  # fmt: skip

        choose("left", scene.jets, seen.left, np.arange(gen.jets))
        about = scene.jets[seen.left_jet]
        choose("left_type", about, seen.left_kind, seen.left_jet)
        wide = np.concatenate([about, _one_hot(seen.left_kind)], axis=1)
        respond("left_momentum", _compressed(seen.left_momentum), wide, seen.left_jet,
                np.arange(len(wide)))  # fmt: skip
        return torch.stack(losses).sum() / weight.sum()


def simulate(
    steps: Steps, gen: Particles, draws: Draws, grids: tuple[Grid, Grid], tracker: Tracker
) -> Made:
    """Return RECO particles: jet, pt, eta, phi, pdgId, charge of each."""
    scene = Scene.of(gen, grids, tracker)
    made = [*_draw_tracks(steps, scene, draws, grids)]
    made.append(_draw_left(steps, scene, draws))
    return cast("Made", tuple(np.concatenate(columns) for columns in zip(*made, strict=True)))


def _draw_tracks(steps: Steps, scene: Scene, draws: Draws, grids: tuple[Grid, Grid]) -> list[Made]:
    gen, charged = scene.gen, scene.charged
    about = scene.of_tracks(charged)
    _, uniform = _lanes(draws, gen, charged)
    outcome = steps.choice("track").draw(about, uniform[:, 0])
    found = np.zeros(len(gen.jet), np.bool_)
    found[charged] = outcome != LOST
    phi = gen.phi.copy()
    beside = charged[outcome == ELSEWHERE]
    normal, _ = _lanes(draws, gen, beside)
    turned = steps.response("turn").draw(about[outcome == ELSEWHERE], normal[:, :1])[:, 0]
    phi[beside] = _turn(phi[beside] + _grown(turned))
    photons = _draw_photons(steps, scene, draws, grids[0], found)
    neutrals, response = _draw_neutrals(steps, scene, draws, grids[1], found)
    kept = np.flatnonzero(found)
    pt = gen.pt[kept] * response[kept]
    tracks = (gen.jet[kept], pt, gen.eta[kept], phi[kept], gen.pdg_id[kept], gen.charge[kept])
    return [tracks, photons, neutrals]


def _draw_photons(steps: Steps, scene: Scene, draws: Draws, grid: Grid, found: Flags) -> Made:
    gen, about = scene.gen, scene.of_em(found)
    _, uniform = _lanes(draws, gen, scene.em.lead)
    outcome = steps.choice("photon").draw(about, uniform[:, 1])
    there = np.flatnonzero(outcome != LOST)
    lead = scene.em.lead[there]
    normal, uniform = _lanes(draws, gen, lead)
    eta, phi = grid.direction(scene.em.cell[there], uniform[:, 2], uniform[:, 3])
    beside = outcome[there] == ELSEWHERE
    place = steps.response("photon_place").draw(about[there][beside], normal[beside, 1:3])
    place = np.sinh(np.clip(place, -6.0, 6.0)) / MOVE
    eta[beside] = gen.eta[lead[beside]] + place[:, 0]
    phi[beside] = gen.phi[lead[beside]] + place[:, 1]
    wide = np.column_stack([about[there], beside])
    ratio = steps.response("photon_energy").draw(wide, normal[:, 3:4])[:, 0] / SCALE
    energy = _photons(scene)[there] * np.exp(np.clip(ratio, -8.0, 8.0))
    return _neutral(scene.em.jet[there], energy, eta, phi, PHOTON)


def _draw_neutrals(
    steps: Steps, scene: Scene, draws: Draws, grid: Grid, found: Flags
) -> tuple[Made, Numbers]:
    """Return neutral hadrons, and RECO pt over GEN pt of every particle that leaves a track."""
    gen, cells, about = scene.gen, scene.had, scene.of_had(found)
    normal, uniform = _lanes(draws, gen, cells.lead)
    neutral = steps.choice("neutral").draw(about, uniform[:, 4])
    tracks = Tracks.of(scene, found)
    scale = np.zeros(len(cells))
    some = tracks.count > 0
    wide = np.column_stack([about, neutral])
    scale[some] = steps.response("scale").draw(wide[some], normal[some, 4:5])[:, 0] / SCALE
    scale = np.clip(scale, -4.0, 4.0)
    there = np.flatnonzero(neutral)
    wide = np.column_stack([about, SCALE * scale])[there]
    ratio = steps.response("neutral_energy").draw(wide, normal[there, 5:6])[:, 0]
    energy = cells.sums(scene.energy)[there] * np.exp(np.clip(ratio, -8.0, 8.0))
    eta, phi = grid.direction(cells.cell[there], uniform[there, 5], uniform[there, 6])
    made = _neutral(cells.jet[there], energy, eta, phi, NEUTRAL)

    response = np.ones(len(gen.jet))
    inside = found & (gen.kind == HADRON) & (cells.of >= 0)
    response[inside] = np.exp(scale[cells.of[inside]])
    several = tracks.several
    normal, _ = _lanes(draws, gen, several)
    wide = tracks.about(about, neutral, scale, several)
    apart = steps.response("deviation").draw(wide, normal[:, 6:7])[:, 0] / FINE
    response[several] = np.exp(np.clip(apart, -4.0, 4.0))
    response[several] *= np.exp((scale - tracks.scale(response))[cells.of[several]])
    normal, _ = _lanes(draws, gen, tracks.leptons)
    lepton = steps.response("lepton").draw(tracks.of_leptons(tracks.leptons), normal[:, 6:7])
    response[tracks.leptons] = np.exp(np.clip(lepton[:, 0] / FINE, -4.0, 4.0))
    return made, response


def _draw_left(steps: Steps, scene: Scene, draws: Draws) -> Made:
    number = steps.choice("left").draw(scene.jets, draws.left)
    jet = np.repeat(np.arange(scene.gen.jets), number)
    place = np.arange(len(jet)) - np.repeat(np.cumsum(number) - number, number)
    about = scene.jets[jet]
    normal, uniform = draws.left_normal[jet, place], draws.left_uniform[jet, place]
    kind = steps.choice("left_type").draw(about, uniform[:, 0])
    wide = np.concatenate([about, _one_hot(kind)], axis=1)
    drawn = steps.response("left_momentum").draw(wide, normal)
    pt = np.exp(np.clip(drawn[:, 0], -4.0, 8.0))
    eta, phi = (np.sinh(np.clip(drawn[:, k], -5.0, 5.0)) / AXIS for k in (1, 2))
    charged = (kind != NEUTRAL) & (kind != PHOTON)
    charge = np.where(charged, np.where(uniform[:, 1] < 0.5, -1.0, 1.0), 0.0)
    # Leptons of negative charge have a positive pdgId, hadrons a negative one.
    sign = np.where(kind == HADRON, charge, -charge) + (charge == 0)
    axis = (scene.axis[0][jet], scene.axis[1][jet])
    return jet, pt, eta + axis[0], _turn(phi + axis[1]), sign * STANDS_FOR[kind], charge


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
        return _log_ratio(self.scene.had.sums(energy * response), self.scene.had.sums(energy))

    def about(self, cells: Numbers, neutral: Index, scale: Numbers, which: Index) -> Numbers:
        """What is said of tracks that share a cell, given features of cells."""
        gen, of = self.scene.gen, self.scene.had.of[which]
        seen = self.scene.had.sums(self.scene.energy * self.inside)[of]
        share = self.scene.energy[which] / seen
        own = [share, np.log(share), np.log(gen.pt[which]) / 1.5 - 1.0, neutral[of],
               SCALE * scale[of]]  # fmt: skip
        return np.concatenate([cells[of], np.stack(own, axis=1)], axis=1)

    def of_leptons(self, which: Index) -> Numbers:
        """What is said of electrons and muons."""
        scene = self.scene
        photons = np.append(_photons(scene), 0.0)[scene.em.of[which]]
        share = photons / (photons + scene.energy[which])
        return np.column_stack([scene.of_tracks(which), share])


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


def _neutral(jet: Index, energy: Numbers, eta: Numbers, phi: Numbers, kind: int) -> Made:
    pdg_id = np.full(len(jet), STANDS_FOR[kind])
    return jet, energy / np.cosh(eta), eta, _turn(phi), pdg_id, np.zeros(len(jet))


def _lanes(draws: Draws, gen: Particles, which: Index) -> tuple[Numbers, Numbers]:
    place = gen.jet[which], gen.slot[which]
    return draws.normal[place], draws.uniform[place]


def _photons(scene: Scene) -> Numbers:
    """Energy of photons that enter each cell; of electrons where there is no photon, GeV."""
    photons = scene.em.sums(scene.energy * (scene.gen.kind == PHOTON))
    electrons = scene.em.sums(scene.energy * (scene.gen.kind == ELECTRON))
    return np.asarray(np.where(photons > 0, photons, electrons))


def _one_hot(kind: Index) -> Numbers:
    return np.asarray((kind[:, None] == np.arange(KINDS)) * 1.0)


def _turn(angle: Numbers) -> Numbers:
    return np.asarray(np.mod(angle + np.pi, 2.0 * np.pi) - np.pi)


def _log_ratio(above: Numbers, below: Numbers) -> Numbers:
    """Return log(above / below), 0 where one of them is 0."""
    both = (above > 0) & (below > 0)
    ratio = np.where(both, above, 1.0) / np.where(both, below, 1.0)
    return np.asarray(np.log(ratio))


def _shrunk(turn: Numbers) -> Numbers:
    return np.asarray(np.sign(turn) * np.log1p(np.abs(turn) / COPY) / SHIFT)


def _grown(shrunk: Numbers) -> Numbers:
    size = np.minimum(np.abs(shrunk) * SHIFT, 7.0)
    return np.asarray(np.sign(shrunk) * np.expm1(size) * COPY)


def _compressed(momentum: Numbers) -> Numbers:
    """Make numbers of order one of pt and of eta and phi relative to the axis."""
    return np.column_stack([np.log(momentum[:, 0]), np.arcsinh(AXIS * momentum[:, 1:])])


__all__: list[Any] = ["STEPS", "Observed", "Steps", "simulate"]
