"""A frequentist study on generated background: `python benchmarks/zgamma_statistics.py`.

Searches for the 150 GeV resonance in the m_lly spectrum. The background template comes from the
training part of the simulation alone, or from ten times as many events of the flow, whose ensemble
of bootstraps says how well the training part determines it. Pseudo-experiments are drawn from the
test part, which no generator has seen, with and without signal. Told are the rates at which
background alone looks like signal, the expected significance, and what the generated events buy.

One template has one set of fluctuations, and so has the test part that the experiments are drawn
from. So the false alarms are counted at thirteen masses, the resonance moved by whole bins, and
their mean is told with its spread over the masses.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pyhf
import torch
from scipy.stats import norm

from gen2reco import load_emulator, load_study, train
from gen2reco.rows.splits import TEST, TRAIN
from gen2reco.training import show_progress
from record import record, reference_sample
from zgamma import FLOW, MODELS, full_features, made_features, taken

EDGES = np.linspace(110.0, 190.0, 17)
"""Bins of m_lly, GeV."""
BACKGROUND = (500, 2000)
"""Expected background events in the window."""
SIGNAL_SHARE = 0.06
"""Injected signal over background, in the window."""
TOYS = 5_000
"""Pseudo-experiments at each mass."""
SHIFTS = range(-6, 7)
"""Bins that the resonance is moved by."""
MEMBERS = 5
FACTOR = 10
LEVELS = (0.01, 0.05, 0.1)
STEPS = 30


def spectrum(values: np.ndarray) -> np.ndarray:
    return np.histogram(values, EDGES)[0].astype(float)


def profile(
    counts: np.ndarray, shape: np.ndarray, relative: np.ndarray, signal: np.ndarray, *, free: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise the likelihood of many experiments at once.

    Every bin is Poisson of g t b + mu s, with b free, g of mean 1 and Poisson constraint of the
    template's relative error, and mu free or 0.

    Returns:
        -2 log likelihood and mu, [experiments] each.
    """
    total = counts.sum(axis=1)
    b, mu = total.copy(), np.zeros(len(counts))
    tau = 1.0 / np.maximum(relative, 1e-6) ** 2
    for _ in range(STEPS):
        expected = b[:, None] * shape
        part = mu[:, None] * signal
        g = _factors(counts, expected, part, tau)
        nu = np.maximum(g * expected + part, 1e-9)
        pull = counts / nu - 1.0
        variance = nu + (expected * relative) ** 2
        slope = np.stack([(pull * g * shape).sum(1), (pull * signal).sum(1)])
        tt = (shape**2 / variance).sum(1)
        ts = (shape * signal / variance).sum(1)
        ss = (signal**2 / variance).sum(1)
        if free:
            determinant = tt * ss - ts**2
            b = b + (ss * slope[0] - ts * slope[1]) / determinant
            mu = mu + (tt * slope[1] - ts * slope[0]) / determinant
        else:
            b = b + slope[0] / tt
        b = np.maximum(b, 1.0)
        # A sum of background and signal below zero is no rate.
        mu = np.maximum(mu, -0.9 * (b[:, None] * shape / signal.clip(1e-9)).min(axis=1))
    expected, part = b[:, None] * shape, mu[:, None] * signal
    g = _factors(counts, expected, part, tau)
    nu = np.maximum(g * expected + part, 1e-9)
    likelihood = counts * np.log(nu) - nu + tau * (np.log(g) - g + 1.0)
    return -2.0 * likelihood.sum(axis=1), mu


def _factors(
    counts: np.ndarray, expected: np.ndarray, part: np.ndarray, tau: np.ndarray
) -> np.ndarray:
    """The template's factor in every bin that fits best, in closed form."""
    a = expected**2 + tau * expected
    b = counts * expected - expected * part + tau * expected - tau * part
    return np.maximum((b + np.sqrt(np.maximum(b**2 + 4 * a * tau * part, 0.0))) / (2 * a), 1e-9)


def significance(
    counts: np.ndarray, shape: np.ndarray, relative: np.ndarray, signal: np.ndarray
) -> np.ndarray:
    """Signed square root of the test statistic for discovery, 0 where signal is negative."""
    with_signal, mu = profile(counts, shape, relative, signal, free=True)
    without, _ = profile(counts, shape, relative, signal, free=False)
    return np.where(mu > 0, np.sqrt(np.maximum(without - with_signal, 0.0)), 0.0)


def by_pyhf(
    counts: np.ndarray, shape: np.ndarray, relative: np.ndarray, signal: np.ndarray
) -> float:
    """The same by pyhf."""
    background = shape * counts.sum()
    channel = {
        "name": "m_lly",
        "samples": [
            {
                "name": "signal",
                "data": signal.tolist(),
                "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
            },
            {
                "name": "background",
                "data": background.tolist(),
                "modifiers": [
                    {"name": "size", "type": "normfactor", "data": None},
                    {"name": "shape", "type": "shapesys", "data": (relative * background).tolist()},
                ],
            },
        ],
    }
    model = pyhf.Model({"channels": [channel]}, poi_name="mu")
    data = counts.tolist() + model.config.auxdata
    q0 = pyhf.infer.test_statistics.q0(
        0.0, data, model, model.config.suggested_init(),
        [(0.0, 10.0) if n.startswith(("mu", "size")) else (1e-6, 10.0)
         for n in model.config.par_names], model.config.suggested_fixed(),
    )  # fmt: skip
    return float(np.sqrt(max(float(q0), 0.0)))


