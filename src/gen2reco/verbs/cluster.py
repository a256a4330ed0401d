"""Shards on a Dask cluster.

A task is a shard, and a shard is made once whoever makes it, so that lost workers, tasks that run
twice and a run that is begun again cost time and nothing else. Events never pass the scheduler.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.emulator import load_emulator
from gen2reco.errors import EmulatorError
from gen2reco.verbs.shard import Simulation, make_shard
from gen2reco.workers.cluster import cluster, one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gen2reco.emulator import Emulator
    from gen2reco.shards import Manifest, Shard


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
        StudyError: there is no scheduler at this address.
        WorkerError: the scheduler was lost, or a shard lost its worker again and again.
        Gen2RecoError: whatever a shard raised.
    """
    begin = time.perf_counter()
    given = (manifest.model, manifest.digest, dict(options), chunk, overwrite)
    dropped: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    generated = events = 0
    numbers = range(manifest.shards)
    with cluster(scheduler, workers) as there:
        for _, done in there.run(
            _work,
            ((manifest.shard(number), *given) for number in numbers),
            key=lambda number: manifest.shard(number).task,
            what="shard",
        ):
            dropped += Counter(done.dropped)
            flagged += Counter(done.flagged)
            generated += done.read
            events += done.events
            if progress is not None:
                progress(generated, manifest.entries)
    seconds = time.perf_counter() - begin
    return Simulation(manifest.folder, generated, events, dropped, flagged, seconds, {})


def _work(
    shard: Shard,
    model: str,
    digest: str,
    options: Mapping[str, Any],
    chunk: int,
    overwrite: bool,
) -> Simulation:
    """Make a shard, in a worker."""
    with one_at_a_time:
        return make_shard(loaded(model, digest), shard, options, chunk=chunk, overwrite=overwrite)


@lru_cache(maxsize=2)
def loaded(model: str, digest: str) -> Emulator:
    """Load an emulator once per process.

    Raises:
        EmulatorError: it is not the one with this digest.
    """
    emulator = load_emulator(Path(model))
    if emulator.digest != digest:
        raise EmulatorError(
            f"the emulator at {model} is not the one that this was begun with; begin again in"
            " another folder"
        )
    return emulator
