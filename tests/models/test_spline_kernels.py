"""The compiled splines and activations give the reference's numbers and gradients."""

import pytest
import torch

from gen2reco.models.nn import kernels, spline, spline_kernels
from gen2reco.models.nn.lanes import LANES

BOUND, FEATURES, TARGETS, COLUMNS = 5.0, 3, 5, 256


class Case:
    """Random parameters with bias, and a state of which three of five rows move."""

    def __init__(self, bins, spread=0.5, seed=1):
        torch.manual_seed(seed)
        count = spline.raw_parameters(bins)
        self.bins = bins
        self.raw = spread * torch.randn(FEATURES * count, COLUMNS)
        self.bias = spread * torch.randn(FEATURES * count)
        self.state = 2.5 * torch.randn(TARGETS, COLUMNS)
        self.state[:, :6] = torch.tensor([-1e5, -BOUND, -BOUND + 1e-4, 0.0, BOUND, 7.0])
        self.state[:, 8] = 0.5
        self.rows = torch.tensor([4, 0, 2])
        self.parameters = (self.raw + self.bias[:, None]).view(FEATURES, count, COLUMNS)

    def forward(self, *, keep, state=None, raw=None):
        state = self.state.clone() if state is None else state
        raw = self.raw.clone() if raw is None else raw
        log_slope = torch.zeros(1, COLUMNS)
        kept = torch.empty(FEATURES * spline_kernels.KEPT, COLUMNS)
        kernel = spline_kernels.spline_forward(self.bins, BOUND, keep=keep)
        kernel(raw, self.bias, state, log_slope, kept, self.rows, FEATURES, COLUMNS)
        return state, log_slope, raw, kept

    def inverse(self, state, raw=None):
        state = state.clone()
        kernel = spline_kernels.spline_inverse(self.bins, BOUND)
        raw = self.raw if raw is None else raw
        kernel(raw, self.bias, state, self.rows, FEATURES, COLUMNS)
        return state


@pytest.fixture(params=[2, 7, 16], ids="bins={}".format)
def case(request):
    return Case(request.param)


@pytest.mark.parametrize("keep", [False, True])
def test_forward_agrees_with_the_reference_in_float64(case, keep):
    x = case.state[case.rows].double().requires_grad_()
    bias = case.bias.double()[:, None]
    y, log_slope = spline.forward(x, (case.raw + bias).view(case.parameters.shape), BOUND)
    (bend,) = torch.autograd.grad(log_slope.sum(), x, retain_graph=True)
    (slope,) = torch.autograd.grad(y.sum(), x)
    # Single precision places a knot to 3e-6 at worst: as if the value had moved by as much.
    place = 3e-6 + 1e-7 * x.abs()
    state, total, *_ = case.forward(keep=keep)
    assert ((state[case.rows] - y).abs() < place * (1.0 + slope)).all()
    assert ((total[0] - log_slope.sum(0)).abs() < (place * (1.0 + bend.abs())).sum(0)).all()
    assert (total[0] - log_slope.sum(0)).abs().median() < 2e-6
    assert torch.equal(state[[1, 3]], case.state[[1, 3]])


def test_inverse_agrees_and_undoes(case):
    state, *_ = case.forward(keep=False)
    back = case.inverse(state)
    x = case.state[case.rows]
    _, log_slope = spline.forward(x, case.parameters, BOUND)
    # Where the map is flat, a rounding error there is a large step back here.
    allowed = 5e-6 * (1.0 + torch.exp(-log_slope)) + 1e-6 * x.abs()
    assert ((back[case.rows] - x).abs() < allowed).all()
    assert torch.equal(back[[1, 3]], case.state[[1, 3]])
    reference = spline.inverse(x.double(), case.parameters.double(), BOUND).float()
    found = case.inverse(case.state)[case.rows]
    _, log_slope = spline.forward(found, case.parameters, BOUND)
    assert ((found - reference).abs() < 5e-6 * (1.0 + torch.exp(-log_slope)) + 1e-6 * x.abs()).all()


