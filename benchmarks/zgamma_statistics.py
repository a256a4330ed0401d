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
spread over seven masses is in the error, too.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.stats import norm

from record import record
from zgamma_fit import by_pyhf, significance
from zgamma_judging import full_features
from zgamma_templates import sizes, spread_of, templates
from zgamma_worlds import EDGES, FACTOR, spectrum, worlds

BACKGROUND = (500, 2000)
"""Expected background events in the window."""
SIGNAL_SHARE = 0.06
"""Injected signal over background, in the window."""
SPLITS = 20_000
"""Splits of the simulation, with one pseudo-experiment each."""
TOYS, INJECTED = 800, 200
"""Pseudo-experiments in each world, of background alone, and with signal at each mass."""
SHIFTS = (-6, -4, -2, 0, 2, 4, 6)
"""Bins that the resonance is moved by, far enough to make the masses nearly independent."""
LEVELS = (0.01, 0.05, 0.1)
TRAIN, TEST = 0.5, 0.4
"""Shares of the split."""


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
    # The law that the formula for p-values is for: experiments and template from known means.
    known = random.poisson(window * TRAIN, learned.shape).astype(float)
    of_known = random.poisson(expected * window / window.sum(), learned.shape).astype(float)
    kinds = {
        "no uncertainty": (toys, shape, None),
        "its statistics": (toys, shape, own),
        "test events repeated, its statistics": (repeated, shape, own),
        "test events repeated, its statistics and those of the test part": (
            repeated,
            shape,
            np.hypot(own, source),
        ),
        "means known, its statistics": (
            of_known,
            known / known.sum(axis=1, keepdims=True),
            1 / np.sqrt(known),
        ),
    }
    signals = [SIGNAL_SHARE * expected * moved(resonance, shift) for shift in SHIFTS]
    return {
        f"{name}, {expected} events": rates(
            np.stack([alarms(significance(counts, of, s, relative=error)) for s in signals]),
            shared=False,
        )
        for name, (counts, of, error) in kinds.items()
    }


def of_worlds(
    found: list[dict[str, Any]], covariance: np.ndarray, resonance: np.ndarray, expected: float
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Rates and significance with the templates of every world; alarms [masses, worlds, levels]."""
    signals = [SIGNAL_SHARE * expected * moved(resonance, shift) for shift in SHIFTS]
    seen: dict[str, list[np.ndarray]] = {}
    medians: dict[str, list[list[float]]] = {}
    own: dict[str, list[list[float]]] = {}
    checks: dict[str, list[float]] = {}
    for number, world in enumerate(found):
        random = np.random.default_rng([6, number, int(expected)])
        pool = np.array(world["test"])
        toys = without_repeats(random, pool, expected, TOYS)
        alone = without_repeats(random, pool, expected, INJECTED)
        injected = [alone + random.poisson(signal, alone.shape) for signal in signals]
        for name, one in templates(world, covariance).items():
            z = [alarms(significance(toys, signal=s, **one)).mean(axis=0) for s in signals]
            seen.setdefault(name, []).append(np.stack(z))
            with_signal = [
                significance(counts, signal=s, **one)
                for counts, s in zip(injected, signals, strict=True)
            ]
            medians.setdefault(name, []).append([float(np.median(z)) for z in with_signal])
            asimov = [expected * one["shape"] + signal for signal in signals]
            own.setdefault(name, []).append(
                [
                    float(significance(counts[None], signal=s, **one)[0])
                    for counts, s in zip(asimov, signals, strict=True)
                ]
            )
            if number < CHECKED and len(one) > 1:
                by_other = by_pyhf(injected[0][0], signal=signals[0], **one)
                checks.setdefault(name, []).append(abs(by_other - float(with_signal[0][0])))
    stacked = {name: np.stack(rows, axis=1) for name, rows in seen.items()}
    table = {
        name: rates(rows, shared=True)
        | {
            "median significance of signal": float(np.mean(medians[name])),
            "its error": float(
                np.hypot(
                    np.mean(medians[name], axis=1).std(ddof=1) / np.sqrt(len(found)),
                    np.subtract(medians[name], own[name]).mean(axis=0).std(ddof=1)
                    / np.sqrt(len(SHIFTS)),
                )
            ),
            "were the template true": float(np.mean(own[name])),
            "largest difference to pyhf": max(checks[name]) if name in checks else None,
        }
        for name, rows in stacked.items()
    }
    return table, stacked


def controlled(
    seen: dict[str, np.ndarray], simulated: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Rates of generated templates, with those of the simulation in the same worlds as control.

    What the worlds at hand have by chance, both kinds of templates see in the same experiments. So
    the difference of their rates is known better than either, and the rate of the simulation is
    known from many splits.
    """
    table = {}
    for name, alarms_of in seen.items():
        if not name.startswith("generated"):
            continue
        table[name] = rates(alarms_of - seen[CONTROL], shared=True)
        for level in (f"{level:.0%}" for level in LEVELS):
            table[name][level] += simulated[level]
            error = f"{level}, error"
            table[name][error] = float(np.hypot(table[name][error], simulated[error]))
    return table


CONTROL = "simulation, its statistics"
CHECKED = 5
"""Worlds with one experiment by pyhf for each template."""


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
        "pseudo_experiments_with_signal": INJECTED,
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
        table, seen = of_worlds(found, covariance, resonance, expected)
        simulated = result["one_split_for_each_experiment"][f"{CONTROL}, {expected} events"]
        result[f"worlds, {expected} background events"] = table
        result[f"with simulation as control, {expected} background events"] = controlled(
            seen, simulated
        )
        for name, row in table.items():
            print(expected, name, row, flush=True)
    record("zgamma_statistics", result)


if __name__ == "__main__":
    main()
