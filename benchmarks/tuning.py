"""Tuning of the plain VAE of Z gamma: `python benchmarks/tuning.py`.

Forty trials of the default space in two processes; the first is killed in the middle and started
again. Then the study as it was and the best one are trained in other seeds and compared on the
validation part. The test part is not read.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from gen2reco import load_study, tune
from record import ROOT, record, reference_sample
from zgamma import VALIDATION, distances, full_features, made_features, taken

FOLDER = ROOT / "benchmarks" / "models" / "tuning"
STUDY = "zgamma-vae"
SEEDS = (11, 12, 13)


def process(seed: int, trials: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "gen2reco", "tune", STUDY, "-o", str(FOLDER), "--resume"),
        *("-i", str(reference_sample("zgamma")), "--trials", str(trials), "--seed", str(seed)),
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


def compared(source: Any, overrides: dict[str, Any]) -> dict[str, float]:
    """Mean KS and Spearman difference on the validation part, means over seeds."""
    import tempfile
    from pathlib import Path

    from gen2reco import train

    full, part, _ = full_features()
    validation = taken(full, np.flatnonzero(part == VALIDATION))
    found = []
    for seed in SEEDS:
        study = load_study(source, overrides | {"training.seed": seed})
        with tempfile.TemporaryDirectory() as folder:
            made = train(study, reference_sample("zgamma"), Path(folder) / "model")
        found.append(distances(validation, made_features(made.emulator, 50_000, seed=3)))
    return {key: float(np.mean([one[key] for one in found])) for key in ("mean_ks", "spearman")}


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
    best = tune(STUDY, reference_sample("zgamma"), FOLDER, trials=arguments.trials, resume=True)
    record(
        "tuning",
        {
            "study": STUDY,
            "trials": best.trials,
            "pruned": best.pruned,
            "processes": arguments.processes,
            "minutes": seconds / 60,
            "finished_before_the_kill": before,
            "finished_after_the_kill": after,
            "monitored_before": best.start,
            "monitored_best": best.value,
            "settings": {key: str(value) for key, value in best.settings.items()},
            "validation_in_other_seeds": {
                "as_it_was": compared(STUDY, {}),
                "tuned": compared(best.study, {}),
            },
        },
    )


if __name__ == "__main__":
    main()
