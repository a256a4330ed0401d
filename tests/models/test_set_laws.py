"""The laws of every family of sets: particles in any order, padding, batches, random numbers."""

import jets_toy as toy
import numpy as np
import pytest
import torch

from gen2reco.models.nn import jet_response, set_left
from gen2reco.models.nn.slots import FIELDS
from gen2reco.models.protocol import Batch
from gen2reco.study import Training
from gen2reco.training import fit, fresh_model

FAMILIES = {config.kind: config for config in (toy.TOY, toy.FLOW)}


@pytest.fixture(params=FAMILIES)
def model(request):
    """A model that has seen what may happen to particles."""
    network = toy.built(FAMILIES[request.param])
    network.train()
    network.loss(toy.batch(200))
    return network.eval()


def lanes(model, noise):
    """Views of the random numbers of jets and of slots, [jets, attempts, ...]."""
    most = model.config.most_left
    if model.config.kind == "sets":
        sizes = jet_response.Draws.sizes(most, model.slots)
        ends = (
            most * jet_response.REST_NORMALS,
            jet_response.JET_UNIFORMS + most * jet_response.REST_UNIFORMS,
        )
    else:
        sizes = model.noise
        ends = most * set_left.LEFT_NORMALS, 1 + most * set_left.LEFT_UNIFORMS
    sides = noise.split([model.noise.normal, model.noise.uniform], dim=1)
    of_jets, of_slots = [], []
    for side, size, end in zip(sides, (sizes.normal, sizes.uniform), ends, strict=True):
        attempts = side.unflatten(1, (-1, size))
        of_jets.append(attempts[..., :end])
        of_slots.append(attempts[..., end:].unflatten(2, (model.slots, -1)))
    return of_jets, of_slots


def test_the_loss_of_jets_is_the_mean_over_jets(model):
    rows = toy.batch(60)
    halves = [
        Batch(rows.target[part], rows.condition[part], rows.weight[part])
        for part in (slice(0, 30), slice(30, 60))
    ]
    with torch.no_grad():
        whole, first, second = (float(model.loss(one)) for one in (rows, *halves))
    assert whole == pytest.approx((first + second) / 2, rel=1e-4)


def test_sets_without_particles_have_losses_and_responses(model):
    rows = toy.batch(8)
    for side in (rows.condition, rows.target):
        side[2:5] = 0.0
    empty = Batch(*(torch.zeros(3, toy.SLOTS * FIELDS) for _ in range(2)), torch.ones(3))
    for objective in model.objectives():
        model.train()
        assert torch.isfinite(model.loss(rows, objective))
        model.eval()
        assert torch.isfinite(model.loss(empty, objective))
    nothing = np.zeros((3, toy.SLOTS, FIELDS), np.float32)
    out = toy.drawn(model, nothing, toy.noise(model, 3))
    # Only what belongs to no GEN particle.
    assert ((out[..., 0] > 0).sum(axis=1) <= model.config.most_left).all()


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
    for view, given in zip(lanes(model, mixed)[1], lanes(model, noise)[1], strict=True):
        view.copy_(given[:, :, order].clone())
    again = toy.drawn(model, gen[:, order], mixed)
    # The output is ordered by pt; sums in another order differ in the last bits.
    np.testing.assert_allclose(again, whole, rtol=1e-3, atol=1e-3)


def test_padding_changes_nothing(model):
    gen = toy.gen_jets(80, 6)
    wide = toy.built(model.config, toy.SLOTS + 25)
    wide.load_state_dict(model.state_dict())
    narrow_noise, wide_noise = toy.noise(model, 80), toy.noise(wide, 80)
    for wider, given in zip(lanes(wide, wide_noise), lanes(model, narrow_noise), strict=True):
        for view, numbers in zip(wider, given, strict=True):
            view[:, :, : numbers.shape[2]] = numbers
    out = toy.drawn(wide, np.pad(gen, ((0, 0), (0, 25), (0, 0))), wide_noise)
    np.testing.assert_array_equal(out[:, : toy.SLOTS], toy.drawn(model, gen, narrow_noise))
    assert not out[:, toy.SLOTS :].any()


def test_jets_come_by_falling_pt_and_hold_what_particles_are(model):
    out = toy.drawn(model, toy.gen_jets(200, 7), toy.noise(model, 200))
    assert (np.diff(out[..., 0], axis=1) <= 0).all()
    there = out[..., 0] > 0
    assert not out[~there].any()
    assert set(np.unique(np.abs(out[there][:, 3]))) <= {11.0, 13.0, 22.0, 130.0, 211.0}
    assert (np.abs(out[there][:, 2]) <= np.pi + 1e-6).all()
    neutral = np.isin(np.abs(out[there][:, 3]), (22, 130))
    np.testing.assert_array_equal(out[there][:, 4] == 0, neutral)


def test_tracks_keep_the_direction_of_their_particle(model):
    gen = toy.gen_jets(60, 8)
    out = toy.drawn(model, gen, toy.noise(model, 60))
    copies = total = 0
    for jet in range(60):
        for row in out[jet, (out[jet, :, 0] > 0) & (out[jet, :, 4] != 0)]:
            total += 1
            copies += bool((np.abs(gen[jet, :, 1] - row[1]) < 1e-6).any())
    # All but those that belong to no GEN particle.
    assert copies > 0.6 * total > 0


def test_saved_and_loaded_it_gives_the_same_bits(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights")
    other = toy.built(model.config)
    other.load_state_dict(torch.load(tmp_path / "weights"))
    gen, noise = toy.gen_jets(40, 9), toy.noise(model, 40)
    np.testing.assert_array_equal(toy.drawn(other, gen, noise), toy.drawn(model, gen, noise))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_fit_that_stops_and_goes_on_gives_the_same_bits(kind, tmp_path):
    settings = Training(epochs=2, batch=16, device="cpu")
    rows, seen = toy.batch(48), toy.batch(16, seed=5)
    shape = toy.built(FAMILIES[kind]).shape

    def stop(progress):
        if progress.kind == "epoch":
            raise KeyboardInterrupt

    def fitted(folder, **options):
        network = fresh_model(lambda: FAMILIES[kind].build(shape), seed=1)
        fit(network, rows, seen, settings, folder=tmp_path / folder, **options)
        return network.state_dict()

    whole = fitted("whole")
    with pytest.raises(KeyboardInterrupt):
        fitted("halves", progress=stop)
    resumed = fitted("halves", resume=True)
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name].numpy(), value.numpy(), err_msg=name)
