"""Distances between two samples that are no pairs: along directions, axis by axis, by rank.

All are computed from sorted projections, so they need equally many rows on both sides, each of
weight one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def directions(columns: int, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return random unit vectors, [columns, count]."""
    drawn = torch.randn(columns, count, generator=generator)
    return drawn / drawn.square().sum(0, keepdim=True).sqrt()


def in_order(values: Tensor) -> Tensor:
    """Return every column of [rows, columns] by rising value, as [columns, rows].

    numpy sorts float32 with the processor's vector instructions: on one core five times as fast as
    torch where a gradient needs the order, twenty times where none does.
    """
    columns = values.t().contiguous()
    if columns.device.type != "cpu":
        return columns.sort(1).values
    if not columns.requires_grad:
        return torch.from_numpy(np.sort(columns.numpy(), axis=1))
    return columns.gather(1, torch.from_numpy(np.argsort(columns.detach().numpy(), axis=1)))


def axis_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return W2^2 of every column, [columns]: the mean squared difference of sorted values."""
    return (in_order(first) - in_order(second)).square().mean(1)


def sliced_distance(first: Tensor, second: Tensor, along: Tensor) -> Tensor:
    """Return the mean W2^2 of the projections on directions [columns, count], in units squared."""
    return axis_distances(first @ along, second @ along).mean()


def widest_direction(first: Tensor, second: Tensor, along: Tensor) -> Tensor:
    """Return the distance along the worst of the directions (max-sliced over a random set)."""
    return axis_distances(first @ along, second @ along).max()


def ranks(values: Tensor, knots: Tensor) -> Tensor:
    """Return where values [columns, rows] lie among quantiles [columns, knots], from 0 to 1.

    Between two quantiles the rank is linear in the value. Beyond the outer ones it goes on with the
    slope of the last piece, so that far values are still pulled back.
    """
    count = knots.shape[1] - 1
    piece = (torch.searchsorted(knots, values.detach().contiguous()) - 1).clamp(0, count - 1)
    low, high = knots.gather(1, piece), knots.gather(1, piece + 1)
    return (piece + (values - low) / (high - low).clamp(min=1e-6)) / count


def rank_distances(simulated: Tensor, data: Tensor, pieces: int) -> Tensor:
    """Return the mean squared difference of ranks in the data, [columns], times 12.

    That is a Cramer-von Mises distance: every quantity counts alike in its own bulk, whatever its
    unit and tails. 1 is the variance of the ranks themselves.

    Args:
        simulated: [rows, columns].
        data: [rows, columns]; its quantiles define the ranks.
        pieces: quantiles between which ranks are linear.
    """
    ordered = in_order(data)
    places = torch.linspace(0, len(data) - 1, pieces + 1).round().long()
    knots = ordered[:, places.to(data.device)].contiguous()
    found = ranks(in_order(simulated), knots)
    return 12.0 * (found - ranks(ordered, knots)).square().mean(1)
