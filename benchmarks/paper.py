"""Section of `scale.py`: 10^10 events on 10 000 cores, on paper, with constants measured here."""

from __future__ import annotations

import heapq
import json
import random
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from clusters import gen_sample

if TYPE_CHECKING:
    from pathlib import Path

EVENTS, CORES = 10**10, 10_000
SIZES = (10_000, 100_000, 1_000_000)
FAILURES = (0.0, 0.01)
FILE_SYSTEM = 100.0
"""GB/s that a site's file system gives to all jobs together: an assumption."""
SLOW = 50
"""One core in so many takes three times as long; the others differ by 10 %."""


def paper(model: Path, scratch: Path) -> dict[str, Any]:
    """Simulate the queue; as batch jobs, and as tasks of one Dask scheduler."""
    constants = _constants(model, scratch)
    rate = constants["events_per_second"]
    tasks = scheduler_seconds()
    runs = {}
    for jobs in ("batch jobs", "Dask"):
        for size in SIZES:
            for failures in FAILURES:
                name = f"{jobs}, {size} events per shard, {failures:.0%} of the shards fail"
                dispatch = tasks if jobs == "Dask" else 0.0
                runs[name] = _queue(size, failures, constants, dispatch=dispatch)
    written = EVENTS * constants["bytes_out_per_event"]
    read = EVENTS * constants["bytes_in_per_event"]
    return {
        "events": EVENTS,
        "cores": CORES,
        "constants": constants | {"scheduler_seconds_per_task": tasks},
        "work_core_hours": EVENTS / rate / 3600,
        "work_seconds_per_core": EVENTS / rate / CORES,
        "cores_that_one_scheduler_feeds_with_shards_of_a_minute": 60 / tasks,
        "plan": {
            "metadata_of_a_million_files_seconds": constants["metadata_seconds_per_file"] * 10**6,
            "manifest_of_a_million_files_MB": constants["manifest_bytes_per_file"],
        },
        "file_system": {
            "assumed_GB_per_second": FILE_SYSTEM,
            "TB_read": read / 1e12,
            "TB_written": written / 1e12,
            "seconds_at_the_assumed_rate": (read + written) / 1e9 / FILE_SYSTEM,
            "cores_that_it_feeds": FILE_SYSTEM * 1e9 / rate / ((read + written) / EVENTS),
        },
        "runs": runs,
    }


def scheduler_seconds() -> float:
    """CPU seconds of client and scheduler per task, measured with tasks that do nothing."""
    from gen2reco.workers.cluster import LOCAL, cluster

    tasks = 1000
    with cluster(LOCAL, 1) as made:
        begin = time.process_time()
        numbers = ((number,) for number in range(tasks))
        for _ in made.run(abs, numbers, key=str, what="task"):
            pass
        return (time.process_time() - begin) / tasks


def _constants(model: Path, scratch: Path) -> dict[str, float]:
    """Measure what a job consists of, CPU seconds on one core."""
    import torch

    from gen2reco import load_emulator
    from gen2reco.shards import Input, load_manifest
    from gen2reco.verbs.production import planned
    from gen2reco.verbs.shard import make_shard

    torch.set_num_threads(1)
    gen = gen_sample(model, 200_000, scratch)
    program = f"import gen2reco; gen2reco.load_emulator({str(model)!r})"
    before = _children()
    subprocess.run([sys.executable, "-c", program], check=True)
    start = _children() - before
    emulator = load_emulator(model)
    options = {"seed": 1, "oversample": 1, "members": 1, "keep": [], "policy": "error"}
    taken = {}
    for shards in (200, 2):
        manifest = planned(
            emulator, model, gen, scratch / f"constants-{shards}", shards, options, None
        )
        make_shard(emulator, manifest.shard(0), options, chunk=20_480)
        # Two of the two, and two dozen of the many, spread over the row groups of the file.
        numbers = range(1, shards, max(1, shards // 24))
        begin = time.process_time()
        for number in numbers:
            make_shard(emulator, manifest.shard(number), options, chunk=20_480)
        taken[shards] = (time.process_time() - begin) / len(numbers)
    per_event = (taken[2] - taken[200]) / (100_000 - 1000)
    path = load_manifest(scratch / "constants-2").shard(0).path
    begin = time.process_time()
    for _ in range(50):
        Input.of(gen, "Events")
    looked = (time.process_time() - begin) / 50
    text = json.dumps([str(gen), 200_000, 10**9])
    return {
        "job_start_seconds": start,
        "shard_seconds": taken[200] - 1000 * per_event,
        "events_per_second": 1 / per_event,
        "metadata_seconds_per_file": looked,
        "manifest_bytes_per_file": len(text) + 3,
        "bytes_in_per_event": gen.stat().st_size / 200_000,
        "bytes_out_per_event": path.stat().st_size / 100_000,
    }


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _queue(
    size: int, failures: float, constants: dict[str, float], *, dispatch: float
) -> dict[str, float]:
    """Give shards out to cores until all are done; slow cores, and shards that are lost half-way.

    A batch job (`dispatch` 0) starts anew for its shards, ten at most, and ends with one that
    fails. A worker of Dask starts once, and again after a failure; its scheduler gives out one
    shard after the other and needs `dispatch` seconds for each.
    """
    draw = random.Random(size + int(1000 * failures))
    shards = EVENTS // size
    work = constants["shard_seconds"] + size / constants["events_per_second"]
    speed = [3.0 if i % SLOW == 0 else max(0.7, draw.gauss(1.0, 0.1)) for i in range(CORES)]
    free = [(0.0, i) for i in range(CORES)]
    heapq.heapify(free)
    started = [False] * CORES
    per_job = 1 if dispatch else max(1, min(10, shards // CORES))
    busy = lost = starts = end = ready = 0.0
    left = shards
    while left > 0:
        now, core = heapq.heappop(free)
        begin = max(now, ready)
        ready = begin + dispatch if dispatch else 0.0
        took = 0.0
        if not (dispatch and started[core]):
            took = constants["job_start_seconds"]
            starts += took * speed[core]
            started[core] = True
        for _ in range(min(per_job, left)):
            if draw.random() < failures:
                took += work / 2
                lost += work / 2 * speed[core]
                started[core] = False
                break
            took += work
            left -= 1
        took *= speed[core]
        busy += took
        end = max(end, begin + took)
        heapq.heappush(free, (begin + took, core))
    ideal = EVENTS / constants["events_per_second"] / sum(1 / one for one in speed)
    small = shards * constants["shard_seconds"] / busy
    return {
        "seconds": end,
        "ideal_seconds": ideal,
        "efficiency": ideal / end,
        "start_share": starts / busy,
        "small_file_share": small,
        "lost_share": lost / busy,
        "idle_share": 1 - busy / (end * CORES),
    }
