"""One coupling of a flow: some targets stay, and with the condition set the others' splines."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.models.nn import spline

if TYPE_CHECKING:
    from collections.abc import Sequence

ACTIVATIONS = {
    "relu": functional.relu,
    "hardswish": functional.hardswish,
    "silu": functional.silu,
}

Shapes = list[tuple[int, int]]
"""Of a network's matrices, (outputs, inputs) each."""

NEAR_IDENTITY = 0.05
"""Scale of a fresh network's last layer: little happens, yet every layer has a gradient."""


@dataclass(frozen=True)
class Network:
    """Matrices [outputs, inputs] and biases [outputs] of a conditioner, layer by layer."""

    weights: list[Tensor]
    biases: list[Tensor]

    def detach(self) -> Network:
        """Return the same numbers in the same memory, without gradient bookkeeping."""
        return Network([w.detach() for w in self.weights], [b.detach() for b in self.biases])


class Coupling(nn.Module):
    """The two sets of targets and the shape of the conditioner network, whose numbers come along.

    Attributes:
        kept: rows of the targets that stay as they are and are read.
        moved: rows of the targets that are mapped.
        widths: of the conditioner, from (condition, kept targets) to the moved ones' parameters.
    """

    kept: Tensor
    moved: Tensor

    def __init__(
        self,
        moved: Sequence[int],
        targets: int,
        conditions: int,
        *,
        hidden: Sequence[int],
        bins: int,
    ) -> None:
        super().__init__()
        kept = [row for row in range(targets) if row not in set(moved)]
        # Which targets move is part of the trained model, so it is stored with the weights.
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.int64))
        self.register_buffer("moved", torch.tensor(sorted(moved), dtype=torch.int64))
        outputs = len(moved) * spline.raw_parameters(bins)
        self.widths = [conditions + len(kept), *hidden, outputs]

    @property
    def shapes(self) -> Shapes:
        """Shapes of the network's matrices."""
        return [(outputs, inputs) for inputs, outputs in itertools.pairwise(self.widths)]

    def fresh(self) -> Network:
        """Return random weights, with which the coupling is close to the identity."""
        weights, biases = [], []
        for outputs, inputs in self.shapes:
            limit = 1.0 / math.sqrt(inputs)
            weights.append(torch.empty(outputs, inputs).uniform_(-limit, limit))
            biases.append(torch.empty(outputs).uniform_(-limit, limit))
        weights[-1] *= NEAR_IDENTITY
        biases[-1] *= 0.0
        return Network(weights, biases)

    def raw(
        self,
        network: Network,
        state: Tensor,
        condition: Tensor,
        *,
        activation: str,
        dropout: float,
    ) -> Tensor:
        """Return raw parameters [moved, 3 bins - 1, rows] of feature-major state and condition."""
        hidden = torch.cat([condition, state[self.kept]])
        *layers, (weight, bias) = zip(network.weights, network.biases, strict=True)
        for inner_weight, inner_bias in layers:
            hidden = torch.addmm(inner_bias[:, None], inner_weight, hidden)
            hidden = functional.dropout(ACTIVATIONS[activation](hidden), dropout, self.training)
        parameters = torch.addmm(bias[:, None], weight, hidden)
        moved = len(self.moved)
        return parameters.view(moved, len(weight) // moved, parameters.shape[1])


def pack(networks: Sequence[Network]) -> Tensor:
    """Return all matrices and then all biases as one vector.

    One vector and not fifty tensors, because an optimiser's step on each costs as much as the
    products do; biases side by side, because their gradients are summed at once.
    """
    weights = [weight for network in networks for weight in network.weights]
    biases = [bias for network in networks for bias in network.biases]
    return torch.cat([tensor.reshape(-1) for tensor in (*weights, *biases)])


def unpack(vector: Tensor, shapes: Sequence[Shapes]) -> list[Network]:
    """Return the networks that lie in a vector made by `pack`, without copying.

    Args:
        vector: of all networks.
        shapes: of each network's matrices.
    """
    flat = [shape for network in shapes for shape in network]
    sizes = [outputs * inputs for outputs, inputs in flat]
    pieces = iter(torch.split(vector, [*sizes, *(outputs for outputs, _ in flat)]))
    weights = [[next(pieces).view(shape) for shape in network] for network in shapes]
    biases = [[next(pieces) for _ in network] for network in shapes]
    return [Network(*pair) for pair in zip(weights, biases, strict=True)]


def balanced_halves(targets: int, couplings: int, seed: int) -> list[list[int]]:
    """Choose which targets each coupling moves: halves and their complements, each target as often.

    Of many random choices it returns the one in which most ordered pairs of targets meet as
    (moved, read). One target alone moves in every coupling.
    """
    if targets == 1:
        return [[0]] * couplings
    draw = random.Random(seed)  # noqa: S311  (not for secrets)
    best: list[list[int]] = []
    most = -1.0
    for _ in range(64):
        halves = _random_halves(targets, couplings, draw)
        score = _meetings(halves, targets)
        if score > most:
            best, most = halves, score
    return best


def _random_halves(targets: int, couplings: int, draw: random.Random) -> list[list[int]]:
    halves: list[list[int]] = []
    while len(halves) < couplings:
        keys = [draw.random() for _ in range(targets)]
        order = sorted(range(targets), key=keys.__getitem__)
        pair = [order[: targets // 2], order[targets // 2 :]]
        if halves and len({*halves[-1], *pair[0]}) < len({*halves[-1], *pair[1]}):
            pair.reverse()  # what just moved is read next
        halves += pair
    return halves[:couplings]


def _meetings(halves: list[list[int]], targets: int) -> float:
    """Score how often targets meet; a pair that never met counts more than one that met twice."""
    met = [[0] * targets for _ in range(targets)]
    for half in halves:
        for i in half:
            for j in set(range(targets)).difference(half):
                met[i][j] += 1
    pairs = itertools.permutations(range(targets), 2)
    return sum(1.0 - 0.25 ** met[i][j] for i, j in pairs)
