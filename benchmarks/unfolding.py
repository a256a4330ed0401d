"""Unfolding on the reference samples: `python benchmarks/unfolding.py`.

Three checks. `posterior` and `prior` judge on test events. The settings of `wjet-unfold` (cuts,
bins and trees) were tried out on the W + jet file, with another changed truth than here.

- `posterior`: flows p(GEN | RECO) of Z -> ee (study `zee-unfold`) and ttbar (`ttbar-unfold`) on the
  test part: how often the true m_Z or m_tt lies in the central 68 % and 90 % of its draws, the chi2
  of its ranks' deciles, and the unfolded mass beside RECO taken as GEN;
- `omnifold`: W + jet by weights (study `wjet-unfold`): a part of the events is the simulation, the
  rest the measurement, as it is (an independent sample) and with events kept so that their truth is
  another one. chi2 of the difference to the truth with the covariance of bootstrap replicas, mean
  over several random divisions of the events, for each iteration, and for another prior;
- `prior`: the posterior flow on Z -> ee events whose truth is another one, before and after its
  prior is removed.

Times are processor seconds of one thread. Models stay in `benchmarks/models`; one that is there is
not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco import load_emulator, load_study, open_events, train
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, split
from gen2reco.rows.tables import columns_of
from gen2reco.unfolding import (
    Measured,
    OmniFold,
    Pairs,
    Reweighted,
    Spectrum,
    bootstrap,
    omnifold,
    replica_counts,
)
from gen2reco.validation.coverage import judge_coverage, ranks
from gen2reco.validation.distances import kolmogorov
from gen2reco.validation.inputs import Coverage
from gen2reco.verbs.prior import remove_prior
from gen2reco.verbs.sides import read_pairs
from record import MODELS, ROOT, gflops, record, reference_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    import awkward as ak

FILE = ROOT / "benchmarks" / "results" / "unfolding.json"

# W + jet by weights
SIMULATED = 100_000
DIVISIONS = 8
EDGES = {
    "mu_pt": (20, 27, 35, 45, 55, 70, 100, 1000),
    "jet_pt": (30, 38, 47, 60, 80, 110, 1000),
    "met": (0, 15, 25, 35, 45, 60, 80, 1000),
}

# posterior of Z -> ee
DRAWS = 99
BLOCK = 2000
DIVISIONS_OF_NULL = 100
"""Random halves that a KS and its null are medians of."""


@dataclass(frozen=True)
class Mass:
    """A mass that is unfolded: its label, and expressions for the truth, a draw, and RECO."""

    label: str
    sample: str
    truth: str
    drawn: str
    reco: str


MASSES = {
    "zee-unfold": Mass(
        "m_Z", "zee", "mass(minus, plus)", "mass(minus, plus)", "mass(reco_minus, reco_plus)"
    ),
    "ttbar-unfold": Mass("m_tt", "ttbar_partons", "true_mass", "drawn_mass", "reco_mass"),
}


def other_truth(gen: np.ndarray) -> np.ndarray:
    """Another truth of W + jet: harder muons and jets, by a factor of mu_pt, jet_pt, met [n, 3]."""
    mu, jet = gen[:, 0], gen[:, 1]
    return np.clip((mu / 35) ** 0.4, 0.5, 2.0) * np.clip((jet / 40) ** 0.3, 0.6, 2.0)


def other_prior(gen: np.ndarray) -> np.ndarray:
    """Another prior to start from: softer jets."""
    return 1 / (1 + 0.6 * (1 - np.exp(-(gen[:, 1] - 20) / 50)))


@dataclass
class Halves:
    """The W + jet events: simulation and pool of the measurement, disjoint."""

    simulation: Pairs
    pool: Pairs


def divided(pairs: Pairs, number: int) -> Halves:
    """Deal the events out at random, once for each number."""
    order = np.random.default_rng([1, number]).permutation(len(pairs))
    return Halves(*(take(pairs, part) for part in (order[:SIMULATED], order[SIMULATED:])))


def take(pairs: Pairs, index: np.ndarray) -> Pairs:
    return Pairs(
        pairs.gen[index],
        pairs.reco[index],
        pairs.weight[index],
        pairs.has_gen[index],
        pairs.has_reco[index],
        {},
    )


def fill(gen: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    return {
        name: np.histogram(gen[:, column], edges, weights=weight)[0]
        for column, (name, edges) in enumerate(EDGES.items())
    }


@dataclass
class Unfolded:
    """One unfolding: what went in, what came out, and the truth, weighted simulation."""

    data: Measured
    simulation: Pairs
    wanted: np.ndarray
    result: Reweighted
    seconds: float


def unfolded(
    halves: Halves, truth: Callable[[np.ndarray], np.ndarray], settings: OmniFold
) -> Unfolded:
    """Unfold pool events that were kept with a probability following `truth`."""
    simulation, pool = halves.simulation, halves.pool
    wanted = np.where(simulation.has_gen, truth(simulation.gen), 0.0)
    chance = np.where(pool.has_gen, truth(pool.gen), 1.0)
    largest = max(chance.max(), wanted.max())
    kept = np.random.default_rng(2).random(len(pool)) < chance / largest
    kept &= pool.has_reco
    data = Measured(pool.reco[kept], pool.weight[kept])
    wanted *= len(pool) / len(simulation) / largest
    begin = time.process_time()
    result = omnifold(data, simulation, settings)
    return Unfolded(data, simulation, wanted, result, time.process_time() - begin)


def close(
    pairs: Pairs,
    truth: Callable[[np.ndarray], np.ndarray],
    iterations: int,
    replicas: int,
    divisions: int,
) -> dict[str, Any]:
    """Unfold several random divisions of the events with their truth changed; judge the results.

    Each replica counts its events alike on both sides, so that only what unfolding adds is in the
    covariance, which the first division gives.
    """
    settings = OmniFold(iterations=iterations)
    done = [unfolded(divided(pairs, n), truth, settings) for n in range(divisions)]
    first = done[0]
    simulation, data = first.simulation, first.data
    other = omnifold(data, simulation, settings, prior=other_prior(simulation.gen))
    copies = bootstrap(data, simulation, replicas, settings)
    counts = [
        replica_counts((len(data.weight), len(simulation)), number)[1] for number in range(replicas)
    ]
    differences = [
        fill(simulation.gen, weight - count * first.wanted)
        for weight, count in zip(copies, counts, strict=True)
    ]
    found: dict[str, Any] = {
        "measured_events": len(data.weight),
        "simulated_events": len(simulation),
        "cpu_seconds": first.seconds,
        "counts": dict(first.result.counts),
        "history": [one.as_dict() for one in first.result.history],
        "quantities": {},
    }
    for name, edges in EDGES.items():
        covariance = np.cov(np.stack([one[name] for one in differences]).T)

        def chi2(one: Unfolded, weights: np.ndarray) -> tuple[float, int, float]:
            content, expected = (
                fill(one.simulation.gen, each)[name]  # noqa: B023
                for each in (weights, one.wanted)
            )
            judged = Spectrum(np.array(edges), content, covariance, replicas)  # noqa: B023
            return judged.chi2(expected)

        by_division = [chi2(one, one.result.weight) for one in done]
        ndf = by_division[0][1]
        per_ndf = [value / ndf for value, _, _ in by_division]
        content = fill(simulation.gen, first.result.weight)[name]
        start = simulation.weight * simulation.has_gen
        start = start * (first.result.weight.sum() / start.sum())
        moved = fill(simulation.gen, other.weight)[name] - content
        error, expected = np.sqrt(np.diag(covariance)), fill(simulation.gen, first.wanted)[name]
        found["quantities"][name] = {
            "chi2_per_ndf": float(np.mean(per_ndf)),
            "chi2_per_ndf_error": float(np.std(per_ndf, ddof=1) / np.sqrt(divisions)),
            "ndf": ndf,
            "chi2_per_ndf_by_division": per_ndf,
            "chi2_per_ndf_by_iteration": [
                float(np.mean([chi2(one, one.result.by_iteration[n])[0] / ndf for one in done]))
                for n in range(iterations)
            ],
            "chi2_per_ndf_of_the_prior": chi2(first, start)[0] / ndf,
            "relative_difference": (content / expected - 1).tolist(),
            "relative_error": (error / expected).tolist(),
            "largest_shift_by_other_prior_in_errors": float(np.max(np.abs(moved) / error)),
        }
    return found


def weights(replicas: int) -> dict[str, Any]:
    pairs = read_pairs(load_study("wjet-unfold"), open_events(reference_sample("wjet")))
    return {
        "independent": close(pairs, lambda gen: np.ones(len(gen)), 5, replicas, DIVISIONS),
        "reweighted": close(pairs, other_truth, 5, replicas, DIVISIONS),
    }


def model(study: str, sample: Path) -> Path:
    path: Path = MODELS / study
    if not path.exists():
        train(study, sample, path, resume=True)
    return path


def tested(study: Any, sample: Path) -> ak.Array:
    """Events of the test part that have all objects of the study."""
    import awkward as ak

    part = study.parts[0]
    source = open_events(sample)
    texts = [
        *(condition.value for condition in part.condition),
        *(text for target in part.target for text in target.value),
    ]
    needed = columns_of(texts, study.define, source)
    pieces = []
    for chunk in source.chunks(columns=["run", "luminosityBlock", "event", *needed]):
        names = Namespace(chunk.events, study.define)
        there = split({name: np.asarray(chunk.events[name]) for name in IDS}, study.split) == TEST
        for text in texts:
            there &= names.evaluate(text).valid
        pieces.append(chunk.events[there])
    return ak.concatenate(pieces)


IDS = ("run", "luminosityBlock", "event")


def masses(study: Any, events: ak.Array, text: str) -> np.ndarray:
    return np.asarray(Namespace(events, study.define).evaluate(text).values)


def posterior(study: str, sample: Path, path: Path) -> dict[str, Any]:
    """Coverage of the mass in draws that went through files' columns: momenta, not the target."""
    emulator = load_emulator(path)
    mass = MASSES[study]
    events = tested(emulator.study, sample)
    truth = masses(emulator.study, events, mass.truth)
    drawn = np.empty((len(events), DRAWS))
    begin = time.process_time()
    for start in range(0, len(events), BLOCK):
        block = events[start : start + BLOCK]
        made = emulator.simulate(block, oversample=DRAWS)
        drawn[start : start + BLOCK] = masses(emulator.study, made, mass.drawn).reshape(-1, DRAWS)
    seconds = time.process_time() - begin
    rank = ranks(truth, drawn)
    one = np.ones(len(events))
    (deciles,) = judge_coverage(Coverage({mass.label: rank}, one, np.arange(len(events)), DRAWS))
    reco = masses(emulator.study, events, mass.reco)
    return {
        "quantity": mass.label,
        "events": len(events),
        "training_seconds": emulator.provenance["seconds"],
        "draws_per_cpu_second": drawn.size / seconds,
        "coverage_68": share_inside(rank, 16, 84),
        "coverage_90": share_inside(rank, 5, 95),
        "coverage_error_68": float(np.sqrt(0.68 * 0.32 / len(events))),
        "decile_shares": list(deciles.deciles),
        "decile_chi2": deciles.test.value,
        "decile_ndf": deciles.test.ndf,
        "decile_p": deciles.test.p,
        "decile_largest_deviation": deciles.deviation.value,
        "decile_largest_deviation_of_covered_95": deciles.deviation.null_95,
        "ks_of_halves": {
            "null": ks_of_halves(truth, truth),
            "unfolded": ks_of_halves(truth, drawn[:, 0]),
            "RECO as GEN": ks_of_halves(truth, reco),
        },
    }


