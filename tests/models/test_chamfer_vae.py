"""The particle VAE: its laws, its loss against closed forms, its extensions."""

import numpy as np
import pytest
import torch

from gen2reco.errors import StudyError
from gen2reco.models import build, parse
from gen2reco.models.chamfer_vae import AXES, chamfer
from gen2reco.models.protocol import Batch, Shape

SLOTS = 16
MOMENTS = ((1.0, 20.0), (-2.0, 20.0), (3.0, 40.0)) * 2
SMALL = {"kind": "chamfer-vae", "latent": 4, "channels": [4, 4, 8], "hidden": 16}


def model(**changes):
    torch.manual_seed(1)
    shape = Shape(SLOTS * AXES, SLOTS * AXES, slots=SLOTS, moments=MOMENTS)
    return build(SMALL | changes, shape).eval()


def batch(rows=40, seed=1):
    rng = np.random.default_rng(seed)
    sides = []
    for _ in range(2):
        momenta = rng.normal(0.0, 15.0, (rows, SLOTS, AXES))
        momenta[np.arange(SLOTS) >= rng.integers(3, SLOTS, rows)[:, None]] = 0.0
        mean, scale = np.array(MOMENTS[:3]).T
        encoded = ((momenta - mean) / scale).reshape(rows, -1)
        sides.append(torch.from_numpy(encoded.astype(np.float32)))
    return Batch(*sides, torch.ones(rows))


def trained(one, rows, steps):
    """Fit a model and return the losses on the way."""
    one.train()
    optimizer = torch.optim.Adam(one.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        loss = one.loss(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    one.eval()
    return losses


EVERY = [
    {},
    {"padding": "mask", "presence": 1e4},
    {"network": "attention"},
    {"network": "attention", "padding": "mask", "presence": 1e4},
    {"units": "standardised"},
]


@pytest.mark.parametrize("changes", EVERY)
def test_every_parameter_has_a_gradient(changes):
    one = model(**changes).train()
    loss = one.loss(batch())
    loss.backward()
    assert torch.isfinite(loss)
    assert [n for n, p in one.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("changes", EVERY)
def test_samples(changes):
    one, rows = model(**changes), batch()
    trained(one, rows, 30)
    noise = torch.randn(40, one.noise.width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        made = one.sample(rows.condition, noise)
        again = one.sample(rows.condition, noise)
        part = one.sample(rows.condition[7:9], noise[7:9])
        other = one.sample(rows.condition, noise + 1.0)
    assert made.shape == rows.target.shape
    assert torch.equal(made, again)
    assert torch.allclose(made[7:9], part, atol=1e-5)
    assert not torch.allclose(made, other)


def test_attention_is_blind_to_the_order():
    one, rows = model(network="attention"), batch()
    noise = torch.randn(40, one.noise.width)
    order = torch.randperm(SLOTS)
    mixed = rows.condition.reshape(40, SLOTS, AXES)[:, order].reshape(40, -1)
    with torch.no_grad():
        made = one.sample(rows.condition, noise).reshape(40, SLOTS, AXES)
        again = one.sample(mixed, noise).reshape(40, SLOTS, AXES)
    assert torch.allclose(again, made[:, order], atol=1e-4)


def test_chamfer_distance():
    first = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    second = torch.tensor([[[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]]])
    # 0, 0 from the first to (1, 0, 0); 9 and 0 from the second.
    assert float(chamfer(first, second)) == pytest.approx(1.0 + 0.0 + 9.0 + 0.0)
    assert float(chamfer(first, first)) == 0.0
    filled = torch.tensor([[False, True]])
    assert float(chamfer(first, second, filled)) == pytest.approx(1.0 + 0.0 + 0.0)


def test_chamfer_distance_is_blind_to_the_order():
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 3, 9, AXES, generator=generator)
    order = torch.randperm(9)
    assert torch.allclose(chamfer(first[:, order], second), chamfer(first, second))


def test_the_loss_is_made_of_its_terms():
    rows = batch()
    only = {"constituents": 0.0, "mass": 0.0, "pt": 0.0, "beta": 0.0}
    parts = {"constituents": 0.5, "mass": 2.0, "pt": 3.0, "beta": 0.7}
    with torch.no_grad():
        whole = float(model(**parts).loss(rows))
        single = [float(model(**(only | {k: v})).loss(rows)) for k, v in parts.items()]
    assert whole == pytest.approx(sum(single), rel=1e-5)
    assert min(single) > 0


def test_monitor_falls_where_jets_become_like_those_of_reco():
    one, rows = model(), batch(200)
    far = one.monitor(rows)
    one.sample = lambda *_: rows.target
    assert one.monitor(rows) == pytest.approx(0.0, abs=1e-6)
    assert far > 0.5


def test_a_mask_makes_empty_slots():
    one, rows = model(padding="mask", presence=1e4, dropout=0.0), batch()
    trained(one, rows, 60)
    with torch.no_grad():
        made = one.sample(rows.condition, torch.randn(40, one.noise.width))
    mean, scale = torch.tensor(MOMENTS[:3]).T
    momenta = made.reshape(40, SLOTS, AXES) * scale + mean
    empty = momenta.abs().sum(2) < 1e-4
    assert 0 < empty.float().mean() < 1


def test_it_learns_to_copy():
    one, rows = model(beta=0.0, mass=0.0, pt=0.0, dropout=0.0, convolution_dropout=0.0,
                      hidden=64, latent=8), batch(64)  # fmt: skip
    losses = trained(one, rows, 60)
    assert losses[-1] < 0.6 * losses[0]


def test_too_few_slots_for_the_convolutions():
    with pytest.raises(StudyError, match="at least 13"):
        build(SMALL, Shape(30, 30, slots=10))


def test_published_sizes_are_the_defaults():
    config = parse({"kind": "chamfer-vae"})
    one = build(config, Shape(150, 150, slots=50))
    assert one.networks.encoder[10].in_features == 38 * 128 == 4864
    assert (config.constituents, config.mass, config.pt, config.beta) == (0.015, 1.0, 0.1, 0.5)
