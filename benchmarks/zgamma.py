"""Generation of Z(ll) gamma: six VAE derivatives and a flow, `python benchmarks/zgamma.py`.

Trains every model in five seeds with the settings of its study (half of the events, a tenth for
validation), generates as many events as a half of the test part has, and gives the table of Kruger
2022 with numbers: KS, Spearman difference, a classifier, floor ratios, broken relations, times.
Every figure stands beside FullSim against FullSim of the same sizes. The derivative called best is
chosen on the validation part. Emulators stay in `benchmarks/models/zgamma`; one that is there is
not trained again, an interrupted training goes on. Pictures go to `docs/images`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import torch

from gen2reco import generate, load_emulator, load_study, open_events, train, validate
from gen2reco.events.layout import flat_columns
from gen2reco.events.numbers import EventNumbers
from gen2reco.rng import Keys
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, TRAIN, VALIDATION, halves, split
from gen2reco.rows.tables import columns_of
from gen2reco.training import show_progress
from gen2reco.validation import Settings
from gen2reco.validation.classifier import Rows, cross_fit, stack
from gen2reco.validation.correlations import correlation_matrix
from gen2reco.validation.distances import kolmogorov, wasserstein
from record import RESULTS, ROOT, record, reference_sample

if TYPE_CHECKING:
    from gen2reco import Emulator

    Features = dict[str, np.ndarray]

MODELS = ROOT / "benchmarks" / "models" / "zgamma"
IMAGES = ROOT / "docs" / "images"
VAES = (
    "zgamma-vae", "zgamma-vae-d", "zgamma-vae-nf", "zgamma-vae-nf-d",
    "zgamma-copula", "zgamma-copula-d",
)  # fmt: skip
FLOW = "zgamma"
SEEDS = (1, 2, 3, 4, 5)
RESPLITS = 50
CLASSIFIER_RESPLITS = 10
COUNTS = ("n_jets", "n_central_jets")
SPEED_EVENTS = 200_000
BARS = {
    "flow_c2st_excess": 0.02,
    "flow_ks_over_null": 1.3,
    "flow_spearman_over_null": 1.3,
    "width": 0.2,
    "vae_events_per_second": 300_000,
    "flow_events_per_second": 60_000,
}


def full_features(sample: str = "zgamma") -> tuple[Features, np.ndarray, np.ndarray]:
    """The 18 features of FullSim, which part each event belongs to, and its half."""
    study = load_study(FLOW)
    source = open_events(reference_sample(sample))
    texts = [study.select, *study.validation.quantities.values()]
    columns = columns_of(texts, study.define, source)
    columns += [name for name in ("run", "luminosityBlock", "event") if name not in columns]
    events = ak.concatenate([chunk.events for chunk in source.chunks(columns=columns)])
    names = Namespace(events, study.define)
    chosen = np.flatnonzero(names.mask(study.select))
    found = {
        name: names.evaluate(text).values[chosen].astype(np.float64)
        for name, text in study.validation.quantities.items()
    }
    keys = Keys.from_columns(flat_columns(events)).take(chosen)
    return found, split(keys, study.split), halves(keys)


def made_features(emulator: Emulator, number: int, seed: int) -> Features:
    """The 18 features of generated events."""
    names = load_study(FLOW).validation.quantities
    pieces = [
        flat_columns(emulator.simulate_chunk(chunk.events, seed=seed).events)
        for chunk in EventNumbers(number).chunks(20_480)
    ]
    return {n: np.concatenate([p[n] for p in pieces]).astype(np.float64) for n in names}


def taken(features: Features, rows: np.ndarray) -> Features:
    return {name: values[rows] for name, values in features.items()}


def spearman(features: Features) -> np.ndarray:
    table = np.stack(list(features.values()), axis=1)
    return correlation_matrix(table, np.ones(len(table)), "spearman")


def distances(full: Features, fast: Features) -> dict[str, Any]:
    """KS of every feature, their mean, size and largest element of the Spearman difference."""
    ks = {name: kolmogorov(full[name], fast[name])[0] for name in full}
    difference = spearman(full) - spearman(fast)
    return {
        "ks": ks,
        "mean_ks": float(np.mean(list(ks.values()))),
        "spearman": float(np.linalg.norm(difference)),
        "spearman_largest": float(np.abs(difference).max()),
    }


def rows_of(features: Features) -> Rows:
    number = len(next(iter(features.values())))
    return Rows(stack(features), np.ones(number), np.arange(number))


def auc(first: Features, second: Features, seed: int) -> float:
    """AUC of gradient-boosted trees, cross-fitted, on the 18 features."""
    a, b = rows_of(first), rows_of(second)
    b = Rows(b.features, b.weight, b.event + len(a.event))
    return cross_fit([(a, b)], Settings(threads=1), seed)[0][0]


def null_of(test: Features, size: int) -> dict[str, Any]:
    """What FullSim against FullSim gives for so many events a side: re-splits of the test part."""
    random = np.random.default_rng(1)
    number = len(next(iter(test.values())))
    found, areas, floors = [], [], []
    for trial in range(RESPLITS):
        order = random.permutation(number)
        first, second = taken(test, order[:size]), taken(test, order[size : 2 * size])
        found.append(distances(first, second))
        floors.append({name: wasserstein(first[name], second[name]) for name in first})
        if trial < CLASSIFIER_RESPLITS:
            areas.append(auc(first, second, trial))
    return {
        "events_a_side": size,
        "mean_ks": float(np.mean([one["mean_ks"] for one in found])),
        "mean_ks_95": float(np.quantile([one["mean_ks"] for one in found], 0.95)),
        "spearman": float(np.median([one["spearman"] for one in found])),
        "spearman_95": float(np.quantile([one["spearman"] for one in found], 0.95)),
        "spearman_largest_95": float(np.quantile([one["spearman_largest"] for one in found], 0.95)),
        "auc": float(np.mean(areas)),
        "auc_spread": float(np.std(areas, ddof=1)),
        "w1": {name: float(np.median([one[name] for one in floors])) for name in test},
    }


def relations(made: Features) -> dict[str, float]:
    """How far generated features break what holds between them exactly."""

    def turn(angle: np.ndarray) -> np.ndarray:
        return np.abs((angle + np.pi) % (2 * np.pi) - np.pi)

    def energy(pt: str, eta: str, mass: str) -> np.ndarray:
        return np.hypot(made[pt] * np.cosh(made[eta]), made[mass])

    ratio = made["pt_ll"] / made["m_lly"]
    angle = turn(made["met_phi"] - made["phi_zy"])
    return {
        "energy_ll": _typical(made["e_ll"] / energy("pt_ll", "eta_ll", "m_ll") - 1),
        "energy_lly": _typical(made["e_zy"] / energy("pt_zy", "eta_zy", "m_lly") - 1),
        "ratio": _typical(made["pt_ll_over_m_lly"] / ratio - 1),
        "angle": _typical(made["dphi_met_zy"] - angle),
        "share_m_lly_below_m_ll": float(np.mean(made["m_lly"] < made["m_ll"] * 0.9999)),
        "share_dr_below_dphi": float(np.mean(made["dr_ll"] < made["dphi_ll"] * 0.9999)),
    }


def _typical(deviation: np.ndarray) -> float:
    return float(np.quantile(np.abs(deviation), 0.68))


def widths(full: Features, fast: Features) -> dict[str, float]:
    """Central 68 % width of every continuous feature over that of FullSim."""
    return {
        name: float(np.diff(np.quantile(fast[name], (0.16, 0.84)))[0])
        / float(np.diff(np.quantile(full[name], (0.16, 0.84)))[0])
        for name in full
        if name not in COUNTS
    }


def trained(name: str, seed: int) -> tuple[Emulator, float]:
    """The emulator of a study in one seed and the seconds of its training."""
    path = MODELS / f"{name}-{seed}"
    if not path.exists():
        study = load_study(name, {"training.seed": seed})
        with show_progress() as progress:
            train(study, reference_sample("zgamma"), path, resume=True, progress=progress)
    emulator = load_emulator(path)
    history = emulator.provenance["history"]["event"][0]
    return emulator, sum(epoch["seconds"] for epoch in history)


def judged(
    emulator: Emulator, parts: tuple[Features, Features, list[Features]], null: dict[str, Any]
) -> dict[str, Any]:
    """Figures of one emulator; the two halves of the test part are averaged."""
    _, validation, test = parts
    size = null["events_a_side"]
    each, areas, floors = [], [], []
    for number, half in enumerate(test):
        fast = made_features(emulator, size, seed=100 + number)
        each.append(distances(half, fast))
        floors.append({name: wasserstein(half[name], fast[name]) for name in half})
        areas.append(auc(half, fast, number))
    whole = {name: np.concatenate([half[name] for half in test]) for name in test[0]}
    made = made_features(emulator, 50_000, seed=7)
    width = widths(whole, made)
    chosen_on = distances(validation, made_features(emulator, 50_000, seed=11))
    ratios = {
        name: float(np.mean([one[name] for one in floors])) / null["w1"][name]
        for name in whole
        if name not in COUNTS
    }
    return {
        "mean_ks": float(np.mean([one["mean_ks"] for one in each])),
        "spearman": float(np.mean([one["spearman"] for one in each])),
        "spearman_largest": float(np.mean([one["spearman_largest"] for one in each])),
        "auc": float(np.mean(areas)),
        "median_floor_ratio": float(np.median(list(ratios.values()))),
        "largest_floor_ratio": max(ratios.values()),
        "narrowest": min(width.values()),
        "widest": max(width.values()),
        "validation_mean_ks": chosen_on["mean_ks"],
        "validation_spearman": chosen_on["spearman"],
        "relations": relations(made),
        "ks": {name: float(np.mean([one["ks"][name] for one in each])) for name in whole},
        "digest": emulator.digest,
    }


def summary(runs: dict[str, dict[str, Any]], null: dict[str, Any]) -> dict[str, Any]:
    """Means and spreads over the seeds of one model."""
    found: dict[str, Any] = {"seeds": len(runs)}
    for key in ("mean_ks", "spearman", "spearman_largest", "auc", "median_floor_ratio", "seconds"):
        values = [run[key] for run in runs.values()]
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


def earlier() -> dict[str, Any]:
    """What was found before: the figures, and those of every seed, which stay with the models."""
    found: dict[str, Any] = {}
    for file in (RESULTS / "zgamma.json", MODELS / "runs.json"):
        if file.is_file():
            found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[FLOW, *VAES], help="names of studies")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--no-report", action="store_true", help="leave out the flow's report")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    full, part, half = full_features()
    in_test = part == TEST
    test = [taken(full, np.flatnonzero(in_test & (half == side))) for side in (0, 1)]
    size = min(len(one["met"]) for one in test)
    test = [taken(one, np.arange(size)) for one in test]
    parts = (
        taken(full, np.flatnonzero(part == TRAIN)),
        taken(full, np.flatnonzero(part == VALIDATION)),
        test,
    )
    before = earlier()
    null = before.get("null") or null_of(taken(full, np.flatnonzero(in_test)), size)
    runs: dict[str, dict[str, Any]] = before.get("runs", {})
    for seed in arguments.seeds:
        for name in arguments.only:
            emulator, seconds = trained(name, seed)
            of_model = runs.setdefault(name, {})
            if of_model.get(str(seed), {}).get("digest") != emulator.digest:
                of_model[str(seed)] = judged(emulator, parts, null) | {"seconds": seconds}
                print(name, seed, {k: round(of_model[str(seed)][k], 4) for k in SHOWN}, flush=True)
                write(before, null, runs)
    pictures(runs, test)
    report = earlier().get("flow_report", {})
    if not report and not arguments.no_report:
        write({**earlier(), "flow_report": flow_report()}, null, runs)
    rates = earlier().get("generation", {})
    for name in runs:
        if name not in rates and (MODELS / f"{name}-1").exists():
            rates[name] = rate(name)
            write({**earlier(), "generation": rates}, null, runs)


SHOWN = ("mean_ks", "spearman", "spearman_largest", "auc", "narrowest", "widest", "seconds")


def write(before: dict[str, Any], null: dict[str, Any], runs: dict[str, Any]) -> None:
    models = {name: summary(of, null) for name, of in runs.items()}
    chosen = {"best_derivative": best_of(models)} if len(models) > 2 else {}
    kept = {k: before[k] for k in ("generation", "flow_report") if k in before}
    figures = {"sample": "zgamma.parquet", "bars": BARS, "null": null, "models": models}
    broken = {name: next(iter(of.values()))["relations"] for name, of in runs.items()}
    record("zgamma", {**figures, **chosen, **kept, "broken_relations": broken})
    (MODELS / "runs.json").write_text(json.dumps({"runs": runs}, indent=1), encoding="utf-8")


def flow_report() -> dict[str, Any]:
    """The flow's report by `validate` on the test part, five noise seeds in the classifier."""
    path = MODELS / f"{FLOW}-1-report"
    print(validate(MODELS / f"{FLOW}-1", reference_sample("zgamma"), path, overwrite=True, say=say))
    document = json.loads((path / "report.json").read_text(encoding="utf-8"))["assessment"]
    targets = {target["name"]: target["value"] for target in document["targets"]}
    return {"headline": document["headline"], "rows": document["rows"], "targets": targets}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def pictures(runs: dict[str, Any], test: list[Features]) -> None:
    """Distributions and correlation matrices of all models, and their histories."""
    import matplotlib as mpl

    mpl.use("Agg")
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
