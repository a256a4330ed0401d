"""Generation of Z(ll) gamma: six VAE derivatives and a flow, `python benchmarks/zgamma.py`.

Trains every model in five seeds with the settings of its study (half of the events, a tenth for
validation), generates as many events as a half of the test part has, and gives the table of Kruger
2022 with numbers: KS, Spearman difference, a classifier, floor ratios, broken relations, times.
Every figure stands beside FullSim against FullSim of the same sizes. The derivative called best is
chosen on the validation part. Emulators stay in `benchmarks/models/zgamma`; one that is there is
not trained again, an interrupted training goes on. Pictures go to `docs/images`.

`--fold 1` does the same with other events for the test, without rates, report and pictures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco import generate, load_emulator, load_study, train, validate
from gen2reco.rows.splits import TEST, VALIDATION
from gen2reco.training import show_progress
from record import RESULTS, ROOT, record, reference_sample, say
from zgamma_judging import (
    FLOW,
    distances,
    full_features,
    judged,
    made_features,
    null_of,
    spearman,
    taken,
    test_halves,
)

if TYPE_CHECKING:
    from gen2reco import Emulator
    from zgamma_judging import Features

MODELS = ROOT / "benchmarks" / "models" / "zgamma"
IMAGES = ROOT / "docs" / "images"
VAES = (
    "zgamma-vae", "zgamma-vae-d", "zgamma-vae-nf", "zgamma-vae-nf-d",
    "zgamma-copula", "zgamma-copula-d",
)  # fmt: skip
__all__ = ["distances", "full_features", "made_features", "taken"]  # what others take from here
SEEDS = (1, 2, 3, 4, 5)
SUMMARISED = ("mean_ks", "spearman", "spearman_largest", "auc", "median_floor_ratio")
SPEED_EVENTS = 200_000
BARS = {
    "flow_c2st_excess": 0.02,
    "flow_ks_over_null": 1.3,
    "flow_spearman_over_null": 1.3,
    "width": 0.2,
    "vae_events_per_second": 300_000,
    "flow_events_per_second": 60_000,
}


def trained(name: str, seed: int, fold: int) -> tuple[Emulator, dict[str, float]]:
    """The emulator of a study in one seed, and what its training took by clock and processor."""
    path = MODELS / (f"{name}-fold-{fold}-{seed}" if fold else f"{name}-{seed}")
    spent = path.with_name(f"{path.name}.seconds.json")
    if not path.exists():
        study = load_study(name, {"training.seed": seed, "split.fold": fold})
        begin = time.process_time()
        with show_progress() as progress:
            train(study, reference_sample("zgamma"), path, resume=True, progress=progress)
        spent.write_text(json.dumps({"processor_seconds": time.process_time() - begin}))
    emulator = load_emulator(path)
    seconds = {"seconds": sum(e["seconds"] for e in emulator.provenance["history"]["event"][0])}
    return emulator, seconds | (json.loads(spent.read_text()) if spent.is_file() else {})


def summary(runs: dict[str, dict[str, Any]], null: dict[str, Any]) -> dict[str, Any]:
    """Means and spreads over the seeds of one model."""
    found: dict[str, Any] = {"seeds": len(runs)}
    for key in (*SUMMARISED, "seconds", "processor_seconds"):
        values = [run[key] for run in runs.values() if key in run]
        if not values:
            continue
        found[key] = float(np.mean(values))
        found[f"{key}_spread"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    found["ks_over_null"] = found["mean_ks"] / null["mean_ks"]
    found["spearman_over_null"] = found["spearman"] / null["spearman"]
    found["c2st_excess"] = found["auc"] - null["auc"]
    found["narrowest"] = min(run["narrowest"] for run in runs.values())
    found["widest"] = max(run["widest"] for run in runs.values())
    found["stable_seeds"] = sum(
        abs(run["narrowest"] - 1) < BARS["width"] and abs(run["widest"] - 1) < BARS["width"]
        for run in runs.values()
    )
    for key in ("validation_mean_ks", "validation_spearman"):
        found[key] = float(np.mean([run[key] for run in runs.values()]))
    return found


def rate(name: str) -> dict[str, float]:
    """Events/s of `generate` to Parquet on one thread, by the clock and by the processor's time."""
    wall, busy = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            begin = time.process_time()
            path = Path(folder) / f"{number}.parquet"
            made = generate(MODELS / f"{name}-1", SPEED_EVENTS, path)
            wall.append(SPEED_EVENTS / made.seconds)
            busy.append(SPEED_EVENTS / (time.process_time() - begin))
    return {"by_clock": median(wall), "by_processor_time": median(busy)}


