"""Tasks on a Dask cluster: a scheduler that is there, or one of this machine.

A task must be safe to run again, because workers are lost in mid-run. What is large does not pass
the scheduler: workers read files themselves, and must see them under the same paths.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gen2reco.errors import StudyError, WorkerError
from gen2reco.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LOCAL = "local"
TRIES = 30
"""How often a task is handed out again after the workers that had it were lost."""
_AHEAD = 4
"""Tasks at the scheduler for each thread of its workers; the others wait here."""
_LOOK = 2.0
"""Seconds after which to look again how many threads there are: workers come and go."""
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.limit": "10s",
    "distributed.deploy.lost-worker-timeout": "5 minutes",
}
"""Workers neither sample what they do nor look at themselves fifty times a second, which takes 4 %
of a core each; and one that starts again after it was killed has longer than 15 s for it, after
which Dask would give it up for good."""
_PATIENCE = 30.0
"""Seconds without a result after which to see that all workers of a local cluster are there."""
one_at_a_time = threading.Lock()
"""A model works for one thread of a worker: each process is given one core."""


class Cluster:
    """Workers that do tasks; made by `cluster`.

    Args:
        client: a connection to the scheduler.
        own: workers of a local cluster that ends with the client; 0: it is somebody else's.

    Attributes:
        client: the connection to the scheduler.
    """

    def __init__(self, client: Any, own: int = 0) -> None:
        self.client = client
        self._own = own

    def run(
        self,
        work: Callable[..., Any],
        tasks: Iterable[tuple[Any, ...]],
        *,
        key: Callable[[int], str],
        what: str,
        in_order: bool = False,
    ) -> Iterator[tuple[int, Any]]:
        """Do tasks, a few at a time, and yield what they return with their numbers.

        Args:
            work: called in a worker with the elements of a task; a function of a module.
            tasks: arguments of each task.
            key: number of a task -> its name at the scheduler, which says what it does: tasks of
                the same name are done once.
            what: a task in words, for messages.
            in_order: yield in the order of the tasks, not as they come; what is early waits in
                memory, and counts among those handed out.

        Raises:
            WorkerError: the scheduler was lost, or a task lost its worker again and again.
            Exception: whatever a task raised.
        """
        waiting = enumerate(tasks)
        given: dict[int, tuple[Any, ...]] = {}  # handed out and not yet yielded
        tries: Counter[int] = Counter()
        running: dict[Any, int] = {}
        early: dict[int, Any] = {}
        turn = room = 0
        looked = -_LOOK
        queue = _distributed().as_completed()

        def submit(number: int) -> None:
            tries[number] += 1
            name = f"gen2reco-{key(number)}-{tries[number]}"
            future = self.client.submit(work, *given[number], key=name, pure=False)
            running[future] = number
            queue.add(future)

        while True:
            if time.monotonic() - looked > _LOOK:
                room, looked = self._room(), time.monotonic()
            while len(given) < room and (following := next(waiting, None)) is not None:
                given[following[0]] = following[1]
                submit(following[0])
            if not given:
                return
            self._wait(running)
            future = next(queue)
            number = running.pop(future)
            try:
                early[number] = self._result(future, tries[number], f"{what} {number}")
            except _LostError:
                submit(number)
            while (ready := turn if in_order else number) in early:
                del given[ready]
                turn += 1
                yield ready, early.pop(ready)

    def _wait(self, running: Iterable[Any]) -> None:
        """Wait for a result, and start workers of ours that are lost for good."""
        distributed = _distributed()
        while self._own:
            try:
                distributed.wait(list(running), timeout=_PATIENCE, return_when="FIRST_COMPLETED")
            except TimeoutError:
                self.client.cluster.scale(self._own)
            except distributed.CancelledError:  # the result will say so
                return
            else:
                return

    def _room(self) -> int:
        """How many tasks to have at the scheduler."""
        try:
            return max(2, _AHEAD * int(sum(self.client.nthreads().values())))
        except OSError:  # the scheduler is gone, as the next result will tell
            return 2

    def _result(self, future: Any, tries: int, what: str) -> Any:
        """Return what a task returned, and let go of it.

        Raises:
            _LostError: its workers were lost, and it may be tried again.
        """
        distributed = _distributed()
        try:
            found = future.result()
        except (distributed.KilledWorker, distributed.CancelledError) as error:
            if self.client.status != "running":
                raise WorkerError(
                    "the scheduler was lost; run the command again, which makes what is missing"
                ) from error
            if tries >= TRIES:
                raise WorkerError(
                    f"{what} lost its worker {tries} times; is there enough memory?"
                ) from error
            raise _LostError from error
        future.release()
        return found


class _LostError(Exception):
    """The workers of a task were lost."""


@contextmanager
def cluster(scheduler: str, workers: int) -> Iterator[Cluster]:
    """Connect to a scheduler, or start one with workers here for as long as it is needed.

    Args:
        scheduler: its address (`tcp://host:8786`), or `local`.
        workers: processes of a local cluster.

    Raises:
        MissingExtraError: dask is not installed.
        StudyError: there is no scheduler at this address.
    """
    require("dask", "--scheduler")
    if scheduler != LOCAL:
        with _connected(scheduler) as client:
            yield Cluster(client)
        return
    with local_cluster(workers) as made, _distributed().Client(made) as client:
        yield Cluster(client, workers)


def check_scheduler(scheduler: str) -> None:
    """Refuse a scheduler that cannot be used, before anything is read or written for it.

    Args:
        scheduler: its address, `local`, or empty for none.

    Raises:
        MissingExtraError: dask is not installed.
        StudyError: there is no scheduler at this address.
    """
    if scheduler:
        require("dask", "--scheduler")
        if scheduler != LOCAL:
            _connected(scheduler).close()


def _connected(scheduler: str) -> Any:
    try:
        return _distributed().Client(scheduler)
    except (OSError, ValueError) as error:
        raise StudyError(f"there is no scheduler at {scheduler!r}: {error}") from error


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Start a scheduler and workers of one thread here, as a `distributed.LocalCluster`."""
    with (
        import_module("dask").config.set(_QUIET),
        _distributed().LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as made,
    ):
        yield made


def _distributed() -> Any:
    return import_module("distributed")
