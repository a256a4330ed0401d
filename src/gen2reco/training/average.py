"""Exponential moving average of the weights: a smoother model than that of any single step."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

_HORIZON = 10


class WeightAverage:
    """Average of a model's trainable parameters over the steps; buffers stay those of the model.

    The decay grows as (1 + t) / (10 + t) up to the one asked for, so that the random start is
    forgotten at once.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._names = [name for name, p in model.named_parameters() if p.requires_grad]
        self._live: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._live]

    def update(self, step: int) -> None:
        """Take in the weights after optimiser step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (_HORIZON + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, self._live, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a `with` block."""
        with torch.no_grad():
            kept = [p.detach().clone() for p in self._live]
            torch._foreach_copy_(self._live, self._average)
            try:
                yield
            finally:
                torch._foreach_copy_(self._live, kept)

    def state(self) -> dict[str, Tensor]:
        """Return the averages by parameter name."""
        return dict(zip(self._names, self._average, strict=True))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set the averages from `state`."""
        for name, average in zip(self._names, self._average, strict=True):
            average.copy_(state[name])
