"""Classifier: p(category | GEN) of presence, counts, flags and sets of categories, all at once.

One network gives a probability to every combination of the discrete targets that may occur, so that
their correlations come out right and what never occurs together never does. Cross entropy makes
these probabilities calibrated: of the rows to which it gives 0.3, three in ten are so.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gen2reco.errors import StudyError
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape, weighted_mean

MOST_COMBINATIONS = 4096
"""More combinations than this are not categories any more."""

ACTIVATIONS = {"relu": nn.ReLU, "hardswish": nn.Hardswish, "silu": nn.SiLU}

Width = Annotated[int, Field(ge=1)]


class ClassifierConfig(ModelConfig):
    """Settings of the classifier, for targets of kind flag or category."""

    takes_levels: ClassVar[bool] = True
    kind: Literal["classifier"] = "classifier"
    hidden: tuple[Width, ...] = Field(
        (64, 64, 64),
        description="widths of the hidden layers; a third one is what learns sharp edges",
    )
    activation: Literal["relu", "hardswish", "silu"] = Field(
        "hardswish",
        description="between the hidden layers; relu follows edges closest, smooth turn-ons worst",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of hidden numbers left out at random in training"
    )

    def build(self, shape: Shape) -> Classifier:
        """Return a classifier that holds combinations for about as likely as they are in training.

        Raises:
            StudyError: a target is not discrete, or there are too many combinations.
        """
        return Classifier(self, shape)


class Classifier(Model):
    """Probabilities of combinations of discrete targets, with `log_prob` and `probabilities`."""

    combinations: Tensor
    _strides: Tensor
    _codes: Tensor

    def __init__(self, config: ClassifierConfig, shape: Shape) -> None:
        super().__init__()
        if shape.continuous:
            raise StudyError(
                f"model: a classifier learns flags and categories, but {shape.continuous} of the"
                f" {shape.targets} targets are continuous; give them `kind: category`, or choose"
                " `kind: mixed`"
            )
        self.config, self.shape = config, shape
        combinations = _combinations(shape)
        strides = [math.prod(shape.levels[k + 1 :]) for k in range(len(shape.levels))]
        self.register_buffer("combinations", combinations.float(), persistent=False)
        self.register_buffer("_strides", torch.tensor(strides), persistent=False)
        self.register_buffer("_codes", combinations @ torch.tensor(strides), persistent=False)
        layers: list[nn.Module] = []
        widths = (max(shape.conditions, 1), *config.hidden)
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[config.activation]()]
            layers += [nn.Dropout(config.dropout)] if config.dropout else []
        final = nn.Linear(widths[-1], len(combinations))
        if shape.shares:
            # That a combination is rare would take the optimiser a thousand small steps to learn.
            shares = dict(zip(shape.combinations, shape.shares, strict=True))
            ordered = [shares[tuple(row)] for row in combinations.tolist()]
            with torch.no_grad():
                final.bias.copy_(torch.tensor(ordered).log())
        self.layers = nn.Sequential(*layers, final)

    @property
    def noise(self) -> Noise:
        """One uniform number for all targets together."""
        return Noise(uniform=1)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the cross entropy, the weighted mean of -log p(target | condition), in nats.

        A row of a combination that may not occur counts as one of all equally likely ones.
        """
        equal = math.log(len(self.combinations))
        log_prob = self.log_prob(batch.target, batch.condition)
        return weighted_mean(torch.where(log_prob.isinf(), equal, -log_prob), batch.weight)

    def log_prob(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return log p(target | condition), [rows]; -inf for a combination that may not occur."""
        index, known = self.find(target)
        log_prob = torch.log_softmax(self._logits(condition), 1).gather(1, index[:, None])[:, 0]
        return torch.where(known, log_prob, -math.inf)

    def probabilities(self, condition: Tensor) -> Tensor:
        """Return p(combination | condition), [rows, combinations]."""
        return torch.softmax(self._logits(condition), 1)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return targets [rows, targets] for uniform noise [rows, 1]."""
        return self.combinations[self.draw(condition, noise)]

    def draw(self, condition: Tensor, uniform: Tensor) -> Tensor:
        """Return the index of a combination for each row, [rows], for uniform numbers [rows, 1]."""
        cumulative = self.probabilities(condition).cumsum(1)
        passed = (cumulative <= uniform * cumulative[:, -1:]).sum(1)
        return passed.clamp(max=len(self.combinations) - 1)

    def find(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of the combination in each row, and whether it is one at all, [rows]."""
        codes = (target.long() * self._strides).sum(1)
        index = torch.searchsorted(self._codes, codes).clamp(max=len(self._codes) - 1)
        return index, self._codes[index] == codes

    def _logits(self, condition: Tensor) -> Tensor:
        constant = condition.new_ones(condition.shape[0], 1)
        logits: Tensor = self.layers(condition if self.shape.conditions else constant)
        return logits.to(condition.dtype)  # logarithms need more than half precision


def _combinations(shape: Shape) -> Tensor:
    """Return the combinations of discrete values that may occur, whole numbers, in their order."""
    count = len(shape.combinations) or math.prod(shape.levels)
    if count > MOST_COMBINATIONS or math.prod(shape.levels) > 2**62:
        levels = " x ".join(map(str, shape.levels))
        raise StudyError(
            f"model: {count} combinations of {len(shape.levels)} discrete targets (of {levels}"
            f" values) are more than {MOST_COMBINATIONS}; make counts `kind: integer`, or learn"
            " some targets in a part of their own"
        )
    every = shape.combinations or itertools.product(*map(range, shape.levels))
    return torch.tensor(sorted(every)).long()
