"""Ensembles: several fits whose spread says how well the training sample determines a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.errors import TrainingError, WorkerError
from gen2reco.models.protocol import Batch
from gen2reco.rng import Keys, hash_fraction
from gen2reco.training.feed import generator
from gen2reco.training.fitting import fit
from gen2reco.training.seeds import fresh_model
from gen2reco.workers import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Ensemble:
    """What is fitted several times: member 0 on all rows, the others on bootstraps of events.

    Every member has its own initial weights, order of batches and folder `member-<k>`.

    Attributes:
        build: returns a fresh model; with several processes it must be picklable (a function of a
            module or a `functools.partial` of one), and so must `monitor`.
        train: encoded training rows.
        validation: encoded rows that pick the best epoch, the same for all members.
        settings: how to fit; `members` says how often.
        folder: where the members' folders go.
        keys: which event each training row belongs to; default: every row is an event of its own.
        part: name of the part of the study, for progress.
        monitor: see `fit`.
        tensorboard: see `fit`.
        shared: see `fit`; bootstraps need `keys` then.
    """

    build: Callable[[], Model]
    train: Batch
    validation: Batch
    settings: Training
    folder: Path
    keys: Keys | None = None
    part: str = ""
    monitor: Callable[[Model], float] | None = None
    tensorboard: bool = False
    shared: bool = False

    def fit(
        self,
        number: int,
        *,
        resume: bool,
        overwrite: bool,
        progress: Callable[[Progress], None] | None,
    ) -> Member:
        """Fit one member, see `fit`."""
        seed = self.settings.seed
        rows = len(self.train.weight) if self.keys is None else self.keys
        model = fresh_model(self.build, seed=seed, member=number)

        def relay(report: Progress) -> None:
            if progress is not None:
                progress(replace(report, part=self.part))

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
            progress=relay,
            tensorboard=self.tensorboard,
            shared=self.shared,
        )
        return Member(number, model, result)


def fit_ensembles(
    ensembles: Sequence[Ensemble],
    *,
    resume: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> list[tuple[Member, ...]]:
    """Fit all members of all ensembles; those that are done are not repeated when it is resumed.

    Args:
        ensembles: what to fit.
        resume: go on from the members' checkpoints.
        overwrite: remove what earlier fits left.
        processes: members fitted at the same time, each in a process of its own with its share of
            the cores.
        progress: see `fit`; `Progress.part` and `Progress.member` say which member reports.

    Returns:
        The members of each ensemble.

    Raises:
        TrainingError: see `fit`.
        OutputExistsError: see `fit`.
    """
    jobs = [
        (k, number) for k, one in enumerate(ensembles) for number in range(one.settings.members)
    ]
    processes = min(processes, len(jobs))
    if processes > 1:
        _fit_in_processes(
            ensembles, jobs, processes, resume=resume, overwrite=overwrite, progress=progress
        )
        resume, overwrite, progress = True, False, None  # what follows only reads the results
    return [
        tuple(
            one.fit(number, resume=resume, overwrite=overwrite, progress=progress)
            for number in range(one.settings.members)
        )
        for one in ensembles
    ]


def _fit_in_processes(
    ensembles: Sequence[Ensemble],
    jobs: Sequence[tuple[int, int]],
    processes: int,
    *,
    resume: bool,
    overwrite: bool,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Fit all members in worker processes; their checkpoints carry the results back."""
    threads = max(1, torch.get_num_threads() // processes)
    given = ([_packed(one) for one in ensembles], threads, resume, overwrite)
    # The longest first, so that the processes end together.
    work = sorted(jobs, key=lambda job: -_effort(ensembles[job[0]]))
    try:
        with Crew(_begin, given, processes=processes) as crew:
            for _, report in crew.run(work):
                if progress is not None:
                    progress(report)
    except WorkerError as error:
        raise TrainingError(
            "a process that trained an ensemble member was killed, perhaps for lack of memory; "
            "resume with fewer workers"
        ) from error


def _effort(ensemble: Ensemble) -> float:
    """Return about how long a fit takes, in any unit."""
    size = sum(parameter.numel() for parameter in ensemble.build().parameters())
    return float(len(ensemble.train.weight) * ensemble.settings.epochs * (size + 20_000))


def _begin(
    packed: list[dict[str, Any]], threads: int, resume: bool, overwrite: bool
) -> Callable[[tuple[int, int], Callable[[Progress], None]], None]:
    torch.set_num_threads(threads)
    ensembles = [_unpacked(fields) for fields in packed]

    def work(job: tuple[int, int], report: Callable[[Progress], None]) -> None:
        which, number = job
        ensembles[which].fit(number, resume=resume, overwrite=overwrite, progress=report)

    return work


def _packed(ensemble: Ensemble) -> dict[str, Any]:
    """Rows as numpy arrays: torch would use shared memory, which containers keep small."""
    sides = ("target", "condition", "weight", "known")
    fields = dict(vars(ensemble))
    for name in ("train", "validation"):
        tensors = {side: getattr(fields[name], side) for side in sides}
        fields[name] = {side: t.cpu().numpy() for side, t in tensors.items() if t is not None}
    return fields


def _unpacked(packed: dict[str, Any]) -> Ensemble:
    fields = dict(packed)
    for name in ("train", "validation"):
        fields[name] = Batch(**{k: torch.from_numpy(v) for k, v in fields[name].items()})
    return Ensemble(**fields)
