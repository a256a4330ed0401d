"""The splines of `spline`, compiled: inverse, forward with log slope, and the gradients of forward.

Raw parameters come as [features * (3 bins - 1), columns] without their bias, which is added here.
`state` is [targets, columns] and is changed in place in the rows named by `rows`. Positions, widths
and heights are in units of the interval [-bound, bound], positions counted from its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from gen2reco.models.nn.lanes import LANES, Kernel, absolute, clamp, exp2, fma, log, sqrt, where
from gen2reco.models.nn.spline import LARGEST_LOGIT, raw_parameters, smallest_share

if TYPE_CHECKING:
    from llvmlite import ir  # type: ignore[import-untyped]

    from gen2reco.models.nn.lanes import Lanes, Rows

KEPT = 10
"""Numbers per spline and column that the forward kernel keeps for the backward one."""

_LN2 = 0.6931471805599453


@dataclass(frozen=True)
class _Piece:
    """The piece of a spline that holds a position, and one over the sums of all 2^u of its axes."""

    left: Lanes
    width: Lanes
    low: Lanes
    height: Lanes
    slope_left: Lanes
    slope_right: Lanes
    per_width: Lanes
    per_height: Lanes
    index: Lanes


@lru_cache(maxsize=16)
def spline_inverse(bins: int, bound: float) -> Kernel:
    """Return kernel (raw, bias, state, rows, features, columns): noise to target space."""
    kernel = Kernel(
        "spline_inverse",
        arrays=("raw", "bias", "state"),
        integers=("rows",),
        counts=("features", "columns"),
    )
    state = kernel["state"]
    for feature in kernel.loop(kernel.count("features")):
        row = kernel["rows"].integer(feature)
        first = kernel.times(feature, raw_parameters(bins))
        for column in kernel.loop(kernel.count("columns"), LANES):
            value = state[row, column]
            position = value * (0.5 / bound)
            piece = _find(kernel, bins, first, column, position, axis=1)
            steepness = piece.height / piece.width
            rise = (position - piece.low) / piece.height
            excess = piece.slope_left + piece.slope_right - 2.0 * steepness
            b = piece.slope_left - rise * excess
            a = fma(rise, excess, steepness - piece.slope_left)
            c = steepness * rise
            squared = fma(b, b, 4.0 * a * c)
            root = sqrt(where(squared < 0.0, 0.0, squared))
            # Of the two equal forms of the solution, the one without a difference of near equals.
            up = b >= 0.0
            t = where(up, 2.0 * c, root - b) / where(up, b + root, 2.0 * a)
            mapped = fma(t, piece.width, piece.left) * (2.0 * bound)
            state[row, column] = where(absolute(value) > bound, value, mapped)
    return kernel.compile()


@lru_cache(maxsize=16)
def spline_forward(bins: int, bound: float, *, keep: bool) -> Kernel:
    """Return kernel (raw, bias, state, log_slope, kept, rows, features, columns): to noise.

    It adds log |slope| to `log_slope` [1, columns]. With `keep` it leaves in `raw` the powers 2^u
    of widths and heights, and in `kept` [features * KEPT, columns] what the backward kernel needs.
    """
    kernel = Kernel(
        "spline_forward",
        arrays=("raw", "bias", "state", "log_slope", "kept"),
        integers=("rows",),
        counts=("features", "columns"),
    )
    state, log_slope, kept = kernel["state"], kernel["log_slope"], kernel["kept"]
    for feature in kernel.loop(kernel.count("features")):
        row = kernel["rows"].integer(feature)
        first = kernel.times(feature, raw_parameters(bins))
        keep_at = kernel.times(feature, KEPT)
        for column in kernel.loop(kernel.count("columns"), LANES):
            value = state[row, column]
            position = value * (0.5 / bound)
            piece = _find(kernel, bins, first, column, position, axis=0, keep=keep)
            steepness = piece.height / piece.width
            t = (position - piece.left) / piece.width
            rest = 1.0 - t
            both = t * rest
            excess = piece.slope_left + piece.slope_right - 2.0 * steepness
            denominator = fma(excess, both, steepness)
            numerator = fma(steepness * t, t, piece.slope_left * both)
            share = fma(piece.height, numerator / denominator, piece.low)
            gain = fma(2.0 * steepness, both, piece.slope_left * rest * rest)
            gain = fma(piece.slope_right * t, t, gain)
            ratio = steepness / denominator
            outside = absolute(value) > bound
            state[row, column] = where(outside, value, share * (2.0 * bound))
            rise = where(outside, 0.0, log(ratio * ratio * gain))
            log_slope[kernel.zero, column] = log_slope[kernel.zero, column] + rise
            if keep:
                # An index below every bin marks columns outside, where no parameter has a gradient.
                numbers = [*_fields(piece), t]
                numbers[-2] = where(outside, -1.0, piece.index)
                for offset, number in enumerate(numbers):
                    kept[kernel.plus(keep_at, offset), column] = number
    return kernel.compile()


@lru_cache(maxsize=16)
def spline_backward(bins: int, bound: float) -> Kernel:
    """Return kernel (raw, kept, gradient, upstream, sums, rows, features, columns).

    These are the gradients of `spline_forward`. `raw` holds the kept powers and becomes the
    gradient of the raw parameters; `gradient` [targets, columns] holds that of the mapped values
    and becomes that of the values; `upstream` [1, columns] is that of the log slope. `sums`
    [features * (3 bins - 1), LANES] gains the parameters' gradients summed over columns, one
    partial sum per lane.
    """
    kernel = Kernel(
        "spline_backward",
        arrays=("raw", "kept", "gradient", "upstream", "sums"),
        integers=("rows",),
        counts=("features", "columns"),
    )
    kept, gradient = kernel["kept"], kernel["gradient"]
    for feature in kernel.loop(kernel.count("features")):
        row = kernel["rows"].integer(feature)
        first = kernel.times(feature, raw_parameters(bins))
        keep_at = kernel.times(feature, KEPT)
        for column in kernel.loop(kernel.count("columns"), LANES):
            _fetch_ahead(kernel, "raw", first, raw_parameters(bins), column)
            _fetch_ahead(kernel, "kept", keep_at, KEPT, column)
            *fields, t = [kept[kernel.plus(keep_at, offset), column] for offset in range(KEPT)]
            piece = _Piece(*fields)
            outside = piece.index < 0.0
            up, up_log = gradient[row, column], kernel["upstream"][kernel.zero, column]
            by = _piece_gradients(piece, t, up * (2.0 * bound), up_log)
            gradient[row, column] = where(outside, up, by.position * (0.5 / bound))
            scales = [
                where(outside, 0.0, per * _LN2) for per in (piece.per_width, piece.per_height)
            ]
            sizes = (
                _share_gradients(bins, piece.index, piece.left, piece.width, by.left, by.width),
                _share_gradients(bins, piece.index, piece.low, piece.height, by.low, by.height),
            )
            shares = [
                tuple(g * scale for g in size) for size, scale in zip(sizes, scales, strict=True)
            ]
            slopes = [
                where(outside, 0.0, g * _raw_slope_gradient(slope))
                for g, slope in (
                    (by.slope_left, piece.slope_left),
                    (by.slope_right, piece.slope_right),
                )
            ]
            _leave_gradients(kernel, bins, first, column, piece.index, shares, slopes)
    return kernel.compile()


@dataclass(frozen=True)
class _PieceGradients:
    position: Lanes
    left: Lanes
    width: Lanes
    low: Lanes
    height: Lanes
    slope_left: Lanes
    slope_right: Lanes


def _piece_gradients(piece: _Piece, t: Lanes, up: Lanes, up_log: Lanes) -> _PieceGradients:
    """Gradients of the mapped share (upstream `up`) and of the log slope (upstream `up_log`)."""
    d0, d1 = piece.slope_left, piece.slope_right
    steepness = piece.height / piece.width
    rest = 1.0 - t
    both, turn = t * rest, rest - t
    excess = d0 + d1 - 2.0 * steepness
    per_denominator = 1.0 / fma(excess, both, steepness)
    share = fma(steepness * t, t, d0 * both) * per_denominator
    gain = fma(d1 * t, t, fma(2.0 * steepness, both, d0 * rest * rest))
    # First those of the numerator, denominator and gain of the rational function.
    by_numerator = up * piece.height * per_denominator
    by_denominator = -1.0 * fma(by_numerator, share, 2.0 * up_log * per_denominator)
    by_gain = up_log / gain
    by_t = (
        by_numerator * fma(2.0 * steepness, t, d0 * turn)
        + by_denominator * (excess * turn)
        + 2.0 * by_gain * (fma(d1, t, steepness * turn) - d0 * rest)
    )
    by_steepness = (
        by_numerator * t * t
        + by_denominator * (1.0 - 2.0 * both)
        + 2.0 * fma(by_gain, both, up_log / steepness)
    )
    per_width = 1.0 / piece.width
    position = by_t * per_width
    return _PieceGradients(
        position=position,
        left=-1.0 * position,
        width=-1.0 * fma(by_steepness, steepness, by_t * t) * per_width,
        low=up,
        height=fma(up, share, by_steepness * per_width),
        slope_left=fma(by_numerator + by_denominator, both, by_gain * rest * rest),
        slope_right=fma(by_denominator, both, by_gain * t * t),
    )


def _share_gradients(
    bins: int, index: Lanes, start: Lanes, size: Lanes, by_start: Lanes, by_size: Lanes
) -> tuple[Lanes, Lanes, Lanes]:
    """Gradient of the shares before the found one, of that itself, and of those after it.

    To be multiplied by each share: all shares add up to one, hence the common mean is taken off.
    """
    smallest = smallest_share(bins)
    free = 1.0 - bins * smallest
    mean = by_start * (start + 0.5 - smallest * index) + by_size * (size - smallest)
    return by_start * free - mean, by_size * free - mean, -1.0 * mean


def _leave_gradients(
    kernel: Kernel,
    bins: int,
    first: ir.Value,
    column: ir.Value,
    index: Lanes,
    shares: list[tuple[Lanes, ...]],
    slopes: list[Lanes],
) -> None:
    """Write the gradient of every raw parameter over the kept powers, and add it to the sums."""
    raw: Rows = kernel["raw"]
    sums: Rows = kernel["sums"]

    def leave(offset: int, value: Lanes) -> None:
        place = kernel.plus(first, offset)
        raw[place, column] = value
        sums[place, kernel.zero] = sums[place, kernel.zero] + value

    for k in range(bins):
        after, here = index > float(k), index >= float(k)
        for offset, (before, at, past) in ((k, shares[0]), (bins + k, shares[1])):
            power = raw[kernel.plus(first, offset), column]
            leave(offset, power * where(after, before, where(here, at, past)))
        if k < bins - 1:
            left_of_next = where(index > float(k + 1), 0.0, slopes[0])
            leave(2 * bins + k, where(after, left_of_next, where(here, slopes[1], 0.0)))


def _find(
    kernel: Kernel,
    bins: int,
    first: ir.Value,
    column: ir.Value,
    position: Lanes,
    *,
    axis: int,
    keep: bool = False,
) -> _Piece:
    """Find the piece that holds `position` on axis 0 (widths) or 1 (heights), bin by bin."""
    raw, bias = kernel["raw"], kernel["bias"]
    _fetch_ahead(kernel, "raw", first, raw_parameters(bins), column)

    def parameter(offset: int) -> Lanes:
        place = kernel.plus(first, offset)
        return raw[place, column] + bias.same(place)

    smallest = smallest_share(bins)
    per_sum: list[Lanes] = []
    sizes: list[list[Lanes]] = []
    for offsets in (range(bins), range(bins, 2 * bins)):
        powers: list[Lanes] = []
        for offset in offsets:
            power = exp2(clamp(parameter(offset), -LARGEST_LOGIT, LARGEST_LOGIT))
            if keep:
                raw[kernel.plus(first, offset), column] = power
            powers.append(power)
        total = powers[0]
        for power in powers[1:]:
            total = total + power
        per_sum.append(1.0 / total)
        scale = per_sum[-1] * (1.0 - bins * smallest)
        sizes.append([fma(power, scale, smallest) for power in powers])

    zero = kernel.number(0.0)
    slopes = [parameter(2 * bins + k) for k in range(bins - 1)] + [zero]
    here, across = sizes[axis], sizes[1 - axis]
    # Counted from the centre, since float32 is finest near zero, where most events are.
    begin = kernel.number(-0.5)
    start, size, other_start, other_size = begin, here[0], begin, across[0]
    left, right, index, edge = zero, slopes[0], zero, here[0] - 0.5
    for k in range(1, bins):
        beyond = position >= edge
        start, size = where(beyond, edge, start), where(beyond, here[k], size)
        other_start = where(beyond, other_start + across[k - 1], other_start)
        other_size = where(beyond, across[k], other_size)
        left, right = where(beyond, slopes[k - 1], left), where(beyond, slopes[k], right)
        index = where(beyond, float(k), index)
        edge = edge + here[k]
    pairs = [(start, size), (other_start, other_size)]
    (x, width), (y, height) = pairs if axis == 0 else pairs[::-1]
    slopes_around = _slope(left), _slope(right)
    return _Piece(x, width, y, height, *slopes_around, per_sum[0], per_sum[1], index)


def _fetch_ahead(kernel: Kernel, array: str, first: ir.Value, count: int, column: ir.Value) -> None:
    """Ask for the next columns of many rows: too many streams for the processor to foresee."""
    for offset in range(count):
        kernel[array].fetch(kernel.plus(first, offset), kernel.plus(column, LANES))


def _fields(piece: _Piece) -> list[Lanes]:
    return [cast("Lanes", getattr(piece, name)) for name in _Piece.__dataclass_fields__]


def _slope(u: Lanes) -> Lanes:
    """Return (u + sqrt(u^2 + 4)) / 2 without cancellation."""
    half = (absolute(u) + sqrt(fma(u, u, 4.0))) * 0.5
    return where(u >= 0.0, half, 1.0 / half)


def _raw_slope_gradient(slope: Lanes) -> Lanes:
    """Return d slope / d u."""
    return slope * slope / fma(slope, slope, 1.0)