def ks_of_halves(truth: np.ndarray, other: np.ndarray) -> float:
    """KS of half of the events' truth and the other half's `other`: median of random divisions."""
    found = []
    for seed in range(DIVISIONS_OF_NULL):
        order = np.random.default_rng(seed).permutation(len(truth))
        one, two = np.array_split(order, 2)
        found.append(kolmogorov(truth[one], other[two])[0])
    return float(np.median(found))


def share_inside(rank: np.ndarray, low: int, high: int) -> float:
    """Share of ranks from low to high - 1 out of 100: high - low per cent are right."""
    return float(np.mean((rank >= low) & (rank < high)))


def tilted(study: Any, sample: Path, target: Path) -> Path:
    """Write test events whose Z mass is another: kept with a chance that rises across the peak."""
    import pyarrow.parquet as pq

    text = MASSES[study.name].truth
    events = tested(study, sample)
    mass = masses(study, events, text)
    chance = (0.2 + 1 / (1 + np.exp(-(mass - 91.2)))) / 1.2
    kept = events[np.random.default_rng(3).random(len(events)) < chance]
    wanted = {tuple(key) for key in np.stack([np.asarray(kept[n]) for n in IDS], axis=1).tolist()}
    table = pq.read_table(sample)
    keys = zip(*(table[name].to_pylist() for name in IDS), strict=True)
    pq.write_table(table.filter([key in wanted for key in keys]), target)
    return target


