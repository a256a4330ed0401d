"""Particles of jets as tokens: what is said of each, and padding in buckets of length.

Nothing here knows of a detector. Distances, energies around a particle and decays found by their
mass say what an attention network of small width would have to find out at length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.models.nn.decays import CHANNELS, Decays
from gen2reco.models.nn.hits import ELECTRON, NEUTRAL, PHOTON
from gen2reco.models.nn.jet_units import log_of, turn_back
from gen2reco.rows.segments import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gen2reco.models.nn.hits import Particles

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

RADII = (0.012, 0.03, 0.08, 0.2)
"""Distances within which energy around a particle is summed."""
GROUPS = 3
"""Electromagnetic particles, charged hadrons and muons, neutral hadrons."""
STEP = 8
"""Padded lengths are multiples of this."""

OF_JET, OF_TOKEN = 6, 24 + CHANNELS + GROUPS * len(RADII)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The GEN particles of some jets."""

    gen: Particles

    @cached_property
    def place(self) -> Numbers:
        """Eta and phi of each particle relative to its jet's axis, [n, 2]."""
        gen, (eta, phi) = self.gen, self.gen.axis
        return np.stack([gen.eta - eta[gen.jet], turn_back(gen.phi - phi[gen.jet])], axis=1)

    @cached_property
    def decays(self) -> Decays:
        """Decays that particles probably come from."""
        return Decays.of_jets(self.gen)

    @cached_property
    def jets(self) -> Numbers:
        """What is said of each jet, [jets, OF_JET]."""
        gen = self.gen
        pt, distance = gen.sums(gen.pt), np.hypot(*self.place.T)
        return np.stack(
            [
                log_of(pt) - 6.0,
                gen.sums(np.ones(len(gen.jet))) / 25.0 - 2.0,
                np.abs(self.gen.axis[0]) - 1.0,
                log_of(gen.sums(gen.pt * (gen.kind == NEUTRAL))) / 2.0 - 1.5,
                log_of(gen.sums(gen.pt * (gen.kind == PHOTON))) / 2.0 - 2.0,
                4.0 * gen.sums(gen.pt * distance) / np.maximum(pt, 1e-9) - 0.5,
            ],
            axis=1,
        )

    @cached_property
    def about(self) -> NDArray[np.float32]:
        """What is said of each particle, numbers of order one, float32 [n, OF_TOKEN]."""
        gen, decays = self.gen, self.decays
        distance, species = np.hypot(*self.place.T), np.abs(gen.pdg_id)
        there, of = decays.of >= 0, decays.of
        channel = np.append(decays.channel, -1)[of]
        off, spread = (np.append(side, 0.0)[of] for side in (decays.off, decays.spread))
        whole = np.append(decays.sums(gen.energy), 1.0)[of]
        around, centre = self._around()
        columns = [
            log_of(gen.pt) / 1.5 - 1.0,
            log_of(gen.energy) / 1.5 - 2.0,
            np.abs(gen.eta) - 1.0,
            4.0 * distance - 0.5,
            np.maximum(distance - 0.6, 0.0) * 10.0,
            *(5.0 * self.place.T),
            *((gen.kind == kind) * 1.0 for kind in range(5)),
            gen.charge,
            gen.charge / np.maximum(gen.pt, 1.0),
            (species == 321) * 1.0,
            (species == 2212) * 1.0,
            (species == 130) * 1.0,
            *((channel == kind) * 1.0 for kind in range(CHANNELS)),
            off / 5.0 - there,
            spread / 3.0 + there,
            log_of(whole) / 2.0,
            *(self.jets[gen.jet, :2].T),
            *(centre.T / 0.01),
            *(log_of(around).T / 2.0 - 1.0),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    @cached_property
    def group(self) -> Index:
        """Photons and electrons 0, charged hadrons and muons 1, neutral hadrons 2."""
        kind = self.gen.kind
        group = np.where((kind == PHOTON) | (kind == ELECTRON), 0, 1)
        return np.where(kind == NEUTRAL, 2, group)

    def _around(self) -> tuple[Numbers, Numbers]:
        """Return energy of others around each particle, and where photons' centre is from it."""
        gen, group = self.gen, self.group
        around = np.zeros((len(gen.jet), GROUPS * len(RADII)))
        centre = np.zeros((len(gen.jet), 2))
        _sum_around(
            self.gen.ends, self.place, gen.energy, group, np.array(RADII) ** 2, around, centre
        )
        return around, centre


def buckets(ends: Index, size: int) -> Iterator[tuple[Index, int]]:
    """Deal jets into groups of at most `size` of one padded length: which jets, and the length.

    The length of a jet's group depends on nothing but its number of particles. Jets without any are
    left out.

    Args:
        ends: where the particles of each jet begin, and where the last one's end, [jets + 1].
        size: jets of a group.
    """
    length = -(-np.diff(ends) // STEP) * STEP
    for wanted in np.unique(length[length > 0]):
        which = np.flatnonzero(length == wanted)
        for start in range(0, len(which), size):
            yield which[start : start + size], int(wanted)


def neighbours(ends: Index, size: int) -> Iterator[tuple[Index, int]]:
    """Deal jets into groups of `size` of similar length: which jets, and the padded length.

    Fewer groups than `buckets` has, for losses, where the last bit of a jet may know its batch.
    """
    count = np.diff(ends)
    order = np.argsort(count, kind="stable")
    order = order[count[order] > 0]
    for start in range(0, len(order), size):
        which = order[start : start + size]
        yield which, int(count[which].max())


def padded(ends: Index, which: Index, length: int, jets: int) -> tuple[Index, NDArray[np.bool_]]:
    """Return particles in slots, int64 [jets, length], and which slots are filled.

    Empty slots have the number of particles as their particle; jets beyond `which` have none.
    """
    index = np.full((jets, length), ends[-1])
    wide = ends[which][:, None] + np.arange(length)
    index[: len(which)] = np.where(wide < ends[which + 1][:, None], wide, ends[-1])
    return index, index < ends[-1]


@compiled
def _sum_around(
    ends: Any, place: Any, energy: Any, group: Any, squares: Any, around: Any, centre: Any
) -> None:
    for jet in range(len(ends) - 1):
        for i in range(ends[jet], ends[jet + 1]):
            total = 0.0
            for k in range(ends[jet], ends[jet + 1]):
                eta, phi = place[k, 0] - place[i, 0], place[k, 1] - place[i, 1]
                far = eta * eta + phi * phi
                if far < squares[1] and group[k] == 0:
                    total += energy[k]
                    centre[i, 0] += energy[k] * eta
                    centre[i, 1] += energy[k] * phi
                if k == i:
                    continue
                for ring in range(len(squares)):
                    if far < squares[ring]:
                        around[i, 4 * group[k] + ring] += energy[k]
            if total > 0:
                centre[i, 0] /= total
                centre[i, 1] /= total
