"""A stage ready to be fitted: its features, and its rows as a network sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from gen2reco import models
from gen2reco.features import Features, PartFeatures, SetFeatures
from gen2reco.models.protocol import Batch, Shape
from gen2reco.rows.splits import TRAIN, VALIDATION, known_pairs, split
from gen2reco.training import Ensemble, check_health

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gen2reco.models.protocol import HasMonitor, Model
    from gen2reco.rng import Keys
    from gen2reco.rows.tables import Table
    from gen2reco.study import Part, Study, Training
    from gen2reco.training import Advice, Group, Member


@dataclass(frozen=True)
class Prepared:
    """A stage ready to be fitted.

    Attributes:
        part: the stage.
        settings: how it is fitted.
        features: fitted to all training rows.
        keys: of `train`.
        train: encoded training rows, those of this process if `shared`.
        validation: encoded validation rows, all of them.
        backward: features of the opposite direction.
        every: training rows of all processes.
        shared: whether each process has training rows of its own.
    """

    part: Part
    settings: Training
    features: Features
    keys: Keys
    train: Batch
    validation: Batch
    backward: PartFeatures | None
    every: int
    shared: bool = False

    @property
    def monitored(self) -> bool:
        """Whether a quantity of the family picks the best epoch."""
        return models.monitored(self.part.model)

    @property
    def rows(self) -> dict[str, int]:
        """How many rows are in training and in validation."""
        return {
            "training": min(self.every, self.settings.max_rows or self.every),
            "validation": len(self.validation.weight),
        }

    def ensemble(self, folder: Path, *, tensorboard: bool) -> Ensemble:
        """Return what is to be fitted, with checkpoints under `folder`."""
        return Ensemble(
            partial(models.build, self.part.model, Shape(*self.features.shape)),
            self.train,
            self.validation,
            self.settings,
            folder=folder,
            keys=self.keys,
            part=self.part.name,
            monitor=partial(_monitor, self.validation) if self.monitored else None,
            tensorboard=tensorboard,
            shared=self.shared,
        )


def _monitor(validation: Batch, model: Model) -> float:
    """Return the quantity of a family that picks its best epoch."""
    return float(cast("HasMonitor", model).monitor(validation))


def prepared_part(
    study: Study, part: Part, table: Table, group: Group | None = None, *, drain: bool = False
) -> Prepared:
    """Fit the features of a stage and encode its rows.

    Args:
        study: the study.
        part: one of its stages.
        table: its rows.
        group: processes that have rows of their own; None: all rows are in `table`.
        drain: whether the table may lose its columns on the way.
    """
    gather = None if group is None else group.gathered
    settings = study.training_of(part)
    which = split(table.keys, study.split)
    masks = which == TRAIN, which == VALIDATION
    learned, held = table.drained(*masks) if drain else [table.take(mask) for mask in masks]
    features: Features
    if models.check_rows_of(part).rows.kind == "set":
        features = SetFeatures.fit(part, learned, models.representation(part.model))
    else:
        features = PartFeatures.fit(
            part,
            learned,
            settings.seed,
            plain=models.plain_sides(part.model),
            levels=models.takes_levels(part.model),
            gather=gather,
        )
    backward = None
    if part.unfolded:
        exchanged = replace(
            learned, condition=learned.target, target=learned.condition, relative_to={}, given={}
        )
        backward = PartFeatures.fit(
            part.backward,
            exchanged,
            settings.seed,
            plain=models.plain_sides(part.model),
            gather=gather,
        )
    share = part.rows.known_pairs
    keys, every = learned.keys, len(learned)
    train = _batch(features, learned, settings.seed, share)
    del learned
    validation = _batch(features, held, settings.seed, share)
    if group is not None:
        every = sum(group.objects(every))
        # Whole in every process: an epoch is judged by all of them.
        validation = validation.map(lambda tensor: torch.from_numpy(group.gathered(tensor.numpy())))
    return Prepared(
        part=part,
        settings=settings,
        features=features,
        keys=keys,
        train=train,
        validation=validation,
        backward=backward,
        every=every,
        shared=group is not None,
    )


def advice_on(prepared: Prepared, members: Sequence[Member]) -> list[Advice]:
    """Return what the health check says of a fitted stage."""
    is_set = prepared.part.rows.kind == "set"
    return check_health(
        members[0].result.history,
        members[0].model,
        prepared.train,
        prepared.validation,
        findings=[str(finding) for finding in prepared.features.findings],
        targets=prepared.features.target_names,
        conditions=prepared.features.condition_names,
        paired=prepared.part.rows.pairing != "unpaired",
        columns=not is_set,
    )


def _batch(features: Features, table: Table, seed: int, share: float) -> Batch:
    known = torch.from_numpy(known_pairs(table.keys, share)) if share else None
    return Batch(
        known=known,
        target=torch.from_numpy(features.encode_target(table, seed)),
        condition=torch.from_numpy(features.encode_condition(table)),
        weight=torch.from_numpy(table.weight.astype(np.float32)),
    )
