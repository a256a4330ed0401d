"""The laws of the model protocol: every family passes them by being listed in FAMILIES."""

import copy
import itertools
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen2reco import models
from gen2reco.models.protocol import Batch, Model, Noise, Shape

BLOCK = 2048

FAMILIES = {
    "flow": ({"kind": "flow", "couplings": 3, "hidden": [16, 16], "bins": 6}, Shape(3, 4)),
    "flow-eager": (
        {"kind": "flow", "couplings": 3, "hidden": [16, 16], "bins": 6, "mode": "eager"},
        Shape(3, 4),
    ),
    "flow-one": ({"kind": "flow", "couplings": 2, "hidden": [8], "bins": 5}, Shape(1, 0)),
    "classifier": ({"kind": "classifier", "hidden": [32]}, Shape(2, 4, (2, 3))),
    "classifier-one": ({"kind": "classifier", "dropout": 0.1}, Shape(1, 0, (3,))),
    "mixed": (
        {"kind": "mixed", "continuous": {"couplings": 3, "hidden": [16, 16], "bins": 6}},
        Shape(5, 4, (2, 3), ((0, 0), (0, 2), (1, 1))),
    ),
    "mixed-discrete": ({"kind": "mixed"}, Shape(1, 3, (4,))),
    "mixed-continuous": (
        {"kind": "mixed", "continuous": {"couplings": 3, "hidden": [16, 16], "bins": 6}},
        Shape(3, 4),
    ),
    "quantile": ({"kind": "quantile"}, Shape(9, 9)),
    "quantile-plain": ({"kind": "quantile", "derived": "none", "hidden": [32]}, Shape(2, 3)),
    "flashsim": ({"kind": "flashsim", "blocks": 2, "width": 16, "bins": 6}, Shape(3, 4)),
    "flashsim-alone": (
        {"kind": "flashsim", "layers": 2, "blocks": 1, "width": 16, "bins": 6, "batch_norm": False},
        Shape(3, 0),
    ),
    "flashsim-one": ({"kind": "flashsim", "layers": 2, "bins": 5}, Shape(1, 0)),
    "vae": ({"kind": "vae", "latent": 4, "hidden": [32, 32]}, Shape(3, 4)),
    "vae-flow": (
        {"kind": "vae", "latent": 3, "hidden": [16], "posterior": "flow", "discriminator": [8, 8]},
        Shape(3, 2),
    ),
    "vae-planar": (
        {"kind": "vae", "latent": 2, "hidden": [16], "posterior": "flow", "flow": "planar"},
        Shape(3, 0),
    ),
    "vae-copula": (
        {"kind": "vae", "latent": 3, "hidden": [16], "posterior": "copula", "discriminator": [8]},
        Shape(3, 2),
    ),
    "vae-alone": ({"kind": "vae", "latent": 2, "hidden": [16], "beta": 0.5}, Shape(2, 0)),
}


@pytest.fixture(params=FAMILIES, autouse=True)
def family(request):
    torch.manual_seed(1)
    block, shape = FAMILIES[request.param]
    return block, shape


def built(family) -> Model:
    torch.manual_seed(2)
    model = models.build(*family)
    # Far from the fresh state, where much is zero and nothing could be seen.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def rows(family, n, seed=3) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = family[1]
    condition = torch.randn(n, shape.conditions, generator=generator)
    target = torch.randn(n, shape.targets, generator=generator)
    if shape.levels:
        drawn = torch.randint(len(combinations(shape)), (n,), generator=generator)
        target[:, : len(shape.levels)] = combinations(shape)[drawn]
    return Batch(target, condition, torch.rand(n, generator=generator) + 0.5)


def combinations(shape) -> torch.Tensor:
    """Combinations of the discrete columns that may occur, [combinations, columns]."""
    every = shape.combinations or itertools.product(*map(range, shape.levels))
    return torch.tensor(sorted(every)).float()


def noise_for(model, n, seed=4):
    generator = torch.Generator().manual_seed(seed)
    width = model.noise
    normal = torch.randn(n, width.normal, generator=generator)
    return torch.cat([normal, torch.rand(n, width.uniform, generator=generator)], 1)


