"""Speed and memory of `simulate`: `python benchmarks/end_to_end.py [--study STUDY]`.

On one core: Parquet to Parquet and to NanoAOD ROOT, events/s with the shares of reading, model and
writing, over Delphes' rate. Peak memory and CPU time from 10^5 to 3 x 10^6 events. Two workers
over one, by turns, on so many events that the start of the second (seconds of imports, in the
measured time) does not decide; beside it the gain that the CPU time of all processes would allow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from grow import grow
from record import RESULTS, delphes_rate, gflops, peak_memory, record, reference_sample

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("parquet", "root")


@dataclass(frozen=True)
class Plan:
    """How a study is measured, and what is asked of it.

    Attributes:
        speed_events: GEN events of the runs on one core.
        growth_events: GEN events of the runs that show how memory and time grow.
        worker_events: GEN events of the runs with one and two workers.
        times_delphes: bars to Parquet and to ROOT.
    """

    speed_events: int
    growth_events: tuple[int, ...]
    worker_events: int
    times_delphes: Mapping[str, float]


PLANS = {
    "wjet": Plan(
        300_000, (100_000, 1_000_000, 3_000_000), 20_000_000, {"parquet": 150, "root": 120}
    ),
    "hmumu": Plan(100_000, (100_000, 300_000, 600_000), 600_000, {"parquet": 35, "root": 30}),
}
BARS = {"memory_growth": 1.1, "time_growth": 1.1, "workers": 1.8}


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def child(model: Path, sample: Path, output: Path, workers: int, warm: Path | None) -> None:
    """One simulation in this process; prints its figures."""
    from gen2reco import simulate

    if warm is not None:  # compiled code
        simulate(model, warm, output.with_name(f"warm-{output.name}"), overwrite=True)
    begin, used = time.perf_counter(), cpu_seconds()
    done = simulate(model, sample, output, workers=workers, overwrite=True)
    seconds = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "events_per_second": done.read / seconds,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds() - used,
                "written": done.events,
                "shares": dict(done.shares),
                "peak_memory_MB": peak_memory(),
            }
        )
    )


def run(
    model: Path, sample: Path, output: Path, *, workers: int = 1, warm: Path | None = None
) -> dict:
    """One simulation in a fresh process that sees one core per worker."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    cores = ",".join(str(core) for core in range(workers))
    command = ["taskset", "-c", cores, sys.executable, __file__, "--workers", workers]
    command += ["--warm", warm] if warm is not None else []
    command += ["--child", model, sample, output]
    shown = subprocess.run(
        [str(word) for word in command],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(shown.stdout.splitlines()[-1])


def speed(model: Path, samples: Samples, scratch: Path, repeats: int) -> dict:
    """Events/s on one core to each kind of file, over Delphes' rate."""
    found = {}
    plan = samples.plan
    sample, warm = samples[plan.speed_events], samples[plan.growth_events[0]]
    for kind in KINDS:
        rates, speeds, shares = [], [], {}
        for _ in range(repeats):
            speeds.append(gflops())
            one = run(model, sample, scratch / f"speed.{kind}", warm=warm)
            rates.append(one["events_per_second"])
            shares = one["shares"]
        delphes = delphes_rate(samples.study, median(speeds))
        found[kind] = {
            "events_per_second": median(rates),
            "all": rates,
            "gflops": median(speeds),
            "delphes_events_per_second": delphes,
            "times_delphes": median(rates) / delphes,
            "asked": plan.times_delphes[kind],
            "met": median(rates) / delphes >= plan.times_delphes[kind],
            "shares": shares,
        }
    return found


def growth(model: Path, samples: Samples, scratch: Path) -> dict:
    """Peak memory and CPU time of fresh processes against the number of events."""
    found: dict = {}
    numbers = samples.plan.growth_events
    for kind in KINDS:
        runs = [run(model, samples[n], scratch / f"growth.{kind}") for n in numbers]
        peaks = [one["peak_memory_MB"] for one in runs]
        # Differences, in which the start of the process cancels.
        per_event = [
            (larger["cpu_seconds"] - smaller["cpu_seconds"]) / (m - n)
            for (smaller, n), (larger, m) in pairwise(zip(runs, numbers, strict=True))
        ]
        found[kind] = {
            "peak_MB": dict(zip(map(str, numbers), peaks, strict=True)),
            "memory_growth": max(peaks) / peaks[0],
            "cpu_microseconds_per_further_event": [1e6 * value for value in per_event],
            "time_growth": per_event[-1] / per_event[0],
            "memory_met": max(peaks) / peaks[0] <= BARS["memory_growth"],
            "time_met": per_event[-1] / per_event[0] <= BARS["time_growth"],
        }
    return found


def workers(model: Path, samples: Samples, scratch: Path, repeats: int) -> dict:
    """Two processes over one, run by turns."""
    events, warm = samples.plan.worker_events, samples[samples.plan.growth_events[0]]
    turns: dict[int, list[dict]] = {1: [], 2: []}
    for _ in range(repeats):
        for number, runs in turns.items():
            output = scratch / "workers.parquet"
            runs.append(run(model, samples[events], output, workers=number, warm=warm))
            print(json.dumps({"workers": number, **runs[-1]}))
    one, two = (
        {key: median(each[key] for each in runs) for key in ("seconds", "cpu_seconds")}
        for runs in turns.values()
    )
    gain = one["seconds"] / two["seconds"]
    return {
        "events": events,
        "one": one | {"events_per_second": events / one["seconds"]},
        "two": two | {"events_per_second": events / two["seconds"]},
        "gains": [a["seconds"] / b["seconds"] for a, b in zip(*turns.values(), strict=True)],
        "gain": gain,
        "gain_that_cpu_time_allows": 2 * one["cpu_seconds"] / two["cpu_seconds"],
        "met": gain >= BARS["workers"],
    }


class Samples(dict[int, Path]):
    """GEN events of the reference sample, grown to the number asked for when it is needed."""

    def __init__(self, study: str, model: Path, folder: Path) -> None:
        from gen2reco import load_emulator, open_events

        super().__init__()
        self.study, self.plan = study, PLANS[study]
        self._folder, self._reference = folder, reference_sample(study)
        self._columns = load_emulator(model).columns_needed(open_events(self._reference))

    def __missing__(self, events: int) -> Path:
        self[events] = self._folder / f"gen-{events}.parquet"
        grow(self._reference, events, self[events], columns=self._columns)
        return self[events]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=sorted(PLANS), default="wjet")
    parser.add_argument("--model", type=Path, help="default: what benchmarks/ has trained of it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker-repeats", type=int, default=3)
    parser.add_argument(
        "--only", choices=["speed", "growth", "workers"], help="measure this alone, keep the rest"
    )
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--warm", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(*asked.child, asked.workers, asked.warm)
        return
    model = asked.model or RESULTS.parent / "models" / asked.study
    if not model.exists():
        script = "fidelity" if asked.study == "wjet" else "flashsim"
        raise SystemExit(
            f"no emulator at {model}: run benchmarks/{script}.py first, or name one with --model"
        )
    result: dict = {"bars": BARS, "model": model.name}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        samples = Samples(asked.study, model, scratch)
        if asked.only in {None, "speed"}:
            result |= speed(model, samples, scratch, asked.repeats)
        if asked.only in {None, "growth"}:
            result["growth"] = growth(model, samples, scratch)
        if asked.only in {None, "workers"}:
            result["workers"] = workers(model, samples, scratch, asked.worker_repeats)
    print(json.dumps(result, indent=1))
    name = "end_to_end" if asked.study == "wjet" else f"end_to_end_{asked.study}"
    file = RESULTS / f"{name}.json"
    if asked.only and file.is_file():
        result = json.loads(file.read_text(encoding="utf-8")) | result
    record(
        name, {key: value for key, value in result.items() if key not in {"benchmark", "machine"}}
    )


if __name__ == "__main__":
    main()