def test_backward_agrees_with_autograd(case):
    x = case.state[case.rows].double().requires_grad_()
    parameters = case.parameters.double().requires_grad_()
    y, log_slope = spline.forward(x, parameters, BOUND)
    up, up_log = torch.randn(TARGETS, COLUMNS), torch.randn(1, COLUMNS)
    ((y * up[case.rows]).sum() + (log_slope * up_log).sum()).backward()

    _, _, raw, kept = case.forward(keep=True)
    gradient, sums = up.clone(), torch.zeros(len(raw), LANES)
    kernel = spline_kernels.spline_backward(case.bins, BOUND)
    kernel(raw, kept, gradient, up_log, sums, case.rows, FEATURES, COLUMNS)
    exact = parameters.grad.reshape(raw.shape).float()
    torch.testing.assert_close(gradient[case.rows], x.grad.float(), rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(raw, exact, rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(sums.sum(1), exact.sum(1), rtol=2e-4, atol=2e-3)
    assert torch.equal(gradient[[1, 3]], up[[1, 3]])


def test_columns_do_not_know_where_they_stand(case):
    order = torch.randperm(COLUMNS)
    state, log_slope, *_ = case.forward(keep=False)
    moved = case.forward(
        keep=False, state=case.state[:, order].contiguous(), raw=case.raw[:, order].contiguous()
    )
    assert torch.equal(moved[0], state[:, order])
    assert torch.equal(moved[1], log_slope[:, order])
    inverse = case.inverse(case.state)
    shuffled = case.inverse(case.state[:, order], case.raw[:, order].contiguous())
    assert torch.equal(shuffled, inverse[:, order])


def test_broken_parameters_are_not_hidden(case):
    raw = case.raw.clone()
    raw[:, 8] = float("nan")
    state, log_slope, *_ = case.forward(keep=False, raw=raw)
    assert torch.isnan(log_slope[0, 8])
    assert torch.isnan(state[case.rows, 8]).all()
    assert torch.isfinite(log_slope[0, 9:]).all()


def test_extreme_parameters_stay_finite():
    case = Case(16, spread=300.0)
    state, log_slope, *_ = case.forward(keep=False)
    assert torch.isfinite(state).all()
    assert torch.isfinite(log_slope).all()
    assert torch.isfinite(case.inverse(case.state)).all()


@pytest.mark.parametrize("name", ["relu", "hardswish", "silu"])
def test_activations_agree_with_pytorch(name):
    torch.manual_seed(2)
    rows = 7
    hidden, bias = 3.0 * torch.randn(rows, COLUMNS), torch.randn(rows)
    hidden[0, :2] = torch.tensor([1e4, -1e4])
    before = (hidden + bias[:, None]).requires_grad_()
    reference = getattr(torch.nn.functional, name)(before)
    up = torch.randn(rows, COLUMNS)
    reference.backward(up)

    active = torch.empty_like(hidden)
    seed = torch.zeros(1, dtype=torch.int64)
    kernels.activate(name)(hidden, bias, active, seed, 0, rows, COLUMNS)
    torch.testing.assert_close(active, reference.detach(), rtol=1e-6, atol=1e-6)
    again, gradient, sums = torch.empty_like(hidden), up.clone(), torch.zeros(rows, LANES)
    kernel = kernels.activate_backward(name)
    kernel(hidden, bias, gradient, again, sums, seed, 0, rows, COLUMNS)
    assert torch.equal(again, active)
    torch.testing.assert_close(gradient, before.grad, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(sums.sum(1), before.grad.sum(1), rtol=1e-5, atol=2e-5)


def test_rows_are_taken_and_added_to():
    matrix, rows = torch.randn(5, 32), torch.tensor([3, 1])
    own = torch.empty(2, 32)
    kernels.move_rows(add=False)(own, matrix, rows, 2, 32)
    assert torch.equal(own, matrix[rows])
    expected = matrix.index_add(0, rows, own)
    kernels.move_rows(add=True)(own, matrix, rows, 2, 32)
    assert torch.equal(matrix, expected)


def test_dropout_leaves_out_its_share_at_random():
    rows, share = 64, 0.2
    hidden, bias, active = torch.ones(rows, COLUMNS), torch.zeros(rows), torch.empty(rows, COLUMNS)

    def drawn(seed, offset=0):
        kernel = kernels.activate("relu", share)
        kernel(hidden, bias, active, torch.tensor([seed]), offset, rows, COLUMNS)
        return active.clone()

    first = drawn(5)
    assert set(first.unique().tolist()) == {0.0, 1.25}
    out = first == 0.0
    spread = (share * (1.0 - share)) ** 0.5
    assert abs(out.float().mean() - share) < 4.0 * spread / (rows * COLUMNS) ** 0.5
    for axis, size in ((0, rows), (1, COLUMNS)):
        pull = (out.float().mean(axis) - share) / (spread / size**0.5)
        assert pull.abs().max() < 5.0
        assert 0.7 < pull.std() < 1.3
    assert torch.equal(first, drawn(5))
    for other in (drawn(6), drawn(5, offset=rows * COLUMNS), first.roll(1, 0), first.roll(1, 1)):
        both = (out & (other == 0.0)).float().mean()
        assert both == pytest.approx(share**2, abs=0.01)
