"""The state of a run of the loop: as a checkpoint and back, and as a report of progress."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Literal

import torch

from gen2reco.training.checkpoint import Checkpoint
from gen2reco.training.history import Epoch
from gen2reco.training.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from gen2reco.training.loop import Run

COUNTERS = (
    "epoch",
    "position",
    "step",
    "best_epoch",
    "skipped",
    "seconds",
    "epoch_seconds",
    "done",
)


def snapshot(run: Run) -> Checkpoint:
    """Return all that changes from step to step; of a finished fit the best weights alone."""
    state = {name: getattr(run, name) for name in COUNTERS}
    state["best"] = run.best if run.history else None
    state["history"] = [epoch.as_dict() for epoch in run.history]
    tensors = {f"best.{name}": tensor for name, tensor in run.best_weights.items()}
    if not run.done:
        tensors |= {f"model.{name}": t for name, t in run.model.state_dict().items()}
        for objective in run.objectives:
            tensors |= {f"moments.{name}": t for name, t in objective.state().items()}
        if run.average is not None:
            tensors |= {f"average.{name}": t for name, t in run.average.state().items()}
        tensors["losses"] = run.losses
        tensors["random.cpu"] = torch.get_rng_state()
        tensors |= {f"scaler.{name}": t for name, t in run.arithmetic.state().items()}
        if run.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(run.device)
    return Checkpoint(run.fingerprint, state, tensors)


def take_up(run: Run, checkpoint: Checkpoint) -> None:
    """Put a run where a checkpoint was taken."""
    state, tensors = checkpoint.state, checkpoint.tensors
    run.history = [Epoch(**record) for record in state.pop("history")]
    best = state.pop("best")
    run.best = math.inf if best is None else best
    for name, value in state.items():
        setattr(run, name, value)
    run.best_weights = _under("best.", tensors)
    if run.done:
        return
    run.model.load_state_dict(_under("model.", tensors))
    for objective in run.objectives:
        objective.restore(_under("moments.", tensors))
    if run.average is not None:
        run.average.restore(_under("average.", tensors))
    run.losses.copy_(tensors["losses"])
    run.arithmetic.restore(_under("scaler.", tensors))
    torch.set_rng_state(tensors["random.cpu"])
    if run.device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], run.device)


def report_of(run: Run, kind: Literal["start", "batch", "epoch", "end"]) -> Progress:
    """Return where a run is."""
    now = time.perf_counter()
    total = run.settings.epochs * run.feed.steps
    speed = (run.step - run.first_step) / max(now - run.session, 1e-9)
    train = run.history[-1].train if run.history else math.nan
    remaining = (total - run.step) / speed if speed else math.nan
    return Progress(
        kind=kind,
        member=run.member,
        epoch=run.epoch + (kind == "batch"),
        epochs=run.settings.epochs,
        step=run.step,
        steps=total,
        train=float(run.losses[run.position - 1, 0]) if kind == "batch" else train,
        validation=run.history[-1].validation if run.history else math.nan,
        monitor=run.history[-1].monitor if run.history else math.nan,
        best_epoch=run.best_epoch,
        rows_per_second=speed * run.feed.size,
        seconds=run.seconds + now - run.clock,
        remaining=0.0 if run.done else remaining,
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
