"""The flow: its modes give the same numbers, its density is one, and it learns a known truth."""

import copy
import logging

import numpy as np
import pytest
import torch
from toy_detector import SHAPE, ToyDetector, learn

from gen2reco.errors import StudyError
from gen2reco.models.flow import Flow, FlowConfig
from gen2reco.models.nn.coupling import balanced_halves, pack, unpack
from gen2reco.models.protocol import Batch, Shape

SHAPES = [Shape(5, 3), Shape(2, 0), Shape(1, 2), Shape(1, 0), Shape(9, 9)]
ROWS = 600


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape.targets}-{shape.conditions}")
def shape(request):
    return request.param


def flow_for(shape, seed=1, spread=0.1, **settings):
    torch.manual_seed(seed)
    flow = FlowConfig(**({"couplings": 4, "hidden": (24, 16), "bins": 8} | settings)).build(shape)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return flow


def shapes_of(flow):
    return [coupling.shapes for coupling in flow.couplings]


def in_mode(flow, mode, dtype=torch.float32):
    config = flow.config.model_copy(update={"mode": mode})
    twin = Flow(config, flow.shape)
    twin.load_state_dict(flow.state_dict())
    return twin.to(dtype)


def rows_for(shape, n=ROWS, seed=2):
    torch.manual_seed(seed)
    return Batch(
        1.5 * torch.randn(n, shape.targets),
        torch.randn(n, shape.conditions),
        torch.rand(n) + 0.5,
    )


def in_double(batch):
    return Batch(batch.target.double(), batch.condition.double(), batch.weight.double())


@pytest.mark.parametrize("activation", ["relu", "hardswish", "silu"])
def test_modes_and_precisions_agree(shape, activation):
    flow, batch = flow_for(shape, activation=activation), rows_for(shape)
    eager, exact = in_mode(flow, "eager"), in_mode(flow, "auto", torch.float64)
    double = in_double(batch)
    with torch.no_grad():
        density = flow.log_prob(batch.target, batch.condition)
        assert (density - exact.log_prob(double.target, double.condition)).abs().max() < 1e-4
        assert (density - eager.log_prob(batch.target, batch.condition)).abs().max() < 1e-4
        noise = flow.invert(batch.target, batch.condition)
        assert (noise - exact.invert(double.target, double.condition)).abs().max() < 2e-5
        sampled = flow.sample(batch.condition, batch.target)
        reference = exact.sample(double.condition, double.target)
        assert (sampled - reference).abs().median() < 5e-6
        assert (sampled - reference).abs().max() < 5e-5
        torch.testing.assert_close(
            flow.sample(batch.condition, noise), batch.target, rtol=1e-5, atol=5e-5
        )


def test_gradients_agree(shape):
    flow, batch = flow_for(shape), rows_for(shape)
    exact, double = in_mode(flow, "auto", torch.float64), in_double(rows_for(shape))
    loss, reference = flow.loss(batch), exact.loss(double)
    assert loss.item() == pytest.approx(reference.item(), abs=1e-5)
    (3.0 * loss).backward()
    (3.0 * reference).backward()
    for (name, found), true in zip(flow.named_parameters(), exact.parameters(), strict=True):
        scale = true.grad.abs().max().item() + 1e-3
        assert (found.grad - true.grad).abs().max() < 1e-4 * scale, name
    for network in unpack(flow.networks.grad, shapes_of(flow)):
        assert all(part.abs().max() > 0.0 for part in (*network.weights, *network.biases))


def test_density_is_differentiable_in_rows_too(shape):
    flow, batch = flow_for(shape), rows_for(shape)
    results = []
    for model, rows in (
        (flow, batch),
        (in_mode(flow, "auto", torch.float64), in_double(batch)),
    ):
        target, condition = rows.target.requires_grad_(), rows.condition.requires_grad_()
        (model.log_prob(target, condition) * rows.weight).sum().backward()
        results.append([target.grad, condition.grad, *(p.grad for p in model.parameters())])
    for found, true in zip(*results, strict=True):
        if true is not None and true.numel():
            scale = true.abs().max() + 1e-3
            assert (found - true).abs().max() < 1e-3 * scale


