"""Jet features against closed forms, and N-subjettiness against fastjet."""

import fastjet
import numpy as np
import pytest

from gen2reco.rows.substructure import FEATURES, RADIUS, jet_features, turn


def cluster(rng, jets=40, most=30, slots=40):
    """Random jets with 1 to `most` constituents, padded with NaN, across phi = pi."""
    pt = np.full((jets, slots), np.nan)
    eta, phi = pt.copy(), pt.copy()
    for jet, count in enumerate(rng.integers(1, most + 1, jets)):
        pt[jet, :count] = rng.exponential(10.0, count) + 0.1
        eta[jet, :count] = rng.normal(0.5, 0.2, count)
        phi[jet, :count] = turn(np.pi + rng.normal(0.0, 0.2, count))
    return pt, eta, phi


def with_fastjet(pt, eta, phi, count):
    """Axes of exclusive kT clustering in which the harder subjet keeps its direction."""
    there = pt > 0
    particles = []
    for p, y, f in zip(pt[there], eta[there], phi[there], strict=True):
        particle = fastjet.PseudoJet()
        particle.reset_momentum_PtYPhiM(p, y, f, 0.0)
        particles.append(particle)
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 1000.0, fastjet.WTA_pt_scheme)
    sequence = fastjet.ClusterSequence(particles, definition)
    axes = sequence.exclusive_jets(min(count, len(particles)))
    distance = [np.hypot(eta[there] - axis.rap(), turn(phi[there] - axis.phi())) for axis in axes]
    return float(np.sum(pt[there] * np.min(distance, axis=0)) / (pt[there].sum() * RADIUS))


def test_momenta_are_sums_of_massless_particles():
    pt, eta, phi = cluster(np.random.default_rng(1))
    found = jet_features(pt, eta, phi)
    p, y, f = (np.nan_to_num(side) for side in (pt, eta, phi))
    vectors = [p * np.cos(f), p * np.sin(f), p * np.sinh(y), p * np.cosh(y)]
    px, py, pz, energy = (side.sum(1) for side in vectors)
    np.testing.assert_allclose(found["pt"], np.hypot(px, py))
    np.testing.assert_allclose(found["energy"], energy)
    np.testing.assert_allclose(found["mass"] ** 2, energy**2 - px**2 - py**2 - pz**2, atol=1e-6)
    np.testing.assert_allclose(found["phi"], np.arctan2(py, px))
    np.testing.assert_allclose(np.sinh(found["eta"]) * found["pt"], pz)


def test_subjettiness_is_that_of_fastjet():
    pt, eta, phi = cluster(np.random.default_rng(2))
    found = jet_features(pt, eta, phi)
    for count in (1, 2, 3):
        wanted = [with_fastjet(*jet, count) for jet in zip(pt, eta, phi, strict=True)]
        np.testing.assert_allclose(found[f"tau{count}"], wanted, rtol=1e-6, atol=1e-9)


def test_momentum_is_that_of_fastjet():
    pt, eta, phi = cluster(np.random.default_rng(3))
    found = jet_features(pt, eta, phi)
    for jet in range(len(pt)):
        there = pt[jet] > 0
        whole = fastjet.PseudoJet(0.0, 0.0, 0.0, 0.0)
        for p, y, f in zip(pt[jet][there], eta[jet][there], phi[jet][there], strict=True):
            particle = fastjet.PseudoJet()
            particle.reset_momentum_PtYPhiM(p, y, f, 0.0)
            whole = whole + particle
        assert found["pt"][jet] == pytest.approx(whole.pt())
        assert found["mass"][jet] == pytest.approx(whole.m(), abs=1e-5)


def test_two_particles():
    found = jet_features(np.array([[3.0, 1.0]]), np.array([[0.0, 0.4]]), np.array([[0.0, 0.0]]))
    assert found["tau2"] == 0
    # The harder one is the axis of a single subjet.
    assert found["tau1"] == pytest.approx(1.0 * 0.4 / (4.0 * RADIUS))
    assert found["ptD"] == pytest.approx(np.sqrt(10.0) / 4.0)
    assert found["multiplicity"] == 2
    assert found["mass"] == pytest.approx(np.sqrt(2 * 3 * (np.cosh(0.4) - 1)))


def test_order_and_padding_do_not_matter():
    rng = np.random.default_rng(4)
    sides = cluster(rng)
    found = jet_features(*sides)
    order = rng.permutation(sides[0].shape[1])
    mixed = jet_features(*(side[:, order] for side in sides))
    wide = jet_features(*(np.pad(side, ((0, 0), (0, 9))) for side in sides))
    for name in FEATURES:
        np.testing.assert_allclose(mixed[name], found[name], rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(wide[name], found[name])


def test_a_jet_without_constituents_is_zero():
    found = jet_features(*np.full((3, 1, 4), np.nan))
    assert all(found[name] == 0 for name in FEATURES)