def sample(model, condition, noise):
    with torch.inference_mode():
        return model.sample(condition, noise)


def test_shapes_and_types(family):
    model, batch = built(family), rows(family, 37)
    assert isinstance(model.noise, Noise)
    assert model.shape == family[1]
    assert model.loss(batch).shape == ()
    sampled = sample(model, batch.condition, noise_for(model, 37))
    assert sampled.shape == batch.target.shape
    assert sampled.dtype == torch.float32
    assert torch.isfinite(sampled).all()
    levels = sampled[:, : len(model.shape.levels)]
    if model.shape.levels:
        allowed = set(map(tuple, combinations(model.shape).tolist()))
        assert set(map(tuple, levels.tolist())) <= allowed
    objectives = model.objectives()
    assert ("loss" in objectives) == (len(objectives) == 1)
    moved = [id(p) for parameters in objectives.values() for p in parameters]
    assert sorted(moved) == sorted(id(p) for p in model.parameters())


def test_every_parameter_has_a_gradient(family):
    torch.manual_seed(5)
    model = models.build(*family)
    for objective, parameters in model.objectives().items():
        model.loss(rows(family, 200), objective).backward(inputs=list(parameters))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0.0, name


def test_noise_decides_the_sample(family):
    model, batch = built(family), rows(family, 64)
    first = sample(model, batch.condition, noise_for(model, 64))
    assert torch.equal(first, sample(model, batch.condition, noise_for(model, 64)))
    equal = batch.condition[:1].expand(64, -1)
    distinct = 64 if model.shape.continuous else len(combinations(model.shape))
    assert len(sample(model, equal, noise_for(model, 64)).unique(dim=0)) == distinct


def test_state_survives_a_file_to_the_bit(family, tmp_path):
    model, batch = built(family), rows(family, 100)
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    torch.manual_seed(99)
    other = models.build(*family).eval()
    noise = noise_for(model, 100)
    sample(other, batch.condition, noise)  # a model in use takes new weights too
    sampled = sample(model, batch.condition, noise)
    for assign in (False, True):
        other.load_state_dict(load_file(path), assign=assign)
        assert torch.equal(sampled, sample(other, batch.condition, noise))
        assert torch.equal(model.loss(batch), other.loss(batch))
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(-2.0)
        assert not torch.equal(sampled, sample(other, batch.condition, noise))


def test_a_copy_is_independent(family):
    model, batch = built(family), rows(family, 50)
    noise = noise_for(model, 50)
    before = sample(model, batch.condition, noise)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(-2.0)
    assert torch.equal(sample(model, batch.condition, noise), before)
    assert not torch.equal(sample(twin, batch.condition, noise), before)


def test_neighbours_do_not_change_a_row(family):
    model, batch = built(family), rows(family, BLOCK)
    noise = noise_for(model, BLOCK)
    sampled = sample(model, batch.condition, noise)
    order = torch.randperm(BLOCK, generator=torch.Generator().manual_seed(6))
    assert torch.equal(sample(model, batch.condition[order], noise[order]), sampled[order])
    padded, width = torch.full_like(noise, 0.5), 700
    padded[:width] = noise[:width]
    condition = torch.full_like(batch.condition, 0.5)
    condition[:width] = batch.condition[:width]
    assert torch.equal(sample(model, condition, padded)[:width], sampled[:width])


def test_batch_size_changes_a_row_by_rounding_alone(family):
    model, batch = built(family), rows(family, BLOCK)
    noise = noise_for(model, BLOCK)
    sampled = sample(model, batch.condition, noise)
    for size in (1, 7, 130):
        pieces = [
            sample(model, batch.condition[i : i + size], noise[i : i + size])
            for i in range(0, 260, size)
        ]
        torch.testing.assert_close(torch.cat(pieces)[:260], sampled[:260], rtol=1e-5, atol=2e-5)


def test_no_rows_no_samples(family):
    model = built(family)
    assert sample(model, torch.zeros(0, family[1].conditions), noise_for(model, 0)).numel() == 0


