"""The family sets: what becomes of particles, and what its networks learn."""

import jets_toy as toy
import numpy as np
import pytest
import torch

from gen2reco.models.nn.hits import Particles, match_tracks
from gen2reco.models.nn.jet_arrivals import Arrivals
from gen2reco.models.nn.jet_observed import Observed
from gen2reco.models.nn.jet_refusal import ATTEMPTS, Refusal
from gen2reco.models.nn.jet_response import (
    Histogram,
)
from gen2reco.models.nn.jet_scene import Scene
from gen2reco.models.nn.jet_tracks import Tracks
from gen2reco.models.nn.jet_units import FOUND, LOST


@pytest.fixture
def model():
    return toy.built(toy.TOY)


def test_loss_is_a_number_with_a_gradient_for_every_parameter(model):
    model.train()
    for objective in model.objectives():
        loss = model.loss(toy.batch(2000), objective)
        loss.backward()
        assert torch.isfinite(loss)
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The toy moves no photon, turns no track and knows no decays.
    assert all(name.startswith(("steps.turn", "steps.photon_place")) for name in without)


def test_what_the_hardest_jet_does_not_hold_is_left_out(model):
    gen, noise = toy.gen_jets(200, 15), toy.noise(model, 200)
    all_of_it = toy.drawn(model, gen, noise)
    model.config = model.config.model_copy(update={"radius": 0.3})
    jets = toy.drawn(model, gen, noise)
    fewer = (jets[..., 0] > 0).sum(1) < (all_of_it[..., 0] > 0).sum(1)
    assert fewer.mean() > 0.1
    np.testing.assert_array_equal(jets[~fewer], all_of_it[~fewer])
    for jet in range(200):
        kept = {tuple(row) for row in jets[jet] if row[0] > 0}
        assert kept <= {tuple(row) for row in all_of_it[jet]}
        rows = np.array(sorted(kept))
        phi = np.angle((rows[:, 0] * np.exp(1j * rows[:, 2])).sum())
        apart = np.hypot(rows[:, 1] - (rows[:, 0] * rows[:, 1]).sum() / rows[:, 0].sum(),
                         np.angle(np.exp(1j * (rows[:, 2] - phi))))  # fmt: skip
        assert apart.max() < 0.6


def test_tracks_find_their_particle():
    gen = toy.gen_jets(100, 10)
    reco = toy.reco_jets(gen, 11)
    one, two = Particles.of(gen), Particles.of(reco)
    partner = match_tracks(one, two)
    charged = two.charge != 0
    assert (partner[charged] >= 0).all()
    assert (partner[~charged] < 0).all()
    np.testing.assert_array_equal(one.slot[partner[charged]], two.slot[charged])


def test_everything_in_reco_belongs_to_something(model):
    gen = toy.gen_jets(100, 12)
    reco = toy.reco_jets(gen, 13)
    seen = Observed.of(
        Particles.of(gen), Particles.of(reco), model.detector, model.config.most_left
    )
    two = Particles.of(reco)
    counted = (seen.track != LOST).sum() + (seen.photon != LOST).sum() + seen.neutral.sum()
    # Neutral particles of one cell come out as several in the toy, and count as left over.
    assert counted + len(seen.left_jet) == len(two.jet)
    energy = seen.photon_energy.sum() + seen.neutral_energy.sum()
    assert 0 < energy <= two.energy[two.charge == 0].sum() * (1 + 1e-6)


def test_tracks_of_a_cell_share_its_energy(model):
    gen = Particles.of(toy.gen_jets(100, 14))
    scene = Scene.of(gen, model.detector)
    arrivals = Arrivals.of(scene, np.full(len(scene.decays.channel), FOUND))
    tracks = Tracks.of(arrivals, np.ones(len(gen.jet), np.bool_))
    rng = np.random.default_rng(3)
    response = np.exp(rng.normal(0, 0.3, len(gen.jet)))
    assert 0 < len(tracks.parted) < len(tracks.several)
    again = tracks.shared_out(tracks.odds(response), tracks.scale(response))
    np.testing.assert_allclose(again, response[tracks.several], rtol=1e-9)


