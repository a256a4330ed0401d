"""Category first, then flow, or uniform noise on whole numbers: `python benchmarks/discrete.py`.

The fourteen targets of the study `jets`, flags, categories and point masses among them. Two models
learn them with the same flow settings, rows and epochs: `mixed` (a classifier draws the discrete
ones, the flow follows) and `flow` (uniform noise spreads them, point masses are intervals). Both
are judged on the validation part, FullSim and FastSim from disjoint events; the test part is not
touched. Models stay in `benchmarks/models`; one that is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco import Study, load_emulator, load_study, open_events, train
from gen2reco.features.relative import wrap
from gen2reco.rows.splits import VALIDATION, halves, split
from gen2reco.validation.classifier import Columns, c2st
from gen2reco.validation.distances import wasserstein
from gen2reco.validation.resplits import resplit
from gen2reco.validation.settings import Settings
from gen2reco.verbs.training_rows import read_tables
from record import MODELS, ROOT, gflops, record, reference_sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.emulator import Emulator
    from gen2reco.rows.tables import Table

NETWORK = {"couplings": 8, "hidden": [96, 96], "bins": 12, "dropout": 0.05}
KINDS: dict[str, dict[str, Any]] = {
    "mixed": {"kind": "mixed", "continuous": NETWORK},
    "flow": {"kind": "flow", **NETWORK},
}
SEEDS = 3
RESPLITS = 40
SETTINGS = Settings(classifier_seeds=2, classifier_resplits=4, threads=1)


def study(kind: str) -> Study:
    """The study `jets` without efficiencies, its jets learned by one of the two families."""
    tree = load_study("jets").model_dump(mode="json")
    (part,) = tree["parts"]
    part |= {"model": KINDS[kind], "presence": None}
    tree |= {"name": f"discrete-{kind}", "validation": {}}
    return Study.model_validate(tree)


def quantities(table: Table, target: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Targets as they are judged: pt, eta and phi relative to GEN."""
    gen = table.relative_to
    moved = {
        "pt": target["pt"] / gen["pt"],
        "eta": target["eta"] - gen["eta"],
        "phi": wrap(target["phi"] - gen["phi"]),
    }
    return {name: np.asarray(column) for name, column in {**target, **moved}.items()}


