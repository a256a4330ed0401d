"""A model that runs both ways, seen from the other side: RECO is given, GEN is sampled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from gen2reco.models.protocol import HasUnfolding, Model

if TYPE_CHECKING:
    from torch import Tensor

    from gen2reco.models.protocol import Batch, Noise


class Backward(Model):
    """The `unfold` of a trained model as the `sample` of another; it is not trained itself.

    Args:
        model: of a family with the capability `unfold`.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        shape = model.shape
        self.shape = replace(shape, targets=shape.conditions, conditions=shape.targets)

    @property
    def noise(self) -> Noise:
        """Random numbers that one row consumes."""
        return self._there.unfold_noise

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        """Refuse: both directions are trained together, by the model itself."""
        raise NotImplementedError

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return encoded GEN columns [rows, targets] of encoded RECO columns."""
        return self._there.unfold(condition, noise)

    @property
    def _there(self) -> HasUnfolding:
        return cast("HasUnfolding", self.model)
