"""Speed and memory of `simulate` for W + jet: `python benchmarks/end_to_end.py [--model MODEL]`.

On one core: Parquet to Parquet and to NanoAOD ROOT, events/s with the shares of reading, model and
writing, over Delphes' rate; peak memory from 10^5 to 10^6 events; two workers over one. Trains a
flow on the bundled sample if no model is named.
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
from pathlib import Path
from statistics import median

from grow import grow
from record import RESULTS, delphes_rate, gflops, record, reference_sample

GEN = ["run", "luminosityBlock", "event", "GenMET_pt", "GenMET_phi"] + [
    f"{collection}_{field}"
    for collection, fields in {
        "GenPart": ("pt", "eta", "phi", "mass", "pdgId", "isPrompt"),
        "GenJet": ("pt", "eta", "phi", "mass"),
    }.items()
    for field in fields
]
BARS = {"parquet": 150.0, "root": 120.0, "memory_growth": 1.1, "workers": 1.8}


def child(model: Path, sample: Path, output: Path, workers: int) -> None:
    """One simulation in this process; prints its figures."""
    from gen2reco import simulate

    simulate(model, sample, output.with_name(f"warm-{output.name}"))  # compiled code, file cache
    begin = time.perf_counter()
    done = simulate(model, sample, output, workers=workers)
    seconds = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "events_per_second": done.generated / seconds,
                "written": done.events,
                "shares": dict(done.shares),
                "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def run(model: Path, sample: Path, output: Path, workers: int = 1) -> dict:
    """One simulation in a fresh process that sees one core per worker."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    cores = ",".join(str(core) for core in range(workers))
    command = [
        "taskset",
        "-c",
        cores,
        sys.executable,
        __file__,
        "--child",
        str(model),
        str(sample),
        str(output),
    ]
    shown = subprocess.run(
        [*command, "--workers", str(workers)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(shown.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=RESULTS.parent / "models" / "wjet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child, arguments.workers)
        return
    if not arguments.model.exists():
        raise SystemExit(
            f"no emulator at {arguments.model}: run benchmarks/fidelity.py first, or name one"
            " with --model"
        )
    reference = reference_sample("wjet")
    result: dict = {"bars": BARS, "model": str(arguments.model.name)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        samples = {
            events: scratch / f"gen-{events}.parquet" for events in (100_000, 300_000, 1_000_000)
        }
        for events, path in samples.items():
            grow(reference, events, path, columns=GEN)
        for kind in ("parquet", "root"):
            rates, speeds, shares = [], [], {}
            for repeat in range(arguments.repeats):
                speeds.append(gflops())
                one = run(arguments.model, samples[300_000], scratch / f"{kind}-{repeat}.{kind}")
                rates.append(one["events_per_second"])
                shares = one["shares"]
            delphes = delphes_rate(median(speeds))
            result[kind] = {
                "events_per_second": median(rates),
                "all": rates,
                "gflops": median(speeds),
                "delphes_events_per_second": delphes,
                "times_delphes": median(rates) / delphes,
                "met": median(rates) / delphes >= BARS[kind],
                "shares": shares,
            }
            print(json.dumps({kind: result[kind]}, indent=1))
        memory = {}
        for events, path in samples.items():
            one = run(arguments.model, path, scratch / f"memory-{events}.parquet")
            memory[str(events)] = {
                "MB": one["peak_memory_MB"],
                "events_per_second": one["events_per_second"],
            }
        growth = memory["1000000"]["MB"] / memory["100000"]["MB"]
        result["memory"] = {
            "peak": memory,
            "growth": growth,
            "met": growth <= BARS["memory_growth"],
        }
        print(json.dumps({"memory": result["memory"]}, indent=1))
        one = run(arguments.model, samples[1_000_000], scratch / "one.parquet")
        two = run(arguments.model, samples[1_000_000], scratch / "two.parquet", workers=2)
        gain = two["events_per_second"] / one["events_per_second"]
        result["workers"] = {"one": one, "two": two, "gain": gain, "met": gain >= BARS["workers"]}
        print(json.dumps({"workers": result["workers"]}, indent=1))
    record("end_to_end", result)


if __name__ == "__main__":
    main()
