"""Same output whatever the chunking, order and workers; kills lose nothing.

`python benchmarks/robustness.py` checks the content of `simulate` for chunk sizes 1, 7, 1000 and
all, shuffled files, 1 and 2 workers (Parquet: the same bytes); 50 kills of a running `simulate` at
random times; 20 kills of `train`, resumed to the same loss curve.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq

from record import ROOT, record

SAMPLE = ROOT / "src" / "gen2reco" / "data" / "wjet.parquet"
SMALL = {"training.epochs": 6, "model.couplings": 4, "model.hidden": [32, 32]}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gen2reco", *(str(argument) for argument in arguments)]


def content(path: Path) -> str:
    """Digest of a file's events, sorted by key."""
    from gen2reco import open_events

    events = ak.concatenate(list(open_events(path)))
    order = np.lexsort(
        tuple(np.asarray(events[name]) for name in ("replica", "event", "luminosityBlock", "run"))
    )
    total = hashlib.sha256()
    _, length, buffers = ak.to_buffers(ak.to_packed(events[order]))
    total.update(str(length).encode())
    for name in sorted(buffers):
        total.update(name.encode() + np.ascontiguousarray(buffers[name]).tobytes())
    return total.hexdigest()


def same_output(model: Path, scratch: Path) -> dict:
    """Digests of the same simulation done in different ways."""
    table = pq.read_table(SAMPLE).slice(0, 3000)
    whole = scratch / "gen.parquet"
    pq.write_table(table, whole)
    pieces = []
    for number, start in enumerate((0, 1700, 2100)):
        pieces.append(scratch / f"piece-{number}.parquet")
        pq.write_table(table.slice(start, (1700, 400, 900)[number]), pieces[-1])
    ways = {
        "chunk 1": (["--chunk", 1], [whole]),
        "chunk 7": (["--chunk", 7], [whole]),
        "chunk 1000": (["--chunk", 1000], [whole]),
        "all": (["--chunk", 100_000], [whole]),
        "2 workers": (["--chunk", 500, "--workers", 2], [whole]),
        "3 files": ([], pieces),
        "3 files shuffled": ([], pieces[::-1]),
    }
    found = {}
    for way, (options, files) in ways.items():
        output = scratch / f"{way.replace(' ', '-')}.parquet"
        subprocess.run(
            command("simulate", model, *files, "-o", output, *options),
            check=True,
            capture_output=True,
        )
        found[way] = {
            "content": content(output),
            "bytes": hashlib.sha256(output.read_bytes()).hexdigest(),
        }
        print(way, found[way]["content"][:12], found[way]["bytes"][:12])
    in_order = [way for way in ways if "shuffled" not in way]
    return {
        "ways": list(ways),
        "same_content": len({one["content"] for one in found.values()}) == 1,
        "same_bytes": len({found[way]["bytes"] for way in in_order}) == 1,
    }


def kill_simulate(model: Path, scratch: Path, kills: int) -> dict:
    """Kill a running simulation at random times; whatever file exists afterwards must be whole."""
    output = scratch / "killed" / "reco.parquet"
    output.parent.mkdir()
    job = command("simulate", model, SAMPLE, "-o", output, "--chunk", 2000)
    begin = time.perf_counter()
    subprocess.run(job, check=True, capture_output=True)
    whole, seconds = content(output), time.perf_counter() - begin
    output.unlink()
    output.with_name(f"{output.name}.json").unlink()
    partial = finished = 0
    dice = random.Random(1)
    for _ in range(kills):
        process = subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.4, 1.02) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():
            finished += 1
            partial += content(output) != whole
            output.unlink()
            output.with_name(f"{output.name}.json").unlink(missing_ok=True)
    subprocess.run([*job, "--overwrite"], check=True, capture_output=True)
    left = [
        path.name
        for path in output.parent.iterdir()
        if path.name not in {output.name, f"{output.name}.json"}
    ]
    return {
        "kills": kills,
        "finished_before_the_kill": finished,
        "partial_files": partial,
        "left_over_after_the_next_run": left,
        "same_content_afterwards": content(output) == whole,
    }


def kill_train(scratch: Path, kills: int) -> dict:
    """Kill a training at random times and resume it.

    Loss curve and weights must equal those of a quiet run.
    """
    options = [
        part for key, value in SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    quiet, torn = scratch / "quiet", scratch / "torn"
    begin = time.perf_counter()
    subprocess.run(command("train", "wjet", "-o", quiet, *options), check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    dice = random.Random(2)
    done = 0
    for _ in range(kills):
        job = command("train", "wjet", "-o", torn, *options, "--resume")
        process = subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(timeout=dice.uniform(0.3, 0.9) * min(seconds, 20.0))
            assert process.returncode == 0, process.stderr.read()
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
    if not torn.exists():
        subprocess.run(
            command("train", "wjet", "-o", torn, *options, "--resume"),
            check=True,
            capture_output=True,
        )
    curves = []
    for model in (quiet, torn):
        document = json.loads((model / "emulator.json").read_text())
        epochs = document["provenance"]["history"]["event"][0]
        curves.append([(epoch["train"], epoch["validation"]) for epoch in epochs])
    weights = [(model / "event-0.safetensors").read_bytes() for model in (quiet, torn)]
    return {
        "kills": done,
        "same_loss_curve": curves[0] == curves[1],
        "same_weights": weights[0] == weights[1],
        "epochs": len(curves[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate-kills", type=int, default=50)
    parser.add_argument("--train-kills", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        training = kill_train(scratch, arguments.train_kills)
        print(training)
        model = scratch / "quiet"
        same = same_output(model, scratch)
        print(same)
        killed = kill_simulate(model, scratch, arguments.simulate_kills)
        print(killed)
        shutil.rmtree(model)
    record("robustness", {"same_output": same, "killed_simulate": killed, "killed_train": training})


if __name__ == "__main__":
    main()
