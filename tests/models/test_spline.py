"""The spline in plain PyTorch: against zuko, against finite differences, and against itself."""

import pytest
import torch
from zuko.transforms import MonotonicRQSTransform

from gen2reco.models.nn import spline

BOUND = 4.0


def raw_parameters(features, rows, bins, spread=1.5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (features, spline.raw_parameters(bins), rows)
    return spread * torch.randn(shape, generator=generator, dtype=torch.float64)


def values(features, rows, seed=2, spread=3.0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(features, rows, generator=generator, dtype=torch.float64)


def zuko_twin(raw, bins):
    """A spline of zuko's with our knots, which are computed here once more, by definition."""
    raw = raw.movedim(1, -1)
    twin = MonotonicRQSTransform(
        raw[..., :bins], raw[..., bins : 2 * bins], raw[..., 2 * bins :], bound=BOUND
    )
    smallest = spline.SMALLEST * min(1.0, 16.0 / bins)

    def knots(logits):
        shares = 2.0**logits / (2.0**logits).sum(-1, keepdim=True)
        ends = torch.cumsum(smallest + (1.0 - bins * smallest) * shares, -1)
        return 2.0 * BOUND * torch.cat([torch.zeros_like(ends[..., :1]), ends], -1) - BOUND

    twin.horizontal, twin.vertical = knots(raw[..., :bins]), knots(raw[..., bins : 2 * bins])
    u = raw[..., 2 * bins :]
    one = torch.ones_like(u[..., :1])
    twin.derivatives = torch.cat([one, (u + (u**2 + 4.0).sqrt()) / 2.0, one], -1)
    return twin


@pytest.mark.parametrize("bins", [2, 5, 16, 40])
def test_agrees_with_zuko(bins):
    raw, x = raw_parameters(3, 400, bins), values(3, 400)
    twin = zuko_twin(raw, bins)
    y, log_slope = spline.forward(x, raw, BOUND)
    inside = x.abs() < BOUND
    torch.testing.assert_close(y, twin(x), rtol=0.0, atol=1e-9)
    torch.testing.assert_close(
        log_slope[inside], twin.log_abs_det_jacobian(x, y)[inside], rtol=0.0, atol=1e-8
    )
    torch.testing.assert_close(spline.inverse(x, raw, BOUND), twin.inv(x), rtol=0.0, atol=1e-8)


def test_gradients_are_right():
    raw = raw_parameters(2, 6, 4).requires_grad_()
    x = values(2, 6, spread=2.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: spline.forward(a, b, BOUND), (x, raw))
    assert torch.autograd.gradcheck(lambda a, b: spline.inverse(a, b, BOUND), (x, raw))


def test_gradients_are_right_where_slopes_are_one():
    raw = torch.zeros(1, spline.raw_parameters(4), 3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[-1.3, 0.2, 2.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: spline.forward(a, b, BOUND), (x, raw))


def test_log_slope_is_the_derivative():
    raw, x = raw_parameters(3, 50, 8), values(3, 50).requires_grad_()
    y, log_slope = spline.forward(x, raw, BOUND)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log(), rtol=0.0, atol=1e-9)


def test_zero_parameters_are_the_identity():
    raw = torch.zeros(2, spline.raw_parameters(7), 100, dtype=torch.float64)
    x = values(2, 100)
    y, log_slope = spline.forward(x, raw, BOUND)
    torch.testing.assert_close(y, x, rtol=0.0, atol=1e-12)
    assert log_slope.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_undoes_forward_at_edges_and_in_tails(dtype):
    edges = torch.tensor([-1e6, -BOUND - 1e-3, -BOUND, -BOUND + 1e-5, 0.0, BOUND - 1e-5, BOUND])
    x = torch.cat([edges, edges.neg(), torch.linspace(-6, 6, 997)]).to(dtype).expand(4, -1)
    raw = raw_parameters(4, x.shape[1], 16).to(dtype)
    y, log_slope = spline.forward(x, raw, BOUND)
    outside = x.abs() > BOUND
    assert torch.equal(y[outside], x[outside])
    assert (log_slope[outside] == 0.0).all()
    assert (y[~outside].abs() <= BOUND * (1.0 + 1e-6)).all()
    # Where the map is flat, a rounding error of y is a large step in x.
    allowed = torch.finfo(dtype).eps * 64.0 * (1.0 + torch.exp(-log_slope))
    assert ((spline.inverse(y, raw, BOUND) - x).abs()[~outside] < allowed[~outside]).all()


def test_map_rises_and_is_continuous():
    raw = raw_parameters(1, 1, 16).expand(-1, -1, 20_001)
    x = torch.linspace(-5.0, 5.0, 20_001, dtype=torch.float64)[None]
    y, log_slope = spline.forward(x, raw, BOUND)
    step = y.diff(dim=1)
    assert (step > 0.0).all()
    assert (step < 1.5 * 5e-4 * log_slope.exp().max()).all()


def test_extreme_parameters_stay_finite():
    raw = 300.0 * raw_parameters(2, 500, 16).float()
    x = values(2, 500).float()
    y, log_slope = spline.forward(x, raw, BOUND)
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_slope).all()
    assert torch.isfinite(spline.inverse(x, raw, BOUND)).all()
