"""FlashSim's flow: built as published, exactly invertible, and it learns a known truth."""

import math

import pytest
import torch
from toy_detector import SHAPE, ToyDetector, learn

from gen2reco.models.flashsim import FlashSimConfig
from gen2reco.models.protocol import Batch, Shape

SHAPES = [Shape(5, 3), Shape(2, 0), Shape(1, 2), Shape(1, 0), Shape(4, 1)]


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape.targets}-{shape.conditions}")
def shape(request):
    return request.param


def model_for(shape, spread=0.1, dtype=torch.float64, **settings):
    torch.manual_seed(1)
    small = {"blocks": 2, "width": 16, "bins": 8}
    model = FlashSimConfig(**(small | settings)).build(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return model.to(dtype).eval()


def rows_for(shape, n=300, dtype=torch.float64):
    torch.manual_seed(2)
    target = 1.5 * torch.randn(n, shape.targets, dtype=dtype)
    return Batch(target, torch.randn(n, shape.conditions, dtype=dtype), torch.ones(n, dtype=dtype))


def test_the_published_network_for_jets():
    with torch.device("meta"):
        model = FlashSimConfig().build(Shape(targets=17, conditions=14))
    assert len(model.couplings) == 17
    assert len(model.mixings) == 18
    network = model.couplings[0].network
    assert len(network.blocks) == 10
    assert [layer.num_features for layer in network.blocks[0].normalize] == [298, 298]
    assert (network.first.in_features, network.blocks[0].gate.in_features) == (8 + 14, 14)
    assert model.couplings[0].last.out_features == 9 * (3 * 128 - 1)
    # "50+ millions", says the source.
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(48e6, rel=0.02)


def test_as_many_couplings_as_targets_unless_said():
    assert len(model_for(Shape(6, 2)).couplings) == 6
    assert len(model_for(Shape(6, 2), layers=3).couplings) == 3


def test_couplings_move_every_other_column_in_turn():
    model = model_for(Shape(5, 2))
    halves = [coupling.moved.tolist() for coupling in model.couplings]
    assert halves == [[0, 2, 4], [1, 3], [0, 2, 4], [1, 3], [0, 2, 4]]
    for coupling in model.couplings:
        assert sorted([*coupling.moved.tolist(), *coupling.kept.tolist()]) == [0, 1, 2, 3, 4]
    orders = [mixing.order.tolist() for mixing in model.mixings]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert [m.order.tolist() for m in model_for(Shape(5, 2)).mixings] == orders
    assert [m.order.tolist() for m in model_for(Shape(5, 2), order_seed=2).mixings] != orders


def test_noise_and_targets_go_into_each_other(shape):
    model, batch = model_for(shape), rows_for(shape)
    with torch.no_grad():
        noise = model.invert(batch.target, batch.condition)
        torch.testing.assert_close(
            model.sample(batch.condition, noise), batch.target, rtol=0.0, atol=1e-9
        )
        target = model.sample(batch.condition, batch.target)
        torch.testing.assert_close(
            model.invert(target, batch.condition), batch.target, rtol=0.0, atol=1e-9
        )
    assert (noise - batch.target).abs().max() > 0.1


def test_density_is_that_of_the_jacobian(shape):
    model, batch = model_for(shape), rows_for(shape, n=20)
    for target, condition in zip(batch.target, batch.condition, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, c=condition: model.invert(x[None], c[None])[0], target
        )
        noise = model.invert(target[None], condition[None])[0]
        base = -0.5 * noise.square().sum() - 0.5 * shape.targets * math.log(2.0 * math.pi)
        expected = base + torch.linalg.slogdet(jacobian)[1]
        found = model.log_prob(target[None], condition[None])[0]
        assert found.item() == pytest.approx(expected.item(), abs=1e-8)


def test_density_integrates_to_one():
    model = model_for(Shape(2, 1), spread=0.2)
    axis = torch.linspace(-12.0, 12.0, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = model.log_prob(grid, torch.full((len(grid), 1), 0.7, dtype=torch.float64)).exp()
    assert density.sum().item() * (axis[1] - axis[0]).item() ** 2 == pytest.approx(1.0, abs=2e-3)


def test_single_precision_follows_double_precision(shape):
    rows = rows_for(shape, dtype=torch.float32)
    with torch.no_grad():
        single = model_for(shape, dtype=torch.float32).log_prob(rows.target, rows.condition)
        exact = model_for(shape).log_prob(rows.target.double(), rows.condition.double())
    assert (single.double() - exact).abs().max() < 1e-4


def test_with_silent_networks_it_only_reorders_the_base():
    torch.manual_seed(1)
    model = FlashSimConfig(blocks=1, width=8, bins=16).build(Shape(6, 4)).eval()
    for coupling in model.couplings:
        torch.nn.init.zeros_(coupling.last.weight)
        torch.nn.init.zeros_(coupling.last.bias)
    batch = rows_for(Shape(6, 4), dtype=torch.float32)
    with torch.no_grad():
        noise = model.invert(batch.target, batch.condition)
        density = model.log_prob(batch.target, batch.condition)
    order = torch.arange(6)
    for mixing in model.mixings:
        order = order[mixing.order]
    torch.testing.assert_close(noise, batch.target[:, order], rtol=1e-5, atol=1e-5)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(batch.target).sum(1)
    torch.testing.assert_close(density, normal, rtol=1e-4, atol=1e-3)


def test_position_in_a_block_changes_no_bit():
    shape = Shape(14, 13)
    model = model_for(shape, dtype=torch.float32, blocks=2, width=64, bins=32, layers=3)
    torch.manual_seed(3)
    noise, condition = torch.randn(2048, 14), torch.randn(2048, 13)
    order = torch.randperm(2048)
    with torch.inference_mode():
        sampled = model.sample(condition, noise)
        assert torch.equal(model.sample(condition[order], noise[order]), sampled[order])


@pytest.mark.slow
def test_learns_the_toy_detector():
    toy = ToyDetector(140_000, held=30_000)
    torch.manual_seed(1)
    model = FlashSimConfig(blocks=2, width=48, bins=16).build(SHAPE)
    learn(model, toy, steps=1200, batch=1024, learning_rate=3e-3)
    with torch.no_grad():
        learned = model.log_prob(toy.held.target, toy.held.condition)
    divergence, error = toy.excess(learned)
    assert divergence > -4.0 * error
    assert divergence < 0.04
