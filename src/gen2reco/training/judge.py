"""What an epoch is judged by: losses on the validation rows, measures, the monitored quantity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from gen2reco.errors import TrainingError
from gen2reco.training.devices import cuda_index
from gen2reco.training.evaluate import weighted_loss
from gen2reco.training.health import against_divergence
from gen2reco.training.measures import distribution_measures
from gen2reco.training.seeds import stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from gen2reco.models.protocol import Batch, Model
    from gen2reco.study import Training
    from gen2reco.training.group import Group


def judge(
    model: Model,
    validation: Batch,
    settings: Training,
    *,
    monitor: Callable[[Model], float] | None,
    epoch: int,
    group: Group,
) -> tuple[dict[str, float], dict[str, float], float]:
    """Return the validation loss of every objective, measures, and the monitored quantity.

    Families whose loss draws random numbers meet the same ones every epoch, so that epochs
    compare fairly.

    Args:
        model: it is put into evaluation mode.
        validation: encoded rows, on the device of the model.
        settings: of the fit.
        monitor: what picks the best epoch in place of the validation loss.
        epoch: the number of this one, from 1, for messages.
        group: the processes of the fit, of which the first one decides.

    Raises:
        TrainingError: one of them is not finite.
    """
    model.eval()
    names = list(model.objectives())
    losses = {}
    with torch.no_grad(), torch.random.fork_rng(devices=cuda_index(validation.weight.device)):
        for name in names:
            torch.manual_seed(stream("validation", settings.seed))
            losses[name] = weighted_loss(model, validation, name, settings.batch)
        torch.manual_seed(stream("validation", settings.seed))
        measures = dict(model.measures(validation))
        monitored = losses[names[0]]
        if settings.monitor == "distributions":
            found = distribution_measures(model, validation, seed=settings.seed)
            measures |= found
            monitored = sum(found.values())
        if monitor is not None:
            monitored = float(monitor(model))
    if not group.alone:
        *agreed, monitored = group.of_first([*losses.values(), monitored])
        losses = dict(zip(losses, agreed, strict=True))
    for what, value in {**losses, "monitored quantity": monitored}.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} on the validation rows is {value} after epoch {epoch}. "
                f"{against_divergence(settings, validation)}"
            )
    return losses, measures, monitored
