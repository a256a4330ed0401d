"""Many machines and large samples: `python benchmarks/scale.py [SECTION ...]`.

cluster   two local Dask workers over one on 10^6 events; what 1000 shards cost beside their work
kills     30 workers killed at random in one run: complete, no duplicate, the bytes of a quiet run
memory    peak memory of `validate --stream` on 10^6 and 10^7 rows
paper     10^10 events on 10 000 cores: a simulation of the queue with the constants measured here,
          with stragglers and failures, and what limits it

Sections are kept in the JSON, so that each can be run by itself; without any, all of them run.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from grow import grow
from record import RESULTS, gflops, record, reference_sample

SECTIONS = ("cluster", "kills", "memory", "paper")
BARS = {"two_workers": 1.7, "overhead": 0.05, "memory": 1.2, "kills": 30}
STREAM = 20_000
TURNS = 1
SMALL = 200_000
"""Events of the run with 1000 shards: small ones, to which a scheduler's overhead is large."""
COLUMNS_GEN = ("run", "luminosityBlock", "event")


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_memory() -> float:
    """Peak memory of this program in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def gen_sample(model: Path, events: int, folder: Path) -> Path:
    """GEN events of W + jet, tiled."""
    from gen2reco import load_emulator, open_events

    sample = reference_sample("wjet")
    columns = load_emulator(model).columns_needed(open_events(sample))
    path = folder / f"gen-{events}.parquet"
    if not path.exists():
        grow(sample, events, path, columns=list(dict.fromkeys([*COLUMNS_GEN, *columns])))
    return path


def cluster(model: Path, scratch: Path) -> dict[str, Any]:
    """Measure one and two workers by turns, then 1000 shards on one worker."""
    from distributed import Client, LocalCluster

    from gen2reco import load_emulator, simulate
    from gen2reco.shards import load_manifest

    digest = load_emulator(model).digest
    events = 1_000_000
    gen = gen_sample(model, events, scratch)

    def timed(workers: int, shards: int, name: str, files: Path) -> dict[str, float]:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as made,
            Client(made) as client,
        ):
            # Emulator and compiled code in every worker: a production has them for hours.
            client.run(_warm, str(model), digest)
            before = sum(client.run(_used).values())
            begin = time.perf_counter()
            simulate(model, files, scratch / name, scheduler=made.scheduler_address, shards=shards)
            wall = time.perf_counter() - begin
            used = sum(client.run(_used).values()) - before
        return {"seconds": wall, "worker_cpu_seconds": used}

    one, two = [], []
    for turn in range(TURNS):
        one.append(timed(1, 50, f"one-{turn}", gen))
        two.append(timed(2, 50, f"two-{turn}", gen))
    fastest = [min(run["seconds"] for run in runs) for runs in (one, two)]
    few = gen_sample(model, SMALL, scratch)
    many = timed(1, 1000, "many", few)
    manifest = load_manifest(scratch / "many")
    # The same 1000 shards in one process, without a scheduler.
    emulator = load_emulator(model)
    import torch

    from gen2reco.verbs.shard import make_shard

    torch.set_num_threads(1)
    first = [manifest.shard(number).path for number in range(100)]
    for path in first:
        path.unlink()
    begin = time.process_time()
    for number in range(100):
        make_shard(model, emulator, manifest.shard(number), manifest.options, chunk=20_480)
    alone = (time.process_time() - begin) * 10
    return {
        "events": events,
        "one_worker": one,
        "two_workers": two,
        "gain": fastest[0] / fastest[1],
        "cpu_allows": 2 * one[0]["worker_cpu_seconds"] / two[0]["worker_cpu_seconds"],
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "met": fastest[0] / fastest[1] >= BARS["two_workers"],
        "thousand_shards": {
            **many,
            "events": SMALL,
            "shard_cpu_seconds_alone": alone,
            "worker_overhead": many["worker_cpu_seconds"] / alone - 1,
            "busy": many["worker_cpu_seconds"] / many["seconds"],
            "met": many["worker_cpu_seconds"] / alone - 1 < BARS["overhead"],
        },
        "asked": {"gain": BARS["two_workers"], "overhead": BARS["overhead"]},
    }


def _warm(model: str, digest: str) -> None:
    """Load the emulator as a task does, and use it once, in a worker."""
    from gen2reco import open_events
    from gen2reco.verbs import cluster as module
    from gen2reco.verbs.train import bundled_sample

    emulator = module._loaded(model, digest)  # noqa: SLF001
    source = open_events(bundled_sample("wjet"))
    for chunk in source.chunks(3000, emulator.columns_needed(source), stop=3000):
        emulator.simulate(chunk.events, policy="flag")


def _used() -> float:
    return time.process_time()


def kills(model: Path, scratch: Path) -> dict[str, Any]:
    """Kill 30 workers at random moments of one run."""
    from distributed import Client, LocalCluster

    from gen2reco import merge, simulate, status

    events, shards = 200_000, 200
    gen = gen_sample(model, events, scratch)
    simulate(model, gen, scratch / "quiet.parquet", overwrite=True)
    draw = random.Random(7)
    struck: list[float] = []
    done = threading.Event()
    begin = time.perf_counter()
    folder = scratch / "killed"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
        Client(made),
    ):

        def strike() -> None:
            while not done.wait(draw.uniform(0.2, 1.5)) and len(struck) < BARS["kills"]:
                # A worker that has begun: one that still imports would be killed for ever.
                alive = [one for one in made.workers.values() if one.process and one.process.pid]
                victim = draw.choice(alive) if alive else None
                if victim is not None and victim.worker_address in made.scheduler.workers:
                    os.kill(victim.process.pid, signal.SIGKILL)
                    struck.append(time.perf_counter() - begin)

        thread = threading.Thread(target=strike)
        thread.start()
        try:
            while len(struck) < BARS["kills"]:
                result = simulate(
                    model,
                    gen,
                    folder,
                    scheduler=made.scheduler_address,
                    shards=shards,
                    chunk=512,
                    overwrite=False,
                )
                if len(struck) < BARS["kills"]:
                    raise SystemExit(f"the run ended after {len(struck)} kills: make it longer")
        finally:
            done.set()
            thread.join()
    complete = status(folder)
    merge(folder, scratch / "killed.parquet", overwrite=True)
    files = [path.name for path in folder.iterdir() if path.suffix == ".parquet"]
    same = (scratch / "killed.parquet").read_bytes() == (scratch / "quiet.parquet").read_bytes()
    return {
        "events": events,
        "shards": shards,
        "kills": len(struck),
        "seconds": time.perf_counter() - begin,
        "complete": complete.complete,
        "files": len(files),
        "generated": result.generated,
        "same_bytes": same,
        "met": complete.complete and same and len(files) == shards and len(struck) == 30,
    }


def memory(model: Path, scratch: Path) -> dict[str, Any]:
    """Peak memory of `validate --stream`, each size in a process of its own."""
    runs = {}
    for events in (1_000_000, 10_000_000):
        sample = scratch / f"both-{events}.parquet"
        if not sample.exists():
            grow(reference_sample("wjet"), events, sample)
        words = [sys.executable, __file__, "--child", str(sample), str(scratch / f"v{events}")]
        shown = subprocess.run(
            [*words, "--model", str(model)], capture_output=True, text=True, check=True
        )
        runs[str(events)] = json.loads(shown.stdout.splitlines()[-1])
        print(events, runs[str(events)], flush=True)
    small, large = runs.values()
    growth = large["peak_memory_MB"] / small["peak_memory_MB"]
    return {"stream": STREAM, "runs": runs, "growth": growth, "met": growth <= BARS["memory"]}


def child(model: Path, sample: Path, output: Path) -> None:
    """One validation in this process; prints its figures."""
    import torch

    from gen2reco import validate

    torch.set_num_threads(1)
    begin = time.perf_counter()
    found = validate(model, sample, output, stream=STREAM, quick=True, split="all", overwrite=True)
    print(
        json.dumps(
            {
                "peak_memory_MB": peak_memory(),
                "seconds": time.perf_counter() - begin,
                "cpu_seconds": cpu_seconds(),
                "events": sum(found.streamed.events[:2]),
                "rows": found.streamed.rows,
                "largest_w1_error_over_null": max(
                    one.w1_error / one.null for one in found.streamed.quantities if one.null
                ),
            }
        )
    )


def paper(model: Path, scratch: Path) -> dict[str, Any]:
    """10^10 events on 10 000 cores, with constants measured here."""
    constants = _constants(model, scratch)
    events, cores = 10**10, 10_000
    results = {}
    for per_shard in (10_000, 100_000, 1_000_000):
        for failures in (0.0, 0.01):
            results[f"{per_shard} events per shard, {failures:.0%} of the shards fail"] = _queue(
                events, cores, per_shard, failures, constants
            )
    metadata = constants["metadata_seconds_per_file"] * 10**6
    return {
        "events": events,
        "cores": cores,
        "constants": constants,
        "plan": {
            "metadata_of_a_million_files_seconds": metadata,
            "manifest_bytes_per_file": constants["manifest_bytes_per_file"],
            "manifest_of_a_million_files_MB": constants["manifest_bytes_per_file"],
        },
        "read_MB_per_second": constants["bytes_in_per_event"]
        * constants["events_per_second"]
        * cores
        / 1e6,
        "written_MB_per_second": constants["bytes_out_per_event"]
        * constants["events_per_second"]
        * cores
        / 1e6,
        "runs": results,
    }


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
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", program], check=True)
    start = cpu_seconds() - before
    emulator = load_emulator(model)
    options = {"seed": 1, "oversample": 1, "members": 1, "keep": [], "policy": "error"}
    rates = {}
    for shards in (200, 2):
        manifest = planned(
            emulator, model, gen, scratch / f"constants-{shards}", shards, options, None
        )
        numbers = range(min(shards, 20))
        begin = time.process_time()
        for number in numbers:
            make_shard(model, emulator, manifest.shard(number), options, chunk=20_480)
        rates[shards] = (time.process_time() - begin) / len(numbers)
    per_event = (rates[2] - rates[200]) / (100_000 - 1000)
    path = load_manifest(scratch / "constants-2").shard(0).path
    begin = time.process_time()
    for _ in range(50):
        Input.of(gen, "Events")
    looked = (time.process_time() - begin) / 50
    text = json.dumps([str(gen), 200_000, 10**9])
    return {
        "job_start_seconds": start,
        "shard_seconds": rates[200] - 1000 * per_event,
        "events_per_second": 1 / per_event,
        "metadata_seconds_per_file": looked,
        "manifest_bytes_per_file": len(text) + 3,
        "bytes_in_per_event": gen.stat().st_size / 200_000,
        "bytes_out_per_event": path.stat().st_size / 100_000,
    }


def _queue(
    events: int, cores: int, per_shard: int, failures: float, constants: dict[str, float]
) -> dict[str, float]:
    """Hand shards out to cores until all are done; slow cores, and shards that are lost half-way.

    One core in 50 is three times slower than the rest (a straggler), the others differ by 10 %.
    Jobs take ten shards each, so that loading the emulator counts once for ten.
    """
    draw = random.Random(per_shard + int(1000 * failures))
    shards = events // per_shard
    work = constants["shard_seconds"] + per_shard / constants["events_per_second"]
    speed = [3.0 if i % 50 == 0 else max(0.7, draw.gauss(1.0, 0.1)) for i in range(cores)]
    free = [(0.0, i) for i in range(cores)]
    heapq.heapify(free)
    busy = lost = starts = 0.0
    per_job = max(1, min(10, shards // cores))
    left, end = shards, 0.0
    while left > 0:
        now, core = heapq.heappop(free)
        took = constants["job_start_seconds"]
        starts += took
        for _ in range(min(per_job, left)):
            if draw.random() < failures:
                took += work / 2
                lost += work / 2
                break
            took += work
            left -= 1
        took *= speed[core]
        busy += took
        end = max(end, now + took)
        heapq.heappush(free, (now + took, core))
    ideal = events / constants["events_per_second"] / sum(1 / one for one in speed)
    return {
        "hours": end / 3600,
        "efficiency": ideal / end,
        "start_share": starts / busy,
        "small_file_share": shards * constants["shard_seconds"] / busy,
        "lost_share": lost / busy,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", default=SECTIONS)
    parser.add_argument("--model", type=Path, required=True, help="an emulator of wjet")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--child", nargs=2, type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.model, *arguments.child)
        return
    path = RESULTS / "scale.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    result = {name: kept[name] for name in SECTIONS if name in kept}
    for name in arguments.sections:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            result[name] = globals()[name](arguments.model, Path(scratch))
            result[name]["gflops"] = gflops(3)
        record("scale", result)


if __name__ == "__main__":
    main()
