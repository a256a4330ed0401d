"""What the generators of Z gamma are judged by, beside FullSim against FullSim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from gen2reco import load_study, open_events
from gen2reco.events.layout import flat_columns
from gen2reco.events.numbers import EventNumbers
from gen2reco.rng import Keys
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, halves, split
from gen2reco.rows.tables import columns_of
from gen2reco.validation import Settings
from gen2reco.validation.classifier import Rows, cross_fit, stack
from gen2reco.validation.correlations import correlation_matrix
from gen2reco.validation.distances import kolmogorov, wasserstein
from record import reference_sample

if TYPE_CHECKING:
    from pathlib import Path

    from gen2reco import Emulator

    Features = dict[str, np.ndarray]

FLOW = "zgamma"
RESPLITS = 50
CLASSIFIER_RESPLITS = 10
COUNTS = ("n_jets", "n_central_jets")


def full_features(
    sample: str | Path = "zgamma", fold: int = 0
) -> tuple[Features, np.ndarray, np.ndarray]:
    """The 18 features of FullSim, which part each event belongs to, and its half."""
    study = load_study(FLOW, {"split.fold": fold})
    source = open_events(reference_sample(sample) if isinstance(sample, str) else sample)
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


def test_halves(full: Features, part: np.ndarray, half: np.ndarray) -> list[Features]:
    """The two halves of the test part, cut to the same size."""
    sides = [np.flatnonzero((part == TEST) & (half == side)) for side in (0, 1)]
    size = min(map(len, sides))
    return [taken(full, side[:size]) for side in sides]


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


def judged(
    emulator: Emulator, validation: Features, test: list[Features], null: dict[str, Any]
) -> dict[str, Any]:
    """Figures of one emulator; the two halves of the test part are averaged."""
    size = len(test[0]["met"])
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
