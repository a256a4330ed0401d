"""Tuning of the plain VAE of Z gamma: `python benchmarks/tuning.py`.

Forty trials of the default space, three trainings each, in two processes; the first is killed in
the middle and started again. Then the study as it was and the best one are trained in other seeds
and compared on the
validation part, which chose, and once on the test part, which nothing is chosen on.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen2reco import load_study, train, tune
from gen2reco.rows.splits import TEST, VALIDATION
from record import ROOT, record, reference_sample
from zgamma import distances, full_features, made_features, taken

FOLDER = ROOT / "benchmarks" / "models" / "tuning"
STUDY = "zgamma-vae"
REPEATS = 3
SEEDS = (11, 12, 13, 14, 15)


def process(seed: int, trials: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "gen2reco", "tune", STUDY, "-o", str(FOLDER), "--resume"),
        *("-i", str(reference_sample("zgamma")), "--trials", str(trials), "--seed", str(seed)),
        *("--repeats", str(REPEATS)),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def finished() -> int:
    """Complete and pruned trials in the journal."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = FOLDER / "journal.log"
    if not journal.is_file():
        return 0
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    if not optuna.get_all_study_names(storage):
        return 0
    study = optuna.load_study(study_name=STUDY, storage=storage)
    return sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in study.trials)


def compared(source: Any) -> dict[str, Any]:
    """Mean KS and Spearman difference on the validation and test parts, means over seeds."""
    full, part, _ = full_features()
    sides = {"validation": VALIDATION, "test": TEST}
    parts = {side: taken(full, np.flatnonzero(part == code)) for side, code in sides.items()}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in parts}
    for seed in SEEDS:
        study = load_study(source, {"training.seed": seed})
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    started = [process(seed + 1, arguments.trials) for seed in range(arguments.processes)]
    while finished() < arguments.trials // 2 and any(one.poll() is None for one in started):
        time.sleep(2)
    before = finished()
    started[0].send_signal(signal.SIGKILL)
    started[0].wait()
    after = finished()
    started[0] = process(11, arguments.trials)
    for one in started:
        one.wait()
    seconds = time.perf_counter() - begin
    sample = reference_sample("zgamma")
    best = tune(STUDY, sample, FOLDER, trials=arguments.trials, repeats=REPEATS, resume=True)
    record(
        "tuning",
        {
            "study": STUDY,
            "trials": best.trials,
            "trainings_of_each": REPEATS,
            "pruned": best.pruned,
            "processes": arguments.processes,
            "minutes": seconds / 60,
            "finished_before_the_kill": before,
            "finished_after_the_kill": after,
            "monitored_before": best.start,
            "monitored_best": best.value,
            "settings": {key: str(value) for key, value in best.settings.items()},
            "seeds": len(SEEDS),
            "in_other_seeds": {"as it was": compared(STUDY), "tuned": compared(best.study)},
        },
    )


if __name__ == "__main__":
    main()
