"""Networks of one step of a jet's response, and the random numbers of all steps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor, nn

from gen2reco.models.flow import Flow, FlowConfig
from gen2reco.models.nn.jet_units import FARTHEST
from gen2reco.models.protocol import Batch, Noise, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

BLOCK = 4096
"""Rows per call of a network: products of another size may round differently (last bit)."""

NORMALS, UNIFORMS = 7, 8
"""Random numbers of each slot."""
TRIES = 3
"""How often a particle that belongs to no GEN particle is drawn until it is inside of its jet."""
REST_NORMALS, REST_UNIFORMS = 3 * TRIES, 2
"""Random numbers of each of them."""
JET_UNIFORMS = 2
"""Uniform random numbers of each jet: how many of them there are, and whether it is accepted."""


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
        for rows, chances in self.chances(features):
            passed = np.cumsum(chances, axis=1) <= uniform[rows, None]
            out[rows] = np.minimum(passed.sum(axis=1), self.classes - 1)
        return out

    def chances(self, features: Numbers) -> Iterator[tuple[slice, Numbers]]:
        """Yield rows and the probabilities of their classes, [rows, classes], block by block."""
        weight = next(self.parameters())
        for rows, block in _blocks(features, exact=not self.training):
            chances = torch.softmax(self.layers(_tensor(block, weight)), 1).cpu().numpy()
            yield rows, chances[: rows.stop - rows.start].astype(np.float64)


class Histogram(nn.Module):
    """A density of one number given features, constant between the edges `EDGES`.

    A spline flow of one number gains next to nothing in likelihood by making a rare tail half as
    frequent, but energies in tails count. What training never saw is not drawn.
    """

    seen: Tensor

    def __init__(self, features: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.targets = features, 1
        self.bin = Choice(features, len(EDGES) - 1, hidden)
        self.register_buffer("seen", torch.zeros(len(EDGES) - 1, dtype=torch.bool))

    def loss(self, target: Numbers, features: Numbers, weight: Tensor) -> Tensor:
        """Return the weighted sum of -log p(target | features), in nats."""
        place = np.searchsorted(EDGES, target[:, 0], side="right") - 1
        place = np.clip(place, 0, len(EDGES) - 2)
        if self.training:
            self.seen[torch.from_numpy(place).to(self.seen.device)] = True
        widths = torch.from_numpy(np.log(np.diff(EDGES))[place]).to(weight)
        total: Tensor = self.bin.loss(features, place, weight) + (widths * weight).sum()
        return total

    def draw(self, features: Numbers, normal: Numbers, least: Numbers | None = None) -> Numbers:
        """Return targets [rows, 1] for normal numbers [rows, 1], none below `least` [rows]."""
        out = np.empty((len(features), 1))
        least = np.full(len(out), -np.inf) if least is None else least
        seen = self.seen.cpu().numpy()
        for rows, chances in self.bin.chances(features):
            kept = chances * seen if seen.any() else chances
            # Of a bin that `least` divides, what is above remains.
            floor = np.clip(least[rows], EDGES[0], EDGES[-2])[:, None]
            kept = kept * np.clip((EDGES[1:] - floor) / np.diff(EDGES), 0.0, 1.0)
            summed = np.cumsum(kept, axis=1)
            wanted = ndtr(normal[rows, 0]) * summed[:, -1]
            place = np.minimum((summed <= wanted[:, None]).sum(axis=1), len(EDGES) - 2)
            here = np.arange(len(place)), place
            above = (summed[here] - wanted) / np.maximum(kept[here], np.finfo(float).tiny)
            width = EDGES[place + 1] - np.maximum(EDGES[place], floor[:, 0])
            drawn = EDGES[place + 1] - width * np.clip(above, 0.0, 1.0)
            out[rows, 0] = np.where(summed[:, -1] > 0, drawn, floor[:, 0])
        return out


def _edges() -> Numbers:
    """Fine where responses of order one are, wider by an eighth each farther out."""
    steps = [*np.full(20, 0.05), *np.full(14, 0.1)]
    while sum(steps) < FARTHEST:
        steps.append(1.125 * steps[-1])
    upper = np.cumsum(steps)
    return np.concatenate([-upper[::-1], [0.0], upper])


EDGES = _edges()
"""Of the bins of `Histogram`; numbers are compressed to order one before."""


class Response(nn.Module):
    """A spline flow of a few numbers given features, within the range that training saw."""

    lowest: Tensor
    highest: Tensor

    def __init__(
        self, features: int, targets: int, *, hidden: tuple[int, ...], couplings: int, bins: int
    ) -> None:
        super().__init__()
        self.features, self.targets = features, targets
        settings = {"couplings": 2 * couplings, "hidden": hidden, "bins": bins}
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
        for (rows, block), (_, numbers) in zip(
            _blocks(features, exact=not self.training),
            _blocks(normal, exact=not self.training),
            strict=True,
        ):
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
        accepted: uniform, [jets]: whether the jet is accepted.
        left_normal: [jets, most, REST_NORMALS].
        left_uniform: [jets, most, REST_UNIFORMS].
    """

    normal: Numbers
    uniform: Numbers
    left: Numbers
    accepted: Numbers
    left_normal: Numbers
    left_uniform: Numbers

    @staticmethod
    def sizes(most: int, slots: int) -> Noise:
        """Return how many random numbers an attempt takes, those of slots last on each side."""
        return Noise(
            normal=most * REST_NORMALS + slots * NORMALS,
            uniform=JET_UNIFORMS + most * REST_UNIFORMS + slots * UNIFORMS,
        )

    @classmethod
    def of(cls, noise: NDArray[np.float32], most: int, slots: int) -> Draws:
        """Take apart the noise of one attempt, [jets, sizes.width], see `Draws.sizes`."""
        jets, sizes = len(noise), cls.sizes(most, slots)
        normal, uniform = np.split(noise.astype(np.float64), [sizes.normal], axis=1)
        first, second = most * REST_NORMALS, JET_UNIFORMS + most * REST_UNIFORMS
        return cls(
            normal[:, first:].reshape(jets, slots, NORMALS),
            uniform[:, second:].reshape(jets, slots, UNIFORMS),
            uniform[:, 0],
            uniform[:, 1],
            normal[:, :first].reshape(jets, most, REST_NORMALS),
            uniform[:, JET_UNIFORMS:second].reshape(jets, most, REST_UNIFORMS),
        )


def _tensor(values: Numbers, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(like.device)


def _blocks(values: Numbers, *, exact: bool) -> list[tuple[slice, Numbers]]:
    """Return blocks of `BLOCK` rows and which rows they are; if exact, the last one is padded."""
    blocks = []
    for start in range(0, len(values), BLOCK):
        stop = min(start + BLOCK, len(values))
        block = values[start:stop]
        if exact and len(block) < BLOCK:
            block = np.concatenate([block, np.full((BLOCK - len(block), block.shape[1]), 0.5)])
        blocks.append((slice(start, stop), block))
    return blocks