def levels(made: Study, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is discrete about each jet: flags, categories, and which point mass a target is at."""
    found = {}
    for target in made.parts[0].target:
        (name,) = target.name
        if target.kind in {"flag", "category"}:
            found[name] = columns[name]
        elif target.atoms:
            at = [columns[name] == atom for atom in target.atoms]
            found[f"{name} point mass"] = np.select(at, range(1, len(at) + 1), 0)
    return found


def events(table: Table) -> np.ndarray:
    """Number of each row's event."""
    keys = np.stack([table.keys.run, table.keys.luminosityBlock, table.keys.event], axis=1)
    return np.unique(keys, axis=0, return_inverse=True)[1]


def joint_chi2(full: np.ndarray, fast: np.ndarray) -> tuple[int, float, float]:
    """Categories of joint levels [n, k] with 20 rows, chi2 of each, and what FullSim has not."""
    _, index = np.unique(np.concatenate([full, fast]), axis=0, return_inverse=True)
    one, two = (
        np.bincount(part, minlength=index.max() + 1) for part in np.split(index, [len(full)])
    )
    share = len(full) / len(fast)
    used = one + two >= 20
    chi2 = (one - share * two)[used] ** 2 / (one + share**2 * two)[used]
    return int(used.sum()), float(chi2.mean()), float(two[one == 0].sum() / two.sum())


def compare_levels(
    full: np.ndarray, half: np.ndarray, fast: list[np.ndarray], sides: np.ndarray
) -> dict[str, Any]:
    """Joint levels of one half against FastSim of the other, beside re-splits of FullSim."""
    made = [joint_chi2(full[half], sample[~half]) for sample in fast]
    null = [joint_chi2(full[side == 1], full[side == -1]) for side in sides]
    return {
        side: {
            "categories": found[0][0],
            "chi2_per_category": float(np.mean([one[1] for one in found])),
            "share_that_fullsim_lacks": float(np.mean([one[2] for one in found])),
        }
        for side, found in (("fast", made), ("null", null))
    }


def floor_ratios(
    full: Mapping[str, np.ndarray],
    half: np.ndarray,
    fast: list[dict[str, np.ndarray]],
    sides: np.ndarray,
) -> dict[str, float]:
    """W1 of FullSim and FastSim, mean over noise seeds, over its median in re-splits of FullSim."""
    found = {}
    for name, column in full.items():
        null = np.median([wasserstein(column[side == 1], column[side == -1]) for side in sides])
        made = np.mean([wasserstein(column[half], sample[name][~half]) for sample in fast])
        found[name] = float(made / null)
    return found


def judge(made: Study, emulator: Emulator, table: Table) -> dict[str, Any]:
    """Compare one half of the validation jets with what the emulator makes of the other half."""
    (trained,) = emulator.parts
    half = halves(table.keys) == 0
    full = quantities(table, table.target)
    fast, seconds = [], []
    for seed in range(1, SEEDS + 1):
        begin = time.process_time()
        drawn = emulator.sample_targets(trained, table, seed=seed)
        seconds.append(time.process_time() - begin)
        fast.append(quantities(table, drawn))
    event = events(table)
    sides = resplit(event, len(np.unique(event)) // 2, RESPLITS, np.random.default_rng(1))
    found = floor_ratios(full, half, fast, sides)
    discrete = [np.stack([*levels(made, sample).values()], axis=1) for sample in (full, *fast)]
    result: dict[str, Any] = {
        "jets": [int(half.sum()), int((~half).sum())],
        "parameters": sum(p.numel() for p in trained.members[0].parameters()),
        "jets_per_second": len(table) / min(seconds),
        "floor_ratios": found,
        "median_floor_ratio": float(np.median([*found.values()])),
        "largest_floor_ratio": max(found.values()),
        "joint_levels": compare_levels(discrete[0], half, discrete[1:], sides),
    }
    for what in ("all", "levels", "numbers"):
        shown = [pick(what, made, sample) for sample in (full, *fast)]
        sides = [Columns({**table.condition, **columns}, table.weight, event) for columns in shown]
        others = [
            Columns(
                {name: column[~half] for name, column in side.features.items()},
                table.weight[~half],
                event[~half],
            )
            for side in sides[1:]
        ]
        outcome = c2st(sides[0], half, others, SETTINGS)
        result[f"c2st, {what}"] = {
            "auc": outcome.auc,
            "null": outcome.null,
            "excess": outcome.excess.value,
            "error": outcome.excess.error,
        }
    return result


def pick(what: str, made: Study, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns for the classifier: all, what is discrete, or the numbers away from point masses."""
    discrete = levels(made, columns)
    if what == "levels":
        return discrete
    if what == "all":
        return dict(columns)
    away = {name: column.astype(float) for name, column in columns.items() if name not in discrete}
    for name, column in away.items():
        at = discrete.get(f"{name} point mass")
        away[name] = column if at is None else np.where(at > 0, np.nan, column)
    return away


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[*KINDS], default=[*KINDS])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sample = reference_sample("ttbar")
    file = ROOT / "benchmarks" / "results" / "discrete.json"
    models = dict(json.loads(file.read_text("utf-8"))["models"]) if file.is_file() else {}
    for kind in arguments.only:
        made = study(kind)
        path: Path = MODELS / made.name
        if not path.exists():
            train(made, sample, path, resume=True)
        emulator = load_emulator(path)
        table = read_tables(made, open_events(sample))[0]["jets"]
        found = judge(made, emulator, table.take(split(table.keys, made.split) == VALIDATION))
        provenance = emulator.provenance
        history = provenance["history"]["jets"][0]
        models[kind] = {
            "epochs": len(history),
            "rows": provenance["rows"]["jets"],
            "training_seconds": provenance["seconds"],
            "best_epoch": 1 + int(np.argmin([one["validation"] for one in history])),
            **found,
        }
        record("discrete", {"sample": "ttbar.parquet", "gflops": gflops(), "models": models})


if __name__ == "__main__":
    main()