def best_of(models: dict[str, Any]) -> str:
    """The derivative with the smallest distances on the validation part, in units of the VAE's."""
    plain = models["zgamma-vae"]

    def distance(name: str) -> float:
        return sum(models[name][key] / plain[key] for key in VALIDATED)

    return min((name for name in VAES[1:] if name in models), key=distance)


VALIDATED = ("validation_mean_ks", "validation_spearman")


def results(fold: int) -> str:
    """Name of the results of a fold."""
    return f"zgamma_fold_{fold}" if fold else "zgamma"


def runs_file(fold: int) -> Path:
    """Figures of every seed, which stay with the models."""
    return MODELS / (f"runs-fold-{fold}.json" if fold else "runs.json")


def earlier(fold: int) -> dict[str, Any]:
    """What was found before."""
    found: dict[str, Any] = {}
    for file in (RESULTS / f"{results(fold)}.json", runs_file(fold)):
        if file.is_file():
            found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[FLOW, *VAES], help="names of studies")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--fold", type=int, default=0, help="which events are the test")
    parser.add_argument("--no-report", action="store_true", help="leave out the flow's report")
    arguments = parser.parse_args()
    fold = arguments.fold
    torch.set_num_threads(1)
    full, part, half = full_features(fold=fold)
    test = test_halves(full, part, half)
    validation = taken(full, np.flatnonzero(part == VALIDATION))
    before = earlier(fold)
    null = before.get("null") or null_of(
        taken(full, np.flatnonzero(part == TEST)), len(test[0]["met"])
    )
    runs: dict[str, dict[str, Any]] = before.get("runs", {})
    for seed in arguments.seeds:
        for name in arguments.only:
            emulator, spent = trained(name, seed, fold)
            of_model = runs.setdefault(name, {})
            if of_model.get(str(seed), {}).get("digest") != emulator.digest:
                of_model[str(seed)] = judged(emulator, validation, test, null) | spent
                print(name, seed, {k: round(of_model[str(seed)][k], 4) for k in SHOWN}, flush=True)
                write(fold, null, runs)
    if fold:
        return
    pictures(runs, test)
    if "flow_report" not in before and not arguments.no_report:
        write(fold, null, runs, flow_report=flow_report())
    rates = before.get("generation", {})
    for name in runs:
        if name not in rates and (MODELS / f"{name}-1").exists():
            rates[name] = rate(name)
            write(fold, null, runs, generation=rates)


SHOWN = ("mean_ks", "spearman", "spearman_largest", "auc", "narrowest", "widest", "seconds")


def write(fold: int, null: dict[str, Any], runs: dict[str, dict[str, Any]], **new: Any) -> None:
    models = {name: summary(of, null) for name, of in runs.items()}
    chosen = {"best_derivative": best_of(models)} if len(models) > 2 else {}
    before = earlier(fold) | new
    kept = {k: before[k] for k in ("generation", "flow_report") if k in before}
    figures = {"sample": "zgamma.parquet", "bars": BARS, "null": null, "models": models}
    broken = {name: next(iter(of.values()))["relations"] for name, of in runs.items()}
    record(results(fold), {**figures, **chosen, **kept, "broken_relations": broken})
    runs_file(fold).write_text(json.dumps({"runs": runs}, indent=1), encoding="utf-8")


def flow_report() -> dict[str, Any]:
    """The flow's report by `validate` on the test part, five noise seeds in the classifier."""
    path = MODELS / f"{FLOW}-1-report"
    print(validate(MODELS / f"{FLOW}-1", reference_sample("zgamma"), path, overwrite=True, say=say))
    document = json.loads((path / "report.json").read_text(encoding="utf-8"))["assessment"]
    targets = {target["name"]: target["value"] for target in document["targets"]}
    return {"headline": document["headline"], "rows": document["rows"], "targets": targets}


def pictures(runs: dict[str, Any], test: list[Features]) -> None:
    """Distributions and correlation matrices of all models, and their histories."""
    from zgamma_pictures import correlations, distributions, histories

    names = [name for name in (FLOW, *VAES) if "1" in runs.get(name, {})]
    emulators = {name: load_emulator(MODELS / f"{name}-1") for name in names}
    whole = {key: np.concatenate([half[key] for half in test]) for key in test[0]}
    made = {name: made_features(one, 50_000, seed=7) for name, one in emulators.items()}
    IMAGES.mkdir(exist_ok=True)
    distributions(whole, made, IMAGES / "zgamma-distributions.png")
    matrices = {name: spearman(one) for name, one in made.items()}
    correlations(list(whole), spearman(whole), matrices, IMAGES / "zgamma-correlations.png")
    records = {
        name: emulators[name].provenance["history"]["event"][0] for name in names if name != FLOW
    }
    histories(records, IMAGES / "zgamma-histories.png")


if __name__ == "__main__":
    main()
