"""Unfolding on the reference samples: `python benchmarks/unfolding.py`.

Three checks. `posterior` and `prior` judge on test events; the settings of `wjet-unfold` (cuts,
bins and trees) were tried out on the whole W + jet file, so that `omnifold` here is no
independent test: that wants other events.

- `posterior`: a flow p(GEN | RECO) of Z -> ee (study `zee-unfold`) on the test part: how often the
  truth lies in the central 68 % and 95 % of its draws, the rank test, and the unfolded m_Z beside
  RECO taken as GEN;
- `omnifold`: W + jet by weights (study `wjet-unfold`): half of the events are the simulation, the
  other half the measurement, as it is (an independent sample) and with events kept so that their
  truth is another one; differences to the truth with the covariance of bootstrap replicas, for each
  iteration and for another prior;
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
    Spectrum,
    bootstrap,
    omnifold,
    replica_counts,
)
from gen2reco.validation.coverage import ranks
from gen2reco.validation.distances import kolmogorov
from gen2reco.verbs.prior import remove_prior
from gen2reco.verbs.sides import read_pairs
from record import MODELS, ROOT, gflops, record, reference_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    import awkward as ak

FILE = ROOT / "benchmarks" / "results" / "unfolding.json"

# W + jet by weights
SIMULATED = 100_000
EDGES = {
    "mu_pt": (20, 27, 35, 45, 55, 70, 100, 1000),
    "jet_pt": (30, 38, 47, 60, 80, 110, 1000),
    "met": (0, 15, 25, 35, 45, 60, 80, 1000),
}

# posterior of Z -> ee
DRAWS = 99
BLOCK = 2000
MASSES = {"zee-unfold": ("m_Z", "mass(minus, plus)", "mass(reco_minus, reco_plus)")}


def other_truth(gen: np.ndarray) -> np.ndarray:
    """Another truth of W + jet: harder jets and muons, by a factor of mu_pt, jet_pt, met [n, 3]."""
    mu, jet = gen[:, 0], gen[:, 1]
    return (1 + 0.6 * (1 - np.exp(-(jet - 20) / 50))) * (1 + 0.4 * np.tanh((mu - 40) / 20))


def other_prior(gen: np.ndarray) -> np.ndarray:
    """Another prior to start from: softer jets."""
    return 1 / (1 + 0.6 * (1 - np.exp(-(gen[:, 1] - 20) / 50)))


@dataclass
class Halves:
    """The W + jet events: simulation and pool of the measurement, disjoint."""

    simulation: Pairs
    pool: Pairs


def wjet() -> Halves:
    study = load_study("wjet-unfold")
    pairs = read_pairs(study, open_events(reference_sample("wjet")))
    order = np.random.default_rng(1).permutation(len(pairs))
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


def close(
    halves: Halves, truth: Callable[[np.ndarray], np.ndarray], iterations: int, replicas: int
) -> dict[str, Any]:
    """Unfold pool events that were kept with a probability following `truth`; judge the result.

    The truth is that of the simulation, weighted; each replica counts its events alike on both
    sides, so that only what unfolding adds is in the covariance.
    """
    simulation, pool = halves.simulation, halves.pool
    wanted = np.where(simulation.has_gen, truth(simulation.gen), 0.0)
    chance = np.where(pool.has_gen, truth(pool.gen), 1.0)
    largest = max(chance.max(), wanted.max())
    kept = np.random.default_rng(2).random(len(pool)) < chance / largest
    kept &= pool.has_reco
    data = Measured(pool.reco[kept], pool.weight[kept])
    wanted *= len(pool) / len(simulation) / largest
    settings = OmniFold(iterations=iterations)
    begin = time.process_time()
    result = omnifold(data, simulation, settings)
    seconds = time.process_time() - begin
    other = omnifold(data, simulation, settings, prior=other_prior(simulation.gen))
    copies = bootstrap(data, simulation, replicas, settings)
    counts = [
        replica_counts((len(data.weight), len(simulation)), number)[1] for number in range(replicas)
    ]
    differences = [
        fill(simulation.gen, weight - count * wanted)
        for weight, count in zip(copies, counts, strict=True)
    ]
    expected = fill(simulation.gen, wanted)
    found: dict[str, Any] = {
        "measured_events": len(data.weight),
        "simulated_events": len(simulation),
        "cpu_seconds": seconds,
        "counts": dict(result.counts),
        "history": [one.as_dict() for one in result.history],
        "quantities": {},
    }
    for name, edges in EDGES.items():
        covariance = np.cov(np.stack([one[name] for one in differences]).T)
        by_iteration = []
        for weights in result.by_iteration:
            content = fill(simulation.gen, weights)[name]
            judged = Spectrum(np.array(edges), content, covariance, replicas)
            by_iteration.append(judged.chi2(expected[name]))
        value, ndf, p = by_iteration[-1]
        content = fill(simulation.gen, result.weight)[name]
        start = fill(simulation.gen, simulation.weight * simulation.has_gen)[name]
        start = start * (content.sum() / start.sum())
        prior = Spectrum(np.array(edges), start, covariance, replicas).chi2(expected[name])
        moved = fill(simulation.gen, other.weight)[name] - content
        error = np.sqrt(np.diag(covariance))
        found["quantities"][name] = {
            "chi2_per_ndf": value / ndf,
            "p": p,
            "ndf": ndf,
            "chi2_per_ndf_by_iteration": [one[0] / one[1] for one in by_iteration],
            "chi2_per_ndf_of_the_prior": prior[0] / prior[1],
            "relative_difference": (content / expected[name] - 1).tolist(),
            "relative_error": (error / expected[name]).tolist(),
            "largest_shift_by_other_prior_in_errors": float(np.max(np.abs(moved) / error)),
        }
    return found


def weights(replicas: int) -> dict[str, Any]:
    halves = wjet()
    return {
        "independent": close(halves, lambda gen: np.ones(len(gen)), 5, replicas),
        "reweighted": close(halves, other_truth, 5, replicas),
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
    label, truth_text, reco_text = MASSES[study]
    events = tested(emulator.study, sample)
    truth = masses(emulator.study, events, truth_text)
    drawn = np.empty((len(events), DRAWS))
    begin = time.process_time()
    for start in range(0, len(events), BLOCK):
        block = events[start : start + BLOCK]
        made = emulator.simulate(block, oversample=DRAWS)
        drawn[start : start + BLOCK] = masses(emulator.study, made, truth_text).reshape(-1, DRAWS)
    seconds = time.process_time() - begin
    rank = ranks(truth, drawn)
    first = drawn[:, 0]
    reco = masses(emulator.study, events, reco_text)
    null = [
        kolmogorov(*np.array_split(np.random.default_rng(seed).permutation(truth), 2))[0]
        for seed in range(100)
    ]
    return {
        "quantity": label,
        "events": len(events),
        "training_seconds": emulator.provenance["seconds"],
        "draws_per_cpu_second": drawn.size / seconds,
        "coverage_68": share_inside(rank, 16, 84),
        "coverage_90": share_inside(rank, 5, 95),
        "coverage_error_68": float(np.sqrt(0.68 * 0.32 / len(events))),
        "decile_shares": (np.histogram(rank, np.arange(0, 101, 10))[0] / len(rank)).tolist(),
        "ks_unfolded": kolmogorov(truth, first)[0],
        "ks_reco_as_gen": kolmogorov(truth, reco)[0],
        "ks_null_of_halves": float(np.median(null)),
    }


def share_inside(rank: np.ndarray, low: int, high: int) -> float:
    """Share of ranks from low to high - 1 out of 100: high - low per cent are right."""
    return float(np.mean((rank >= low) & (rank < high)))


def tilted(study: Any, sample: Path, target: Path) -> Path:
    """Write test events whose Z mass is another: kept with a chance that rises across the peak."""
    import pyarrow.parquet as pq

    text = MASSES[study.name][1]
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
    text = MASSES[study][1]
    events = tested(made, data)
    truth = masses(made, events, text)
    begin = time.process_time()
    adapted = remove_prior(study, data, sample, scratch / "adapted", iterations=2, overwrite=True)
    seconds = time.process_time() - begin
    found = {
        name: kolmogorov(
            truth, masses(made, load_emulator(model_path).simulate(events, oversample=1), text)
        )[0]
        for name, model_path in (("before", path), ("after", adapted.path))
    }
    return {"events": len(events), "ks": found, "cpu_seconds": seconds, **adapted.as_dict()}


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
                found[part] = posterior("zee-unfold", sample, path)
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    found[part] = prior("zee-unfold", sample, path, Path(scratch))
        record("unfolding", {"gflops": gflops(), **found})


if __name__ == "__main__":
    main()
