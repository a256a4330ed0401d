"""The streamed part of `validate` and `compare` on a Dask cluster: ranges of entries as tasks.

Sketches and the events of the subsample come back; they are added up in the order of the ranges, so
that every figure is that of one process to the last bit.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from gen2reco.emulator import Emulator
from gen2reco.errors import EmulatorError, StudyError
from gen2reco.verbs.cluster import loaded
from gen2reco.verbs.judged import ranges
from gen2reco.workers.cluster import LOCAL, check_scheduler, cluster, one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gen2reco.events import EventSource
    from gen2reco.verbs.judged import Piece, Reading
    from gen2reco.workers.cluster import Cluster

    There = Callable[[Reading, EventSource], Iterator[Piece]]


def check_streamed(scheduler: str, stream: int, workers: int) -> None:
    """Refuse a scheduler without a stream, workers without a cluster here, or what cannot be used.

    Raises:
        StudyError: there is nothing to stream, no scheduler at this address, or no cluster whose
            workers these are.
        MissingExtraError: dask is not installed.
    """
    if workers != 1 and scheduler != LOCAL:
        raise StudyError(f"{workers} workers are those of a cluster here: say --scheduler {LOCAL}")
    if scheduler and not stream:
        raise StudyError(
            "a scheduler reads what is streamed: say with --stream how many events the rest of the"
            " report is about"
        )
    check_scheduler(scheduler)


@contextmanager
def reading_there(
    scheduler: str, workers: int, model: Emulator | str | Path, emulator: Emulator
) -> Iterator[There | None]:
    """Yield what reads the events of a validation on a cluster; None without a scheduler.

    Raises:
        EmulatorError: there is a scheduler, and no path from which its workers could load.
        StudyError: there is no such scheduler.
    """
    if not scheduler:
        yield None
        return
    if isinstance(model, Emulator):
        raise EmulatorError("workers of a cluster load the emulator themselves: give its path")
    place = str(Path(model).absolute())
    with cluster(scheduler, workers) as made:

        def there(reading: Reading, source: EventSource) -> Iterator[Piece]:
            tasks = (
                (place, emulator.digest, reading, *source.within(*one)) for one in ranges(source)
            )
            return in_turn(made, _piece, tasks)

        yield there


def in_turn(made: Cluster, work: Callable[..., Any], tasks: Any) -> Iterator[Any]:
    """Do tasks and yield what they return, in their order."""
    run = uuid4().hex
    done = made.run(work, tasks, key=lambda n: f"{run}-{n}", what="range", in_order=True)
    return (found for _, found in done)


def _piece(
    model: str, digest: str, reading: Reading, source: EventSource, start: int, stop: int
) -> Piece:
    """Read a range of entries, in a worker."""
    with one_at_a_time:
        return reading.piece(loaded(model, digest), source, start, stop)
