"""Decays of long-lived particles, found by mass among the stable particles of a jet.

A K0S, Lambda or Sigma that decays behind the tracker takes all its products along: they are lost
together. Such decays are not in the list of stable particles, but leave their mass, which momenta
stored with a finite number of digits tell up to a known error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows.segments import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.models.nn.hits import Particles

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

PION, PROTON, NEUTRON, NEUTRAL_PION = 0.13957, 0.93827, 0.93957, 0.13498
KAON_SHORT, LAMBDA, SIGMA_PLUS, SIGMA_MINUS = 0.49761, 1.11568, 1.18937, 1.19745
"""Masses in GeV."""

TWO_PIONS, NEUTRAL_PIONS, PROTON_PION, NEUTRON_PI0, PROTON_PI0, PLUS_PION, MINUS_PION = range(7)
CHANNELS = 7
"""K0S to pi+ pi- and to pi0 pi0, Lambda to p pi- and to n pi0, Sigma+ to p pi0 and to n pi+, and
Sigma- to n pi-."""
MEMBERS = 4
"""The most products of a decay; a pi0 is two photons."""

DIGITS = 12
"""Binary digits behind the leading one with which files usually hold momenta."""
PULL = 3.5
"""Masses off by more than this many standard deviations are no decay's."""
PIONS = 64
"""Of the pairs of photons of a jet that may be a pi0, the likeliest are looked at."""
CHANCE = 0.01
"""GeV: width in which a chance pair is as likely as a decay."""
LEAST_SPREAD = 1e-4
"""GeV: what is unknown of a mass at best."""


@dataclass(frozen=True, eq=False)
class Decays:
    """Decays of some jets, no two of which share a product.

    Attributes:
        members: products by their place, int64 [decays, MEMBERS], -1 where there are fewer.
        channel: int64 [decays].
        off: squared distance of the mass from that of the decay in standard deviations, of the
            masses of its pi0 added, [decays].
        spread: logarithm of the error of the mass over `CHANCE`, those of its pi0 added, [decays].
        lead: the most energetic product, int64 [decays].
        of: decay of each particle, int64 [particles], -1 for none.
    """

    members: Index
    channel: Index
    off: Numbers
    spread: Numbers
    lead: Index
    of: Index

    @classmethod
    def of_jets(cls, gen: Particles, digits: int = DIGITS, *, known: bool = True) -> Decays:
        """Find the decays; none where they are not to be known.

        Args:
            gen: the particles.
            digits: binary digits behind the leading one with which pt, eta and phi are stored.
            known: whether there are to be any.
        """
        of = np.full(len(gen.jet), -1)
        kind = np.select([np.abs(gen.pdg_id) == code for code in _CODES], range(len(_CODES)), -1)
        mass = np.append(_MASSES, 0.0)[kind]
        momentum = _momenta(gen, mass)
        errors = _errors(gen, momentum, digits)
        sign = np.where(kind == _NEUTRON, np.sign(gen.pdg_id), gen.charge)
        room = len(gen.jet)
        members, channel = np.full((room, MEMBERS), -1), np.zeros(room, np.int64)
        masses, count = np.zeros((room, 2)), 0
        if known and room:
            chosen = members, channel, masses
            count = _find(gen.ends, kind, sign, (momentum, errors), chosen, of)
        members, channel, (off, spread) = members[:count], channel[:count], masses[:count].T
        size = np.append(momentum[:, 0], 0.0)[members]
        lead = members[np.arange(count), size.argmax(axis=1)]
        return cls(members, channel, off, spread, lead, of)

    @cached_property
    def there(self) -> NDArray[np.bool_]:
        """Which of `members` are particles."""
        return self.members >= 0

    def fate(self, outcome: Index) -> Index:
        """Return what becomes of the decay of each particle, int64 [particles], -1 without one.

        Args:
            outcome: what becomes of each decay, [decays].
        """
        return np.append(outcome, -1)[self.of]

    def sums(self, values: Numbers) -> Numbers:
        """Return the sum of numbers per particle over each decay, [decays]."""
        inside = self.of >= 0
        return np.asarray(
            np.bincount(self.of[inside], values[inside], len(self.channel)), np.float64
        )


_CODES = (211, 2212, 2112, 22)
_PION, _PROTON, _NEUTRON, _PHOTON = range(4)
_MASSES = np.array([PION, PROTON, NEUTRON, 0.0])


def _momenta(gen: Particles, mass: Numbers) -> Numbers:
    """Return E, px, py, pz in GeV, [particles, 4]."""
    pz = gen.pt * np.sinh(gen.eta)
    energy = np.sqrt(gen.pt**2 + pz**2 + mass**2)
    return np.stack([energy, gen.pt * np.cos(gen.phi), gen.pt * np.sin(gen.phi), pz], axis=1)


def _errors(gen: Particles, momentum: Numbers, digits: int) -> Numbers:
    """Return what a standard deviation of pt, of eta and of phi adds, [particles, 3, 4]."""
    energy, px, py, pz = momentum.T
    zero, steps = np.zeros(len(energy)), []
    for value in (gen.pt, gen.eta, gen.phi):
        size = np.exp2(np.floor(np.log2(np.maximum(np.abs(value), 1e-6))))
        steps.append(size * 2.0**-digits / np.sqrt(12.0))
    along = (gen.pt**2 + pz**2) / energy
    by_pt = np.stack([along, px, py, pz], axis=1) / gen.pt[:, None]
    slope = gen.pt * np.cosh(gen.eta)
    by_eta = np.stack([pz * slope / energy, zero, zero, slope], axis=1)
    by_phi = np.stack([zero, -py, px, zero], axis=1)
    return np.stack(
        [step[:, None] * by for step, by in zip(steps, (by_pt, by_eta, by_phi), strict=True)],
        axis=1,
    )


