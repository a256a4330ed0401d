"""Distances between two samples that are no pairs: along directions, axis by axis, by rank.

All are computed from sorted projections, so they need equally many rows on both sides, each of
weight one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def directions(columns: int, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return random unit vectors, [columns, count]."""
    drawn = torch.randn(columns, count, generator=generator)
    return drawn / drawn.square().sum(0, keepdim=True).sqrt()


def axis_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return W2^2 of every column, [columns]: the mean squared difference of sorted values."""
    return (first.sort(0).values - second.sort(0).values).square().mean(0)


def sliced_distance(first: Tensor, second: Tensor, along: Tensor) -> Tensor:
    """Return the mean W2^2 of the projections on directions [columns, count], in units squared."""
    return axis_distances(first @ along, second @ along).mean()


def widest_direction(first: Tensor, second: Tensor, along: Tensor) -> Tensor:
    """Return the distance along the worst of the directions (max-sliced over a random set)."""
    return axis_distances(first @ along, second @ along).max()


def ranks(values: Tensor, knots: Tensor) -> Tensor:
    """Return where values [rows, columns] lie among quantiles [knots, columns], from 0 to 1.

    Between two quantiles the rank is linear in the value. Beyond the outer ones it goes on with the
    slope of the last piece, so that far values are still pulled back.
    """
    count = len(knots) - 1
    columns = knots.t().contiguous()
    piece = torch.searchsorted(columns, values.detach().t().contiguous()) - 1
    piece = piece.clamp(0, count - 1)
    low, high = columns.gather(1, piece), columns.gather(1, piece + 1)
    share = (values.t() - low) / (high - low).clamp(min=1e-6)
    return ((piece + share) / count).t()


def rank_distances(simulated: Tensor, data: Tensor, pieces: int) -> Tensor:
    """Return the mean squared difference of ranks in the data, [columns], times 12.

    That is a Cramer-von Mises distance: every quantity counts alike in its own bulk, whatever its
    unit and tails. 1 is the variance of the ranks themselves.

    Args:
        simulated: [rows, columns].
        data: [rows, columns]; its quantiles define the ranks.
        pieces: quantiles between which ranks are linear.
    """
    ordered = data.sort(0).values
    places = torch.linspace(0, len(data) - 1, pieces + 1).round().long()
    knots = ordered[places.to(data.device)]
    found = ranks(simulated.sort(0).values, knots)
    return 12.0 * (found - ranks(ordered, knots)).square().mean(0)
