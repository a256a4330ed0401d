"""Ensembles: several fits whose spread says how well the training sample determines a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.errors import TrainingError, WorkerError
from gen2reco.models.protocol import Batch
from gen2reco.rng import Keys, hash_fraction
from gen2reco.training.feed import generator
from gen2reco.training.loop import fit, fresh_model
from gen2reco.workers import Crew

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from gen2reco.models.protocol import Model
    from gen2reco.study import Training
    from gen2reco.training.history import FitResult
    from gen2reco.training.progress import Progress

_POISSON = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])
"""P(count <= k) of a Poisson distribution of mean 1."""


@dataclass(frozen=True)
class Member:
    """One fitted model of an ensemble; number 0 is the nominal one."""

    number: int
    model: Model
    result: FitResult


def bootstrap_weights(rows: Keys | int, *, seed: int, member: int) -> NDArray[np.float64]:
    """Return how often each row enters the training of a member: whole numbers, Poisson of mean 1.

    With `Keys` the number is a function of the event, so that all rows of an event share it,
    whatever their order and number; with a number of rows every row is its own event. Member 0 is
    nominal: one for every row.
    """
    count = rows if isinstance(rows, int) else len(rows)
    if member == 0:
        return np.ones(count)
    if isinstance(rows, int):
        fraction = generator("bootstrap", seed, member).random(count)
    else:
        fraction = hash_fraction(rows, f"bootstrap {seed} {member}")
    return np.searchsorted(_POISSON, fraction, side="right").astype(np.float64)


def fit_ensemble(
    build: Callable[[], Model],
    train: Batch,
    validation: Batch,
    settings: Training,
    *,
    folder: Path,
    keys: Keys | None = None,
    resume: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    monitor: Callable[[Model], float] | None = None,
    progress: Callable[[Progress], None] | None = None,
    tensorboard: bool = False,
) -> tuple[Member, ...]:
    """Fit `settings.members` models: member 0 on all rows, the others on bootstraps of events.

    Every member has its own initial weights, order of batches and folder `member-<k>`, and can be
    resumed; members that are done are not repeated.

    Args:
        build: returns a fresh model; with several processes it must be picklable (a function of a
            module or a `functools.partial` of one), and so must `monitor`.
        train: encoded training rows.
        validation: encoded rows that pick the best epoch, the same for all members.
        settings: the study's `training` block.
        folder: where the members' folders go.
        keys: which event each training row belongs to; default: every row is an event of its own.
        resume: go on from the members' checkpoints.
        overwrite: remove what earlier fits left.
        processes: members fitted at the same time, each in a process of its own with its share of
            the cores.
        monitor: see `fit`.
        progress: see `fit`; `Progress.member` says which member reports.
        tensorboard: see `fit`.

    Raises:
        TrainingError: see `fit`.
        OutputExistsError: see `fit`.
    """
    task = _Task(build, train, validation, settings, folder, keys, monitor, tensorboard)
    processes = min(processes, settings.members)
    if processes > 1:
        _fit_in_processes(task, processes, resume=resume, overwrite=overwrite, progress=progress)
        resume, overwrite, progress = True, False, None  # what follows only reads the results
    return tuple(
        task.fit(number, resume=resume, overwrite=overwrite, progress=progress)
        for number in range(settings.members)
    )


@dataclass(frozen=True)
class _Task:
    """What all members share."""

    build: Callable[[], Model]
    train: Batch
    validation: Batch
    settings: Training
    folder: Path
    keys: Keys | None
    monitor: Callable[[Model], float] | None
    tensorboard: bool

    def fit(
        self,
        number: int,
        *,
        resume: bool,
        overwrite: bool,
        progress: Callable[[Progress], None] | None,
    ) -> Member:
        seed = self.settings.seed
        rows = len(self.train.weight) if self.keys is None else self.keys
        model = fresh_model(self.build, seed=seed, member=number)
        result = fit(
            model,
            self.train,
            self.validation,
            self.settings,
            folder=self.folder / f"member-{number}",
            resume=resume,
            overwrite=overwrite,
            member=number,
            repeats=bootstrap_weights(rows, seed=seed, member=number) if number else None,
            monitor=self.monitor,
            progress=progress,
            tensorboard=self.tensorboard,
        )
        return Member(number, model, result)


def _fit_in_processes(
    task: _Task,
    processes: int,
    *,
    resume: bool,
    overwrite: bool,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Fit all members in worker processes; their checkpoints carry the results back."""
    threads = max(1, torch.get_num_threads() // processes)
    given = (_packed(task), threads, resume, overwrite)
    try:
        with Crew(_begin, given, processes=processes) as crew:
            for _, report in crew.run(range(task.settings.members)):
                if progress is not None:
                    progress(report)
    except WorkerError as error:
        raise TrainingError(
            "a process that trained an ensemble member was killed, perhaps for lack of memory; "
            "resume with fewer workers"
        ) from error


def _begin(
    packed: dict[str, Any], threads: int, resume: bool, overwrite: bool
) -> Callable[[int, Callable[[Progress], None]], None]:
    torch.set_num_threads(threads)
    task = _unpacked(packed)

    def work(number: int, report: Callable[[Progress], None]) -> None:
        task.fit(number, resume=resume, overwrite=overwrite, progress=report)

    return work


def _packed(task: _Task) -> dict[str, Any]:
    """Rows as numpy arrays: torch would use shared memory, which containers keep small."""
    sides = ("target", "condition", "weight")
    fields = dict(vars(task))
    for name in ("train", "validation"):
        fields[name] = {side: getattr(fields[name], side).cpu().numpy() for side in sides}
    return fields


def _unpacked(packed: dict[str, Any]) -> _Task:
    fields = dict(packed)
    for name in ("train", "validation"):
        fields[name] = Batch(**{k: torch.from_numpy(v) for k, v in fields[name].items()})
    return _Task(**fields)
