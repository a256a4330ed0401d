"""Decays found by mass among the stable particles of a jet."""

import numpy as np
import pytest

from gen2reco.models.nn import decays as nn
from gen2reco.models.nn.decays import Decays
from gen2reco.models.nn.hits import Particles

MOTHERS = {
    nn.TWO_PIONS: (nn.KAON_SHORT, (nn.PION, 211), (nn.PION, -211)),
    nn.PROTON_PION: (nn.LAMBDA, (nn.PROTON, 2212), (nn.PION, -211)),
    nn.PLUS_PION: (nn.SIGMA_PLUS, (nn.NEUTRON, 2112), (nn.PION, 211)),
    nn.MINUS_PION: (nn.SIGMA_MINUS, (nn.NEUTRON, -2112), (nn.PION, 211)),
    nn.NEUTRON_PI0: (nn.LAMBDA, (nn.NEUTRON, 2112), (nn.NEUTRAL_PION, 111)),
    nn.PROTON_PI0: (nn.SIGMA_PLUS, (nn.PROTON, 2212), (nn.NEUTRAL_PION, 111)),
    nn.NEUTRAL_PIONS: (nn.KAON_SHORT, (nn.NEUTRAL_PION, 111), (nn.NEUTRAL_PION, 111)),
}
"""Mass and products of each channel: mass in GeV and pdgId."""


def boosted(vector, frame, mass):
    """A four-vector (E, p) of a rest frame, seen where that frame has the momentum `frame`."""
    energy = np.sqrt(mass**2 + frame @ frame)
    along = frame @ vector[1:] / mass
    moved = vector[1:] + frame * (along / (energy + mass) + vector[0] / mass)
    return np.append((energy * vector[0] + frame @ vector[1:]) / mass, moved)


def products(mass, first, second, momentum, rng):
    """Four-vectors of the two products of a decay in flight, isotropic at rest."""
    size = np.sqrt((mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2))
    at_rest = rng.normal(size=3)
    at_rest *= size / (2 * mass) / np.linalg.norm(at_rest)
    pairs = ((first, at_rest), (second, -at_rest))
    return [boosted(np.append(np.hypot(m, size / (2 * mass)), p), momentum, mass) for m, p in pairs]


def stored(value):
    """A number as files hold it, with 12 binary digits behind the leading one."""
    unit = 2.0 ** (np.floor(np.log2(abs(value))) - 12)
    return np.round(value / unit) * unit


def row(vector, pdg_id):
    """Fields of a constituent."""
    pt = np.hypot(vector[1], vector[2])
    charge = 0 if pdg_id in (22, 2112, -2112) else np.sign(pdg_id)
    place = np.arcsinh(vector[3] / pt), np.arctan2(vector[2], vector[1])
    return (*(stored(value) for value in (pt, *place)), pdg_id, charge)


def decayed(channel, energy, rng):
    """Constituents that come of a decay of some energy in GeV."""
    mass, *sides = MOTHERS[channel]
    flight = np.array([1.0, rng.normal(0, 0.3), rng.normal(0.7, 0.3)])
    flight *= np.sqrt(energy**2 - mass**2) / np.linalg.norm(flight)
    rows = []
    for vector, (_, pdg_id) in zip(
        products(mass, sides[0][0], sides[1][0], flight, rng), sides, strict=True
    ):
        if pdg_id == 111:
            photons = products(nn.NEUTRAL_PION, 0.0, 0.0, vector[1:], rng)
            rows += [row(photon, 22) for photon in photons]
        else:
            rows.append(row(vector, pdg_id))
    return rows


def jets(*sides):
    """Particles of jets, lists of constituents."""
    fields = np.zeros((len(sides), max(map(len, sides)), 5), np.float32)
    for jet, rows in enumerate(sides):
        fields[jet, : len(rows)] = rows
    return Particles.of(fields)


OTHERS = [(31.0, 0.3, -0.2, 211, 1), (8.0, 1.1, 0.5, -211, -1), (5.0, 0.1, 0.2, 22, 0),
          (12.0, 1.2, -0.3, 130, 0)]  # fmt: skip


