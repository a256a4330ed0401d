"""Many machines and large samples: `python benchmarks/scale.py [SECTION ...]`.

workers   two local Dask workers over one on 10^6 events
overhead  what 1000 shards on a worker cost beside making them
kills     30 workers killed at random in one run: complete, no duplicate, the bytes of a quiet run
memory    peak memory of `validate --stream` on 10^6 and 10^7 rows
paper     10^10 events on 10 000 cores: a simulation of the queue with the constants measured here,
          with stragglers and failures, and what limits it

Sections are kept in the JSON, so that each can be run by itself; without any, all of them run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from clusters import kills, overhead, workers
from grow import grow
from paper import paper
from record import MODELS, RESULTS, gflops, peak_memory, record, reference_sample

BARS = {"memory": 1.2}
STREAM = 20_000


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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


SECTIONS = {
    "workers": workers,
    "overhead": overhead,
    "kills": kills,
    "memory": memory,
    "paper": paper,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--model", type=Path, default=MODELS / "wjet", help="an emulator of wjet")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--child", nargs=2, type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.model, *arguments.child)
        return
    path = RESULTS / "scale.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    result = {key: kept[key] for key in kept if key.partition(",")[0] in SECTIONS}
    for name in arguments.sections or SECTIONS:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            result[name] = SECTIONS[name](arguments.model, Path(scratch))
            result[name]["gflops"] = gflops(3)
        if name == "paper":  # a table of its own
            result["paper, runs"] = result[name].pop("runs")
        record("scale", result)


if __name__ == "__main__":
    main()
