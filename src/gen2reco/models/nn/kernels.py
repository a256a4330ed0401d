"""Small compiled loops around a flow's matrix products: activations, rows, the normal base.

The splines are in `spline_kernels`. Matrices are feature-major, [rows, columns], and the number of
columns is a multiple of `LANES`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gen2reco.models.nn.lanes import (
    LANES,
    Kernel,
    Lanes,
    absolute,
    clamp,
    exp2,
    fma,
    uniform,
    where,
)
from gen2reco.models.nn.spline import LARGEST_LOGIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llvmlite import ir  # type: ignore[import-untyped]

_PER_LN2 = 1.4426950408889634
_COUNTS = ("offset", "rows", "columns")


@lru_cache(maxsize=16)
def activate(name: str, dropout: float = 0.0) -> Kernel:
    """Return kernel (hidden, bias, active, seed, offset, rows, columns): the activation.

    active = activation(hidden + bias), where `active` may be `hidden` itself. With `dropout` that
    share of the numbers is left out and the others are larger by as much, at random by `seed` [1]
    (int64) and each number's place, counted from `offset`.
    """
    arrays = ("hidden", "bias", "active")
    kernel = Kernel("activate", arrays=arrays, integers=("seed",), counts=_COUNTS)
    for row, column, stays in _places(kernel, dropout):
        before = kernel["hidden"][row, column] + kernel["bias"].same(row)
        value = _activation(name, before)[0]
        kernel["active"][row, column] = value * stays if dropout else value
    return kernel.compile()


@lru_cache(maxsize=16)
def activate_backward(name: str, dropout: float = 0.0) -> Kernel:
    """Return kernel (hidden, bias, gradient, active, sums, seed, offset, rows, columns).

    These are the gradients of `activate`: `gradient` becomes that of the hidden numbers; `active`
    is made once more from `hidden`, which is cheaper than to keep it; `sums` [rows, LANES] gains
    the gradient summed over columns, one partial sum per lane.
    """
    arrays = ("hidden", "bias", "gradient", "active", "sums")
    kernel = Kernel("activate_backward", arrays=arrays, integers=("seed",), counts=_COUNTS)
    gradient, sums = kernel["gradient"], kernel["sums"]
    for row, column, stays in _places(kernel, dropout):
        before = kernel["hidden"][row, column] + kernel["bias"].same(row)
        value, slope = _activation(name, before)
        product = gradient[row, column] * slope
        if dropout:
            value, product = value * stays, product * stays
        kernel["active"][row, column] = value
        gradient[row, column] = product
        sums[row, kernel.zero] = sums[row, kernel.zero] + product
    return kernel.compile()


def _places(kernel: Kernel, dropout: float) -> Iterator[tuple[ir.Value, ir.Value, Lanes]]:
    """Record loops over rows and columns; the factor is 0 where dropout leaves a number out."""
    seed, columns = kernel["seed"].integer(kernel.zero), kernel.count("columns")
    for row in kernel.loop(kernel.count("rows")):
        start = kernel.plus(kernel.count("offset"), kernel.builder.mul(row, columns))
        for column in kernel.loop(columns, LANES):
            draw = uniform(kernel.builder, seed, kernel.plus(start, column))
            yield row, column, where(draw < dropout, 0.0, 1.0 / (1.0 - dropout))


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


@lru_cache(maxsize=2)
def normal_base(*, learning: bool) -> Kernel:
    """Return kernel (state, location, log_scale, log_prob, ..., rows, columns): the base's density.

    It turns `state` into the pull, (state - location) / scale, and adds its normal log density to
    `log_prob` [1, columns], but for the constant. With `learning` there are three arrays more:
    `upstream` [1, columns], the gradient of log p; `gradient`, which becomes that of the state; and
    `sums` [2 rows, LANES], which gains that of location and of log scale, one partial sum per lane.
    """
    arrays = ("state", "location", "log_scale", "log_prob")
    more = ("upstream", "gradient", "sums") if learning else ()
    kernel = Kernel("normal_base", arrays=arrays + more, counts=("rows", "columns"))
    state, log_prob, rows = kernel["state"], kernel["log_prob"], kernel.count("rows")
    for row in kernel.loop(rows):
        location, log_scale = kernel["location"].same(row), kernel["log_scale"].same(row)
        per_scale = exp2(clamp(log_scale * -_PER_LN2, -LARGEST_LOGIT, LARGEST_LOGIT))
        for column in kernel.loop(kernel.count("columns"), LANES):
            pull = (state[row, column] - location) * per_scale
            state[row, column] = pull
            density = fma(pull * pull, -0.5, log_prob[kernel.zero, column])
            log_prob[kernel.zero, column] = density - log_scale
            if learning:
                upstream, sums = kernel["upstream"][kernel.zero, column], kernel["sums"]
                by_pull = upstream * pull
                by_location = by_pull * per_scale
                kernel["gradient"][row, column] = by_location * -1.0
                second = kernel.plus(row, rows)
                sums[row, kernel.zero] = sums[row, kernel.zero] + by_location
                sums[second, kernel.zero] = sums[second, kernel.zero] + fma(
                    by_pull, pull, upstream * -1.0
                )
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
