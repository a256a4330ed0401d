"""Same output whatever the chunking, order and workers; kills lose nothing.

`python benchmarks/robustness.py` checks, with the flow of `wjet` at its full size:

- the content of `simulate` for chunk sizes 1, 7, 1000 and all, files in another order, 1 and 2
  workers, as Parquet (there the bytes too, where the order is the same) and ROOT;
- 50 kills of a running `simulate` at random moments, half of them in the last fifth of its time,
  where the file is finished and named; to Parquet, to ROOT, and with two workers;
- 20 kills of a running `train` at random moments, each resumed: loss curve and weights must be
  those of a quiet run. A training that reaches its end is compared, and the next begins.

What is killed are forks of this process, in which the libraries are loaded already, so that a kill
finds the work and not the imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import torch

from gen2reco import open_events, simulate, train
from record import ROOT, record

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE = ROOT / "src" / "gen2reco" / "data" / "wjet.parquet"
QUICK = {"training.epochs": 2, "training.max_rows": 6000}
LONG = {
    "training.epochs": 60,
    "training.max_rows": 4000,
    "model.continuous.couplings": 4,
    "model.continuous.hidden": [32, 32],
}
PIECES = (1000, 400, 800)
CHUNK = 1000
SMALL_CHUNK = 50


def content(path: Path) -> str:
    """Digest of a file's events, sorted by key."""
    events = ak.concatenate(list(open_events(path)))
    keys = ("replica", "event", "luminosityBlock", "run")
    order = np.lexsort(tuple(np.asarray(events[name]) for name in keys))
    total = hashlib.sha256()
    _, length, buffers = ak.to_buffers(ak.to_packed(events[order]))
    total.update(str(length).encode())
    for name in sorted(buffers):
        total.update(name.encode() + np.ascontiguousarray(buffers[name]).tobytes())
    return total.hexdigest()


def same_output(model: Path, scratch: Path) -> dict:
    """Digests of the same simulation done in different ways, each in a fresh process."""
    table = pq.read_table(SAMPLE).slice(0, sum(PIECES))
    whole = scratch / "gen.parquet"
    pq.write_table(table, whole)
    pieces = [scratch / f"piece-{number}.parquet" for number in range(len(PIECES))]
    for piece, events in zip(pieces, PIECES, strict=True):
        pq.write_table(table.slice(0, events), piece)
        table = table.slice(events)
    ways = {
        "chunk 1": (["--chunk", 1], [whole], "parquet"),
        "chunk 7": (["--chunk", 7], [whole], "parquet"),
        "chunk 1000": (["--chunk", 1000], [whole], "parquet"),
        "all": (["--chunk", 100_000], [whole], "parquet"),
        # So many chunks that the second process has started long before they are done.
        "2 workers, chunk 1": (["--chunk", 1, "--workers", 2], [whole], "parquet"),
        "3 files": ([], pieces, "parquet"),
        "3 files in another order": ([], pieces[::-1], "parquet"),
        "ROOT, chunk 7": (["--chunk", 7], [whole], "root"),
        "ROOT, 3 files": ([], pieces, "root"),
    }
    found = {}
    for number, (way, (options, files, kind)) in enumerate(ways.items()):
        output = scratch / f"way-{number}.{kind}"
        words = ["simulate", model, *files, "-o", output, *options]
        subprocess.run(
            [sys.executable, "-m", "gen2reco", *map(str, words)], check=True, capture_output=True
        )
        found[way] = {
            "content": content(output),
            "bytes": hashlib.sha256(output.read_bytes()).hexdigest(),
        }
        print(way, found[way]["content"][:12], found[way]["bytes"][:12], flush=True)
    parquet, root = (
        [way for way, (_, _, kind) in ways.items() if kind == one] for one in ("parquet", "root")
    )
    in_order = [way for way in parquet if "order" not in way]
    return {
        "events": sum(PIECES),
        "ways": list(ways),
        # ROOT files have the integer types of NanoAOD, so that digests compare among themselves.
        "same_content": len({found[way]["content"] for way in parquet}) == 1,
        "same_content_in_root": len({found[way]["content"] for way in root}) == 1,
        "same_bytes": len({found[way]["bytes"] for way in in_order}) == 1,
    }