def test_weight_two_is_the_row_twice(family):
    model, batch = built(family), rows(family, 90)
    with torch.no_grad():
        double = batch.weight.clone()
        double[:30] *= 2.0
        weighted = model.loss(Batch(batch.target, batch.condition, double))
        repeated = Batch(
            *(torch.cat([t, t[:30]]) for t in (batch.target, batch.condition, batch.weight))
        )
        assert weighted.item() == pytest.approx(model.loss(repeated).item(), rel=1e-5)
        assert weighted.item() != pytest.approx(model.loss(batch).item(), rel=1e-5)


def test_negative_weights_take_rows_away(family):
    model, batch = built(family), rows(family, 90)
    cancel = torch.cat([batch.weight, batch.weight[:30], -batch.weight[:30]])
    again = [torch.cat([t, t[:30], t[:30]]) for t in (batch.target, batch.condition)]
    with torch.no_grad():
        loss = model.loss(Batch(*again, cancel)).item()
        assert loss == pytest.approx(model.loss(batch).item(), rel=1e-4)


def test_learns_a_known_toy(family):
    torch.manual_seed(7)
    model = models.build(*family).train()
    shape, n, steps = family[1], 4000, 150
    condition = torch.randn(n, shape.conditions)
    target, toy_log_prob = toy(shape, condition)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1.0 - step / steps)
        chosen = torch.randint(n, (500,))
        optimizer.zero_grad()
        model.loss(Batch(target[chosen], condition[chosen], torch.ones(500))).backward()
        optimizer.step()
    model.eval()
    sampled = sample(model, condition, noise_for(model, n))
    if shape.levels:
        levels = sampled[:, : len(shape.levels)]
        expected = toy_probabilities(shape, condition)
        for row, combination in enumerate(combinations(shape)):
            here = (levels == combination).all(1).float()
            for side in (condition[:, 0] < 0, condition[:, 0] >= 0) if shape.conditions else ():
                probability = expected[side, row].mean()
                error = (probability * (1 - probability) / side.sum()).sqrt()
                assert abs(here[side].mean() - probability) < 0.02 + 4 * error
            assert abs(here.mean() - expected[:, row].mean()) < 0.04
    if shape.continuous:
        residual = sampled[:, len(shape.levels) :] - toy_mean(shape, sampled, condition)
        assert residual.mean(0).abs().max() < 0.04
        low, high = torch.quantile(residual, torch.tensor([0.159, 0.841]), dim=0)
        width = torch.full((shape.continuous,), WIDTH)
        torch.testing.assert_close((high - low) / 2.0, width, rtol=0.12, atol=0.0)
    if hasattr(model, "log_prob"):
        with torch.no_grad():
            excess = (toy_log_prob - model.log_prob(target, condition)).mean().item()
        assert excess == pytest.approx(0.0, abs=0.05 * shape.targets)


WIDTH = 0.25


def toy(shape, condition) -> tuple[torch.Tensor, torch.Tensor]:
    """Discrete columns that follow the first GEN number, and numbers that follow both."""
    n = len(condition)
    target = torch.zeros(n, shape.targets)
    log_prob = torch.zeros(n)
    if shape.levels:
        probabilities = toy_probabilities(shape, condition)
        drawn = torch.multinomial(probabilities, 1)
        target[:, : len(shape.levels)] = combinations(shape)[drawn[:, 0]]
        log_prob += probabilities.gather(1, drawn)[:, 0].log()
    deviation = torch.randn(n, shape.continuous)
    target[:, len(shape.levels) :] = toy_mean(shape, target, condition) + WIDTH * deviation
    log_prob -= (0.5 * deviation**2 + math.log(WIDTH * math.sqrt(2.0 * math.pi))).sum(1)
    return target, log_prob


def toy_probabilities(shape, condition) -> torch.Tensor:
    driver = condition[:, :1] if shape.conditions else torch.ones(len(condition), 1)
    return torch.softmax(0.7 * driver * combinations(shape).sum(1), 1)


def toy_mean(shape, target, condition) -> torch.Tensor:
    """RECO = 0.4 + 0.3 * (first GEN number) + 0.5 * (first discrete column), in every number."""
    mean = torch.full((len(condition), 1), 0.4)
    if shape.conditions:
        mean = mean + 0.3 * condition[:, :1]
    return mean + 0.5 * target[:, :1] if shape.levels else mean
