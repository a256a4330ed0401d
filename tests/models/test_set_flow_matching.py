"""The family set-flow-matching: matching, outcomes, solver, and what it learns."""

import jets_toy as toy
import numpy as np
import pytest
import torch

from gen2reco.models.nn.hits import Particles
from gen2reco.models.nn.set_matching import (
    COPIED,
    NO_DEPOSIT,
    NO_TRACK,
    NUMBERS,
    TURNED,
    Matched,
    used,
)
from gen2reco.models.nn.set_networks import integrate
from gen2reco.models.nn.set_numbers import FARTHEST, grow, shrink
from gen2reco.models.nn.set_tokens import buckets, neighbours, padded
from gen2reco.models.nn.slots import FIELDS
from gen2reco.models.protocol import Batch


@pytest.fixture
def model():
    """A model that has seen what may happen to particles."""
    network = toy.built(toy.FLOW)
    network.train()
    network.loss(toy.batch(200))
    return network.eval()


def test_loss_is_a_number_with_a_gradient_for_every_parameter(model):
    model.train()
    rows = toy.batch(300)
    # A muon where GEN has none, for what is left over.
    rows.target[:, -FIELDS:] = torch.tensor([3.0, 3.0, 1.0, 13.0, -1.0])
    loss = model.loss(rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_steps_and_rounds_may_change_after_training(model):
    gen, noise = toy.gen_jets(40, 9), toy.noise(model, 40)
    before = toy.drawn(model, gen, noise)
    model.steps = 8
    more = toy.drawn(model, gen, noise)
    assert not np.array_equal(more, before)
    np.testing.assert_array_equal(more[..., 0] > 0, before[..., 0] > 0)
    model.steps, model.rounds = model.config.steps, 1
    assert not np.array_equal(toy.drawn(model, gen, noise)[..., 0] > 0, before[..., 0] > 0)


def test_every_reco_particle_has_a_gen_particle_or_is_left():
    gen, reco = (Particles.of(f(toy.gen_jets(100, 10))) for f in (lambda g: g, reco_of))
    seen = Matched.of(gen, reco, gen.axis)
    track, deposit = seen.outcome // 2, seen.outcome % 2
    assert (track == COPIED).sum() == (reco.charge != 0).sum()
    assert (track != NO_TRACK).sum() + deposit.sum() + len(seen.left_jet) == len(reco.jet)
    # Neutral particles of the toy keep their directions too, so that each finds its own.
    neutral = gen.charge == 0
    assert (deposit[neutral] != NO_DEPOSIT).mean() > 0.99
    numbers = used(seen.outcome)
    assert not seen.values[~numbers].any()
    np.testing.assert_allclose(np.median(seen.values[neutral, 2]), np.log(toy.SCALE), atol=0.02)


def reco_of(gen):
    return toy.reco_jets(gen, 11)


def test_a_turned_track_and_one_of_another_charge():
    gen = np.zeros((1, 3, FIELDS), np.float32)
    gen[0, 0] = 10.0, 0.3, 0.1, 211, 1
    gen[0, 1] = 5.0, -0.3, 0.1, 211, 1
    reco = gen.copy()
    reco[0, 0, 2] += 0.2
    reco[0, 1, 3:] = -211, -1
    one, two = Particles.of(gen), Particles.of(reco)
    seen = Matched.of(one, two, one.axis)
    assert seen.outcome.tolist() == [2 * TURNED, 2 * NO_TRACK]
    assert seen.values[0] == pytest.approx([0.0, 0.2, 0, 0, 0], abs=1e-6)
    assert seen.left_momentum[0, 0] == pytest.approx(5.0)


def test_photons_of_one_cell_belong_to_the_hardest():
    gen = np.zeros((1, 2, FIELDS), np.float32)
    gen[0, 0] = 20.0, 0.010, 0.0, 22, 0
    gen[0, 1] = 2.0, 0.0, 0.0, 22, 0
    reco = np.zeros_like(gen)
    reco[0, 0] = 22.0, 0.002, 0.0, 22, 0
    one, two = Particles.of(gen), Particles.of(reco)
    assert Matched.of(one, two, one.axis).outcome.tolist() == [1, 0]


def test_groups_hold_every_jet_once_and_lengths_depend_on_the_jet_alone():
    counts = np.array([0, 3, 8, 9, 16, 30, 3, 0, 17])
    ends = np.append(0, np.cumsum(counts))
    for deal in (buckets, neighbours):
        groups = list(deal(ends, 2))
        assert sorted(np.concatenate([which for which, _ in groups])) == [1, 2, 3, 4, 5, 6, 8]
        for which, length in groups:
            assert (counts[which] <= length).all()
            index, filled = padded(ends, which, length, 2)
            assert index.shape == (2, length)
            np.testing.assert_array_equal(filled.sum(1)[: len(which)], counts[which])
            assert (np.diff(index[0, : counts[which[0]]]) == 1).all()
    for which, length in buckets(ends, 2):
        assert (-(-counts[which] // 8) * 8 == length).all()


def test_numbers_come_back_from_order_one():
    pull = torch.linspace(-25.0, 25.0, 101)[:, None].expand(-1, NUMBERS)
    torch.testing.assert_close(grow(shrink(pull)), pull, rtol=1e-4, atol=1e-4)
    assert float(grow(torch.full((1, NUMBERS), 50.0)).max()) == FARTHEST


def test_the_solver_is_of_its_order():
    def error(steps, solver):
        end = integrate(lambda x, t: x * (1.0 + t), torch.ones(1), steps, solver)
        return abs(float(end) - np.exp(1.5))

    assert error(32, "euler") < 0.6 * error(16, "euler")
    assert error(16, "midpoint") < 0.3 * error(8, "midpoint")


def test_it_learns_a_detector_that_is_known():
    torch.manual_seed(2)
    network = toy.built(toy.FLOW)
    rows = toy.batch(1500, seed=20)
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(90):
        part = slice(250 * (step % 6), 250 * (step % 6 + 1))
        loss = network.loss(Batch(rows.target[part], rows.condition[part], rows.weight[part]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    gen = toy.gen_jets(1000, 40)
    out, truth = toy.drawn(network, gen, toy.noise(network, 1000)), toy.reco_jets(gen, 41)
    sums = [side[..., 0].sum(1).mean() for side in (out, truth)]
    counts = [(side[..., 0] > 0).sum(1).mean() for side in (out, truth)]
    assert sums[0] == pytest.approx(sums[1], rel=0.03)
    assert counts[0] == pytest.approx(counts[1], rel=0.04)