@compiled
def _pull(members: Any, wanted: Any, momentum: Any, errors: Any) -> Any:
    """Return how many standard deviations the mass of some products is off, and one of them."""
    energy = px = py = pz = 0.0
    for i in members:
        if i >= 0:
            energy += momentum[i, 0]
            px += momentum[i, 1]
            py += momentum[i, 2]
            pz += momentum[i, 3]
    mass = np.sqrt(max(energy * energy - px * px - py * py - pz * pz, 1e-12))
    variance = LEAST_SPREAD * LEAST_SPREAD
    for i in members:
        if i >= 0:
            for k in range(3):
                by = errors[i, k]
                change = energy * by[0] - px * by[1] - py * by[2] - pz * by[3]
                variance += (change / mass) ** 2
    spread = np.sqrt(variance)
    return (mass - wanted) / spread, spread


@compiled
def _neutral_pions(first: Any, last: Any, momentum: Any, errors: Any, kind: Any) -> Any:
    """Return the best pairs of photons with the mass of a pi0: who, and what `_try` is told."""
    photons = first + np.flatnonzero(kind[first:last] == _PHOTON)
    room = len(photons) * (len(photons) - 1) // 2
    pairs, told = np.empty((room, 2), np.int64), np.empty((room, 2))
    count = 0
    for a in range(len(photons)):
        for b in range(a):
            pairs[count, 0], pairs[count, 1] = photons[a], photons[b]
            pull, spread = _pull(pairs[count], NEUTRAL_PION, momentum, errors)
            if abs(pull) < PULL:
                told[count, 0], told[count, 1] = pull * pull, np.log(spread / CHANCE)
                count += 1
    best = np.argsort(0.5 * told[:count, 0] + told[:count, 1], kind="mergesort")[:PIONS]
    return pairs[best], told[best]


@compiled
def _channel(a: Any, b: Any, kind: Any, sign: Any) -> Any:
    """Return the channel of two particles and the mass of the decay, -1 for none."""
    opposite = sign[a] * sign[b] < 0
    if kind[b] != _PION:
        return -1, 0.0
    if kind[a] == _PION and opposite and a < b:
        return TWO_PIONS, KAON_SHORT
    if kind[a] == _PROTON and opposite:
        return PROTON_PION, LAMBDA
    if kind[a] == _NEUTRON:
        return (MINUS_PION, SIGMA_MINUS) if opposite else (PLUS_PION, SIGMA_PLUS)
    return -1, 0.0


@compiled
def _try(four: Any, channel: Any, wanted: Any, told: Any, sides: Any, out: Any, count: Any) -> Any:
    """Put a candidate down if its mass is right; return how many there are.

    `told` is what is known of its neutral pions, squared pulls and logarithms of errors.
    """
    pull, spread = _pull(four, wanted, sides[0], sides[1])
    if abs(pull) < PULL:
        members, channels, masses = out
        members[count], channels[count] = four, channel
        masses[count, 0], masses[count, 1] = (
            pull * pull + told[0],
            np.log(spread / CHANCE) + told[1],
        )
        count += 1
    return count


@compiled
def _candidates(first: Any, last: Any, kind: Any, sign: Any, sides: Any, out: Any) -> Any:
    """Put all candidates of a jet down; return how many there are."""
    count, four, nothing = 0, np.full(MEMBERS, -1), np.zeros(2)
    pairs, told = _neutral_pions(first, last, sides[0], sides[1], kind)
    for a in range(first, last):
        four[0] = a
        for b in range(first, last):
            channel, wanted = _channel(a, b, kind, sign)
            if channel >= 0:
                four[1] = b
                count = _try(four, channel, wanted, nothing, sides, out, count)
        if kind[a] == _PROTON or kind[a] == _NEUTRON:
            proton = kind[a] == _PROTON
            channel, wanted = (PROTON_PI0, SIGMA_PLUS) if proton else (NEUTRON_PI0, LAMBDA)
            for n in range(len(pairs)):
                four[1:3] = pairs[n]
                count = _try(four, channel, wanted, told[n], sides, out, count)
            four[1:3] = -1
    for n in range(len(pairs)):
        four[:2] = pairs[n]
        for m in range(n):
            four[2:] = pairs[m]
            if four[0] != four[2] and four[0] != four[3] and four[1] not in (four[2], four[3]):
                both = told[n] + told[m]
                count = _try(four, NEUTRAL_PIONS, KAON_SHORT, both, sides, out, count)
    return count


@compiled
def _find(ends: Any, kind: Any, sign: Any, sides: Any, chosen: Any, of: Any) -> Any:
    """Choose decays that share nothing, the likeliest first; return how many there are."""
    longest = np.max(np.diff(ends))
    room = longest * (longest + PIONS) + PIONS * PIONS // 2
    some = np.empty((room, MEMBERS), np.int64), np.empty(room, np.int64), np.empty((room, 2))
    found = 0
    for jet in range(len(ends) - 1):
        count = _candidates(ends[jet], ends[jet + 1], kind, sign, sides, some)
        members, channels, masses = some
        # Chance gives masses evenly, so that a decay stands out by as much as it is well known.
        order = np.argsort(0.5 * masses[:count, 0] + masses[:count, 1], kind="mergesort")
        for place in order:
            free = True
            for i in members[place]:
                free = free and (i < 0 or of[i] < 0)
            if free:
                chosen[0][found], chosen[1][found] = members[place], channels[place]
                chosen[2][found] = masses[place]
                for i in members[place]:
                    if i >= 0:
                        of[i] = found
                found += 1
    return found
