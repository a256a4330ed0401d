"""One optimiser per objective, and its state as plain tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from gen2reco.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from gen2reco.models.protocol import Model
    from gen2reco.study import Training


class Objective:
    """One named loss of a model, the parameters it moves, and the optimiser that moves them.

    The fused optimiser takes one pass over the weights: on one CPU core a sixth of the time of the
    default.
    """

    def __init__(self, name: str, parameters: Sequence[nn.Parameter], settings: Training) -> None:
        self.name = name
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise TrainingError(f"objective {name!r} of the model has no trainable parameters")
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        self.optimizer: Optimizer = kind(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._clip = settings.clip

    def step(
        self,
        loss: Tensor,
        rate: float,
        *,
        alone: bool,
        gather: Callable[[Sequence[nn.Parameter]], None] | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        """Move the parameters down the gradient of `loss`.

        Args:
            loss: what is to become smaller.
            rate: learning rate.
            alone: whether the model has one objective.
            gather: adds the gradients of other processes.
            scaler: of the gradients of float16.
        """
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        if scaler is not None:
            loss = scaler.scale(loss)
        # Other objectives' parameters get no gradient from this loss.
        loss.backward(inputs=None if alone else self.parameters)  # type: ignore[no-untyped-call]
        if gather is not None:
            gather(self.parameters)
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if self._clip > 0:
            _clip(self.parameters, self._clip)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()

    def state(self) -> dict[str, Tensor]:
        """Return moments and step counts, named `<objective>/<parameter>/<moment>`."""
        return {
            f"{self.name}/{index}/{moment}": value
            for index, moments in self.optimizer.state_dict()["state"].items()
            for moment, value in moments.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set moments and step counts from `state`."""
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, index, moment = key.rsplit("/", 2)
            if name == self.name:
                moments.setdefault(int(index), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def objectives(model: Model, settings: Training) -> list[Objective]:
    """Return the model's objectives in the order in which they are stepped."""
    return [Objective(name, moved, settings) for name, moved in model.objectives().items()]


def _clip(parameters: Sequence[nn.Parameter], largest: float) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = get_total_norm(gradients)
    # Reading the norm is free on the CPU and saves a pass over the gradients in most steps; a GPU
    # would have to wait.
    if norm.is_cuda or float(norm) > largest:
        clip_grads_with_norm_(parameters, largest, norm)
