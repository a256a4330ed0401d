"""One coupling of a flow: some targets stay, and together with the condition they set the splines of the others."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.models.nn import spline

if TYPE_CHECKING:
    from collections.abc import Sequence

ACTIVATIONS = {"relu": functional.relu, "hardswish": functional.hardswish, "silu": functional.silu}


class Coupling(nn.Module):
    """Conditioner network and the two sets of targets, in plain PyTorch; `passes` holds the compiled version.

    Attributes:
        kept: rows of the targets that stay as they are and are read.
        moved: rows of the targets that are mapped.
        layers: the conditioner, from (condition, kept targets) to the raw spline parameters of the moved ones.
    """

    kept: Tensor
    moved: Tensor

    def __init__(
        self, moved: Sequence[int], targets: int, conditions: int, hidden: Sequence[int], bins: int
    ) -> None:
        super().__init__()
        kept = [row for row in range(targets) if row not in set(moved)]
        # Which targets move is part of the trained model, so it is stored with the weights.
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.int64))
        self.register_buffer("moved", torch.tensor(sorted(moved), dtype=torch.int64))
        outputs = len(moved) * spline.raw_parameters(bins)
        widths = [conditions + len(kept), *hidden, outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        # Close to the identity, yet with a gradient for every layer from the first step on.
        with torch.no_grad():
            last.weight.mul_(0.05)
            last.bias.zero_()

    def raw(self, state: Tensor, condition: Tensor, activation: str, dropout: float) -> Tensor:
        """Return raw spline parameters [moved, 3 bins - 1, rows] of feature-major state and condition."""
        hidden = torch.cat([condition, state[self.kept]])
        for layer in self.layers[:-1]:
            hidden = ACTIVATIONS[activation](torch.addmm(layer.bias[:, None], layer.weight, hidden))
            hidden = functional.dropout(hidden, dropout, self.training)
        last = self.layers[-1]
        parameters = torch.addmm(last.bias[:, None], last.weight, hidden)
        return parameters.view(len(self.moved), -1, parameters.shape[1])


def balanced_halves(targets: int, couplings: int, seed: int) -> list[list[int]]:
    """Choose which targets each coupling moves: halves and their complements, so that every one moves as often.

    Of many random choices it returns the one in which most ordered pairs of targets meet as (moved, read). One
    target alone moves in every coupling.
    """
    if targets == 1:
        return [[0]] * couplings
    draw = random.Random(seed)  # noqa: S311  (not for secrets)
    best: list[list[int]] = []
    most = -1.0
    for _ in range(64):
        halves: list[list[int]] = []
        while len(halves) < couplings:
            keys = [draw.random() for _ in range(targets)]
            order = sorted(range(targets), key=keys.__getitem__)
            pair = [order[: targets // 2], order[targets // 2 :]]
            if halves and len({*halves[-1], *pair[0]}) < len({*halves[-1], *pair[1]}):
                pair.reverse()  # what just moved is read next
            halves += pair
        halves = halves[:couplings]
        met = [[0] * targets for _ in range(targets)]
        for half in halves:
            for i in half:
                for j in set(range(targets)).difference(half):
                    met[i][j] += 1
        # Rare meetings count most: one more for a pair that never met is worth more than for one that met twice.
        score = sum(1.0 - 0.25 ** met[i][j] for i in range(targets) for j in range(targets) if i != j)
        if score > most:
            best, most = halves, score
    return best
