"""One coupling of a flow: some targets stay, and with the condition set the others' splines."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, cast

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


class Coupling(nn.Module):
    """Conditioner network and the two sets of targets, in plain PyTorch; `passes` runs it compiled.

    Attributes:
        kept: rows of the targets that stay as they are and are read.
        moved: rows of the targets that are mapped.
        layers: the conditioner, from (condition, kept targets) to the moved ones' raw parameters.
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
        widths = [conditions + len(kept), *hidden, outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        # Close to the identity, yet with a gradient for every layer from the first step on.
        with torch.no_grad():
            self.weights[-1].mul_(0.05)
            self.biases[-1].zero_()

    @property
    def weights(self) -> list[Tensor]:
        """Matrices of the conditioner, [outputs, inputs] each."""
        return [cast("nn.Linear", layer).weight for layer in self.layers]

    @property
    def biases(self) -> list[Tensor]:
        """Biases of the conditioner, [outputs] each."""
        return [cast("nn.Linear", layer).bias for layer in self.layers]

    def raw(self, state: Tensor, condition: Tensor, activation: str, dropout: float) -> Tensor:
        """Return raw parameters [moved, 3 bins - 1, rows] of feature-major state and condition."""
        hidden = torch.cat([condition, state[self.kept]])
        *layers, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for inner_weight, inner_bias in layers:
            hidden = torch.addmm(inner_bias[:, None], inner_weight, hidden)
            hidden = functional.dropout(ACTIVATIONS[activation](hidden), dropout, self.training)
        parameters = torch.addmm(bias[:, None], weight, hidden)
        moved = len(self.moved)
        return parameters.view(moved, len(weight) // moved, parameters.shape[1])


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