def prior(study: str, sample: Path, path: Path, scratch: Path) -> dict[str, Any]:
    """Unfolded mass of events with another truth, before and after the prior is removed."""
    made = load_study(study)
    data = tilted(made, sample, scratch / "data.parquet")
    text = MASSES[study].truth
    events = tested(made, data)
    truth = masses(made, events, text)
    begin = time.process_time()
    adapted = remove_prior(study, data, sample, scratch / "adapted", iterations=2, overwrite=True)
    seconds = time.process_time() - begin
    found = {"null": ks_of_halves(truth, truth)} | {
        name: ks_of_halves(
            truth, masses(made, load_emulator(model_path).simulate(events, oversample=1), text)
        )
        for name, model_path in (("before", path), ("after", adapted.path))
    }
    steps = adapted.as_dict()["steps"]
    return {"events": len(events), "ks_of_halves": found, "cpu_seconds": seconds, "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("posterior", "omnifold", "prior")
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    parser.add_argument("--replicas", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    if FILE.is_file():
        found = {k: v for k, v in json.loads(FILE.read_text("utf-8")).items() if k in parts}
    for part in arguments.only:
        if part == "omnifold":
            found[part] = weights(arguments.replicas)
        else:
            sample = reference_sample("zee")
            path = model("zee-unfold", sample)
            if part == "posterior":
                found[part] = {}
                for study, mass in MASSES.items():
                    there = reference_sample(mass.sample)
                    found[part][study] = posterior(study, there, model(study, there))
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    found[part] = prior("zee-unfold", sample, path, Path(scratch))
        record("unfolding", {"gflops": gflops(), **found})


if __name__ == "__main__":
    main()
