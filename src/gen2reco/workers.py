"""Worker processes that may be killed at any moment, and leave one clear error behind.

The queues of `multiprocessing` and `concurrent.futures` are shared by all workers: one killed (for
lack of memory, say) while it holds a queue's lock, or half-way through a message, lets the others
and the parent wait for ever. Here every worker has a connection of its own, of which the parent
keeps only its end, so that the end of a process is the end of its connection.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Self

from gen2reco.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    Report = Callable[[Any], None]
    Work = Callable[[Any, Report], None]


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    tasks: int = 0  # given to it and not done


class _Line:
    """What tasks report, passed on as it comes or in the order of the tasks.

    Attributes:
        done: tasks done.
        passed: tasks done whose reports are all passed on.
    """

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = in_order
        self._early: dict[int, deque[Any]] = {}
        self._ended: set[int] = set()
        self.done = self.passed = 0

    def take(self, kind: str, number: int, value: Any) -> Iterator[tuple[int, Any]]:
        """Take in that a task reports something or is done, and yield what its turn has come."""
        if kind == "done":
            self.done += 1
            if not self._in_order:
                self.passed += 1
                return
            self._ended.add(number)
            while self.passed in self._ended:
                self._ended.remove(self.passed)
                self.passed += 1
                waiting = self._early.pop(self.passed, deque())
                while waiting:
                    yield self.passed, waiting.popleft()
        elif not self._in_order or number == self.passed:
            yield number, value
        else:
            self._early.setdefault(number, deque()).append(value)


class Crew:
    """Processes that do tasks; use it in a `with` statement, whose end is their end.

    Args:
        begin: called once in every process, with `given`; returns what does a task. It is called
            as `work(task, report)` and may report any number of values. A function of a module.
        given: arguments of `begin`, which may be large.
        processes: how many.
    """

    def __init__(
        self, begin: Callable[..., Work], given: tuple[Any, ...], *, processes: int
    ) -> None:
        self._begin, self._given, self._processes = begin, given, processes
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        try:
            for _ in range(self._processes):
                ours, theirs = context.Pipe()
                # What is large goes through the connection: `start` would wait for ever for a
                # process that was killed before it has read all of its arguments.
                process = context.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours))
            for worker in self._workers:
                _send(worker, (self._begin, self._given))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(
        self, tasks: Iterable[Any], *, ahead: int = 1, in_order: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """Do tasks and yield what they report, each value with the number of its task.

        Args:
            tasks: what `work` is called with, one after the other.
            ahead: tasks given to each process at a time; 2 keep it busy while this one is.
            in_order: yield all reports of a task before those of the next. Those that come early
                wait in memory, which bounds how far the processes run ahead.

        Raises:
            WorkerError: a process ended that should not have.
            Exception: whatever `begin` or a task raised, with the traceback as a note.
        """
        queue, line, given = enumerate(tasks), _Line(in_order=in_order), 0
        while True:
            given += self._hand_out(queue, ahead * self._processes - (given - line.passed))
            if line.done == given:
                return
            for worker in self._ready():
                kind, number, value = _receive(worker)
                if kind == "error":
                    raise value
                worker.tasks -= kind == "done"
                yield from line.take(kind, number, value)
                del value  # memory holds one, not two

    def _hand_out(self, queue: Iterator[tuple[int, Any]], room: int) -> int:
        """Give the next tasks to the processes with the fewest, and return how many there were."""
        tasks = list(islice(queue, max(room, 0)))
        for task in tasks:
            worker = min(self._workers, key=lambda worker: worker.tasks)
            worker.tasks += 1
            _send(worker, task)
        return len(tasks)

    def _ready(self) -> list[_Worker]:
        ready = wait([worker.connection for worker in self._workers])
        return [worker for worker in self._workers if worker.connection in ready]

    def _stop(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.process.close()
        self._workers.clear()


def _send(worker: _Worker, value: Any) -> None:
    try:
        worker.connection.send(value)
    except OSError as error:
        raise _ended(worker) from error


def _receive(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, OSError) as error:
        raise _ended(worker) from error


def _ended(worker: _Worker) -> WorkerError:
    worker.process.join()
    code = worker.process.exitcode or 0
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}, perhaps for lack of memory"
    else:
        how = f"ended with exit code {code}"
    return WorkerError(f"a worker process {how}; try again, with fewer processes")


def _serve(connection: Connection) -> None:
    """Do what the parent asks until it hangs up; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it as well, and ends this one
    number = -1

    def send(kind: str, value: Any = None) -> None:
        message = ForkingPickler.dumps((kind, number, value))
        try:
            connection.send_bytes(message)
        except OSError:
            # Without a parent nobody wants the work, and files that it writes may be in use again.
            os._exit(1)

    def receive() -> Any:
        try:
            return connection.recv()
        except (EOFError, OSError):
            os._exit(0)

    try:
        begin, given = receive()
        work = begin(*given)
        while True:
            number, task = receive()
            work(task, lambda value: send("report", value))
            send("done")
    except BaseException as error:  # noqa: BLE001  (the parent raises it)
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        send("error", error if _travels(error) else WorkerError(f"{type(error).__name__}: {error}"))


def _travels(error: BaseException) -> bool:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (made on the line before)
    except Exception:  # noqa: BLE001  (whatever a class of somebody else does)
        return False
    return True
