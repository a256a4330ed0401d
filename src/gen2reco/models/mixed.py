"""Category first, then flow: p(levels | GEN) by a classifier, p(numbers | levels, GEN) by a flow.

Flags, categories and point masses of all targets are drawn together by `classifier`; the flow sees
which were drawn, one number 0 or 1 for each value of a discrete target but its first. So a flag is
a flag, a point mass takes no room on the axis of the numbers beside it, and both are correlated
with everything else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from gen2reco.models.classifier import Classifier, ClassifierConfig
from gen2reco.models.flow import Flow, FlowConfig
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape


class MixedConfig(ModelConfig):
    """Settings of category first, then flow, for discrete and continuous targets together."""

    takes_levels: ClassVar[bool] = True
    kind: Literal["mixed"] = "mixed"
    categories: ClassifierConfig = Field(
        ClassifierConfig.model_validate({}),
        description="of flags, categories and point masses: settings of `classifier`",
    )
    continuous: FlowConfig = Field(
        FlowConfig.model_validate({}),
        description="of the other targets given those: settings of `flow`",
    )

    def build(self, shape: Shape) -> Mixed:
        """Return a model with a part for each kind of target that there is.

        Raises:
            StudyError: there are too many combinations of discrete values.
        """
        return Mixed(self, shape)


class Mixed(Model):
    """A classifier, then a flow, with `log_prob`; one of them where the other has no targets."""

    _column: Tensor
    _value: Tensor
    _table: Tensor

    def __init__(self, config: MixedConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.categories: Classifier | None = None
        self.continuous: Flow | None = None
        # One indicator for each value but the first of each discrete column.
        indicators = [(k, value) for k, n in enumerate(shape.levels) for value in range(1, n)]
        if shape.levels:
            discrete = replace(shape, targets=len(shape.levels))
            self.categories = config.categories.build(discrete)
            for name, side in zip(
                ("_column", "_value"), zip(*indicators, strict=True), strict=True
            ):
                self.register_buffer(name, torch.tensor(side), persistent=False)
            table = self._indicators(self.categories.combinations)
            self.register_buffer("_table", table, persistent=False)
        if shape.continuous:
            numbers = Shape(shape.continuous, shape.conditions + len(indicators))
            self.continuous = config.continuous.build(numbers)

    @property
    def bound(self) -> float | None:
        """Where the splines end, None without any."""
        return self.config.continuous.bound if self.continuous else None

    @property
    def noise(self) -> Noise:
        """One normal number per continuous target, one uniform number for all discrete ones."""
        return Noise(normal=self.shape.continuous, uniform=1 if self.categories else 0)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:  # noqa: ARG002  (only one)
        """Return the sum of both losses, the weighted mean of -log p, in nats."""
        levels, numbers = self._split(batch.target)
        losses = []
        if self.categories is not None:
            losses.append(self.categories.loss(Batch(levels, batch.condition, batch.weight)))
        if self.continuous is not None:
            seen = self._seen(levels, batch.condition)
            losses.append(self.continuous.loss(Batch(numbers, seen, batch.weight)))
        return torch.stack(losses).sum()

    def log_prob(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return log p(target | condition) in nats, [rows]; -inf where levels may not coincide."""
        levels, numbers = self._split(target)
        total = target.new_zeros(len(target))
        if self.categories is not None:
            total = total + self.categories.log_prob(levels, condition)
        if self.continuous is not None:
            total = total + self.continuous.log_prob(numbers, self._seen(levels, condition))
        return total

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return targets [rows, targets] for noise [rows, continuous + 1], discrete ones first."""
        count = self.shape.continuous
        if self.categories is None:
            assert self.continuous is not None
            return self.continuous.sample(condition, noise)
        drawn = self.categories.draw(condition, noise[:, count:])
        levels = self.categories.combinations[drawn]
        if self.continuous is None:
            return levels
        seen = torch.cat([condition, self._table[drawn]], 1)
        return torch.cat([levels, self.continuous.sample(seen, noise[:, :count])], 1)

    def _split(self, target: Tensor) -> tuple[Tensor, Tensor]:
        count = len(self.shape.levels)
        return target[:, :count], target[:, count:]

    def _seen(self, levels: Tensor, condition: Tensor) -> Tensor:
        """Return what the flow is given: the condition, and which levels were drawn."""
        if self.categories is None:
            return condition
        return torch.cat([condition, self._indicators(levels)], 1)

    def _indicators(self, levels: Tensor) -> Tensor:
        return (levels[:, self._column] == self._value).to(levels.dtype)
