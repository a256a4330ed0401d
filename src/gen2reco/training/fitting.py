"""`fit`: what a caller says about a fit, and what it gets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gen2reco.extras import require
from gen2reco.training.checkpoint import BOARD, LOG, make_room
from gen2reco.training.history import JsonLines, TensorBoard
from gen2reco.training.loop import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from gen2reco.models.protocol import Batch, Model
    from gen2reco.study import Training
    from gen2reco.training.history import FitResult
    from gen2reco.training.progress import Progress


def fit(
    model: Model,
    train: Batch,
    validation: Batch,
    settings: Training,
    *,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
    member: int = 0,
    repeats: NDArray[Any] | None = None,
    monitor: Callable[[Model], float] | None = None,
    progress: Callable[[Progress], None] | None = None,
    tensorboard: bool = False,
    checkpoint_seconds: float = 20.0,
    shared: bool = False,
) -> FitResult:
    """Train `model` in place and leave it in evaluation mode with the weights of its best epoch.

    Under `torchrun` every process calls this with the same settings and a folder of its own, and
    with all training rows or those that are its own (`shared`); see `training.group`.

    On one machine, device and number of threads the outcome is a pure function of the model's
    initial weights, the rows and the settings: a fit that was killed at any moment and resumed
    gives the same bits (on the CPU) as one that ran through. Signed weights are used as they are.

    Args:
        model: a freshly built model; build it with `fresh_model` for reproducible initial weights.
        train: encoded training rows.
        validation: encoded rows that pick the best epoch.
        settings: the study's `training` block; `members` is not used here.
        folder: where checkpoint and log (`training.jsonl`) go; made if it is missing.
        resume: go on from the folder's checkpoint, or begin where there is none.
        overwrite: remove what an earlier fit left in the folder.
        member: which member of an ensemble this is; its batches come in an order of its own.
        repeats: how often each training row enters an epoch, [rows] whole numbers (a bootstrap);
            default once.
        monitor: physics metric of the model, smaller is better, that picks the best epoch in place
            of the validation loss; it is called once per epoch in evaluation mode without
            gradients.
        progress: called at the start, about twice a second, after every epoch and at the end.
        tensorboard: also write scalars for TensorBoard; needs `gen2reco[tensorboard]`.
        checkpoint_seconds: longest time between two checkpoints within an epoch, in seconds.
        shared: under `torchrun`, whether `train` and `repeats` are of the rows of this process
            alone, which together, in the order of the processes, are the rows of the fit.
            Validation rows are the same everywhere.

    Raises:
        TrainingError: no rows, rows that do not suit the model, a loss that is not finite, no such
            device, or a checkpoint of another fit.
        MissingExtraError: TensorBoard is not installed.
        OutputExistsError: the folder holds a fit and neither `resume` nor `overwrite` is set.
    """
    if tensorboard:
        require("tensorboard", "writing TensorBoard logs")
    run = Run(model, train, validation, settings, member=member, repeats=repeats, shared=shared)
    run.folder, run.monitor = folder, monitor
    run.progress = progress if run.group.first else None
    # Processes that save at moments of their own could not go on together.
    run.checkpoint_seconds = checkpoint_seconds if run.group.alone else math.inf
    make_room(folder, resume=resume, overwrite=overwrite)
    run.logs = [JsonLines(folder / LOG)]
    if tensorboard and run.group.first:
        run.logs.append(TensorBoard(folder / BOARD))
    return run.run()
