"""The vector arithmetic under the compiled kernels."""

import numpy as np
import pytest
import torch

from gen2reco.models.nn import lanes
from gen2reco.models.nn.lanes import LANES, Kernel


def compiled(formula):
    """Compile y = formula(x) over one row."""
    kernel = Kernel("formula", arrays=("x", "y"), counts=("columns",))
    for column in kernel.loop(kernel.count("columns"), LANES):
        kernel["y"][kernel.zero, column] = formula(kernel["x"][kernel.zero, column])
    kernel.compile()

    def run(values):
        x = torch.as_tensor(np.asarray(values, dtype=np.float32))[None]
        padded = torch.ones(1, -(-x.shape[1] // LANES) * LANES)
        padded[:, : x.shape[1]] = x
        y = torch.empty_like(padded)
        kernel(padded, y, padded.shape[1])
        return y[0, : x.shape[1]].numpy()

    return run


def test_arithmetic_rounds_as_numpy_does():
    x = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    for formula in (
        lambda v: (v + 1.25) * v - 3.0 / (2.0 - v),
        lambda v: 1.0 - v / 3.0,
    ):
        with np.errstate(all="ignore"):
            assert np.array_equal(compiled(formula)(x), formula(x).astype(np.float32))


def test_fused_multiply_add_rounds_once():
    x = np.float32(1.0) + np.float32(2.0**-12)
    exact = np.float32(np.float64(x) * np.float64(x) - 1.0)
    assert compiled(lambda v: lanes.fma(v, v, -1.0))([x])[0] == exact != x * x - np.float32(1.0)


def test_exp2_and_log_are_accurate():
    x = np.linspace(-60.0, 60.0, 100_000, dtype=np.float32)
    relative = compiled(lanes.exp2)(x) / np.exp2(x.astype(np.float64)) - 1.0
    assert np.abs(relative).max() < 2.5e-7
    positive = np.concatenate([np.logspace(-30, 30, 50_000), np.linspace(0.5, 2.0, 50_000)])
    positive = positive.astype(np.float32)
    exact = np.log(positive.astype(np.float64))
    error = np.abs(compiled(lanes.log)(positive) - exact) / np.maximum(np.abs(exact), 1.0)
    assert error.max() < 2.5e-7


def test_nan_and_infinity_are_not_hidden():
    values = np.array([np.nan, np.inf, -np.inf, 0.5], dtype=np.float32)
    clamped = compiled(lambda v: lanes.clamp(v, -1.0, 1.0))(values)
    assert np.isnan(clamped[0])
    assert clamped[1:].tolist() == [1.0, -1.0, 0.5]
    assert np.isnan(compiled(lambda v: lanes.exp2(lanes.clamp(v, -60.0, 60.0)))(values)[0])
    logs = compiled(lanes.log)(values[:2])
    assert np.isnan(logs[0])
    assert np.isposinf(logs[1])


def test_columns_do_not_know_where_they_stand():
    x = np.random.default_rng(2).normal(size=48).astype(np.float32)
    run = compiled(lambda v: lanes.exp2(v) / lanes.sqrt(lanes.absolute(v)))
    order = np.random.default_rng(3).permutation(48)
    assert np.array_equal(run(x)[order], run(x[order]))


@pytest.mark.parametrize("rows", [1, 3])
def test_loops_cover_rows_and_strides(rows):
    kernel = Kernel(
        "double", arrays=("x", "scale"), integers=("which",), counts=("rows", "columns")
    )
    for number in kernel.loop(kernel.count("rows")):
        row = kernel["which"].integer(number)
        factor = kernel["scale"].same(number)
        for column in kernel.loop(kernel.count("columns"), LANES):
            kernel["x"][row, column] = kernel["x"][row, column] * factor
    kernel.compile()
    matrix = torch.ones(4, 3 * LANES)
    part = matrix[:, LANES : 2 * LANES]
    kernel(part, torch.tensor([2.0, 3.0, 4.0]), torch.tensor([3, 0, 2]), rows, LANES)
    expected = torch.ones(4, 3 * LANES)
    for row, factor in list(zip([3, 0, 2], [2.0, 3.0, 4.0], strict=True))[:rows]:
        expected[row, LANES : 2 * LANES] = factor
    assert torch.equal(matrix, expected)
