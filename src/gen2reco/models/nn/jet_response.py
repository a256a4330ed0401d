"""Networks of one step of a jet's response, and the random numbers of all steps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.models.flow import Flow, FlowConfig
from gen2reco.models.protocol import Batch, Noise, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

BLOCK = 4096
"""Rows per call of a network: products of another size may round differently (last bit)."""

NORMALS, UNIFORMS = 7, 7
"""Random numbers of each slot."""
REST_NORMALS, REST_UNIFORMS = 3, 2
"""Random numbers of each particle that belongs to no GEN particle."""


class Choice(nn.Module):
    """Probabilities of classes given features, learned by cross entropy."""

    def __init__(self, features: int, classes: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.classes = features, classes
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((features, *hidden)):
            layers += [nn.Linear(inputs, outputs), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], classes))

    def loss(self, features: Numbers, chosen: Index, weight: Tensor) -> Tensor:
        """Return the weighted sum of -log p(chosen | features), in nats."""
        logits = self.layers(_tensor(features, weight))
        truth = torch.from_numpy(np.asarray(chosen, np.int64)).to(weight.device)
        losses = nn.functional.cross_entropy(logits, truth, reduction="none")
        return (losses * weight).sum()

    def draw(self, features: Numbers, uniform: Numbers) -> Index:
        """Return a class per row, int64 [rows], for uniform numbers [rows]."""
        out = np.empty(len(features), np.int64)
        weight = next(self.parameters())
        for rows, block in _blocks(features):
            cumulative = torch.softmax(self.layers(_tensor(block, weight)), 1).cumsum(1)
            passed = cumulative.cpu().numpy()[: rows.stop - rows.start] <= uniform[rows, None]
            out[rows] = np.minimum(passed.sum(axis=1), self.classes - 1)
        return out


class Response(nn.Module):
    """A spline flow of a few numbers given features, within the range that training saw."""

    lowest: Tensor
    highest: Tensor

    def __init__(
        self, features: int, targets: int, *, hidden: tuple[int, ...], couplings: int, bins: int
    ) -> None:
        super().__init__()
        self.features, self.targets = features, targets
        number = couplings * (1 if targets == 1 else 2)
        settings = {"couplings": number, "hidden": hidden, "bins": bins}
        config = FlowConfig.model_validate(settings)
        self.flow = Flow(config, Shape(targets, features))
        # A flow has some probability everywhere; what training never saw is not drawn.
        self.register_buffer("lowest", torch.full((targets,), torch.inf))
        self.register_buffer("highest", torch.full((targets,), -torch.inf))

    def loss(self, target: Numbers, features: Numbers, weight: Tensor) -> Tensor:
        """Return the weighted sum of -log p(target | features), in nats."""
        batch = Batch(_tensor(target, weight), _tensor(features, weight), weight)
        if self.training:
            self.lowest = torch.minimum(self.lowest, batch.target.amin(0))
            self.highest = torch.maximum(self.highest, batch.target.amax(0))
        total: Tensor = self.flow.loss(batch) * weight.sum()
        return total

    def draw(self, features: Numbers, normal: Numbers) -> Numbers:
        """Return targets [rows, targets] for normal numbers [rows, targets]."""
        out = np.empty((len(features), self.targets))
        weight = next(self.parameters())
        for (rows, block), (_, numbers) in zip(_blocks(features), _blocks(normal), strict=True):
            drawn = self.flow.sample(_tensor(block, weight), _tensor(numbers, weight))
            kept = torch.maximum(torch.minimum(drawn, self.highest), self.lowest)
            kept = torch.where(self.lowest <= self.highest, kept, drawn)
            out[rows] = kept.cpu().numpy()[: rows.stop - rows.start]
        return out


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of some jets.

    Attributes:
        normal: [jets, slots, NORMALS].
        uniform: [jets, slots, UNIFORMS].
        left: uniform, [jets]: how many particles belong to no GEN particle.
        left_normal: [jets, most, REST_NORMALS].
        left_uniform: [jets, most, REST_UNIFORMS].
    """

    normal: Numbers
    uniform: Numbers
    left: Numbers
    left_normal: Numbers
    left_uniform: Numbers

    @classmethod
    def of(cls, noise: NDArray[np.float32], most: int, sizes: Noise, slots: int) -> Draws:
        """Take apart the noise of `Sets.sample`, [jets, sizes.width]."""
        jets = len(noise)
        normal, uniform = np.split(noise.astype(np.float64), [sizes.normal], axis=1)
        first, second = most * REST_NORMALS, 1 + most * REST_UNIFORMS
        return cls(
            normal[:, first:].reshape(jets, slots, NORMALS),
            uniform[:, second:].reshape(jets, slots, UNIFORMS),
            uniform[:, 0],
            normal[:, :first].reshape(jets, most, REST_NORMALS),
            uniform[:, 1:second].reshape(jets, most, REST_UNIFORMS),
        )


def _tensor(values: Numbers, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(like.device)


def _blocks(values: Numbers) -> list[tuple[slice, Numbers]]:
    """Return blocks of exactly `BLOCK` rows, the last one padded, and which rows they are."""
    blocks = []
    for start in range(0, len(values), BLOCK):
        stop = min(start + BLOCK, len(values))
        block = values[start:stop]
        if len(block) < BLOCK:
            block = np.concatenate([block, np.full((BLOCK - len(block), block.shape[1]), 0.5)])
        blocks.append((slice(start, stop), block))
    return blocks