def test_position_in_a_block_changes_no_bit():
    shape = Shape(7, 11)
    flow = flow_for(shape, hidden=(64, 64), bins=16)
    torch.manual_seed(3)
    noise, condition = torch.randn(4096, 7), torch.randn(4096, 11)
    order = torch.randperm(4096)
    with torch.inference_mode():
        sampled = flow.sample(condition, noise)
        assert torch.equal(flow.sample(condition[order], noise[order]), sampled[order])
        density = flow.log_prob(sampled, condition)
        assert torch.equal(flow.log_prob(sampled[order], condition[order]), density[order])
        # A row alone among strangers.
        others, elsewhere = torch.randn(4096, 7), torch.randn(4096, 11)
        others[1777], elsewhere[1777] = noise[5], condition[5]
        assert torch.equal(flow.sample(elsewhere, others)[1777], sampled[5])


def test_number_of_threads_changes_no_bit():
    shape = Shape(5, 3)
    flow, batch = flow_for(shape, hidden=(32, 32), dropout=0.1), rows_for(shape, n=2500)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        model = copy.deepcopy(flow)
        torch.manual_seed(4)
        loss = model.loss(batch)
        loss.backward()
        with torch.no_grad():
            model.eval()
            sampled = model.sample(batch.condition, batch.target)
            density = model.log_prob(batch.target, batch.condition)
        assert torch.get_num_threads() == threads
        results.append([loss.detach(), sampled, density, *(p.grad for p in model.parameters())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_density_integrates_to_one():
    flow = flow_for(Shape(2, 1), spread=0.2)
    axis = torch.linspace(-12.0, 12.0, 901)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = flow.log_prob(grid, torch.full((len(grid), 1), 0.7)).exp()
    step = (axis[1] - axis[0]).item()
    assert density.sum().item() * step**2 == pytest.approx(1.0, abs=2e-3)


def test_fresh_flow_is_close_to_the_normal_base():
    flow, batch = FlowConfig().build(Shape(6, 4)), rows_for(Shape(6, 4))
    with torch.no_grad():
        sampled = flow.sample(batch.condition, batch.target)
        assert (sampled - batch.target).abs().max() < 1.0
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(batch.target).sum(1)
        density = flow.log_prob(batch.target, batch.condition)
    assert (density - normal).abs().mean() < 0.3


def test_outside_the_splines_the_base_decides():
    flow = flow_for(Shape(1, 1), bound=3.0)
    far = torch.tensor([[25.0], [-40.0]])
    with torch.no_grad():
        noise = flow.invert(far, torch.zeros(2, 1))
        expected = (far - flow.location) * torch.exp(-flow.log_scale)
    torch.testing.assert_close(noise, expected)


def test_mode_is_logged_and_never_changed_silently(caplog):
    flow, batch = flow_for(Shape(3, 2)), rows_for(Shape(3, 2), n=20)
    with caplog.at_level(logging.INFO, "gen2reco.models.flow"):
        flow.sample(batch.condition, batch.target)
        flow.sample(batch.condition, batch.target)
    assert [record.message for record in caplog.records] == ["flow runs in mode compiled"]
    caplog.clear()
    with caplog.at_level(logging.INFO, "gen2reco.models.flow"):
        double = in_double(batch)
        in_mode(flow, "auto", torch.float64).sample(double.condition, double.target)
    assert "mode eager: the model is torch.float64" in caplog.text
    with pytest.raises(StudyError, match=r"model.mode: 'compiled' needs float32 on the CPU"):
        in_mode(flow, "compiled", torch.float64).sample(double.condition, double.target)
    assert in_mode(flow, "eager").mode(batch.target) == "eager"


def test_exports_as_a_program():
    flow = flow_for(Shape(3, 2)).eval()

    class Sampler(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, condition, noise):
            return self.flow.sample(condition, noise)

    batch = rows_for(Shape(3, 2), n=40)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(
        Sampler(),
        (batch.condition, batch.target),
        dynamic_shapes=({0: rows}, {0: rows}),
    )
    other = rows_for(Shape(3, 2), n=77, seed=9)
    with torch.no_grad():
        exported = program.module()(other.condition, other.target)
        torch.testing.assert_close(
            exported, flow.sample(other.condition, other.target), rtol=0.0, atol=2e-5
        )


def test_dropout_acts_in_training_only_and_follows_the_seed():
    flow, batch = flow_for(Shape(4, 3), spread=0.3, dropout=0.3), rows_for(Shape(4, 3))

    def gradients(seed):
        torch.manual_seed(seed)
        flow.zero_grad()
        loss = flow.loss(batch)
        loss.backward()
        return loss.item(), flow.networks.grad.clone()

    first, again, other = gradients(1), gradients(1), gradients(2)
    assert first[0] == again[0] != other[0]
    assert torch.equal(first[1], again[1])
    flow.eval()
    still = gradients(1)[0]
    assert gradients(2)[0] == still
    with torch.no_grad():
        assert flow.loss(batch).item() == pytest.approx(still, rel=1e-6)


def test_dropout_gradient_is_that_of_the_thinned_network():
    # One coupling with one hidden layer, so that a change of one weight is seen exactly.
    flow = flow_for(Shape(2, 2), couplings=1, hidden=(20,), spread=0.1, dropout=0.4)
    batch = rows_for(Shape(2, 2), n=64)

    def loss():
        torch.manual_seed(11)
        return flow.loss(batch)

    loss().backward()
    for gradient, weight in zip(
        unpack(flow.networks.grad, shapes_of(flow))[0].weights,
        unpack(flow.networks.detach(), shapes_of(flow))[0].weights,
        strict=True,
    ):
        place = tuple(np.unravel_index(gradient.abs().argmax().item(), weight.shape))
        step, losses = 1e-2, []
        for change in (step, -2.0 * step, step):
            weight[place] += change
            losses.append(loss().item())
        assert losses[2] == pytest.approx(loss().item(), abs=1e-6)
        slope = (losses[0] - losses[1]) / (2.0 * step)
        assert slope == pytest.approx(gradient[place].item(), rel=0.02)


def test_networks_are_packed_and_unpacked():
    flow = flow_for(Shape(5, 2))
    networks = unpack(flow.networks, shapes_of(flow))
    assert torch.equal(pack(networks), flow.networks)
    for coupling, network in zip(flow.couplings, networks, strict=True):
        assert [tuple(weight.shape) for weight in network.weights] == coupling.shapes
        assert network.weights[0].shape[1] == 2 + len(coupling.kept)
        assert len(network.biases[-1]) == 23 * len(coupling.moved)


def test_every_target_moves_as_often_and_meets_all_others():
    for targets in (2, 3, 7, 16):
        halves = balanced_halves(targets, 8, seed=1)
        moves = np.bincount(np.concatenate(halves), minlength=targets)
        assert (moves == 4).all()
        met = {(i, j) for half in halves for i in half for j in set(range(targets)) - set(half)}
        assert len(met) >= (0.97 if targets > 9 else 1.0) * targets * (targets - 1)
    assert balanced_halves(1, 3, seed=1) == [[0]] * 3
    assert balanced_halves(9, 6, seed=1) == balanced_halves(9, 6, seed=1)
    assert balanced_halves(9, 6, seed=1) != balanced_halves(9, 6, seed=2)


@pytest.mark.slow
def test_learns_the_toy_detector_to_a_fiftieth_of_a_nat():
    toy = ToyDetector(140_000, held=30_000)
    torch.manual_seed(1)
    flow = FlowConfig(couplings=6, hidden=(48, 48), bins=8).build(SHAPE)
    learn(flow, toy, steps=2400, batch=1024, learning_rate=5e-3)
    with torch.no_grad():
        learned = flow.log_prob(toy.held.target, toy.held.condition)
    divergence, error = toy.excess(learned)
    assert divergence > -4.0 * error
    assert divergence < 0.02
