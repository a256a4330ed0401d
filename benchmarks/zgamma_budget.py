"""Half the epochs for a discriminator, or all: `python benchmarks/zgamma_budget.py`.

A step with a discriminator has three losses and takes about three times as long, so that the
studies with one have half the epochs of the others and still take longer. Trains them with as many
epochs as the others, and compares both on the validation part; the test part is not read.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from gen2reco import load_emulator, load_study, train
from gen2reco.rows.splits import VALIDATION
from gen2reco.training import show_progress
from record import record, reference_sample
from zgamma import MODELS, VAES, VALIDATED, runs_file
from zgamma_judging import distances, full_features, made_features, taken

EPOCHS = 80
SEEDS = (1,)


def main() -> None:
    torch.set_num_threads(1)
    full, part, _ = full_features()
    validation = taken(full, np.flatnonzero(part == VALIDATION))
    runs = json.loads(runs_file(0).read_text(encoding="utf-8"))["runs"]
    found: dict[str, Any] = {}
    for name in (name for name in VAES if name.endswith("-d")):
        seeds = [runs[name][str(seed)] for seed in SEEDS]
        longer = []
        for seed in SEEDS:
            path = MODELS / f"{name}-{EPOCHS}-epochs-{seed}"
            if not path.exists():
                changes = {"training.seed": seed, "training.epochs": EPOCHS}
                with show_progress() as progress:
                    train(
                        load_study(name, changes), reference_sample("zgamma"), path,
                        resume=True, progress=progress,
                    )  # fmt: skip
            made = made_features(load_emulator(path), 50_000, seed=11)
            one = distances(validation, made)
            longer.append({f"validation_{key}": one[key] for key in ("mean_ks", "spearman")})
        found[name] = {
            f"{key}, {epochs} epochs": float(np.mean([one[key] for one in ones]))
            for key in VALIDATED
            for epochs, ones in ((EPOCHS // 2, seeds), (EPOCHS, longer))
        }
        print(name, found[name], flush=True)
    record("zgamma_budget", {"seeds": len(SEEDS), "studies": found})


if __name__ == "__main__":
    main()
