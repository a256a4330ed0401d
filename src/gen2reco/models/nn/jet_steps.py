"""The networks of a jet's response, and the losses that they learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.models.nn.jet_arrivals import Arrivals
from gen2reco.models.nn.jet_features import (
    OF_BEFORE,
    OF_DECAY,
    OF_EM,
    OF_HAD,
    OF_MISSING,
    OF_TRACK,
    OUTCOMES,
    of_before,
    of_decays,
    of_em,
    of_had,
    of_missing,
    of_tracks,
)
from gen2reco.models.nn.jet_response import Choice, Histogram, Response
from gen2reco.models.nn.jet_scene import OF_JET
from gen2reco.models.nn.jet_tracks import Tracks
from gen2reco.models.nn.jet_units import (
    ELSEWHERE,
    FINE,
    KINDS,
    LEPTON,
    LOST,
    MOVE,
    SCALE,
    compressed,
    log_ratio,
    one_hot,
    shrunk,
    squeezed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gen2reco.models.nn.jet_observed import Observed

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Step:
    """Sizes of one network: features in, and numbers or classes (a classifier) out.

    One number has a histogram, several have a flow.
    """

    features: int
    targets: int = 0
    classes: int = 0

    def build(self, *, hidden: tuple[int, ...], couplings: int, bins: int, most: int) -> nn.Module:
        """Return the network; `most` stands for classes where there are as many as particles."""
        if self.targets == 1:
            return Histogram(self.features, hidden)
        if self.targets:
            return Response(
                self.features, self.targets, hidden=hidden, couplings=couplings, bins=bins
            )
        return Choice(self.features, self.classes or most + 1, hidden)


STEPS = {
    "decay": Step(OF_DECAY, classes=OUTCOMES),
    "track": Step(OF_TRACK, classes=OUTCOMES),
    "turn": Step(OF_TRACK, targets=1),
    "photon": Step(OF_EM + OF_BEFORE, classes=OUTCOMES),
    "photon_place": Step(OF_EM, targets=2),
    "photon_energy": Step(OF_EM + OF_BEFORE + OF_MISSING + 1, targets=1),
    "neutral": Step(OF_HAD, classes=2),
    "scale": Step(OF_HAD + 1, targets=1),
    "cell_energy": Step(OF_HAD + 2, targets=1),
    "sharing": Step(OF_HAD + 8, targets=1),
    "lepton": Step(OF_TRACK + 1, targets=1),
    "left": Step(OF_JET),
    "left_type": Step(OF_JET, classes=KINDS),
    "left_momentum": Step(OF_JET + KINDS, targets=3),
}
"""Every network of the response, by name."""


class Steps:
    """The networks, and the losses that they learn from."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._networks = networks

    def choice(self, name: str) -> Choice:
        """Return a classifier."""
        return cast("Choice", self._networks[name])

    def histogram(self, name: str) -> Histogram:
        """Return the density of one number."""
        return cast("Histogram", self._networks[name])

    def response(self, name: str) -> Histogram | Response:
        """Return the density of one number or of several."""
        return cast("Histogram | Response", self._networks[name])

    def loss(self, seen: Observed, weight: Tensor) -> Tensor:
        """Return -log p per jet in nats, the weighted mean, given weights [jets]."""
        scene, gen = seen.scene, seen.scene.gen
        outcome = np.full(len(gen.jet), LOST)
        outcome[scene.charged] = seen.track
        reco = np.zeros(len(gen.jet))
        reco[scene.charged] = seen.pt
        losses = _Losses(self, weight)
        arrivals = Arrivals.of(scene, seen.decay)
        self._of_decays(seen, losses)
        self._of_tracks(seen, arrivals, losses)
        self._of_photons(seen, arrivals, outcome != LOST, losses)
        self._of_hadrons(seen, arrivals, outcome != LOST, reco, losses)
        self._of_left(seen, losses)
        return torch.stack(losses.found).sum() / weight.sum()

    def _of_decays(self, seen: Observed, losses: _Losses) -> None:
        scene = seen.scene
        about, jet = of_decays(scene), scene.gen.jet[scene.decays.lead]
        inside = scene.decay_distance < scene.edge
        losses.choose("decay", about, seen.decay, jet, np.flatnonzero(inside))

    def _of_tracks(self, seen: Observed, arrivals: Arrivals, losses: _Losses) -> None:
        scene, charged = seen.scene, seen.scene.charged
        about, jet = of_tracks(arrivals, charged), scene.gen.jet[charged]
        # Of decays that leave no sign nothing is left to be said.
        inside = (scene.distance[charged] < scene.edge) & ~arrivals.gone[charged]
        losses.choose("track", about, seen.track, jet, np.flatnonzero(inside))
        beside = np.flatnonzero(seen.track == ELSEWHERE)
        losses.respond("turn", shrunk(seen.turn), about, jet, beside)

    def _of_photons(
        self, seen: Observed, arrivals: Arrivals, found: Flags, losses: _Losses
    ) -> None:
        scene = seen.scene
        about, jet = of_em(arrivals, found), scene.em.jet
        every = np.arange(len(about))
        before = of_before(scene, seen.photon, every)
        inside = scene.em_distance < scene.edge
        wide = np.concatenate([about, before], axis=1)
        losses.choose("photon", wide, seen.photon, jet, np.flatnonzero(inside))
        beside = np.flatnonzero(seen.photon == ELSEWHERE)
        losses.respond("photon_place", np.arcsinh(MOVE * seen.photon_place), about, jet, beside)
        there = np.flatnonzero(seen.photon != LOST)
        ratio = log_ratio(seen.photon_energy, arrivals.photon_scale)
        ratio = squeezed(ratio, arrivals.photon_unit)
        missing = of_missing(arrivals, seen.photon == LOST, seen.photon_energy, every)
        about = np.column_stack([about, before, missing, seen.photon == ELSEWHERE])
        losses.respond("photon_energy", ratio, about, jet, there)

    def _of_hadrons(
        self, seen: Observed, arrivals: Arrivals, found: Flags, reco: Numbers, losses: _Losses
    ) -> None:
        scene, gen = seen.scene, seen.scene.gen
        about = of_had(arrivals, found, seen.photon == LOST)
        jet = scene.had.jet
        inside = scene.had_distance < scene.edge
        losses.choose("neutral", about, seen.neutral, jet, np.flatnonzero(inside))
        tracks = Tracks.of(arrivals, found)
        scale = tracks.scale(reco / gen.pt)
        wide = np.column_stack([about, seen.neutral])
        losses.respond("scale", squeezed(scale, SCALE), wide, jet, np.flatnonzero(tracks.count > 0))
        known = tracks.energy(scale)
        ratio = log_ratio(known + seen.neutral_energy, arrivals.hadron_scale)
        ratio = squeezed(ratio, arrivals.hadron_unit)
        wide = np.column_stack([about, tracks.known(scale)])
        losses.respond("cell_energy", ratio, wide, jet, np.flatnonzero(seen.neutral > 0))
        response = np.where(tracks.inside, reco / gen.pt, 1.0)
        apart = squeezed(tracks.odds(response) - tracks.odds(), FINE)
        jets = gen.jet[tracks.several[tracks.parted]]
        losses.respond("sharing", apart, tracks.about(about, seen.neutral, scale), jets)
        leptons = tracks.leptons
        ratio = squeezed(np.log(reco[leptons] / gen.pt[leptons]), LEPTON)
        losses.respond("lepton", ratio, tracks.of_leptons(), gen.jet[leptons])

    def _of_left(self, seen: Observed, losses: _Losses) -> None:
        scene = seen.scene
        losses.choose("left", scene.jets, seen.left, np.arange(scene.gen.jets))
        about = scene.jets[seen.left_jet]
        losses.choose("left_type", about, seen.left_kind, seen.left_jet)
        wide = np.concatenate([about, one_hot(seen.left_kind)], axis=1)
        losses.respond("left_momentum", compressed(seen.left_momentum), wide, seen.left_jet)


class _Losses:
    """Losses of all steps, sums over rows with the weights of their jets."""

    def __init__(self, steps: Steps, weight: Tensor) -> None:
        self._steps, self._weight = steps, weight
        self.found: list[Tensor] = []

    def choose(
        self, name: str, features: Numbers, chosen: Index, jet: Index, which: Index | None = None
    ) -> None:
        """Add the loss of a classifier, for some of the rows."""
        rows = np.arange(len(features)) if which is None else which
        loss = self._steps.choice(name).loss(features[rows], chosen[rows], self._of(jet[rows]))
        self.found.append(loss)

    def respond(
        self, name: str, target: Numbers, features: Numbers, jet: Index, which: Index | None = None
    ) -> None:
        """Add the loss of a flow, for some of the rows."""
        rows = np.arange(len(features)) if which is None else which
        if len(rows):
            wide = target.reshape(len(target), -1)[rows]
            weight = self._of(jet[rows])
            self.found.append(self._steps.response(name).loss(wide, features[rows], weight))

    def _of(self, jet: Index) -> Tensor:
        return self._weight[torch.from_numpy(jet).to(self._weight.device)]
