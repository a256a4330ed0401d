"""Sections of `scale.py` about Dask clusters of this machine: gain, overhead, kills."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from grow import grow
from record import reference_sample, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BARS = {"gain": 1.7, "overhead": 0.05, "kills": 30}
EVENTS = 1_000_000
"""Of a run with one or two workers."""
TURNS = 3
"""Such runs of either kind, by turns."""
MANY = 1000
"""Shards whose overhead is measured."""
REPLICAS = (1, 40)
"""RECO events of each GEN event in them; with many, a shard lasts some tenths of a second."""
ALONE = 50
"""Shards that are made once more without a scheduler."""
KILLED = {"events": 400_000, "shards": 200}
IDS = ("run", "luminosityBlock", "event")


def gen_sample(model: Path, events: int, folder: Path) -> Path:
    """GEN events of W + jet, tiled."""
    from gen2reco import load_emulator, open_events

    sample = reference_sample("wjet")
    columns = load_emulator(model).columns_needed(open_events(sample))
    path = folder / f"gen-{events}.parquet"
    if not path.exists():
        grow(sample, events, path, columns=list(dict.fromkeys([*IDS, *columns])))
    return path


def workers(model: Path, scratch: Path) -> dict[str, Any]:
    """One and two workers by turns, on clusters that are both there all the time."""
    gen = gen_sample(model, EVENTS, scratch)
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with _clusters(1, 2) as made:
        for number, client in made.items():
            _warm(client, model, scratch / f"warm-{number}")
        for turn in range(TURNS):
            for number in (1, 2) if turn % 2 == 0 else (2, 1):
                name = scratch / f"{number}-{turn}"
                taken = _timed(made[number], model, gen, name, shards=48)
                runs[number].append(taken)
                say(f"{number} workers: {taken}")
    wall = {number: median(run["seconds"] for run in taken) for number, taken in runs.items()}
    cpu = {n: median(run["worker_cpu_seconds"] for run in taken) for n, taken in runs.items()}
    return {
        "events": EVENTS,
        "one_worker": runs[1],
        "two_workers": runs[2],
        "gain": wall[1] / wall[2],
        "cpu_allows": 2 * cpu[1] / cpu[2],
        "cpu_microseconds_per_event": {
            "one worker": 1e6 * cpu[1] / EVENTS,
            "two workers": 1e6 * cpu[2] / EVENTS,
        },
        "load_average": os.getloadavg()[0],
        "asked": BARS["gain"],
        "met": wall[1] / wall[2] >= BARS["gain"],
    }


def overhead(model: Path, scratch: Path) -> dict[str, Any]:
    """1000 shards on one worker, small and larger ones, and some again without a scheduler."""
    import torch

    torch.set_num_threads(1)
    gen = gen_sample(model, EVENTS, scratch)
    found = {}
    with _clusters(1) as made:
        _warm(made[1], model, scratch / "warm")
        for replicas in REPLICAS:
            name = f"{EVENTS // MANY * replicas} RECO events per shard"
            taken = _timed(made[1], model, gen, scratch / name, shards=MANY, oversample=replicas)
            say(f"{name}: {taken}")
            found[name] = _overhead(taken, _alone(model, scratch / name))
    largest = list(found.values())[-1]
    return {
        "shards": MANY,
        "sizes": found,
        "overhead_at_a_minute_per_shard": largest["milliseconds_between_shards"] / 60e3,
        "shard_seconds_for_five_percent": largest["milliseconds_between_shards"]
        / 1e3
        / BARS["overhead"],
        "load_average": os.getloadavg()[0],
        "asked": BARS["overhead"],
        "met": max(largest["overhead"], largest["overhead_of_cpu"]) < BARS["overhead"],
    }


def _overhead(taken: dict[str, float], alone: float) -> dict[str, float]:
    """What a run costs beside its shards: the start once, and something with each of them."""
    fixed = taken["before_the_first_shard"] + taken["after_the_last_shard"]
    between = (taken["seconds"] - fixed - taken["shard_seconds"]) / (MANY - 1)
    beside = taken["worker_cpu_seconds"] - taken["shard_cpu_seconds"]
    return {
        "seconds": taken["seconds"],
        "start_and_end_seconds": fixed,
        "shard_seconds": taken["shard_seconds"] / MANY,
        "shard_cpu_seconds": taken["shard_cpu_seconds"] / MANY,
        "shard_cpu_seconds_without_a_scheduler": alone,
        "milliseconds_between_shards": 1e3 * between,
        "worker_cpu_milliseconds_beside_a_shard": 1e3 * beside / MANY,
        "client_and_scheduler_cpu_milliseconds": 1e3
        * taken["client_and_scheduler_cpu_seconds"]
        / MANY,
        "overhead": taken["seconds"] / taken["shard_seconds"] - 1,
        "overhead_of_cpu": beside / taken["shard_cpu_seconds"],
    }


def _alone(model: Path, folder: Path) -> float:
    """Make one shard in so many once more in this process; returns CPU seconds of each."""
    from gen2reco import load_emulator
    from gen2reco.shards import load_manifest
    from gen2reco.verbs.shard import make_shard

    emulator, manifest = load_emulator(model), load_manifest(folder)
    numbers = range(0, MANY, MANY // ALONE)
    begin = 0.0
    for number in (0, *numbers):
        begin = begin if number else time.process_time()  # not the first, which compiles
        make_shard(emulator, manifest.shard(number), manifest.options, chunk=20_480, overwrite=True)
    return (time.process_time() - begin) / len(numbers)


def kills(model: Path, scratch: Path) -> dict[str, Any]:
    """Kill 30 workers in one run, each some time after a number of shards drawn at random.

    The numbers of shards make the run end with 30 kills whatever else the machine does: to start a
    worker may take longer than to make many of these shards.
    """
    from gen2reco import merge, simulate, status

    events, shards = KILLED["events"], KILLED["shards"]
    gen = gen_sample(model, events, scratch)
    simulate(model, gen, scratch / "quiet.parquet", chunk=events // shards)
    folder, draw = scratch / "killed", random.Random(7)
    after = sorted(draw.sample(range(shards - 20), BARS["kills"]))
    struck: list[float] = []
    reached = threading.Condition()
    made = 0
    begin = time.perf_counter()

    def progress(read: int, _: int) -> None:
        nonlocal made
        with reached:
            made = read * shards // events
            reached.notify_all()

    with _quick_start(), _clusters(2) as clusters:
        local = clusters[2].cluster

        def strike() -> None:
            for number in after:
                with reached:
                    reached.wait_for(lambda number=number: made >= number)
                time.sleep(draw.uniform(0.0, 1.0))
                os.kill(_process(local, draw), signal.SIGKILL)
                struck.append(time.perf_counter() - begin)
                say(f"kill {len(struck)} at {struck[-1]:.1f} s, {made} of {shards} shards made")

        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        result = simulate(
            model,
            gen,
            folder,
            scheduler=local.scheduler_address,
            shards=shards,
            chunk=events // shards,
            progress=progress,
        )
        during = len(struck)
    seconds = time.perf_counter() - begin
    complete = status(folder)
    merge(folder, scratch / "killed.parquet")
    files = [path.name for path in folder.iterdir() if path.suffix == ".parquet"]
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    same = (scratch / "killed.parquet").read_bytes() == (scratch / "quiet.parquet").read_bytes()
    return {
        "events": events,
        "shards": shards,
        "kills_during_the_run": during,
        "seconds": seconds,
        "complete": complete.complete,
        "files": len(files),
        "partial_files_left": len(left),
        "read": result.read,
        "same_bytes": same,
        "met": complete.complete
        and same
        and len(files) == shards
        and result.read == events
        and during >= BARS["kills"],
    }


def _process(local: Any, draw: random.Random) -> int:
    """Draw a worker that the scheduler knows, and return its process."""
    while True:
        own = {one.process.pid for one in local.workers.values() if one.process is not None}
        known = {one.pid for one in list(local.scheduler.workers.values())}
        if there := sorted(known & own):
            return draw.choice(there)
        time.sleep(0.05)


@contextmanager
def _quick_start() -> Iterator[None]:
    """Fork workers from a process that has imported all: 30 starts then take seconds."""
    import dask
    from distributed.utils import get_mp_context

    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(["gen2reco.verbs.cluster", "distributed"])
        yield


@contextmanager
def _clusters(*sizes: int) -> Iterator[dict[int, Any]]:
    """Clusters of so many workers of one thread, as number -> client."""
    from distributed import Client

    from gen2reco.workers.cluster import local_cluster

    with ExitStack() as stack:
        made = {size: stack.enter_context(local_cluster(size)) for size in sizes}
        yield {size: stack.enter_context(Client(one)) for size, one in made.items()}


def _warm(client: Any, model: Path, folder: Path) -> None:
    """Make shards on every worker, which then has the emulator and compiled code, as for hours.

    From then on a worker counts what its shards take.
    """
    from gen2reco import simulate
    from gen2reco.verbs.train import bundled_sample

    workers = len(client.scheduler_info()["workers"])
    address = client.scheduler.address
    simulate(
        model, bundled_sample("wjet"), folder, scheduler=address, shards=8 * workers, policy="flag"
    )
    client.run(_count)


def _count() -> None:
    """Count wall and CPU time inside of shards, in a worker."""
    from gen2reco.verbs import cluster as module

    plain = module.make_shard
    spent = {"wall": 0.0, "cpu": 0.0, "first": 0.0, "last": 0.0}

    def counting(*given: Any, **options: Any) -> Any:
        begin, cpu = time.time(), time.thread_time()
        spent["first"] = spent["first"] or begin
        try:
            return plain(*given, **options)
        finally:
            spent["last"] = time.time()
            spent["wall"] += spent["last"] - begin
            spent["cpu"] += time.thread_time() - cpu

    counting.spent = spent  # type: ignore[attr-defined]
    module.make_shard = counting


def _counted() -> dict[str, float]:
    """Return what a worker has spent in its shards, and CPU seconds in all, since the last time."""
    from gen2reco.verbs import cluster as module

    spent: dict[str, float] = module.make_shard.spent
    found = spent | {"all": time.process_time()}
    spent.update(dict.fromkeys(spent, 0.0))
    return found


def _timed(
    client: Any, model: Path, gen: Path, folder: Path, *, shards: int, oversample: int = 1
) -> dict[str, float]:
    """Run a production on a cluster."""
    from gen2reco import simulate

    before = client.run(_counted)
    begin, cpu = time.time(), time.process_time()
    simulate(
        model,
        gen,
        folder,
        scheduler=client.scheduler.address,
        shards=shards,
        oversample=oversample,
    )
    end, here = time.time(), time.process_time() - cpu
    after = client.run(_counted)
    spent = [one for one in after.values() if one["first"]]
    return {
        "seconds": end - begin,
        "before_the_first_shard": min(one["first"] for one in spent) - begin,
        "after_the_last_shard": end - max(one["last"] for one in spent),
        "shard_seconds": sum(one["wall"] for one in spent),
        "shard_cpu_seconds": sum(one["cpu"] for one in spent),
        "worker_cpu_seconds": sum(after[one]["all"] - before[one]["all"] for one in after),
        "client_and_scheduler_cpu_seconds": here,
    }
