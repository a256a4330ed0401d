"""Tuning of the plain VAE of Z gamma: `python benchmarks/tuning.py`.

The search starts from the family's defaults, as somebody with a sample of their own would: forty
trials of the default space in two processes, of which the first is killed in the middle and started
again. Then the defaults, the best settings found and the shipped study, whose settings were found
by hand, are trained in other seeds and compared on the validation part, which chose, and once on
the test part, which nothing is chosen on.

With `--from-study` the search starts from the shipped study, every trial trained three times.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen2reco import load_study, train, tune
from gen2reco.rows.splits import TEST, VALIDATION
from record import MODELS, RESULTS, record, reference_sample
from zgamma import distances, full_features, made_features, taken

STUDY = "zgamma-vae"
DEFAULTS = {"parts.0.model": {"kind": "vae"}, "training.batch": 1024}
"""What a study has that names no settings."""
SEEDS = (11, 12, 13, 14, 15)


@dataclass(frozen=True)
class Search:
    """Where a search starts, how often each trial is trained, and where the journal is."""

    start: dict[str, Any]
    repeats: int
    folder: Path


def process(search: Search, seed: int, trials: int) -> subprocess.Popen[bytes]:
    settings = [f"--set={key}={json.dumps(value)}" for key, value in search.start.items()]
    command = [
        *(sys.executable, "-m", "gen2reco", "tune", STUDY, "-o", str(search.folder), "--resume"),
        *("-i", str(reference_sample("zgamma")), "--trials", str(trials), "--seed", str(seed)),
        *("--repeats", str(search.repeats), *settings),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def finished(folder: Path) -> int:
    """Complete and pruned trials in the journal."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / "journal.log"
    if not journal.is_file():
        return 0
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    if not optuna.get_all_study_names(storage):
        return 0
    study = optuna.load_study(study_name=STUDY, storage=storage)
    return sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in study.trials)


def compared(source: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Mean KS and Spearman difference on the validation and test parts, means over seeds."""
    full, part, _ = full_features()
    sides = {"validation": VALIDATION, "test": TEST}
    parts = {side: taken(full, np.flatnonzero(part == code)) for side, code in sides.items()}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in parts}
    for seed in SEEDS:
        study = load_study(source, changes | {"training.seed": seed})
        with tempfile.TemporaryDirectory() as folder:
            emulator = train(study, reference_sample("zgamma"), Path(folder) / "model").emulator
        made = made_features(emulator, 50_000, seed=3)
        for side, features in parts.items():
            found[side].append(distances(features, made))
    return {
        side: {
            key: {
                "mean": float(np.mean([one[key] for one in ones])),
                "spread": float(np.std([one[key] for one in ones], ddof=1)),
            }
            for key in ("mean_ks", "spearman")
        }
        for side, ones in found.items()
    }


def searched(search: Search, trials: int, processes: int) -> tuple[Any, dict[str, Any]]:
    """Search with a kill in the middle; the outcome, and figures of it."""
    begin = time.perf_counter()
    started = [process(search, seed + 1, trials) for seed in range(processes)]
    while finished(search.folder) < trials // 2 and any(one.poll() is None for one in started):
        time.sleep(1)
    before = finished(search.folder)
    started[0].send_signal(signal.SIGKILL)
    started[0].wait()
    after = finished(search.folder)
    started[0] = process(search, 11, trials)
    for one in started:
        one.wait()
    seconds = time.perf_counter() - begin
    best = tune(
        STUDY, reference_sample("zgamma"), search.folder, trials=trials, repeats=search.repeats,
        overrides=search.start, resume=True,
    )  # fmt: skip
    return best, {
        "trials": best.trials,
        "trainings_of_each": search.repeats,
        "pruned": best.pruned,
        "processes": processes,
        "minutes": seconds / 60,
        "finished_before_the_kill": before,
        "finished_after_the_kill": after,
        "monitored_before": best.start,
        "monitored_best": best.value,
        "settings": {key: str(value) for key, value in best.settings.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--from-study", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = RESULTS / "tuning.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if arguments.from_study:
        search = Search({}, 3, MODELS / "tuning-from-study")
        found["from the study"] = searched(search, arguments.trials, arguments.processes)[1]
    else:
        search = Search(DEFAULTS, 1, MODELS / "tuning")
        best, figures = searched(search, arguments.trials, arguments.processes)
        found["from the defaults"] = figures | {
            "seeds": len(SEEDS),
            "in_other_seeds": {
                "defaults": compared(STUDY, DEFAULTS),
                "tuned": compared(best.study, {}),
                "shipped study": compared(STUDY, {}),
            },
        }
    kept = ("from the defaults", "from the study")
    record("tuning", {"study": STUDY, **{key: found[key] for key in kept if key in found}})


if __name__ == "__main__":
    main()
