"""The family set-flow-matching: the laws of every family, and those of sets."""

import jets_toy as toy
import numpy as np
import pytest
import torch

from gen2reco.models import build
from gen2reco.models.nn.hits import Particles
from gen2reco.models.nn.set_left import LEFT_NORMALS, LEFT_UNIFORMS
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
from gen2reco.models.protocol import Batch, Shape
from gen2reco.models.set_flow_matching import (
    FIELDS,
    NORMALS,
    UNIFORMS,
    SetFlowMatchingConfig,
)
from gen2reco.study import Training
from gen2reco.training import fit, fresh_model

SMALL = SetFlowMatchingConfig(width=16, blocks=(1, 1, 1, 1), hidden=(8,), most_left=4)


def built(slots=toy.SLOTS, config=SMALL):
    torch.manual_seed(1)
    return build(config, Shape(slots * FIELDS, slots * FIELDS, slots=slots)).eval()


@pytest.fixture
def model():
    """A model that has seen what may happen to particles."""
    network = built()
    network.train()
    network.loss(toy.batch(200))
    return network.eval()


def slot_lanes(model, noise):
    """Views of the random numbers that belong to slots, [jets, slots, lanes]."""
    sizes, most = model.noise, model.config.most_left
    normal = noise[:, most * LEFT_NORMALS : sizes.normal]
    uniform = noise[:, sizes.normal + 1 + most * LEFT_UNIFORMS :]
    return (
        normal.reshape(len(noise), model.slots, NORMALS),
        uniform.reshape(len(noise), model.slots, UNIFORMS),
    )