def rates(z: list[np.ndarray]) -> dict[str, Any]:
    """How often background alone is as extreme as each level says, at all masses together.

    The binomial error is that of all experiments; `error` is that of the mean over the masses.
    """
    found = {}
    for level in LEVELS:
        # mu <= 0 is one lump of p = 1/2, above every level here.
        each = np.array([np.mean(norm.sf(one) < level) for one in z])
        number = sum(map(len, z))
        found[f"{level:.0%}"] = {
            "rate": float(each.mean()),
            "error": float(each.std(ddof=1) / np.sqrt(len(each))),
            "binomial_error": float(np.sqrt(level * (1 - level) / number)),
            "least": float(each.min()),
            "most": float(each.max()),
        }
    return found


def templates() -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray, dict[str, Any]]:
    """Name -> shape and relative error of the background; the spectrum of the test part; sizes."""
    full, part, _ = full_features()
    learned = spectrum(taken(full, np.flatnonzero(part == TRAIN))["m_lly"])
    truth = spectrum(taken(full, np.flatnonzero(part == TEST))["m_lly"])
    path = MODELS / "zgamma-ensemble"
    if not path.exists():
        study = load_study(FLOW, {"training.members": MEMBERS})
        with show_progress() as progress:
            train(study, reference_sample("zgamma"), path, resume=True, progress=progress)
    emulator = load_emulator(path)
    number = FACTOR * int(np.count_nonzero(part == TRAIN))
    made = []
    for member in range(MEMBERS):
        one = _of_member(emulator, member)
        made.append(spectrum(made_features(one, number, seed=21)["m_lly"]))
    shapes = np.array([one / one.sum() for one in made])
    spread = np.std(shapes[1:], axis=0, ddof=1) / shapes[0]
    statistical = 1.0 / np.sqrt(made[0])
    source = 1.0 / np.sqrt(truth)
    found = {
        "simulation": (learned / learned.sum(), 1.0 / np.sqrt(learned)),
        "simulation, and statistics of the test part": (
            learned / learned.sum(),
            np.hypot(1.0 / np.sqrt(learned), source),
        ),
        "simulation, no uncertainty": (learned / learned.sum(), np.full_like(learned, 1e-4)),
        "generated, no uncertainty": (shapes[0], np.full_like(learned, 1e-4)),
        "generated, its own statistics": (shapes[0], statistical),
        "generated, statistics and ensemble": (shapes[0], np.hypot(statistical, spread)),
        "generated, ensemble, and statistics of the test part": (
            shapes[0],
            np.sqrt(statistical**2 + spread**2 + source**2),
        ),
    }
    sizes = {
        "simulation_in_window": int(learned.sum()),
        "generated_in_window": int(made[0].sum()),
        "test_in_window": int(truth.sum()),
        "relative_error_simulation": float(np.median(1.0 / np.sqrt(learned))),
        "relative_error_generated_statistics": float(np.median(statistical)),
        "relative_error_ensemble": float(np.median(spread)),
    }
    return found, truth, sizes


def _of_member(emulator: Any, member: int) -> Any:
    from dataclasses import replace

    parts = tuple(replace(one, members=(one.members[member],)) for one in emulator.parts)
    return replace(emulator, parts=parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", type=int, default=TOYS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found, truth, sizes = templates()
    resonance = spectrum(full_features("hzgamma")[0]["m_lly"])
    resonance = resonance / resonance.sum()
    random = np.random.default_rng(5)
    studies: dict[str, Any] = {}
    for expected in BACKGROUND:
        mean = expected * truth / truth.sum()
        signal = SIGNAL_SHARE * expected * resonance
        toys = random.poisson(mean, (arguments.toys, len(mean))).astype(float)
        injected = random.poisson(mean + signal, (2000, len(mean))).astype(float)
        of_size = {}
        for name, (shape, relative) in found.items():
            moved = [SIGNAL_SHARE * expected * np.roll(resonance, shift) for shift in SHIFTS]
            z = [significance(toys, shape, relative, one) for one in moved]
            with_signal = significance(injected, shape, relative, signal)
            nominal = significance(toys, shape, relative, signal)
            check = [
                abs(by_pyhf(toys[i], shape, relative, signal) - nominal[i])
                for i in np.flatnonzero(nominal > 0.3)[:10]
            ] if relative.min() > 1e-3 else []  # fmt: skip
            asimov = significance((mean + signal)[None], shape, relative, signal)
            own = expected * shape
            of_size[name] = {
                "type_1": rates(z),
                "median_significance": float(np.median(with_signal)),
                "asimov_on_test_part": float(asimov[0]),
                "asimov_on_template": float(
                    significance((own + signal)[None], shape, relative, signal)[0]
                ),
                "largest_difference_to_pyhf": float(max(check, default=float("nan")))
                if check
                else None,
            }
            print(expected, name, of_size[name], flush=True)
        studies[f"{expected} background events"] = of_size
    record(
        "zgamma_statistics",
        {
            "bins": EDGES.tolist(),
            "pseudo_experiments_at_each_mass": arguments.toys,
            "masses": len(SHIFTS),
            "signal_over_background": SIGNAL_SHARE,
            "bootstraps": MEMBERS - 1,
            "templates": sizes,
            "studies": studies,
        },
    )


if __name__ == "__main__":
    main()
