"""The family sets: the laws of every family, and those of sets."""

import jets_toy as toy
import numpy as np
import pytest
import torch

from gen2reco.models import build
from gen2reco.models.nn.hits import Particles, match_tracks
from gen2reco.models.nn.jet_arrivals import Arrivals
from gen2reco.models.nn.jet_observed import Observed
from gen2reco.models.nn.jet_refusal import ATTEMPTS, Refusal
from gen2reco.models.nn.jet_response import (
    JET_UNIFORMS,
    REST_NORMALS,
    REST_UNIFORMS,
    Draws,
    Histogram,
)
from gen2reco.models.nn.jet_scene import Scene
from gen2reco.models.nn.jet_tracks import Tracks
from gen2reco.models.nn.jet_units import FOUND, LOST
from gen2reco.models.protocol import Shape
from gen2reco.models.sets import FIELDS


@pytest.fixture
def model():
    torch.manual_seed(1)
    flat = toy.SLOTS * FIELDS
    return build(toy.TOY, Shape(flat, flat, slots=toy.SLOTS)).eval()


def lanes(model, noise):
    """Views of the random numbers of jets and of slots, [jets, attempts, ...]."""
    most, sizes = model.config.most_left, Draws.sizes(model.config.most_left, model.slots)
    sides = noise.split([model.noise.normal, model.noise.uniform], dim=1)
    ends = most * REST_NORMALS, JET_UNIFORMS + most * REST_UNIFORMS
    of_jets, of_slots = [], []
    for side, size, end in zip(sides, (sizes.normal, sizes.uniform), ends, strict=True):
        attempts = side.unflatten(1, (-1, size))
        of_jets.append(attempts[..., :end])
        of_slots.append(attempts[..., end:].unflatten(2, (model.slots, -1)))
    return of_jets, of_slots


def test_loss_is_a_number_with_a_gradient_for_every_parameter(model):
    model.train()
    for objective in model.objectives():
        loss = model.loss(toy.batch(2000), objective)
        loss.backward()
        assert torch.isfinite(loss)
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The toy moves no photon, turns no track and knows no decays.
    assert all(name.startswith(("steps.turn", "steps.photon_place")) for name in without)


def test_the_loss_of_jets_is_the_mean_over_jets(model):
    rows = toy.batch(60)
    halves = [type(rows)(*(side[part] for side in (rows.target, rows.condition, rows.weight)))
              for part in (slice(0, 30), slice(30, 60))]  # fmt: skip
    with torch.no_grad():
        whole, first, second = (float(model.loss(one)) for one in (rows, *halves))
    assert whole == pytest.approx((first + second) / 2, rel=1e-5)


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


def test_the_order_of_particles_does_not_matter(model):
    gen, noise = toy.gen_jets(80, 5), toy.noise(model, 80)
    whole = toy.drawn(model, gen, noise)
    order = np.random.default_rng(1).permutation(toy.SLOTS)
    mixed = noise.clone()
    for view, given in zip(lanes(model, mixed)[1], lanes(model, noise)[1], strict=True):
        view.copy_(given[:, :, order].clone())
    again = toy.drawn(model, gen[:, order], mixed)
    # The output is ordered by pt; sums in another order differ in the last bit.
    np.testing.assert_allclose(again, whole, rtol=2e-4, atol=2e-4)


def test_padding_changes_nothing(model):
    gen = toy.gen_jets(80, 6)
    slots = toy.SLOTS + 25
    flat = slots * FIELDS
    wide = build(toy.TOY, Shape(flat, flat, slots=slots)).eval()
    wide.load_state_dict(model.state_dict())
    narrow_noise, wide_noise = toy.noise(model, 80), toy.noise(wide, 80)
    for side in range(2):
        (wide_jets, wide_slot), (jets, slot) = (
            [part[side] for part in lanes(*pair)]
            for pair in ((wide, wide_noise), (model, narrow_noise))
        )
        wide_jets.copy_(jets)
        wide_slot[:, :, : toy.SLOTS] = slot
    padded = np.pad(gen, ((0, 0), (0, 25), (0, 0)))
    out = toy.drawn(wide, padded, wide_noise)
    np.testing.assert_array_equal(out[:, : toy.SLOTS], toy.drawn(model, gen, narrow_noise))
    assert not out[:, toy.SLOTS :].any()


def test_jets_come_by_falling_pt_and_hold_what_particles_are(model):
    out = toy.drawn(model, toy.gen_jets(200, 7), toy.noise(model, 200))
    pt = out[..., 0]
    assert (np.diff(pt, axis=1) <= 0).all()
    there = pt > 0
    assert not out[~there].any()
    assert set(np.unique(np.abs(out[there][:, 3]))) <= {11.0, 13.0, 22.0, 130.0, 211.0}
    assert (np.abs(out[there][:, 2]) <= np.pi + 1e-6).all()
    neutral = np.isin(np.abs(out[there][:, 3]), (22, 130))
    np.testing.assert_array_equal(out[there][:, 4] == 0, neutral)


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


def test_tracks_keep_the_direction_of_their_particle(model):
    gen = toy.gen_jets(60, 8)
    out = toy.drawn(model, gen, toy.noise(model, 60))
    copies = total = 0
    for jet in range(60):
        there = (out[jet, :, 0] > 0) & (out[jet, :, 4] != 0)
        for row in out[jet, there]:
            total += 1
            copies += bool((np.abs(gen[jet, :, 1] - row[1]) < 1e-6).any())
    # All but those that belong to no GEN particle.
    assert copies > 0.7 * total


def test_saved_and_loaded_it_gives_the_same_bits(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights")
    flat = toy.SLOTS * FIELDS
    other = build(toy.TOY, Shape(flat, flat, slots=toy.SLOTS)).eval()
    other.load_state_dict(torch.load(tmp_path / "weights"))
    gen, noise = toy.gen_jets(40, 9), toy.noise(model, 40)
    np.testing.assert_array_equal(toy.drawn(other, gen, noise), toy.drawn(model, gen, noise))


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
    plain = build(
        toy.TOY.model_copy(update={"refusal": ()}),
        Shape(toy.SLOTS * FIELDS, toy.SLOTS * FIELDS, slots=toy.SLOTS),
    ).eval()
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