def test_loss_is_a_number_with_a_gradient_for_every_parameter(model):
    model.train()
    rows = toy.batch(300)
    # A muon where GEN has none, for what is left over.
    rows.target[:, -FIELDS:] = torch.tensor([3.0, 3.0, 1.0, 13.0, -1.0])
    loss = model.loss(rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_loss_of_jets_is_the_mean_over_jets(model):
    rows = toy.batch(60)
    halves = [
        Batch(rows.target[part], rows.condition[part], rows.weight[part])
        for part in (slice(0, 30), slice(30, 60))
    ]
    with torch.no_grad():
        whole, first, second = (float(model.loss(one)) for one in (rows, *halves))
    assert whole == pytest.approx((first + second) / 2, rel=1e-4)


def test_sets_without_particles_have_a_loss_and_responses(model):
    rows = toy.batch(8)
    for side in (rows.condition, rows.target):
        side[2:5] = 0.0
    model.train()
    assert torch.isfinite(model.loss(rows))
    model.eval()
    nothing = np.zeros((3, toy.SLOTS, FIELDS), np.float32)
    out = toy.drawn(model, nothing, toy.noise(model, 3))
    # Only what belongs to no GEN particle.
    assert ((out[..., 0] > 0).sum(axis=1) <= model.config.most_left).all()
    empty = Batch(*(torch.zeros(3, toy.SLOTS * FIELDS) for _ in range(2)), torch.ones(3))
    assert torch.isfinite(model.loss(empty))


def test_same_noise_same_jets_and_other_noise_others(model):
    gen = toy.gen_jets(50, 3)
    one, again, other = (toy.drawn(model, gen, toy.noise(model, 50, s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_jet_does_not_depend_on_its_batch(model):
    gen, noise = toy.gen_jets(300, 4), toy.noise(model, 300)
    whole = toy.drawn(model, gen, noise)
    for part in (slice(0, 1), slice(17, 60), slice(299, 300)):
        np.testing.assert_array_equal(toy.drawn(model, gen[part], noise[part]), whole[part])
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(toy.drawn(model, gen[order], noise[order]), whole[order])


def test_what_fills_up_a_block_of_rows_is_no_particle(model):
    filling = np.full((4, toy.SLOTS, FIELDS), 0.5, np.float32)
    nothing = np.zeros_like(filling)
    noise = toy.noise(model, 4)
    np.testing.assert_array_equal(
        toy.drawn(model, filling, noise), toy.drawn(model, nothing, noise)
    )


def test_the_order_of_particles_does_not_matter(model):
    gen, noise = toy.gen_jets(80, 5), toy.noise(model, 80)
    whole = toy.drawn(model, gen, noise)
    order = np.random.default_rng(1).permutation(toy.SLOTS)
    mixed = noise.clone()
    for view, given in zip(slot_lanes(model, mixed), slot_lanes(model, noise), strict=True):
        view.copy_(given[:, order].clone())
    again = toy.drawn(model, gen[:, order], mixed)
    # The output is ordered by pt; sums in another order differ in the last bits.
    np.testing.assert_allclose(again, whole, rtol=1e-3, atol=1e-3)


def test_padding_changes_nothing(model):
    gen = toy.gen_jets(80, 6)
    wide = built(toy.SLOTS + 25)
    wide.load_state_dict(model.state_dict())
    narrow_noise, wide_noise = toy.noise(model, 80), toy.noise(wide, 80)
    head, tail = SMALL.most_left * LEFT_NORMALS, 1 + SMALL.most_left * LEFT_UNIFORMS
    first, second = model.noise.normal, wide.noise.normal
    wide_noise[:, :head] = narrow_noise[:, :head]
    wide_noise[:, second : second + tail] = narrow_noise[:, first : first + tail]
    pairs = zip(slot_lanes(wide, wide_noise), slot_lanes(model, narrow_noise), strict=True)
    for view, given in pairs:
        view[:, : toy.SLOTS] = given
    out = toy.drawn(wide, np.pad(gen, ((0, 0), (0, 25), (0, 0))), wide_noise)
    np.testing.assert_array_equal(out[:, : toy.SLOTS], toy.drawn(model, gen, narrow_noise))
    assert not out[:, toy.SLOTS :].any()


def test_particles_come_by_falling_pt_and_are_what_training_had(model):
    out = toy.drawn(model, toy.gen_jets(200, 7), toy.noise(model, 200))
    assert (np.diff(out[..., 0], axis=1) <= 0).all()
    there = out[..., 0] > 0
    assert not out[~there].any()
    assert set(np.unique(np.abs(out[there][:, 3]))) <= {11.0, 13.0, 22.0, 130.0, 211.0}
    assert (np.abs(out[there][:, 2]) <= np.pi + 1e-6).all()
    neutral = np.isin(np.abs(out[there][:, 3]), (22, 130))
    np.testing.assert_array_equal(out[there][:, 4] == 0, neutral)


def test_a_copied_track_keeps_its_direction(model):
    gen = toy.gen_jets(60, 8)
    out = toy.drawn(model, gen, toy.noise(model, 60))
    copies = total = 0
    for jet in range(60):
        for row in out[jet, (out[jet, :, 0] > 0) & (out[jet, :, 4] != 0)]:
            total += 1
            same = (gen[jet, :, 1] == row[1]) & (np.abs(gen[jet, :, 2] - row[2]) < 1e-6)
            copies += bool(same.any())
    # All but those that belong to no GEN particle: training saw no turned track.
    assert copies > 0.6 * total > 0


def test_steps_and_rounds_may_change_after_training(model):
    gen, noise = toy.gen_jets(40, 9), toy.noise(model, 40)
    before = toy.drawn(model, gen, noise)
    model.steps = 8
    more = toy.drawn(model, gen, noise)
    assert not np.array_equal(more, before)
    np.testing.assert_array_equal(more[..., 0] > 0, before[..., 0] > 0)
    model.steps, model.rounds = model.config.steps, 1
    assert not np.array_equal(toy.drawn(model, gen, noise)[..., 0] > 0, before[..., 0] > 0)


def test_saved_and_loaded_it_gives_the_same_bits(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights")
    other = built()
    other.load_state_dict(torch.load(tmp_path / "weights"))
    gen, noise = toy.gen_jets(40, 9), toy.noise(model, 40)
    np.testing.assert_array_equal(toy.drawn(other, gen, noise), toy.drawn(model, gen, noise))


def test_a_fit_that_stops_and_goes_on_gives_the_same_bits(tmp_path):
    settings = Training(epochs=2, batch=16, device="cpu")
    rows, seen = toy.batch(48), toy.batch(16, seed=5)

    def stop(progress):
        if progress.kind == "epoch":
            raise KeyboardInterrupt

    def fitted(folder, **options):
        network = fresh_model(lambda: SMALL.build(built().shape), seed=1)
        fit(network, rows, seen, settings, folder=tmp_path / folder, **options)
        return network.state_dict()

    whole = fitted("whole")
    with pytest.raises(KeyboardInterrupt):
        fitted("halves", progress=stop)
    resumed = fitted("halves", resume=True)
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name].numpy(), value.numpy(), err_msg=name)


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
    network = built()
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
