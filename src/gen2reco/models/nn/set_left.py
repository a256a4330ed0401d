"""What belongs to no GEN particle: number, types and momenta, drawn from the jet as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.models.nn.jet_response import Choice, Response
from gen2reco.models.nn.jet_units import KINDS, compressed, expanded, identities, one_hot, turn_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gen2reco.models.nn.jet_response import Histogram
    from gen2reco.models.nn.slots import Made

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]


LEFT_NORMALS, LEFT_UNIFORMS = 3, 2
"""Random numbers of each such particle and try; one more uniform number says how many there are."""


class Left(nn.ModuleDict):
    """Networks of the number of such particles, of their types, and of their momenta.

    Args:
        features: of a jet.
        most: particles of a jet.
        hidden: widths of the layers.
    """

    def __init__(self, features: int, most: int, hidden: tuple[int, ...]) -> None:
        momentum = Response(features + KINDS, 3, hidden=hidden, couplings=2, bins=8)
        super().__init__(
            {
                "left": Choice(features, most + 1, hidden),
                "left_type": Choice(features, KINDS, hidden),
                "left_momentum": momentum,
            }
        )
        self.most = most

    def loss(
        self, jets: Numbers, weight: Tensor, jet: Index, kind: Index, momentum: Numbers
    ) -> Tensor:
        """Return -log p in nats, the sum over jets with their weights.

        Args:
            jets: what is said of each jet, [jets, features].
            weight: [jets].
            jet: of each particle, [n].
            kind: its type.
            momentum: its pt, and eta and phi relative to the axis, [n, 3].
        """
        number = np.minimum(np.bincount(jet, minlength=len(jets)), self.most)
        count, choose, respond = self._networks()
        total = count.loss(jets, number, weight)
        if len(jet):
            about, of_jet = jets[jet], weight[torch.from_numpy(jet).to(weight.device)]
            total = total + choose.loss(about, kind, of_jet)
            wide = np.concatenate([about, one_hot(kind)], axis=1)
            total = total + respond.loss(compressed(momentum), wide, of_jet)
        return total

    def draw(
        self, jets: Numbers, axes: tuple[Numbers, Numbers], normal: Numbers, uniform: Numbers
    ) -> Made:
        """Return jet, pt, eta, phi, pdgId and charge of each particle.

        Args:
            jets: what is said of each jet, [jets, features].
            axes: eta and phi of each jet.
            normal: [jets, most x LEFT_NORMALS].
            uniform: [jets, 1 + most x LEFT_UNIFORMS].
        """
        lanes = normal.reshape(len(jets), self.most, LEFT_NORMALS)
        chances = uniform[:, 1:].reshape(len(jets), self.most, LEFT_UNIFORMS)
        return draw_left(self._networks(), jets, axes, uniform[:, 0], lanes, chances)

    def _networks(self) -> tuple[Choice, Choice, Response]:
        names = ("left", "left_type", "left_momentum")
        return cast("tuple[Choice, Choice, Response]", tuple(self[name] for name in names))


def draw_left(
    networks: tuple[Choice, Choice, Histogram | Response],
    jets: Numbers,
    axes: tuple[Numbers, Numbers],
    number: Numbers,
    normal: Numbers,
    uniform: Numbers,
    outside: Callable[[Index, Numbers, Numbers], NDArray[np.bool_]] | None = None,
) -> Made:
    """Return jet, pt, eta, phi, pdgId and charge of what belongs to no GEN particle.

    Args:
        networks: of the number of such particles, of their types, and of their momenta.
        jets: what is said of each jet, [jets, features].
        axes: eta and phi of each jet.
        number: uniform, [jets]: how many there are.
        normal: [jets, most, tries x LEFT_NORMALS].
        uniform: [jets, most, LEFT_UNIFORMS].
        outside: tells from jet, eta and phi of particles which are drawn again, as long as there
            are numbers for another try.
    """
    count, choose, respond = networks
    numbers = count.draw(jets, number)
    jet = np.repeat(np.arange(len(jets)), numbers)
    place = np.arange(len(jet)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    about, lanes, chances = jets[jet], normal[jet, place], uniform[jet, place]
    kind = choose.draw(about, chances[:, 0])
    wide = np.concatenate([about, one_hot(kind)], axis=1)
    pt, eta, phi = np.zeros((3, len(jet)))
    again = np.arange(len(jet))
    for first in range(0, normal.shape[2] if outside else LEFT_NORMALS, LEFT_NORMALS):
        drawn = respond.draw(wide[again], lanes[again, first : first + LEFT_NORMALS])
        pt[again], near_eta, near_phi = expanded(drawn)
        of = jet[again]
        eta[again] = near_eta + axes[0][of]
        phi[again] = turn_back(near_phi + axes[1][of])
        if outside:
            again = again[outside(of, eta[again], phi[again])]
    return jet, pt, eta, phi, *identities(kind, chances[:, 1])
