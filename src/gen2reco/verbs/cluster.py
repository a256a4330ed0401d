"""Shards on a Dask cluster: a scheduler that is there, or one of this machine.

A task is a shard, and a shard is made once whoever makes it, so that lost workers, tasks that run
twice and a run that is begun again cost time and nothing else. Events never pass the scheduler:
workers read and write files, and must see them under the same paths.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.emulator import load_emulator
from gen2reco.errors import EmulatorError, StudyError, WorkerError
from gen2reco.verbs.shard import Simulation, make_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gen2reco.emulator import Emulator
    from gen2reco.shards import Manifest, Shard

LOCAL = "local"
TRIES = 30
"""How often a shard is handed out again after the workers that had it were lost."""
_AHEAD = 4
"""Shards at the scheduler for each thread of its workers; the others wait here."""
_one_at_a_time = threading.Lock()
"""A model works for one thread of a worker: each process is given one core."""


def run_on_cluster(
    scheduler: str,
    manifest: Manifest,
    options: Mapping[str, Any],
    *,
    chunk: int,
    workers: int,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> Simulation:
    """Make all shards of a production on a Dask cluster.

    Args:
        scheduler: address of a scheduler (`tcp://host:8786`), or `local` for one of this machine.
        manifest: the production.
        options: of `Emulator.simulate_chunk`.
        chunk: GEN events per step.
        workers: processes of a local cluster.
        overwrite: make shards anew that are complete.
        progress: called with GEN events done and in all.

    Raises:
        StudyError: dask is not installed, or there is no scheduler at this address.
        WorkerError: the scheduler was lost, or a shard lost its worker again and again.
        Gen2RecoError: whatever a shard raised.
    """
    begin = time.perf_counter()
    given = (manifest.model, manifest.digest, dict(options), chunk, overwrite)
    dropped: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    generated = events = 0
    with _client(scheduler, workers) as client:
        for done in _results(client, manifest, given):
            dropped += Counter(done.dropped)
            flagged += Counter(done.flagged)
            generated += done.read
            events += done.events
            if progress is not None:
                progress(generated, manifest.entries)
    seconds = time.perf_counter() - begin
    return Simulation(manifest.folder, generated, events, dropped, flagged, seconds, {})


@contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Any]:
    """Connect to a scheduler, or start one with workers here for as long as it is needed."""
    try:
        distributed = _distributed()
    except ImportError:
        raise StudyError("--scheduler needs dask: pip install 'gen2reco[dask]'") from None
    if scheduler != LOCAL:
        try:
            client = distributed.Client(scheduler)
        except (OSError, ValueError) as error:
            raise StudyError(f"there is no scheduler at {scheduler!r}: {error}") from error
        with client:
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _distributed() -> Any:
    return import_module("distributed")


def _results(client: Any, manifest: Manifest, given: tuple[Any, ...]) -> Iterator[Simulation]:
    """Hand shards out, a few at a time, and yield what became of them as they come."""
    waiting = iter(range(manifest.shards))
    tries: Counter[int] = Counter()
    running: dict[Any, int] = {}

    def submit(number: int) -> Any:
        tries[number] += 1
        shard = manifest.shard(number)
        key = f"gen2reco-{shard.task}-{tries[number]}"
        future = client.submit(_work, shard, *given, key=key, pure=False)
        running[future] = number
        return future

    room = max(2, _AHEAD * sum(client.nthreads().values()))
    first = [submit(number) for _, number in zip(range(room), waiting, strict=False)]
    queue = _distributed().as_completed(first)
    for future in queue:
        number = running.pop(future)
        done = _outcome(client, future, tries[number], number)
        if done is None:
            queue.add(submit(number))
            continue
        yield done
        future.release()
        following = next(waiting, None)
        if following is not None:
            queue.add(submit(following))


def _outcome(client: Any, future: Any, tries: int, number: int) -> Simulation | None:
    """Return what a task gave; None where its workers were lost and it may be tried again."""
    distributed = _distributed()
    try:
        found: Simulation = future.result()
    except (distributed.KilledWorker, distributed.CancelledError) as error:
        if client.status != "running":
            raise WorkerError(
                "the scheduler was lost; run the command again, which makes what is missing"
            ) from error
        if tries >= TRIES:
            raise WorkerError(
                f"shard {number} lost its worker {tries} times; is there enough memory?"
            ) from error
        return None
    return found


def _work(
    shard: Shard,
    model: str,
    digest: str,
    options: Mapping[str, Any],
    chunk: int,
    overwrite: bool,
) -> Simulation:
    """Make a shard, in a worker."""
    with _one_at_a_time:
        emulator = _loaded(model, digest)
        return make_shard(emulator, shard, options, chunk=chunk, overwrite=overwrite)


@lru_cache(maxsize=2)
def _loaded(model: str, digest: str) -> Emulator:
    """Load an emulator once per process."""
    emulator = load_emulator(Path(model))
    if emulator.digest != digest:
        raise EmulatorError(
            f"the emulator at {model} is not the one of the plan; begin again in another folder"
        )
    return emulator