@pytest.mark.parametrize("channel", MOTHERS)
@pytest.mark.parametrize("energy", [10.0, 80.0])
def test_products_of_a_decay_are_found_by_their_mass(channel, energy):
    rng = np.random.default_rng(7)
    sides = [decayed(channel, energy, rng) for _ in range(200)]
    found = Decays.of_jets(jets(*([*OTHERS, *rows] for rows in sides)))
    count = len(sides[0])
    right = 0
    for jet in range(200):
        first = len(OTHERS) + jet * (len(OTHERS) + count)
        of = found.of[first : first + count]
        right += of[0] >= 0 and (of == of[0]).all() and found.channel[of[0]] == channel
    assert right >= 180
    assert (found.sums(np.ones(len(found.of))) == found.there.sum(axis=1)).all()


def test_errors_of_masses_are_those_of_stored_momenta():
    rng = np.random.default_rng(8)
    sides = [decayed(nn.TWO_PIONS, energy, rng) for energy in rng.uniform(50, 300, 2000)]
    found = Decays.of_jets(jets(*sides))
    assert len(found.off) > 1950
    # Squared pulls of one degree of freedom; a small error is added in squares to each.
    assert 0.5 < found.off.mean() < 1.1


def test_momenta_with_more_digits_are_believed_more():
    rng = np.random.default_rng(13)
    gen = jets(*(decayed(nn.TWO_PIONS, 150.0, rng) for _ in range(300)))
    found = [Decays.of_jets(gen, digits) for digits in (9, 12, 16)]
    assert len(found[0].channel) >= len(found[1].channel) > 2 * len(found[2].channel)
    assert found[0].spread.mean() > found[1].spread.mean() + 1.0


def test_masses_that_are_off_are_no_decay():
    rng = np.random.default_rng(9)
    sides = [decayed(nn.TWO_PIONS, 40.0, rng) for _ in range(100)]
    wrong = [[(pt * 1.05, *rest) for pt, *rest in rows[:1]] + rows[1:] for rows in sides]
    assert len(Decays.of_jets(jets(*sides)).channel) == 100
    assert len(Decays.of_jets(jets(*wrong)).channel) < 15


def test_same_charges_and_unknown_decays_are_none():
    rng = np.random.default_rng(10)
    rows = decayed(nn.TWO_PIONS, 40.0, rng)
    alike = [(*row[:3], 211, 1) for row in rows]
    assert len(Decays.of_jets(jets(rows)).channel) == 1
    assert len(Decays.of_jets(jets(alike)).channel) == 0
    none = Decays.of_jets(jets(rows), known=False)
    assert len(none.channel) == 0
    assert (none.of == -1).all()
    assert none.fate(np.zeros(0, np.int64)).tolist() == [-1, -1]


def test_decays_share_nothing_and_know_their_hardest_product():
    rng = np.random.default_rng(11)
    sides = [
        [*OTHERS, *(row for channel in MOTHERS for row in decayed(channel, 60.0, rng))]
        for _ in range(50)
    ]
    gen = jets(*sides)
    found = Decays.of_jets(gen)
    used = found.members[found.there]
    assert len(used) == len(np.unique(used))
    for decay, padded in enumerate(found.members):
        members = padded[padded >= 0]
        np.testing.assert_array_equal(found.of[members], decay)
        assert len(np.unique(gen.jet[members])) == 1
        assert found.lead[decay] == members[np.argmax(gen.energy[members])]
    fate = found.fate(np.arange(len(found.channel)) % 3)
    assert set(fate[found.of < 0]) == {-1}
    np.testing.assert_array_equal(fate[found.lead], np.arange(len(found.channel)) % 3)


def test_the_order_of_particles_does_not_matter():
    rng = np.random.default_rng(12)
    rows = [*OTHERS, *(row for channel in MOTHERS for row in decayed(channel, 60.0, rng))]
    order = rng.permutation(len(rows))
    one, two = (Decays.of_jets(jets(side)) for side in (rows, [rows[i] for i in order]))
    groups = [
        {(int(channel), frozenset(names[members[members >= 0]]))
         for channel, members in zip(found.channel, found.members, strict=True)}
        for found, names in ((one, np.arange(len(rows))), (two, order))
    ]  # fmt: skip
    assert groups[0] == groups[1]
    assert len(groups[0]) >= 5
