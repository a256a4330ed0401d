"""Memory of training where processes share the events: `python benchmarks/sharing.py`.

Trains a small network on copies of the W + jet sample in several Parquet files, in one process and
in two under torchrun, and reports what each process holds at most beyond what it holds before it
reads, beside the size of the table; and that features and losses are the same.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grow import grow
from record import record, reference_sample, say

FILES = 8
EVENTS = 1_000_000
SETTINGS = {
    "training.epochs": 1,
    "training.max_rows": 20_000,
    "model.categories.hidden": [16],
    "model.categories.dropout": 0.0,
    "model.continuous.dropout": 0.0,
    "model.continuous.couplings": 2,
    "model.continuous.hidden": [16],
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--train", type=Path, help="(what each process runs) a folder")
    arguments = parser.parse_args()
    if arguments.train:
        train_here(arguments.train)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        say(f"writing {arguments.events} events into {FILES} files")
        whole = folder / "whole.parquet"
        grow(reference_sample("wjet"), arguments.events, whole)
        cut(whole, folder)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        for words in ((), TORCHRUN):
            say("training in one process" if not words else "training in two processes")
            command = [sys.executable, *words, __file__, "--train", str(folder)]
            subprocess.run(command, check=True, env=environment)
        found = {
            path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("?-?.json"))
        }
    one, *two = found.values()
    shared = max(each["peak_MB"] for each in two)
    record(
        "sharing",
        {
            "events": arguments.events,
            "files": FILES,
            "one_process": without(one),
            "two_processes": [without(each) for each in two],
            "memory_of_each_of_two": shared / one["peak_MB"],
            "same_features": one["features"] == two[0]["features"],
            "training_loss": [each["loss"] for each in (one, two[0])],
            "load_average": os.getloadavg()[0],
        },
    )


def cut(whole: Path, folder: Path) -> None:
    """Write the row groups of a file into several files."""
    import pyarrow.parquet as pq

    source = pq.ParquetFile(whole)
    events = source.metadata.num_rows
    writers = [
        pq.ParquetWriter(folder / f"part-{number}.parquet", source.schema_arrow, compression="zstd")
        for number in range(FILES)
    ]
    done = 0
    for batch in source.iter_batches(batch_size=50_000):
        writers[done * FILES // events].write_batch(batch)
        done += batch.num_rows
    for writer in writers:
        writer.close()
    whole.unlink()


def train_here(folder: Path) -> None:
    """Train in this process and write what it took."""
    import numpy as np
    import torch

    from gen2reco.training import current_group

    module = importlib.import_module("gen2reco.verbs.train")
    torch.set_num_threads(1)
    group = current_group()
    before = peak_megabytes()
    said: dict = {}
    original = module.read_tables

    def read_tables(*arguments: object) -> object:
        tables, reference = original(*arguments)
        (table,) = tables.values()
        sides = (table.condition, table.target, table.relative_to, table.given, table.offenders)
        columns = [*(column for side in sides for column in side.values())]
        columns += [table.weight, table.entry, *vars(table.keys).values()]
        size = sum(c.nbytes for c in columns if isinstance(c, np.ndarray))
        said.update(rows=len(table), table_MB=size / 1e6, read_MB=peak_megabytes() - before)
        return tables, reference

    module.read_tables = read_tables
    begin = time.process_time()
    output = folder / f"model-{group.size}"
    made = module.train("wjet", str(folder / "part-*.parquet"), output, overrides=SETTINGS)
    said |= {
        "peak_MB": peak_megabytes() - before,
        "before_MB": before,
        "cpu_seconds": time.process_time() - begin,
        "loss": made.emulator.provenance["history"]["event"][0][0]["train"],
        "features": str(made.emulator.parts[0].features.state()),
    }
    (folder / f"{group.size}-{group.rank}.json").write_text(json.dumps(said))


def without(said: dict) -> dict:
    """Return what a process said, without its features."""
    return {name: value for name, value in said.items() if name != "features"}


def peak_megabytes() -> float:
    """Most memory that this process has held since it began; `ru_maxrss` would count its parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("this benchmark reads /proc/self/status, which is not there")


if __name__ == "__main__":
    main()
