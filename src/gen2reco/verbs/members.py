"""Members of ensembles trained on a Dask cluster: one is a task.

Rows go to the workers, and weights come back, through the folder of the checkpoints, which all must
see under the same path. A member whose worker is lost goes on elsewhere from its last checkpoint.
Every worker keeps checkpoints of its own, since one that is taken for lost may still be at work.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import socket
from dataclasses import asdict, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gen2reco.errors import TrainingError
from gen2reco.events.publish import temporary_name
from gen2reco.training import Progress
from gen2reco.training.checkpoint import CHECKPOINT
from gen2reco.workers.cluster import cluster, one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gen2reco.training import Ensemble

_ROWS = "ensembles.pickle"
_ATTEMPTS = "attempts"


def fit_on_cluster(
    ensembles: Sequence[Ensemble],
    scheduler: str,
    folder: Path,
    *,
    workers: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Fit all members of all ensembles; their checkpoints are then where a fit here leaves them.

    Args:
        ensembles: what is fitted.
        scheduler: address of a scheduler (`tcp://host:8786`), or `local` for one of this machine.
        folder: for rows and checkpoints; every worker must see it.
        workers: processes of a local cluster.
        progress: receives the state of every fit as it goes.

    Raises:
        StudyError: there is no scheduler at this address.
        TrainingError: see `gen2reco.training.fit`; or a worker does not see the folder.
        WorkerError: the scheduler was lost, or a member lost its worker again and again.
    """
    folder = folder.absolute()
    rows = folder / _ROWS
    # The longest first, so that the workers end together.
    jobs = sorted(
        ((k, number) for k, one in enumerate(ensembles) for number in range(one.settings.members)),
        key=lambda job: -_steps(ensembles[job[0]]),
    )
    attempts = folder / _ATTEMPTS

    def told(event: tuple[float, Any]) -> None:
        if progress is not None:
            progress(Progress(**event[1]["progress"]))

    with cluster(scheduler, workers) as made:
        digest = _handed_over(ensembles, rows)
        topic = f"gen2reco-{digest}"
        made.client.subscribe_topic(topic, told)
        try:
            tasks = ((str(rows), digest, str(attempts), topic, *job) for job in jobs)
            done = made.run(_fit, tasks, key=lambda n: f"{digest}-{n}", what="member")
            for number, kept in done:
                which, member = jobs[number]
                _place(Path(kept), ensembles[which].folder / f"member-{member}")
        finally:
            with contextlib.suppress(Exception):
                made.client.unsubscribe_topic(topic)


def _handed_over(ensembles: Sequence[Ensemble], rows: Path) -> str:
    """Write what is fitted where the workers read it, and return its digest."""
    content = pickle.dumps([replace(one, tensorboard=False) for one in ensembles], protocol=5)
    rows.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(rows)
    temporary.write_bytes(content)
    temporary.replace(rows)
    return hashlib.sha256(content).hexdigest()


def _steps(ensemble: Ensemble) -> int:
    return len(ensemble.train.weight) * ensemble.settings.epochs


def _place(checkpoint: Path, folder: Path) -> None:
    """Put the checkpoint of a finished fit where a fit in this process would have left it."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(folder / CHECKPOINT)
    try:
        shutil.copyfile(checkpoint, temporary)
    except FileNotFoundError:
        raise TrainingError(
            f"a worker left its checkpoint at {checkpoint}, which is not there: the folder must be"
            " on a file system that all workers share"
        ) from None
    temporary.replace(folder / CHECKPOINT)


def _fit(rows: str, digest: str, attempts: str, topic: str, which: int, member: int) -> str:
    """Fit one member, in a worker; returns where its checkpoint is."""
    with one_at_a_time:
        ensemble = _loaded(rows, digest)[which]
        own = Path(attempts) / f"{socket.gethostname()}-{os.getpid()}" / str(which)
        folder = own / f"member-{member}"
        _take_over(Path(attempts), which, member, folder, ensemble.folder / f"member-{member}")
        worker = import_module("distributed").get_worker()

        def tell(report: Progress) -> None:
            worker.log_event(topic, {"progress": asdict(report)})

        with torch.random.fork_rng(devices=[]):
            replace(ensemble, folder=own).fit(member, resume=True, overwrite=False, progress=tell)
        return str(folder / CHECKPOINT)


def _take_over(attempts: Path, which: int, member: int, folder: Path, before: Path) -> None:
    """Begin where the last worker on this member was lost, or an earlier run was interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    there = [*attempts.glob(f"*/{which}/member-{member}/{CHECKPOINT}"), before / CHECKPOINT]
    there = [path for path in there if path.is_file()]
    if there:
        newest = max(there, key=lambda path: path.stat().st_mtime_ns)
        if newest.parent != folder:
            shutil.copyfile(newest, folder / CHECKPOINT)


@lru_cache(maxsize=1)
def _loaded(rows: str, digest: str) -> list[Ensemble]:
    """Read the rows once per process.

    Raises:
        TrainingError: they are not there, or others.
    """
    try:
        content = Path(rows).read_bytes()
    except FileNotFoundError:
        raise TrainingError(
            f"a worker does not see {rows}: the folder of the checkpoints must be on a file system"
            " that all workers share"
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise TrainingError(f"{rows} was replaced by another training; choose another --output")
    found: list[Ensemble] = pickle.loads(content)  # noqa: S301  (from the process that trains)
    return found
