"""The training loop: one for every family, device and number of objectives; survives a kill."""

from __future__ import annotations

import logging
import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch

from gen2reco.errors import TrainingError
from gen2reco.training.average import WeightAverage
from gen2reco.training.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from gen2reco.training.dealing import Dealer
from gen2reco.training.devices import choose_device, cuda_index, to_device
from gen2reco.training.feed import check_rows
from gen2reco.training.group import current_group
from gen2reco.training.health import against_divergence
from gen2reco.training.history import Epoch, EpochLog, FitResult
from gen2reco.training.judge import judge
from gen2reco.training.optimizers import objectives
from gen2reco.training.precision import Arithmetic
from gen2reco.training.schedules import learning_rate
from gen2reco.training.seeds import stream
from gen2reco.training.state import report_of, snapshot, take_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from gen2reco.models.protocol import Batch, Model
    from gen2reco.study import Training
    from gen2reco.training.progress import Progress

_TICK_SECONDS = 0.5

log = logging.getLogger(__name__)


class Run:
    """One fit in progress; every attribute that changes from step to step is in the checkpoint."""

    folder: Path
    monitor: Callable[[Model], float] | None
    progress: Callable[[Progress], None] | None
    logs: list[EpochLog]
    checkpoint_seconds: float

    def __init__(
        self,
        model: Model,
        train: Batch,
        validation: Batch,
        settings: Training,
        *,
        member: int,
        repeats: NDArray[Any] | None,
        shared: bool = False,
    ) -> None:
        self.model, self.settings, self.member = model, settings, member
        train = check_rows(train, model.shape, "training", some=shared)
        validation = check_rows(validation, model.shape, "validation")
        self.fingerprint = fingerprint(
            model, train, validation, settings, member=member, repeats=repeats
        )
        self.group = current_group()
        self.group.check_model(model)
        self.device = choose_device(settings.device)
        self.arithmetic = Arithmetic(settings.precision, self.device)
        self.validation = to_device(validation, self.device)
        self.dealer = Dealer(
            train,
            settings,
            group=self.group,
            device=self.device,
            member=member,
            repeats=repeats,
            shared=shared,
        )
        self.feed = self.dealer.feed
        self.home = next((p.device for p in model.parameters()), self.device)
        model.to(self.device)
        self.objectives = objectives(model, settings)
        self.average = WeightAverage(model, settings.ema) if settings.ema > 0 else None
        # One column per objective, read back at ticks and epoch ends only, so that a GPU is never
        # waited for.
        self.losses = torch.zeros((self.feed.steps, len(self.objectives)), device=self.device)
        self.epoch = self.position = self.step = self.best_epoch = self.skipped = 0
        self.best = math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[Epoch] = []
        self.seconds = self.epoch_seconds = 0.0
        self.done = False

    def run(self) -> FitResult:
        """Restore, train to the end, leave the best weights in the model."""
        with (
            torch.random.fork_rng(devices=cuda_index(self.device)),
            self.arithmetic.products(),
        ):
            own = () if self.group.alone else (self.group.rank,)
            torch.manual_seed(stream("training", self.settings.seed, self.member, *own))
            self.restore()
            if not self.group.alone:
                self.group.check_agree("their step", self.step)
            self.clock = self.session = self.saved = self.ticked = time.perf_counter()
            self.first_step = self.step
            try:
                for entry in self.logs:
                    entry.restart(self.history)
                self.report("start")
                while not self.done:
                    self.train_epoch()
                    self.finish_epoch()
            finally:
                for entry in self.logs:
                    entry.close()
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        self.model.to(self.home)
        self.report("end")
        return FitResult(
            history=tuple(self.history),
            best_epoch=self.best_epoch,
            best=self.best,
            steps=self.step,
            seconds=self.seconds,
            stopped_early=self.epoch < self.settings.epochs,
            skipped=self.skipped,
            rows=self.feed.rows,
            member=self.member,
            device=self.device.type,
        )

    def train_epoch(self) -> None:
        """Do the steps of the epoch that are still to do."""
        self.model.train()
        self.feed.start(self.epoch)
        between = min(_TICK_SECONDS, self.checkpoint_seconds)
        while self.position < self.feed.steps:
            self.train_step()
            self.position += 1
            self.step += 1
            if time.perf_counter() - self.ticked >= between:
                self.tick()
        self.check_losses()

    def train_step(self) -> None:
        """Step every objective in turn on one batch."""
        parts = self.dealer.parts(self.position)
        if not parts:
            self.skipped += 1
            return
        gather = None if self.group.alone else self.group.add_gradients
        rate = self.rate(self.step) * self.model.pace
        for column, objective in enumerate(self.objectives):
            with self.arithmetic.of_loss():
                losses = [
                    loss if factor == 1 else loss * factor
                    for piece, factor in parts
                    for loss in (self.model.loss(piece, objective.name),)
                ]
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
            objective.step(
                loss,
                rate,
                alone=len(self.objectives) == 1,
                gather=gather,
                scaler=self.arithmetic.scaler,
            )
            found = loss.detach()
            self.losses[self.position, column] = (
                found if self.group.alone else self.group.total(found)
            )
        if self.average is not None:
            self.average.update(self.step)

    def finish_epoch(self) -> None:
        """Validate, keep the best weights, decide whether to stop, log and save."""
        names = [objective.name for objective in self.objectives]
        train = (self.losses.double().sum(0) / max(self.feed.dealt, 1)).tolist()
        self.take_time()
        training_seconds = max(self.epoch_seconds, 1e-9)
        with self.average.in_place() if self.average else nullcontext():
            validation, measures, monitored = judge(
                self.model,
                self.validation,
                self.settings,
                monitor=self.monitor,
                epoch=self.epoch + 1,
                group=self.group,
            )
            if monitored < self.best or self.settings.keep == "last":
                self.best, self.best_epoch = monitored, self.epoch + 1
                state = self.model.state_dict()
                self.best_weights = {name: t.detach().cpu().clone() for name, t in state.items()}
        self.take_time()
        record = Epoch(
            epoch=self.epoch + 1,
            step=self.step,
            learning_rate=self.rate(self.step - 1),
            train=train[0],
            validation=validation[names[0]],
            monitor=monitored,
            losses=dict(zip(names, train, strict=True)),
            validation_losses=validation,
            measures=measures,
            seconds=self.epoch_seconds,
            rows_per_second=self.feed.steps * self.feed.size / training_seconds,
        )
        self.history.append(record)
        self.epoch, self.position, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.losses.zero_()
        waited = self.epoch - self.best_epoch
        self.done = self.epoch == self.settings.epochs or 0 < self.settings.patience <= waited
        for entry in self.logs:
            entry.write(record)
        self.save()
        self.report("epoch")

    def tick(self) -> None:
        """Look at the losses, report, and save where it is time."""
        self.ticked = time.perf_counter()
        self.check_losses()
        self.report("batch")
        if self.ticked - self.saved >= self.checkpoint_seconds:
            self.take_time()
            self.save()

    def check_losses(self) -> None:
        """Stop on the first loss that is not finite, before it can reach a checkpoint."""
        bad = ~torch.isfinite(self.losses)
        if bool(bad.any()):
            place, column = bad.nonzero()[0].tolist()
            step = self.epoch * self.feed.steps + place
            raise TrainingError(
                f"the training {self.objectives[column].name} became "
                f"{float(self.losses[place, column])} in epoch {self.epoch + 1}, step {step + 1} "
                f"(learning rate {self.rate(step):.3g}). "
                f"{against_divergence(self.settings, self.validation)}"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(self.settings, step, self.feed.steps)

    def take_time(self) -> None:
        """Add the time since the last call to the clocks of the fit and of the epoch."""
        now = time.perf_counter()
        self.seconds += now - self.clock
        self.epoch_seconds += now - self.clock
        self.clock = now

    def report(self, kind: Literal["start", "batch", "epoch", "end"]) -> None:
        """Call back with where the fit is."""
        if self.progress is None:
            return
        self.progress(report_of(self, kind))

    def save(self) -> None:
        """Write the checkpoint; of a finished fit the best weights alone."""
        save_checkpoint(self.folder, snapshot(self))
        self.saved = time.perf_counter()

    def restore(self) -> None:
        """Take up the folder's checkpoint, if there is one."""
        checkpoint = load_checkpoint(self.folder, self.fingerprint)
        if checkpoint is not None:
            take_up(self, checkpoint)
            log.info("%s: resumed after %d epochs and %d steps", self.folder, self.epoch, self.step)
