"""A crew: worker processes that do tasks for one that gives them.

The queues of `multiprocessing` and `concurrent.futures` are shared by all workers: one killed (for
lack of memory, say) while it holds a queue's lock, or half-way through a message, lets the others
and the parent wait for ever. Here every worker has a channel of its own, of which the parent keeps
only its end, so that the end of a process is the end of its channel.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import wait
from queue import Queue, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from gen2reco.errors import WorkerError
from gen2reco.workers.channel import Channel, Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import SpawnProcess

    Report = Callable[[Any], None]
    Work = Callable[[Any, Report], None]
    _Message = tuple[str, int, Any]


_WAITING = 4
"""Reports of a process that may wait to be sent while it goes on with its work."""


@dataclass
class _Worker:
    process: SpawnProcess
    channel: Channel
    ready: bool = False
    tasks: int = 0  # given to it and not done


class _Queue:
    """Tasks with their numbers.

    Attributes:
        given: tasks taken so far.
        more: whether there are more.
    """

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._tasks = enumerate(tasks)
        self._next = next(self._tasks, None)
        self.given = 0

    @property
    def more(self) -> bool:
        return self._next is not None

    def take(self) -> tuple[int, Any]:
        """Return the next task; there must be one."""
        assert self._next is not None
        task, self._next = self._next, next(self._tasks, None)
        self.given += 1
        return task


class _Line:
    """Messages about tasks, passed on as they come or in the order of the tasks.

    Attributes:
        done: tasks done.
        passed: tasks done whose messages are all passed on.
    """

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = in_order
        self._early: dict[int, deque[_Message]] = {}
        self.done = self.passed = 0

    def take(self, message: _Message) -> Iterator[_Message]:
        """Take one in and yield those whose turn has come."""
        kind, number, _ = message
        self.done += kind == "done"
        if self._in_order and number > self.passed:
            self._early.setdefault(number, deque()).append(message)
            return
        turn = deque([message])
        while turn:
            yield turn[0]
            if turn.popleft()[0] == "done":
                self.passed += 1
                turn = self._early.pop(self.passed, turn) if self._in_order else turn


class Crew:
    """Processes that do tasks; use it in a `with` statement, whose end is their end.

    Args:
        begin: called once in every process, with `given`; returns what does a task. It is called
            as `work(task, report)` and may report any number of values, which it leaves as they
            are from then on. A function of a module.
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
                ours, theirs = Channel.pair()
                # What is large goes through the channel: `start` would wait for ever for a
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
        self,
        tasks: Iterable[Any],
        *,
        ahead: int = 1,
        in_order: bool = False,
        here: Work | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Do tasks and yield what they report, each value with the number of its task.

        Args:
            tasks: what `work` is called with, one after the other.
            ahead: tasks given to each process at a time; 2 keep it busy while this one is.
            in_order: yield all reports of a task before those of the next; of several errors, raise
                that of the first task. What comes early waits in memory, and counts among the
                tasks given, which bounds how far the processes run ahead.
            here: work of this process, for when it would wait for the others, as at their start.

        Raises:
            WorkerError: a process ended that should not have.
            Exception: whatever `begin` or a task raised; from a process, with the traceback as a
                note.
        """
        queue, line = _Queue(tasks), _Line(in_order=in_order)
        most = ahead * (self._processes + (here is not None))
        while queue.more or line.done < queue.given:
            room = most - (queue.given - line.passed)
            room -= self._hand_out(queue, room, ahead)
            mine = here if queue.more and room > 0 else None
            for message in self._messages(queue, mine):
                for kind, number, value in line.take(message):
                    if kind == "error":
                        raise value
                    if kind == "report":
                        yield number, value
                del message  # memory holds one, not two

    def _hand_out(self, queue: _Queue, room: int, ahead: int) -> int:
        """Give tasks to the processes that have the fewest, and return how many there were."""
        given = 0
        while queue.more and given < room:
            free = [worker for worker in self._workers if worker.ready and worker.tasks < ahead]
            if not free:
                break
            worker = min(free, key=lambda one: one.tasks)
            _send(worker, queue.take())
            worker.tasks += 1
            given += 1
        return given

    def _messages(self, queue: _Queue, here: Work | None) -> Iterator[_Message]:
        """Yield messages that have come; if there are none, do a task here or wait."""
        channels = [worker.channel.fileno() for worker in self._workers]
        came = wait(channels, timeout=0 if here is not None else None)
        if not came and here is not None:
            yield from _done_here(here, *queue.take())
        for worker in self._workers:
            if worker.channel.fileno() in came:
                message = _receive(worker)
                worker.ready = True
                worker.tasks -= message[0] == "done"
                if message[0] != "ready":
                    yield message

    def _stop(self) -> None:
        for worker in self._workers:
            worker.channel.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.process.close()
        self._workers.clear()


def _send(worker: _Worker, value: Any) -> None:
    try:
        worker.channel.send(value)
    except OSError as error:
        raise _ended(worker) from error


def _receive(worker: _Worker) -> Any:
    try:
        return worker.channel.receive().open()
    except (EOFError, OSError) as error:
        raise _ended(worker) from error


def _ended(worker: _Worker) -> WorkerError:
    worker.process.join()
    code = worker.process.exitcode or 0
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}, perhaps for lack of memory"
    elif worker.ready:
        how = f"ended with exit code {code}"
    else:
        return WorkerError(
            f"a worker process ended with exit code {code} before it began: see what it wrote. It"
            " imports the script that needs it, which must therefore do its work under"
            " `if __name__ == '__main__':`"
        )
    return WorkerError(f"a worker process {how}; try again with fewer workers")


def _done_here(work: Work, number: int, task: Any) -> Iterator[_Message]:
    reports: list[Any] = []
    try:
        work(task, reports.append)
    except Exception as error:  # noqa: BLE001  (raised when its turn has come)
        yield "error", number, error
    for report in reports:
        yield "report", number, report
    yield "done", number, None


def _serve(channel: Channel) -> None:
    """Do what the parent asks until it hangs up; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it as well, and ends this one
    inbox: SimpleQueue[Parcel] = SimpleQueue()
    outbox: Queue[_Message | None] = Queue(_WAITING)
    # Threads of their own empty and fill the channel, so that neither end waits for the other
    # while it has work to do.
    threading.Thread(target=_receive_all, args=(channel, inbox), daemon=True).start()
    sender = threading.Thread(target=_send_all, args=(channel, outbox), daemon=True)
    sender.start()

    number = -1  # the beginning
    try:
        begin, given = inbox.get().open()
        work = begin(*given)
        outbox.put(("ready", number, None))
        while True:
            number, task = inbox.get().open()
            _work(work, number, task, outbox)
    except BaseException as error:  # noqa: BLE001  (the parent raises it)
        outbox.put(("error", number, _travelling(error)))
        outbox.put(None)
        sender.join()


