"""Cells of a calorimeter, the way into them, and particles that belong together."""

import numpy as np
import pytest
from pydantic import ValidationError

from gen2reco.models.nn.calorimeter import CURVATURE, Grid, Ring, Tracker
from gen2reco.models.nn.chain import Chain
from gen2reco.models.nn.hits import PHOTON, Particles, enter
from gen2reco.models.nn.jet_units import grown, ratio_of, shrunk, squeezed

GRID = Grid((Ring(phi=36, edges=(-2.0, -1.0)), Ring(phi=72, edges=(-1.0, 1.0), steps=20)))
NONE = Tracker(field=0.0)


def particles(rows):
    """Rows of (pt, eta, phi, pdgId, charge), one jet."""
    return Particles.of(np.array([rows], np.float64))


def test_directions_lie_in_their_cell():
    rng = np.random.default_rng(1)
    eta, phi = rng.uniform(-2, 1, 5000), rng.uniform(-np.pi, np.pi, 5000)
    cell = GRID.find(eta, phi)
    assert cell.min() >= 0
    assert cell.max() < GRID.cells == 36 + 72 * 20
    for along, around in rng.uniform(0.01, 0.99, (9, 2, 5000)):
        np.testing.assert_array_equal(GRID.find(*GRID.direction(cell, along, around)), cell)
    low, high = (GRID.direction(cell, np.full(5000, k), np.full(5000, k)) for k in (0.0, 1.0))
    assert ((low[0] <= eta) & (eta <= high[0])).all()
    assert ((low[1] <= phi + 1e-9) & (phi <= high[1] + 1e-9)).all()


def test_outside_there_is_no_cell():
    assert GRID.find(np.array([-2.1, 1.0, 5.0]), np.zeros(3)).tolist() == [-1, -1, -1]
    assert (GRID.find(np.zeros(2), np.array([-np.pi, np.pi])) >= 0).all()


def test_edges_rise():
    with pytest.raises(ValidationError, match="must rise"):
        Ring(phi=10, edges=(0.0, 1.0, 0.5))


def test_neutral_particles_go_straight():
    eta, phi = np.array([0.3, -1.2]), np.array([0.1, 3.0])
    found = Tracker().entrance(np.array([0.5, 9.0]), eta, phi, np.zeros(2))
    np.testing.assert_allclose(found, (eta, phi))


def test_charged_particles_turn():
    tracker = Tracker()
    pt = np.array([5.0, 5.0, 1e6])
    eta, phi = tracker.entrance(pt, np.full(3, 0.2), np.zeros(3), np.array([1.0, -1.0, 1.0]))
    radius = 5.0 / (CURVATURE * tracker.field)
    assert phi[0] == pytest.approx(-np.arcsin(tracker.radius / (2 * radius)))
    assert phi[1] == -phi[0]
    assert phi[2] == pytest.approx(0.0, abs=1e-5)
    # The way of a curve is longer, so that it leaves further out.
    assert eta[0] > 0.2
    assert eta[2] == pytest.approx(0.2)


def test_what_curls_up_goes_to_the_endcap():
    tracker = Tracker()
    pt = 0.5 * CURVATURE * tracker.field * tracker.radius / 2
    eta, phi = tracker.entrance(np.array([pt]), np.array([2.0]), np.zeros(1), np.ones(1))
    radius = pt / (CURVATURE * tracker.field)
    half = tracker.half_length / (2 * radius * np.sinh(2.0))
    assert phi[0] == pytest.approx(-half)
    assert np.isfinite(eta).all()


def test_cells_know_their_particles():
    side = particles([(9.0, 0.05, 0.01, 22, 0), (4.0, 0.06, 0.02, 22, 0), (5.0, 0.55, 0.01, 22, 0),
                      (7.0, 0.05, 0.01, 211, 1)])  # fmt: skip
    cells = enter(side, side.kind == PHOTON, GRID, NONE)
    assert len(cells) == 2
    np.testing.assert_allclose(sorted(cells.sums(side.pt)), [5.0, 13.0])
    assert set(side.slot[cells.lead]) == {0, 2}
    assert cells.of[3] == -1
    at = cells.find(np.zeros(2, int), GRID.find(np.array([0.07, 0.9]), np.array([0.03, 0.0])), GRID)
    assert at[0] == cells.of[0]
    assert at[1] == -1


def test_cells_follow_the_nearest_harder_one():
    side = particles([(50.0, 0.01, 0.0, 22, 0), (20.0, 0.01, 0.09, 22, 0), (5.0, 0.01, 0.16, 22, 0),
                      (9.0, 0.85, 0.0, 22, 0)])  # fmt: skip
    fine = Grid((Ring(phi=360, edges=(-1.0, 1.0), steps=100),))
    for row, phi in enumerate((0.0, 0.04, 0.08)):
        side.phi[row] = phi
    cells = enter(side, side.kind == PHOTON, fine, NONE)
    chain = Chain.of(cells, side, cells.sums(side.energy))
    of = cells.of
    assert chain.before[of[1]] == of[0]
    assert chain.before[of[2]] == of[1]
    assert chain.before[of[0]] == chain.before[of[3]] == -1
    assert chain.turn[of].tolist() == [0, 1, 2, 0]
    assert chain.rounds == 3
    assert chain.distance[of[1]] == pytest.approx(0.04)


def test_squeezed_ratios_come_back():
    logs = np.linspace(-3.0, 2.0, 101)
    for unit in (0.1, 0.5):
        np.testing.assert_allclose(ratio_of(squeezed(logs, unit), unit), np.exp(logs), rtol=1e-9)
        assert (np.diff(squeezed(logs, unit)) > 0).all()


def test_turned_azimuths_come_back():
    turns = np.array([-0.9, -0.01, 0.002, 0.3])
    np.testing.assert_allclose(grown(shrunk(turns)), turns)
