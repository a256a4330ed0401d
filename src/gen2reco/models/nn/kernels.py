"""The flow's inner loops, compiled: spline forward, inverse and backward, and the activations.

The maths is that of `spline`, written over `Lanes`. Raw parameters come as [features * (3 bins - 1), columns] without
their bias, which is added here; `state` is [targets, columns] and is changed in place in the rows named by `rows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gen2reco.models.nn.lanes import LANES, Kernel, Lanes, absolute, clamp, exp2, fma, log, sqrt, where
from gen2reco.models.nn.spline import LARGEST_LOGIT, raw_parameters, smallest_share

if TYPE_CHECKING:
    from llvmlite import ir  # type: ignore[import-untyped]

    from gen2reco.models.nn.lanes import Rows

LN2 = 0.6931471805599453
KEPT = 10
"""Numbers per spline and column that the forward kernel keeps for the backward one."""


@dataclass
class _Piece:
    """The piece of a spline that holds a position, all as shares of the interval."""

    left: Lanes
    width: Lanes
    low: Lanes
    height: Lanes
    slope_left: Lanes
    slope_right: Lanes
    index: Lanes
    per_width: Lanes  # one over the sum of 2^u of the widths, and of the heights
    per_height: Lanes


@lru_cache(maxsize=16)
def spline_inverse(bins: int, bound: float) -> Kernel:
    """Kernel (raw, bias, state, rows, features, columns): noise to target space."""
    kernel = Kernel(
        "spline_inverse", arrays=("raw", "bias", "state"), integers=("rows",), counts=("features", "columns")
    )
    state = kernel["state"]
    for feature in kernel.loop(kernel.count("features")):
        row, first = kernel["rows"].integer(feature), kernel.times(feature, raw_parameters(bins))
        for column in kernel.loop(kernel.count("columns"), LANES):
            value = state[row, column]
            position = fma(value, 0.5 / bound, 0.5)
            piece = _find(kernel, bins, first, column, position, axis=1)
            steepness = piece.height / piece.width
            rise = clamp((position - piece.low) / piece.height, 0.0, 1.0)
            excess = piece.slope_left + piece.slope_right - 2.0 * steepness
            b = piece.slope_left - rise * excess
            a = fma(rise, excess, steepness - piece.slope_left)
            c = steepness * rise
            squared = fma(b, b, 4.0 * a * c)
            root = sqrt(where(squared < 0.0, 0.0, squared))
            up = b >= 0.0
            t = where(up, 2.0 * c, root - b) / where(up, b + root, 2.0 * a)
            mapped = fma(fma(t, piece.width, piece.left), 2.0 * bound, -bound)
            state[row, column] = where(absolute(value) > bound, value, mapped)
    return kernel.compile()


@lru_cache(maxsize=16)
def spline_forward(bins: int, bound: float, *, keep: bool) -> Kernel:
    """Kernel (raw, bias, state, log_slope, kept, rows, features, columns): target space to noise.

    It adds log |slope| to `log_slope` [1, columns]. With `keep` it leaves in `raw` the powers 2^u of widths and
    heights, and in `kept` [features * KEPT, columns] what the backward kernel needs.
    """
    kernel = Kernel(
        "spline_forward",
        arrays=("raw", "bias", "state", "log_slope", "kept"),
        integers=("rows",),
        counts=("features", "columns"),
    )
    state, log_slope, kept = kernel["state"], kernel["log_slope"], kernel["kept"]
    only = kernel.zero
    for feature in kernel.loop(kernel.count("features")):
        row, first = kernel["rows"].integer(feature), kernel.times(feature, raw_parameters(bins))
        keep_at = kernel.times(feature, KEPT)
        for column in kernel.loop(kernel.count("columns"), LANES):
            value = state[row, column]
            position = fma(value, 0.5 / bound, 0.5)
            piece = _find(kernel, bins, first, column, position, axis=0, keep=keep)
            steepness = piece.height / piece.width
            t = clamp((position - piece.left) / piece.width, 0.0, 1.0)
            rest = 1.0 - t
            both = t * rest
            excess = piece.slope_left + piece.slope_right - 2.0 * steepness
            denominator = fma(excess, both, steepness)
            numerator = fma(steepness * t, t, piece.slope_left * both)
            mapped = fma(fma(piece.height, numerator / denominator, piece.low), 2.0 * bound, -bound)
            gain = fma(piece.slope_right * t, t, fma(2.0 * steepness, both, piece.slope_left * rest * rest))
            ratio = steepness / denominator
            outside = absolute(value) > bound
            state[row, column] = where(outside, value, mapped)
            log_slope[only, column] = log_slope[only, column] + where(outside, 0.0, log(ratio * ratio * gain))
            if keep:
                # An index below every bin marks columns outside, where no parameter has a gradient.
                index = where(outside, -1.0, piece.index)
                numbers = (
                    index, t, piece.left, piece.width, piece.low, piece.height,
                    piece.slope_left, piece.slope_right, piece.per_width, piece.per_height,
                )  # fmt: skip
                for offset, number in enumerate(numbers):
                    kept[kernel.plus(keep_at, offset), column] = number
    return kernel.compile()


@lru_cache(maxsize=16)
def spline_backward(bins: int, bound: float) -> Kernel:
    """Kernel (raw, kept, gradient, upstream, sums, rows, features, columns): gradients of `spline_forward`.

    `raw` holds the kept powers and is overwritten with the gradient of the raw parameters; `gradient` [targets,
    columns] holds the gradient of the mapped values and is overwritten with that of the values; `upstream` [1,
    columns] is the gradient of the log slope. `sums` [features * (3 bins - 1), LANES] gains the parameter gradients
    summed over columns, one partial sum per lane.
    """
    kernel = Kernel(
        "spline_backward",
        arrays=("raw", "kept", "gradient", "upstream", "sums"),
        integers=("rows",),
        counts=("features", "columns"),
    )
    raw, kept, gradient, sums = kernel["raw"], kernel["kept"], kernel["gradient"], kernel["sums"]
    smallest = smallest_share(bins)
    for feature in kernel.loop(kernel.count("features")):
        row, first = kernel["rows"].integer(feature), kernel.times(feature, raw_parameters(bins))
        keep_at = kernel.times(feature, KEPT)
        for column in kernel.loop(kernel.count("columns"), LANES):
            numbers = [kept[kernel.plus(keep_at, offset), column] for offset in range(KEPT)]
            index, t, left, width, low, height, d0, d1, per_width, per_height = numbers
            up, up_log = gradient[row, column], kernel["upstream"][kernel.zero, column]
            outside = index < 0.0
            up_mapped = up * (2.0 * bound)
            steepness = height / width
            rest = 1.0 - t
            both, turn = t * rest, rest - t
            excess = d0 + d1 - 2.0 * steepness
            per_denominator = 1.0 / fma(excess, both, steepness)
            share = fma(steepness * t, t, d0 * both) * per_denominator
            gain = fma(d1 * t, t, fma(2.0 * steepness, both, d0 * rest * rest))
            # Gradients of numerator, denominator and gain of the rational function, then of what they are made of.
            g_numerator = up_mapped * height * per_denominator
            g_denominator = -1.0 * fma(g_numerator, share, 2.0 * up_log * per_denominator)
            g_gain = up_log / gain
            g_t = (
                g_numerator * fma(2.0 * steepness, t, d0 * turn)
                + g_denominator * (excess * turn)
                + 2.0 * g_gain * (fma(d1, t, steepness * turn) - d0 * rest)
            )
            g_steepness = (
                g_numerator * t * t
                + g_denominator * (1.0 - 2.0 * both)
                + 2.0 * fma(g_gain, both, up_log / steepness)
            )
            g_d0 = fma(g_numerator + g_denominator, both, g_gain * rest * rest)
            g_d1 = fma(g_denominator, both, g_gain * t * t)
            per = 1.0 / width
            g_left = -1.0 * g_t * per
            g_width = -1.0 * (g_t * t + g_steepness * steepness) * per
            g_height = fma(up_mapped, share, g_steepness * per)
            gradient[row, column] = where(outside, up, g_t * per * (0.5 / bound))

            def along(
                start: Lanes, size: Lanes, per_sum: Lanes, g_start: Lanes, g_size: Lanes
            ) -> tuple[Lanes, Lanes, Lanes]:
                # A share feels its own bin's size and, left of it, the start; the sum of all shares is one.
                mean = g_start * (start - smallest * index) + g_size * (size - smallest)
                scale = where(outside, 0.0, per_sum * LN2)
                free = 1.0 - bins * smallest
                return (g_start * free - mean) * scale, (g_size * free - mean) * scale, -1.0 * mean * scale

            widths = along(left, width, per_width, g_left, g_width)
            heights = along(low, height, per_height, up_mapped, g_height)
            # d slope / d u = slope^2 / (1 + slope^2)
            inner = [where(outside, 0.0, g * (d * d / fma(d, d, 1.0))) for g, d in ((g_d0, d0), (g_d1, d1))]

            def leave(offset: int, value: Lanes) -> None:
                place = kernel.plus(first, offset)
                raw[place, column] = value
                sums[place, kernel.zero] = sums[place, kernel.zero] + value

            for k in range(bins):
                after, here = index > float(k), index >= float(k)
                for offset, (before, at, past) in ((k, widths), (bins + k, heights)):
                    power = raw[kernel.plus(first, offset), column]
                    leave(offset, power * where(after, before, where(here, at, past)))
                if k < bins - 1:
                    next_one = where(index > float(k + 1), 0.0, inner[0])
                    leave(2 * bins + k, where(after, next_one, where(here, inner[1], 0.0)))
    return kernel.compile()


def _find(
    kernel: Kernel, bins: int, first: ir.Value, column: ir.Value, position: Lanes, *, axis: int, keep: bool = False
) -> _Piece:
    """Find the piece that holds `position` on axis 0 (widths) or 1 (heights) by walking over all bins."""
    raw, bias = kernel["raw"], kernel["bias"]

    def parameter(offset: int) -> Lanes:
        place = kernel.plus(first, offset)
        return raw[place, column] + bias.same(place)

    powers, per_sum = [], []
    for start in (0, bins):
        row = []
        for k in range(bins):
            power = exp2(clamp(parameter(start + k), -LARGEST_LOGIT, LARGEST_LOGIT))
            if keep:
                raw[kernel.plus(first, start + k), column] = power
            row.append(power)
        powers.append(row)
        total = row[0]
        for power in row[1:]:
            total = total + power
        per_sum.append(1.0 / total)
    smallest = smallest_share(bins)
    scales = [per * (1.0 - bins * smallest) for per in per_sum]

    def size(which: int, k: int) -> Lanes:
        return fma(powers[which][k], scales[which], smallest)

    zero = kernel.number(0.0)
    start, other_start, edge = zero, zero, size(axis, 0)
    found, other_found = edge, size(1 - axis, 0)
    previous = other_found
    slopes = [parameter(2 * bins + k) for k in range(bins - 1)] + [zero]
    left, right, index = zero, slopes[0], zero
    for k in range(1, bins):
        beyond = position >= edge
        this, other = size(axis, k), size(1 - axis, k)
        start, found = where(beyond, edge, start), where(beyond, this, found)
        other_start, other_found = where(beyond, other_start + previous, other_start), where(beyond, other, other_found)
        left, right = where(beyond, slopes[k - 1], left), where(beyond, slopes[k], right)
        index = where(beyond, float(k), index)
        edge, previous = edge + this, other
    pair = [(start, found), (other_start, other_found)]
    (x, width), (y, height) = pair if axis == 0 else pair[::-1]
    return _Piece(x, width, y, height, _slope(left), _slope(right), index, *per_sum)


def _slope(u: Lanes) -> Lanes:
    half = (absolute(u) + sqrt(fma(u, u, 4.0))) * 0.5
    return where(u >= 0.0, half, 1.0 / half)


def _activation(name: str, x: Lanes) -> tuple[Lanes, Lanes]:
    """Return the activation and its derivative."""
    if name == "relu":
        return where(x < 0.0, 0.0, x), where(x < 0.0, 0.0, where(x > 0.0, 1.0, x * 0.0))
    if name == "hardswish":
        gate = clamp(fma(x, 1.0 / 6.0, 0.5), 0.0, 1.0)
        inside = where(absolute(x) < 3.0, x * (1.0 / 6.0), 0.0)
        return x * gate, gate + inside
    gate = 1.0 / (1.0 + exp2(clamp(x * (-1.0 / LN2), -LARGEST_LOGIT, LARGEST_LOGIT)))
    silu = x * gate
    return silu, fma(silu, 1.0 - gate, gate)


@lru_cache(maxsize=8)
def activate(name: str) -> Kernel:
    """Kernel (hidden, bias, active, rows, columns): active = activation(hidden + bias); the two may be the same."""
    kernel = Kernel("activate", arrays=("hidden", "bias", "active"), counts=("rows", "columns"))
    for row in kernel.loop(kernel.count("rows")):
        bias = kernel["bias"].same(row)
        for column in kernel.loop(kernel.count("columns"), LANES):
            kernel["active"][row, column] = _activation(name, kernel["hidden"][row, column] + bias)[0]
    return kernel.compile()


@lru_cache(maxsize=8)
def activate_backward(name: str) -> Kernel:
    """Kernel (hidden, bias, gradient, active, sums, rows, columns): gradients of `activate`.

    `gradient` becomes that of the hidden numbers, `active` is made once more from `hidden`, which is cheaper than to
    keep it, and `sums` [rows, LANES] gains the gradient summed over columns, one partial sum per lane.
    """
    kernel = Kernel(
        "activate_backward", arrays=("hidden", "bias", "gradient", "active", "sums"), counts=("rows", "columns")
    )
    gradient, sums = kernel["gradient"], kernel["sums"]
    for row in kernel.loop(kernel.count("rows")):
        bias = kernel["bias"].same(row)
        for column in kernel.loop(kernel.count("columns"), LANES):
            value, slope = _activation(name, kernel["hidden"][row, column] + bias)
            product = gradient[row, column] * slope
            kernel["active"][row, column] = value
            gradient[row, column] = product
            sums[row, kernel.zero] = sums[row, kernel.zero] + product
    return kernel.compile()


@lru_cache(maxsize=2)
def move_rows(*, add: bool) -> Kernel:
    """Kernel (source, target, rows, count, columns): source = target[rows], or with `add` target[rows] += source."""
    kernel = Kernel("move_rows", arrays=("source", "target"), integers=("rows",), counts=("count", "columns"))
    source, target = kernel["source"], kernel["target"]
    for number in kernel.loop(kernel.count("count")):
        row = kernel["rows"].integer(number)
        for column in kernel.loop(kernel.count("columns"), LANES):
            if add:
                target[row, column] = target[row, column] + source[number, column]
            else:
                source[number, column] = target[row, column]
    return kernel.compile()
