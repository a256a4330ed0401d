"""Monotonic rational-quadratic splines in plain PyTorch, the compiled kernels' reference.

A spline maps [-bound, bound] onto itself through `bins` pieces and is the identity outside, so what
lies outside is modelled by the base distribution alone: compress tails before they get here. One
spline has 3 bins - 1 raw parameters, all zero for the identity: `bins` for the widths and `bins`
for the heights of the pieces (shares of the interval, 2^u over the sum of all 2^u, but never below
`SMALLEST`), and bins - 1 for the slopes where pieces meet, (u + sqrt(u^2 + 4)) / 2; the slope at
both ends is 1.

The layout is feature-major: parameters [features, 3 bins - 1, rows], values [features, rows].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 1e-3
"""Least share of the interval that a bin has (less beyond 16 bins): float32 needs room."""

LARGEST_LOGIT = 60.0
"""Raw widths and heights act as if clamped here, far beyond where they stop to matter."""


def raw_parameters(bins: int) -> int:
    """Number of raw parameters of one spline."""
    return 3 * bins - 1


def smallest_share(bins: int) -> float:
    """Least share of the interval that one of `bins` bins has."""
    return SMALLEST * min(1.0, 16.0 / bins)


def forward(values: Tensor, raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Map targets towards noise; return the mapped values and log |slope|, [features, rows]."""
    position = values / (2.0 * bound)
    knots = _Knots(raw)
    left, width, low, height, slope_left, slope_right = knots.around(position, axis=0)
    steepness = height / width
    t = (position - left) / width
    rest = 1.0 - t
    excess = slope_left + slope_right - 2.0 * steepness
    denominator = steepness + excess * t * rest
    mapped = low + height * (steepness * t * t + slope_left * t * rest) / denominator
    gain = slope_right * t * t + 2.0 * steepness * t * rest + slope_left * rest * rest
    log_slope = torch.log((steepness / denominator) ** 2 * gain)
    outside = values.abs() > bound
    zero = torch.zeros_like(values)
    return torch.where(outside, values, 2.0 * bound * mapped), torch.where(outside, zero, log_slope)


def inverse(values: Tensor, raw: Tensor, bound: float) -> Tensor:
    """Map noise back to target space, [features, rows]."""
    position = values / (2.0 * bound)
    left, width, low, height, slope_left, slope_right = _Knots(raw).around(position, axis=1)
    steepness = height / width
    rise = (position - low) / height
    excess = slope_left + slope_right - 2.0 * steepness
    b = slope_left - rise * excess
    a = steepness - slope_left + rise * excess
    c = steepness * rise
    root = torch.sqrt((b * b + 4.0 * a * c).clamp(min=0.0))
    # Of the two equal forms of the solution, the one that does not subtract nearly equal numbers.
    up = b >= 0.0
    t = torch.where(up, 2.0 * c, root - b) / torch.where(up, b + root, 2.0 * a)
    return torch.where(values.abs() > bound, values, 2.0 * bound * (left + t * width))


class _Knots:
    """Where the pieces of every spline meet, in units of the interval, counted from its centre."""

    def __init__(self, raw: Tensor) -> None:
        self.bins = (raw.shape[1] + 1) // 3
        self.sizes = [
            self._shares(raw[:, : self.bins]),
            self._shares(raw[:, self.bins : 2 * self.bins]),
        ]
        u = raw[:, 2 * self.bins :]
        root = torch.sqrt(u * u + 4.0)
        slopes = torch.where(u >= 0.0, (root + u) / 2.0, 2.0 / (root - u))
        self.end = torch.ones_like(raw[:, :1])
        self.slopes = torch.cat([self.end, slopes, self.end], dim=1)

    def _shares(self, logits: Tensor) -> Tensor:
        smallest = smallest_share(self.bins)
        limited = logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
        shares = torch.softmax(limited * math.log(2.0), dim=1)
        return shares * (1.0 - self.bins * smallest) + smallest

    def around(self, position: Tensor, axis: int) -> tuple[Tensor, ...]:
        """Return left, width, low, height, both slopes of the piece at `position` on an axis."""
        # Counted from the centre, since float32 is finest near zero, where most events are.
        ends = [torch.cumsum(torch.cat([-0.5 * self.end, size], 1), 1) for size in self.sizes]
        index = (position.unsqueeze(1) >= ends[axis][:, 1:-1]).sum(1, keepdim=True)
        found = []
        for size, end in zip(self.sizes, ends, strict=True):
            found += [end.gather(1, index), size.gather(1, index)]
        found += [self.slopes.gather(1, index), self.slopes.gather(1, index + 1)]
        return tuple(value.squeeze(1) for value in found)
