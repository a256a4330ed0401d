"""Which RECO particle belongs to which GEN particle, when nothing is known of the detector's cells.

Each GEN particle may give a track (its own charge, type and eta) and a deposit (a photon or a
neutral hadron without charge, near its direction); what finds no GEN particle is left over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.models.nn.hits import COPY, ELECTRON, HADRON, NEUTRAL, PHOTON, Particles, match_tracks
from gen2reco.models.nn.jet_units import turn_back
from gen2reco.rows.segments import compiled, delta_r2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

NO_TRACK, COPIED, TURNED = range(3)
"""A charged particle leaves no track, one with its own direction, or one with another azimuth."""
NO_DEPOSIT, DEPOSIT = range(2)
"""A particle gives no neutral RECO particle, or one: a photon, or a hadron's neutral remainder."""
OUTCOMES = 6
"""Track and deposit together: 2 x track + deposit."""

NUMBERS = 5
"""Of a particle's response: log ratio of track pt and turn; log ratio of energy, d eta, d phi."""
UNITS = np.array([0.05, 0.05, 0.2, 0.02, 0.02])
"""Natural sizes of those numbers."""

SPREAD, REACH = (0.01, 0.06), (0.06, 0.4)
"""Typical and largest distance of a photon and of a neutral hadron from their GEN particle."""
UNLIKE = 2.0
"""Cost of a factor e between the energies."""
SEEN = 1.0
"""Cost of a neutral hadron that belongs to a particle with a track."""


@dataclass(frozen=True, eq=False)
class Matched:
    """The response of each GEN particle, and what is left.

    Attributes:
        outcome: 2 x track + deposit, int64 [gen].
        values: numbers of the response, 0 where the outcome has none, [gen, NUMBERS].
        left_jet, left_kind: jet and type of each RECO particle that belongs to none.
        left_momentum: its pt, and eta and phi relative to the axis of the GEN jet, [left, 3].
    """

    outcome: Index
    values: Numbers
    left_jet: Index
    left_kind: Index
    left_momentum: Numbers

    @classmethod
    def of(cls, gen: Particles, reco: Particles, axis: tuple[Numbers, Numbers]) -> Matched:
        """Match RECO to GEN; `axis`: eta and phi of each GEN jet."""
        track_of = match_tracks(gen, reco)
        tracks = np.flatnonzero(track_of >= 0)
        who = track_of[tracks]
        values = np.zeros((len(gen.jet), NUMBERS))
        turn = turn_back(reco.phi[tracks] - gen.phi[who])
        track = np.full(len(gen.jet), NO_TRACK)
        track[who] = np.where(np.abs(turn) < COPY, COPIED, TURNED)
        values[who, 0] = np.log(reco.pt[tracks] / gen.pt[who])
        values[who, 1] = np.where(np.abs(turn) < COPY, 0.0, turn)

        deposit_of = match_deposits(gen, reco, track != NO_TRACK)
        deposits = np.flatnonzero(deposit_of >= 0)
        who = deposit_of[deposits]
        values[who, 2] = np.log(reco.energy[deposits] / gen.energy[who])
        values[who, 3] = reco.eta[deposits] - gen.eta[who]
        values[who, 4] = turn_back(reco.phi[deposits] - gen.phi[who])
        outcome = 2 * track
        outcome[who] += DEPOSIT

        rest = np.flatnonzero((track_of < 0) & (deposit_of < 0))
        jet = reco.jet[rest]
        place = [reco.eta[rest] - axis[0][jet], turn_back(reco.phi[rest] - axis[1][jet])]
        momentum = np.stack([reco.pt[rest], *place], axis=1)
        return cls(outcome, values, jet, reco.kind[rest], momentum)


def used(outcome: Index) -> NDArray[np.bool_]:
    """Return which numbers of the response outcomes have, bool [particles, NUMBERS]."""
    track, deposit = outcome // 2, outcome % 2 == DEPOSIT
    columns = [track != NO_TRACK, track == TURNED, deposit, deposit, deposit]
    return np.stack(columns, axis=1)


def match_deposits(gen: Particles, reco: Particles, seen: NDArray[np.bool_]) -> Index:
    """Return the GEN particle of each photon and neutral hadron, int64 [reco], -1 for none.

    From the most energetic one downwards, each goes to the GEN particle of the least cost that is
    free: squared distance, difference of energy, and whether it has a track (`seen`).
    """
    found = np.full(len(reco.jet), -1)
    taken = np.zeros(len(gen.jet), np.bool_)
    ends = gen.ends
    order = np.lexsort((-reco.energy, reco.jet))
    order = order[(reco.kind[order] == PHOTON) | (reco.kind[order] == NEUTRAL)]
    electromagnetic = (gen.kind == PHOTON) | (gen.kind == ELECTRON)
    hadronic = (gen.kind == HADRON) | (gen.kind == NEUTRAL)
    for place, (kind, fits) in enumerate(((PHOTON, electromagnetic), (NEUTRAL, hadronic))):
        _match(
            order[reco.kind[order] == kind], ends, reco.jet,
            (gen.eta, gen.phi, np.log(gen.energy), fits, seen),
            (reco.eta, reco.phi, np.log(reco.energy)),
            SPREAD[place], REACH[place], taken, found,
        )  # fmt: skip
    return found


@compiled
def _match(
    order: Any, ends: Any, jet: Any, gen: Any, reco: Any, spread: Any, reach: Any, taken: Any,
    found: Any,
) -> None:  # fmt: skip
    gen_eta, gen_phi, gen_energy, fits, seen = gen
    eta, phi, energy = reco
    for i in order:
        best, where = np.inf, -1
        for k in range(ends[jet[i]], ends[jet[i] + 1]):
            if taken[k] or not fits[k]:
                continue
            far = delta_r2(gen_eta[k], gen_phi[k], eta[i], phi[i])
            if far > reach * reach:
                continue
            cost = far / spread**2 + UNLIKE * abs(gen_energy[k] - energy[i]) + SEEN * seen[k]
            if cost < best:
                best, where = cost, k
        if where >= 0:
            found[i] = where
            taken[where] = True
