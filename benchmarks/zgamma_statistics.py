"""A frequentist study on generated background: `python benchmarks/zgamma_statistics.py`.

Searches for the 150 GeV resonance in the m_lly spectrum. The background template comes from the
training part of the simulation alone, or from ten times as many events of a flow that learned it,
with an ensemble of bootstraps for how well the training part determines the flow. Told are the
rates at which background alone looks like signal, the expected significance, and what the generated
events buy.

Pseudo-experiments take events of the test part, none of them twice: so each is what independent
simulation would give, and the statistics of the test part do not come in. One split has one set of
fluctuations, and a rate given these is not the nominal one. So the rates are means over many
splits: for the simulation one split for each pseudo-experiment, for the flows the worlds of
`zgamma_worlds.py`. Their error is that of a mean over the splits. All worlds share one sample,
whose fluctuations a smooth flow does not follow; they differ from one mass to another, and the
spread over five masses is in the error, too.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.stats import norm

from record import record
from zgamma_fit import by_pyhf, significance
from zgamma_judging import full_features
from zgamma_worlds import EDGES, FACTOR, spectrum, worlds

BACKGROUND = (500, 2000)
"""Expected background events in the window."""
SIGNAL_SHARE = 0.06
"""Injected signal over background, in the window."""
SPLITS = 20_000
"""Splits of the simulation, with one pseudo-experiment each."""
TOYS = 500
"""Pseudo-experiments in each world."""
SHIFTS = (-6, -3, 0, 3, 6)
"""Bins that the resonance is moved by, far enough to make the masses nearly independent."""
LEVELS = (0.01, 0.05, 0.1)
TRAIN, TEST = 0.5, 0.4
"""Shares of the split."""

Template = dict[str, np.ndarray]
"""Shape and uncertainty of the background, as `significance` takes them."""


def moved(signal: np.ndarray, shift: int) -> np.ndarray:
    """A resonance at another mass."""
    found = np.roll(signal, shift)
    if shift > 0:
        found[:shift] = 0.0
    elif shift < 0:
        found[shift:] = 0.0
    return found * signal.sum() / found.sum()


def without_repeats(
    random: np.random.Generator, pool: np.ndarray, expected: float, number: int
) -> np.ndarray:
    """Spectra of pseudo-experiments [number, bins] of a Poisson number of events of a pool."""
    sizes = random.poisson(expected, number)
    whole = pool.astype(np.int64)
    return np.array([random.multivariate_hypergeometric(whole, n) for n in sizes], float)


def rates(alarms: np.ndarray, *, shared: bool) -> dict[str, float]:
    """Rates of alarms [masses, splits, levels], each a mean over a split's experiments, and errors.

    Args:
        alarms: which experiments are as extreme as each level says, or what share of them.
        shared: the splits are worlds, so that the spread over masses is no chance of the splits.
    """
    found = {}
    for level, of_level in zip(LEVELS, np.moveaxis(alarms, 2, 0), strict=True):
        over_splits = of_level.mean(axis=0)
        variance = over_splits.var(ddof=1) / len(over_splits)
        if shared:
            variance += of_level.mean(axis=1).var(ddof=1) / len(of_level)
        found[f"{level:.0%}"] = float(of_level.mean())
        found[f"{level:.0%}, error"] = float(np.sqrt(variance))
    return found


def alarms(z: np.ndarray) -> np.ndarray:
    """Which experiments [n, levels] are as extreme as each level says."""
    # mu <= 0 is one lump of p = 1/2, above every level here.
    return (norm.sf(z)[:, None] < np.array(LEVELS)).astype(float)


def of_simulation(
    resonance: np.ndarray, window: np.ndarray, expected: float
) -> dict[str, dict[str, float]]:
    """Rates with a template from simulation, every pseudo-experiment with a split of its own."""
    random = np.random.default_rng([5, int(expected)])
    learned = random.binomial(window, TRAIN, (SPLITS, len(window)))
    test = random.binomial(window - learned, TEST / (1 - TRAIN))
    sizes = random.poisson(expected, SPLITS)
    toys = np.array(
        [random.multivariate_hypergeometric(*one) for one in zip(test, sizes, strict=True)], float
    )
    repeated = random.poisson(expected * test / test.sum(axis=1, keepdims=True)).astype(float)
    shape = learned / learned.sum(axis=1, keepdims=True)
    own, source = 1 / np.sqrt(learned), 1 / np.sqrt(test)
    kinds = {
        "no uncertainty": (toys, None),
        "its statistics": (toys, own),
        "test events repeated, its statistics": (repeated, own),
        "test events repeated, its statistics and those of the test part": (
            repeated,
            np.hypot(own, source),
        ),
    }
    signals = [SIGNAL_SHARE * expected * moved(resonance, shift) for shift in SHIFTS]
    return {
        f"{name}, {expected} events": rates(
            np.stack([alarms(significance(counts, shape, s, relative=error)) for s in signals]),
            shared=False,
        )
        for name, (counts, error) in kinds.items()
    }


def spread_of(ensembles: list[np.ndarray]) -> np.ndarray:
    """Covariance of the relative errors of generated shapes, pooled over the ensembles."""
    found = []
    for made in ensembles:
        shapes = made / made.sum(axis=1, keepdims=True)
        found.append(np.cov(shapes / shapes.mean(axis=0), rowvar=False))
    pooled: np.ndarray = np.mean(found, axis=0)
    return pooled


def directions_of(covariance: np.ndarray) -> np.ndarray:
    """Displacements by one standard deviation along the principal axes."""
    values, axes = np.linalg.eigh(covariance)
    kept = values > 1e-9
    found: np.ndarray = (axes[:, kept] * np.sqrt(values[kept])).T
    return found


def templates(world: dict[str, Any], covariance: np.ndarray) -> dict[str, Template]:
    """Name -> template of one world."""
    learned = np.array(world["training"])
    made = np.array(world["generated"][0])
    simulated, generated = learned / learned.sum(), made / made.sum()
    return {
        "simulation, no uncertainty": {"shape": simulated},
        "simulation, its statistics": {"shape": simulated, "relative": 1 / np.sqrt(learned)},
        "generated, no uncertainty": {"shape": generated},
        "generated, its own statistics": {"shape": generated, "relative": 1 / np.sqrt(made)},
        "generated, errors of the bins": {
            "shape": generated,
            "relative": np.sqrt(np.diag(covariance)),
        },
        "generated, covariance": {
            "shape": generated,
            "directions": directions_of(covariance),
        },
        "generated, statistics of the training part": {
            "shape": generated,
            "relative": 1 / np.sqrt(learned),
        },
    }


def of_worlds(
    found: list[dict[str, Any]], covariance: np.ndarray, resonance: np.ndarray, expected: float
) -> dict[str, dict[str, float]]:
    """Rates and significance with the templates of every world."""
    signals = [SIGNAL_SHARE * expected * moved(resonance, shift) for shift in SHIFTS]
    nominal = signals[SHIFTS.index(0)]
    seen: dict[str, list[np.ndarray]] = {}
    medians: dict[str, list[float]] = {}
    checks: dict[str, list[float]] = {}
    for number, world in enumerate(found):
        random = np.random.default_rng([6, number, int(expected)])
        pool = np.array(world["test"])
        toys = without_repeats(random, pool, expected, TOYS)
        injected = without_repeats(random, pool, expected, TOYS)
        injected += random.poisson(nominal, injected.shape)
        for name, one in templates(world, covariance).items():
            z = [significance(toys, signal=signal, **one) for signal in signals]
            seen.setdefault(name, []).append(np.stack([alarms(of).mean(axis=0) for of in z]))
            found_z = significance(injected, signal=nominal, **one)
            medians.setdefault(name, []).append(float(np.median(found_z)))
            if number < CHECKED and len(one) > 1:
                by_other = by_pyhf(injected[0], signal=nominal, **one)
                checks.setdefault(name, []).append(abs(by_other - float(found_z[0])))
    table = {}
    for name, rows in seen.items():
        values = np.array(medians[name])
        table[name] = rates(np.stack(rows, axis=1), shared=True) | {
            "median significance of signal": float(values.mean()),
            "its error": float(values.std(ddof=1) / np.sqrt(len(values))),
            "largest difference to pyhf": max(checks[name]) if name in checks else None,
        }
    return table


CHECKED = 5
"""Worlds with one experiment by pyhf for each template."""


def sizes(
    found: list[dict[str, Any]], ensembles: list[np.ndarray], window: np.ndarray
) -> dict[str, Any]:
    """Errors of the templates, typical of a bin, and how stable the ensemble's is."""
    learned = np.array([one["training"] for one in found])
    made = np.array([one["generated"][0] for one in found])
    of_each = [float(np.sqrt(np.median(np.diag(spread_of([one]))))) for one in ensembles]
    of_all = float(np.sqrt(np.median(np.diag(spread_of(ensembles)))))
    statistical = float(np.median(1 / np.sqrt(learned)))
    shapes = made / made.sum(axis=1, keepdims=True)
    away = shapes.mean(axis=0) / (window / window.sum()) - 1
    return {
        "events_in_window": int(window.sum()),
        "training_events_in_window": float(learned.sum(axis=1).mean()),
        "generated_events_in_window": float(made.sum(axis=1).mean()),
        "error_of_simulation": statistical,
        "error_of_generated_by_its_statistics": float(np.median(1 / np.sqrt(made))),
        "error_of_generated_by_the_ensemble": of_all,
        "the_same_of_each_ensemble": of_each,
        "spread_of_generated_over_worlds": float(
            np.median(shapes.std(axis=0, ddof=1) / shapes.mean(axis=0))
        ),
        "events_of_simulation_that_would_have_this_error": (statistical / of_all) ** 2,
        "mean_of_flows_from_whole_sample": float(np.median(np.abs(away))),
        "error_of_whole_sample": float(np.median(1 / np.sqrt(window))),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    window = spectrum(full_features()[0]["m_lly"]).astype(np.int64)
    resonance = spectrum(full_features("hzgamma")[0]["m_lly"])
    resonance = resonance / resonance.sum()
    found = worlds()
    if len(found) < 2:
        raise SystemExit("first run: python benchmarks/zgamma_worlds.py")
    ensembles = [np.array(one["generated"][1:]) for one in found if len(one["generated"]) > 2]
    covariance = spread_of(ensembles)
    result: dict[str, Any] = {
        "bins": EDGES.tolist(),
        "signal_over_background": SIGNAL_SHARE,
        "generated_over_training": FACTOR,
        "worlds": len(found),
        "pseudo_experiments_in_a_world": TOYS,
        "splits_of_simulation": SPLITS,
        "masses": len(SHIFTS),
        "binomial_errors_of_the_experiments": [
            float(np.sqrt(level * (1 - level) / (TOYS * len(found)))) for level in LEVELS
        ],
        "templates": sizes(found, ensembles, window),
        "one_split_for_each_experiment": {
            f"simulation, {name}": row
            for expected in BACKGROUND
            for name, row in of_simulation(resonance, window, expected).items()
        },
    }
    for expected in BACKGROUND:
        result[f"worlds, {expected} background events"] = of_worlds(
            found, covariance, resonance, expected
        )
        for name, row in result[f"worlds, {expected} background events"].items():
            print(expected, name, row, flush=True)
    record("zgamma_statistics", result)


if __name__ == "__main__":
    main()