def _work(work: Work, number: int, task: Any, outbox: Queue[_Message | None]) -> None:
    def report(value: Any) -> None:
        outbox.put(("report", number, value))

    try:
        work(task, report)
    except Exception as error:  # noqa: BLE001  (the parent raises it when its turn has come)
        outbox.put(("error", number, _travelling(error)))
    outbox.put(("done", number, None))


def _receive_all(channel: Channel, inbox: SimpleQueue[Parcel]) -> None:
    try:
        while True:
            inbox.put(channel.receive())
    except (EOFError, OSError):
        # Without a parent nobody wants the work, and files that it writes may be in use again.
        os._exit(1)


def _send_all(channel: Channel, outbox: Queue[_Message | None]) -> None:
    while (message := outbox.get()) is not None:
        try:
            channel.send(message)
        except OSError:
            os._exit(1)
        except Exception as error:  # noqa: BLE001  (somebody's object that pickle cannot take)
            channel.send(("error", message[1], _travelling(error)))


def _travelling(error: BaseException) -> BaseException:
    """Return an error that can be pickled, with its traceback as a note."""
    note = f"in a worker process:\n{''.join(traceback.format_exception(error))}"
    error.add_note(note)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (made here)
    except Exception:  # noqa: BLE001  (whatever a class of somebody else does)
        error = WorkerError(f"{type(error).__name__}: {error}")
        error.add_note(note)
    return error