def forked(job: Callable[[], object]) -> int:
    """Do a job in a fork of this process; its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)  # a group of its own, by which its workers are found
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
                job()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    return child


def finished(child: int) -> bool:
    """Wait for the end of a fork; False if it was killed."""
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a job failed by itself, see above")
    return os.WIFEXITED(status)


def seconds_of(job: Callable[[], object]) -> float:
    """Wall time of a job in a fork."""
    begin = time.perf_counter()
    assert finished(forked(job))
    return time.perf_counter() - begin


def killed(job: Callable[[], object], wait: float) -> bool:
    """Start a job and kill it after some seconds; False if it was done before.

    Its workers, which are not killed, must end by themselves.
    """
    child = forked(job)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    alone = not finished(child)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(child, 0)
        except ProcessLookupError:
            return alone
        time.sleep(0.01)
    raise SystemExit("a worker goes on without its parent")


def kill_simulate(model: Path, scratch: Path, kills: int) -> dict:
    """Kill running simulations; whatever file exists afterwards must be whole."""
    dice = random.Random(1)
    total = {"kills": 0, "finished_before_the_kill": 0, "partial_files": 0, "without_sidecar": 0}
    # Small chunks last until the second process has started.
    ways = {"parquet": (1, CHUNK), "root": (1, CHUNK), "workers.parquet": (2, SMALL_CHUNK)}
    same, left = True, []
    for way, (workers, chunk) in ways.items():
        folder = scratch / f"killed-{way}"
        folder.mkdir()
        output = folder / f"reco.{way}"
        beside = folder / f"{output.name}.json"

        def job(output: Path = output, workers: int = workers, chunk: int = chunk) -> None:
            simulate(model, SAMPLE, output, chunk=chunk, workers=workers, overwrite=True)

        seconds = seconds_of(job)
        whole = content(output)
        goal = total["kills"] + kills // len(ways) + (way == "parquet") * (kills % len(ways))
        while total["kills"] < goal:
            output.unlink(missing_ok=True)
            beside.unlink(missing_ok=True)
            first = 0.8 if dice.random() < 0.5 else 0.0
            if killed(job, dice.uniform(first, 1.0) * seconds):
                total["kills"] += 1
            else:
                total["finished_before_the_kill"] += 1
            if output.exists():
                total["partial_files"] += content(output) != whole
                total["without_sidecar"] += not beside.exists()
        seconds_of(job)
        same = same and content(output) == whole
        left += [p.name for p in folder.iterdir() if p not in {output, beside}]
        print(way, total, flush=True)
    return {
        **total,
        "left_over_after_the_next_run": left,
        "same_content_afterwards": same,
    }


def history(model: Path) -> list[tuple[float, float]]:
    """Training and validation loss by epoch."""
    document = json.loads((model / "emulator.json").read_text())
    epochs = document["provenance"]["history"]["event"][0]
    return [(epoch["train"], epoch["validation"]) for epoch in epochs]


def weights(model: Path) -> bytes:
    """The saved network."""
    return (model / "event-0.safetensors").read_bytes()


def kill_train(scratch: Path, kills: int) -> dict:
    """Kill trainings at random times and resume them, until they end."""
    dice = random.Random(2)
    quiet = scratch / "quiet"
    seconds = seconds_of(lambda: train("wjet", output=quiet, overrides=LONG))
    done = trainings = 0
    same_curve = same_weights = True
    survived: list[int] = []
    while done < kills:
        output = scratch / f"torn-{trainings}"
        trainings += 1
        survived.append(0)

        def job(output: Path = output) -> None:
            train("wjet", output=output, overrides=LONG, resume=True)

        # Once there have been enough kills, the training under way goes to its end.
        while done < kills and killed(job, dice.uniform(0.0, 0.3) * seconds):
            done += 1
            survived[-1] += 1
        if not output.exists():
            assert finished(forked(job))
        same_curve = same_curve and history(output) == history(quiet)
        same_weights = same_weights and weights(output) == weights(quiet)
        print(output.name, survived[-1], "kills", same_curve, same_weights, flush=True)
    return {
        "kills": done,
        "trainings": trainings,
        "kills_by_training": survived,
        "epochs": len(history(quiet)),
        "same_loss_curve": same_curve,
        "same_weights": same_weights,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate-kills", type=int, default=50)
    parser.add_argument("--train-kills", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = scratch / "model"
        train("wjet", output=model, overrides=QUICK)
        same = same_output(model, scratch)
        print(same, flush=True)
        torn = kill_train(scratch, asked.train_kills)
        print(torn, flush=True)
        broken = kill_simulate(model, scratch, asked.simulate_kills)
        print(broken, flush=True)
    record("robustness", {"same_output": same, "killed_simulate": broken, "killed_train": torn})


if __name__ == "__main__":
    main()