def test_a_histogram_draws_what_it_learned_and_nothing_below_a_floor():
    torch.manual_seed(1)
    histogram = Histogram(1, (16,))
    rng = np.random.default_rng(2)
    side = rng.integers(0, 2, 20_000) * 1.0
    target = rng.normal(2.0 * side - 1.0, 0.5)[:, None]
    optimizer = torch.optim.Adam(histogram.parameters(), 3e-2)
    weight = torch.ones(len(side))
    for _ in range(150):
        loss = histogram.loss(target, side[:, None], weight) / len(side)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.25), abs=0.03)
    histogram.eval()
    normal = rng.normal(size=(20_000, 1))
    with torch.inference_mode():
        drawn = histogram.draw(np.ones((20_000, 1)), normal)[:, 0]
        bounded = histogram.draw(np.ones((20_000, 1)), normal, np.full(20_000, 1.23))[:, 0]
        beyond = histogram.draw(np.ones((5, 1)), normal[:5], np.full(5, 8.0))[:, 0]
    order = np.argsort(normal[:, 0])
    assert (np.diff(drawn[order]) >= 0).all()
    assert drawn.mean() == pytest.approx(1.0, abs=0.03)
    assert drawn.std() == pytest.approx(0.5, abs=0.03)
    assert bounded.min() >= 1.23
    above = np.sort(drawn[drawn > 1.23])
    assert np.median(bounded) == pytest.approx(np.median(above), abs=0.03)
    np.testing.assert_array_equal(beyond, 8.0)  # training saw nothing there


def test_jets_that_are_refused_are_drawn_anew(model):
    gen, noise = toy.gen_jets(150, 16), toy.noise(model, 150)
    bias = model.refusal.truth.layers[-1].bias
    drawn = []
    for chance in (20.0, 0.0, -20.0):
        with torch.no_grad():
            bias.copy_(torch.tensor([-chance, chance]))
        drawn.append(toy.drawn(model, gen, noise))
    # Attempts one by one, by a model that accepts all.
    plain = toy.built(toy.TOY.model_copy(update={"refusal": ()}))
    plain.load_state_dict(model.state_dict(), strict=False)
    sides = noise.split([model.noise.normal, model.noise.uniform], dim=1)
    attempts = [
        toy.drawn(plain, gen, torch.cat([side.chunk(ATTEMPTS, 1)[k] for side in sides], dim=1))
        for k in range(ATTEMPTS)
    ]
    np.testing.assert_array_equal(drawn[0], attempts[0])
    np.testing.assert_array_equal(drawn[2], attempts[-1])
    of = [(drawn[1] == attempt).all(axis=(1, 2)).mean() for attempt in attempts]
    assert sum(of) == pytest.approx(1.0)
    assert 0.6 < of[0] < 0.95
    assert of[1] > 0


def test_refusing_jets_brings_a_response_back():
    torch.manual_seed(3)
    refusal = Refusal((16,))
    gen = toy.gen_jets(6000, 50)
    rng = np.random.default_rng(4)

    def response(shift):
        jets = gen.copy()
        jets[..., 0] *= np.exp(rng.normal(shift, 0.08, 6000))[:, None]
        return jets

    sides = [Particles.of(side) for side in (gen, response(0.0), response(0.012))]
    optimizer = torch.optim.Adam(refusal.parameters(), 1e-2)
    for _ in range(60):
        loss = refusal.loss(*sides, torch.ones(6000))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    new = response(0.012)
    with torch.no_grad():
        kept = refusal.accepts(sides[0], Particles.of(new), rng.random(6000))
    assert 0.7 < kept.mean() < 0.9
    ratio = np.log(new[..., 0].sum(1) / gen[..., 0].sum(1))
    assert ratio.mean() == pytest.approx(0.012, abs=0.003)
    assert ratio[kept].mean() == pytest.approx(0.0, abs=0.005)


def test_it_learns_a_detector_that_is_known(model):
    rows = toy.batch(1500, seed=20)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(60):
        part = slice(250 * (step % 6), 250 * (step % 6 + 1))
        loss = model.loss(type(rows)(rows.target[part], rows.condition[part], rows.weight[part]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    gen = toy.gen_jets(1000, 40)
    out, truth = toy.drawn(model, gen, toy.noise(model, 1000)), toy.reco_jets(gen, 41)
    sums = [side[..., 0].sum(1).mean() for side in (out, truth)]
    counts = [(side[..., 0] > 0).sum(1).mean() for side in (out, truth)]
    assert sums[0] == pytest.approx(sums[1], rel=0.03)
    assert counts[0] == pytest.approx(counts[1], rel=0.04)
