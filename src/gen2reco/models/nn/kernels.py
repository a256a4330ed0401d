"""Small compiled loops around a flow's matrix products: activations, and rows taken or added to.

The splines are in `spline_kernels`. Matrices are feature-major, [rows, columns], and the number of
columns is a multiple of `LANES`.
"""

from __future__ import annotations

from functools import lru_cache

from gen2reco.models.nn.lanes import LANES, Kernel, Lanes, absolute, clamp, exp2, fma, where
from gen2reco.models.nn.spline import LARGEST_LOGIT

_PER_LN2 = 1.4426950408889634


@lru_cache(maxsize=8)
def activate(name: str) -> Kernel:
    """Return kernel (hidden, bias, active, rows, columns): active = activation(hidden + bias).

    `active` may be `hidden` itself.
    """
    kernel = Kernel("activate", arrays=("hidden", "bias", "active"), counts=("rows", "columns"))
    hidden, active = kernel["hidden"], kernel["active"]
    for row in kernel.loop(kernel.count("rows")):
        bias = kernel["bias"].same(row)
        for column in kernel.loop(kernel.count("columns"), LANES):
            active[row, column] = _activation(name, hidden[row, column] + bias)[0]
    return kernel.compile()


@lru_cache(maxsize=8)
def activate_backward(name: str) -> Kernel:
    """Return kernel (hidden, bias, gradient, active, sums, rows, columns): gradients of `activate`.

    `gradient` becomes that of the hidden numbers; `active` is made once more from `hidden`, which
    is cheaper than to keep it; `sums` [rows, LANES] gains the gradient summed over columns, one
    partial sum per lane.
    """
    arrays = ("hidden", "bias", "gradient", "active", "sums")
    kernel = Kernel("activate_backward", arrays=arrays, counts=("rows", "columns"))
    hidden, gradient, sums = kernel["hidden"], kernel["gradient"], kernel["sums"]
    for row in kernel.loop(kernel.count("rows")):
        bias = kernel["bias"].same(row)
        for column in kernel.loop(kernel.count("columns"), LANES):
            value, slope = _activation(name, hidden[row, column] + bias)
            product = gradient[row, column] * slope
            kernel["active"][row, column] = value
            gradient[row, column] = product
            sums[row, kernel.zero] = sums[row, kernel.zero] + product
    return kernel.compile()


@lru_cache(maxsize=2)
def move_rows(*, add: bool) -> Kernel:
    """Return kernel (own, matrix, rows, count, columns): own = matrix[rows].

    With `add` the other way round: matrix[rows] += own.
    """
    kernel = Kernel(
        "move_rows", arrays=("own", "matrix"), integers=("rows",), counts=("count", "columns")
    )
    own, matrix = kernel["own"], kernel["matrix"]
    for number in kernel.loop(kernel.count("count")):
        row = kernel["rows"].integer(number)
        for column in kernel.loop(kernel.count("columns"), LANES):
            if add:
                matrix[row, column] = matrix[row, column] + own[number, column]
            else:
                own[number, column] = matrix[row, column]
    return kernel.compile()


def _activation(name: str, x: Lanes) -> tuple[Lanes, Lanes]:
    """Return the activation and its derivative; NaN stays NaN."""
    if name == "relu":
        return where(x < 0.0, 0.0, x), where(x > 0.0, 1.0, x * 0.0)
    if name == "hardswish":
        gate = clamp(fma(x, 1.0 / 6.0, 0.5), 0.0, 1.0)
        return x * gate, gate + where(absolute(x) < 3.0, x * (1.0 / 6.0), 0.0)
    gate = 1.0 / (1.0 + exp2(clamp(x * -_PER_LN2, -LARGEST_LOGIT, LARGEST_LOGIT)))
    silu = x * gate
    return silu, fma(silu, 1.0 - gate, gate)
