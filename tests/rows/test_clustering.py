"""Anti-kT clustering, with fastjet as the oracle."""

import numpy as np
import pytest

from gen2reco.rows.clustering import in_hardest_jet

RADIUS = 0.8


def scattered(rows, seed):
    """Particles around one to three directions, some of them farther apart than the radius."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, rows)
    jet = np.repeat(np.arange(rows), counts)
    number = len(jet)
    prong = rng.integers(0, 3, number)
    centres = rng.uniform(-0.8, 0.8, (rows, 3, 2)) + np.array([0.0, np.pi])
    eta = centres[jet, prong, 0] + rng.normal(0, 0.15, number)
    phi = centres[jet, prong, 1] + rng.normal(0, 0.15, number)
    phi = np.mod(phi + np.pi, 2 * np.pi) - np.pi
    mass = rng.choice([0.0, 0.13957, 0.93827], number)
    return jet, rng.exponential(10.0, number) + 0.1, eta, phi, mass


def by_fastjet(fastjet, pt, eta, phi, mass):
    particles = []
    for place, (p, y, f, m) in enumerate(zip(pt, eta, phi, mass, strict=True)):
        energy = np.hypot(p * np.cosh(y), m)
        one = fastjet.PseudoJet(p * np.cos(f), p * np.sin(f), p * np.sinh(y), energy)
        one.set_user_index(place)
        particles.append(one)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    sequence = fastjet.ClusterSequence(particles, definition)
    jets = fastjet.sorted_by_pt(sequence.inclusive_jets())
    kept = np.zeros(len(pt), bool)
    kept[[one.user_index() for one in jets[0].constituents()]] = True
    return kept


def test_it_keeps_what_fastjet_keeps():
    fastjet = pytest.importorskip("fastjet")
    jet, *particles = scattered(150, 1)
    kept = in_hardest_jet(jet, *particles, RADIUS)
    assert 0.3 < kept.mean() < 0.95
    for row in range(150):
        rows = jet == row
        expected = by_fastjet(fastjet, *(column[rows] for column in particles))
        np.testing.assert_array_equal(kept[rows], expected)


def test_a_row_does_not_depend_on_its_neighbours():
    jet, *particles = scattered(60, 2)
    kept = in_hardest_jet(jet, *particles, RADIUS)
    for row in (0, 17, 59):
        rows = jet == row
        alone = in_hardest_jet(jet[rows], *(column[rows] for column in particles), RADIUS)
        np.testing.assert_array_equal(alone, kept[rows])


def test_nothing_and_single_particles():
    empty = np.zeros(0)
    assert len(in_hardest_jet(empty.astype(np.int64), *(empty,) * 4, RADIUS)) == 0
    one = np.ones(1)
    assert in_hardest_jet(np.zeros(1, np.int64), one, 5 * one, one, one, RADIUS).tolist() == [True]
