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
REPLICAS = 40
"""RECO events of each GEN event in them, so that they last."""
ALONE = 100
"""Shards that are made once more without a scheduler, one in ten of them."""
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
    busy = {n: median(run["slowest_worker"] for run in taken) for n, taken in runs.items()}
    return {
        "events": EVENTS,
        "one_worker": runs[1],
        "two_workers": runs[2],
        "gain": wall[1] / wall[2],
        "without_start_and_end": busy[1] / busy[2],
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
    """1000 shards on one worker; one in ten is made once more here, without a scheduler."""
    import torch

    from gen2reco import load_emulator
    from gen2reco.shards import load_manifest
    from gen2reco.verbs.shard import make_shard

    torch.set_num_threads(1)
    gen = gen_sample(model, EVENTS, scratch)
    emulator = load_emulator(model)
    with _clusters(1) as made:
        _warm(made[1], model, scratch / "warm")
        taken = _timed(made[1], model, gen, scratch / "many", shards=MANY, oversample=REPLICAS)
    say(f"on a worker: {taken}")
    manifest = load_manifest(scratch / "many")
    make_shard(emulator, manifest.shard(0), manifest.options, chunk=20_480, overwrite=True)
    begin = time.process_time()
    for number in range(0, MANY, MANY // ALONE):
        make_shard(emulator, manifest.shard(number), manifest.options, chunk=20_480, overwrite=True)
    alone = (time.process_time() - begin) / ALONE
    inside = taken["shard_cpu_seconds"] / MANY
    by_wall = taken["seconds"] / taken["shard_seconds"] - 1
    worker = (taken["worker_cpu_seconds"] - taken["shard_cpu_seconds"]) / MANY
    master = taken["client_and_scheduler_cpu_seconds"] / MANY
    between = (taken["seconds"] - taken["shard_seconds"]) / MANY
    return {
        "shards": MANY,
        "reco_events_per_shard": EVENTS // MANY * REPLICAS,
        "cpu_seconds_of_a_shard": {"on a worker": inside, "without a scheduler": alone},
        "milliseconds_per_shard": {
            "between two shards, wall": 1e3 * between,
            "worker beside the shard, CPU": 1e3 * worker,
            "client and scheduler, CPU": 1e3 * master,
        },
        "overhead_wall": by_wall,
        "overhead_worker_cpu": taken["worker_cpu_seconds"] / MANY / alone - 1,
        "overhead_wall_at_a_minute_per_shard": between / 60,
        "shard_seconds_for_five_percent": between / BARS["overhead"],
        "cores_that_a_scheduler_feeds_at_a_minute_per_shard": 60 / master,
        "run": taken,
        "load_average": os.getloadavg()[0],
        "asked": BARS["overhead"],
        "met": by_wall < BARS["overhead"],
    }


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
    spent = [0.0, 0.0]

    def counting(*given: Any, **options: Any) -> Any:
        begin = time.perf_counter(), time.thread_time()
        try:
            return plain(*given, **options)
        finally:
            spent[0] += time.perf_counter() - begin[0]
            spent[1] += time.thread_time() - begin[1]

    counting.spent = spent  # type: ignore[attr-defined]
    module.make_shard = counting


def _counted() -> tuple[float, float, float]:
    """Wall and CPU seconds inside of shards, CPU seconds in all, of a worker."""
    from gen2reco.verbs import cluster as module

    return (*module.make_shard.spent, time.process_time())


def _timed(
    client: Any, model: Path, gen: Path, folder: Path, *, shards: int, oversample: int = 1
) -> dict[str, float]:
    """Run a production on a cluster."""
    from gen2reco import simulate

    before = client.run(_counted)
    begin = time.perf_counter(), time.process_time()
    simulate(
        model,
        gen,
        folder,
        scheduler=client.scheduler.address,
        shards=shards,
        oversample=oversample,
    )
    wall, here = time.perf_counter() - begin[0], time.process_time() - begin[1]
    after = client.run(_counted)
    spent = [[b - a for a, b in zip(before[one], after[one], strict=True)] for one in after]
    return {
        "seconds": wall,
        "slowest_worker": max(one[0] for one in spent),
        "shard_seconds": sum(one[0] for one in spent),
        "shard_cpu_seconds": sum(one[1] for one in spent),
        "worker_cpu_seconds": sum(one[2] for one in spent),
        "client_and_scheduler_cpu_seconds": here,
    }
