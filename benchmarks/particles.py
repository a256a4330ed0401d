"""Jets as sets of particles, ours against the particle VAE: `python benchmarks/particles.py`.

Trains on the W jets of the reference sample `wjets-particles`, the same with small networks and few
epochs, without refusing jets, and with particles that do not know of each other besides; and
`wjets-particles-vae` (the published autoencoder, narrower), as published, with a learned mask, and
with attention. The first is also trained and judged on three further folds of the events. Emulators
stay in `benchmarks/models`; what is there is not trained again, an interrupted training goes on.
`--only` leaves settings out.

Each is judged on the test events. FastSim is made from the GEN of one half of them, FullSim is that
of the other half; what is relative to GEN compares the same jets. Features of jets are recomputed
from the constituents that are kept (100 or 50), on all sides. One thread; rates count the
processor's seconds of this process, beside the speed of a matrix product at that time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from gen2reco import load_emulator, load_study, open_events, train
from gen2reco.models.nn.decays import NEUTRAL_PIONS, PROTON_PION, TWO_PIONS
from gen2reco.models.nn.hits import NEUTRAL, PHOTON, Particles
from gen2reco.models.nn.jet_observed import Observed
from gen2reco.models.nn.jet_units import FOUND, LOST
from gen2reco.models.nn.slots import FIELDS
from gen2reco.rows.spaces import GEN, RECO
from gen2reco.rows.splits import TRAIN, halves, split
from gen2reco.training import show_progress
from gen2reco.validation import Sample, Settings, assess, compare_sets
from gen2reco.validation.classifier import Columns, c2st
from gen2reco.validation.weighted import half_width
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.samples import emulated
from gen2reco.verbs.set_samples import jets_of
from gen2reco.verbs.train import read_tables
from record import MODELS, gflops, record, reference_sample

if TYPE_CHECKING:
    from pathlib import Path

    from gen2reco.emulator import Emulator
    from gen2reco.validation import Jets, SetComparison

SMALL = {
    "parts.0.model.hidden": [24, 24],
    "parts.0.model.couplings": 1,
    "parts.0.model.bins": 8,
    "training.epochs": 5,
}
MASK = {"parts.0.model.padding": "mask", "parts.0.model.presence": 1000.0}
"""With the default weight of presence, 1, next to squares of GeV, all slots end up empty."""
ATTENTION = {
    "parts.0.model.padding": "mask",
    "parts.0.model.network": "attention",
    "parts.0.model.hidden": 32,
}
STUDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "sets": ("wjets-particles", {}),
    "sets, small": ("wjets-particles", SMALL),
    "sets, none refused": ("wjets-particles", {"parts.0.model.refusal": []}),
    "sets, independent": (
        "wjets-particles",
        {"parts.0.model.refusal": [], "parts.0.model.together": False},
    ),
    "set flow matching": ("wjets-particles-flow-matching", {}),
    "particle VAE": ("wjets-particles-vae", {"training.epochs": 80}),
    "particle VAE, mask": ("wjets-particles-vae", {"training.epochs": 20, **MASK}),
    "particle VAE, attention": ("wjets-particles-vae", {"training.epochs": 30, **ATTENTION}),
}
FOLDS = {f"sets, fold {fold}": ("wjets-particles", {"split.fold": fold}) for fold in (1, 2, 3)}
"""The same, judged on other test events: those of the first fold had been looked at before."""
FEATURES = (
    "pt", "eta", "phi", "mass", "energy", "multiplicity", "tau21", "tau32", "ptD", "width",
)  # fmt: skip
TOLD_BY = ("pt", "mass", "multiplicity", "tau21", "ptD")
"""Features that the classifier sees, of RECO and of GEN."""
SEEDS = 2
NULLS = 5
BINS = 50
BOOTSTRAPS = 200
LOOKED_AT = 8000
"""Training jets whose structure is described."""
DECAYS = (
    ("K0S to pi+ pi-", TWO_PIONS, 2),
    ("Lambda to p pi-", PROTON_PION, 2),
    ("K0S to pi0 pi0", NEUTRAL_PIONS, 4),
)
"""Channels of which losses are described, and their number of products."""
TIMED = 4096
"""Jets per timed call."""


def trained(name: str, sample: Path, *, again: bool) -> Emulator:
    """The emulator of a setting, trained unless it is there."""
    study, changes = (STUDIES | FOLDS)[name]
    model = MODELS / "-".join(name.replace(",", "").split())
    if again or not model.exists():
        before = time.process_time()
        with show_progress() as progress:
            train(
                load_study(study, changes), sample, model,
                resume=not again, overwrite=again, progress=progress,
            )  # fmt: skip
        print(f"{name}: {time.process_time() - before:.0f} s of the processor")
    return load_emulator(model)


def judged(name: str, emulator: Emulator, sample: Path) -> dict[str, Any]:
    """Every figure of one emulator on the test events; kept beside it."""
    kept = MODELS / f"{'-'.join(name.replace(',', '').split())}.judged.json"
    if kept.is_file():
        document: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if document.pop("digest") == emulator.digest:
            return document
    document = figures(emulator, sample)
    text = json.dumps({"digest": emulator.digest, **document}, allow_nan=False)
    kept.write_text(text, encoding="utf-8")
    return document


def figures(emulator: Emulator, sample: Path) -> dict[str, Any]:
    """Every figure of one emulator on the test events."""
    study = emulator.study
    (part,) = study.parts
    events = read_judged(emulator, open_events(sample), test_only=True).events
    half = halves({n: np.asarray(events[n]) for n in ("run", "luminosityBlock", "event")})
    full, gen = (jets_of(study, part, events, side) for side in (RECO, GEN))
    fast = [
        jets_of(study, part, emulated(emulator, events, seed=seed), RECO)
        for seed in range(1, SEEDS + 1)
    ]
    settings = Settings(classifier_seeds=0, resplits=100, threads=1)
    assessment = assess(
        as_sample(full), half, as_sample(fast[0].take(half == 1)), settings=settings
    )
    ratios = {
        q.name: q.floor_ratio.value for q in assessment.quantities if q.floor_ratio is not None
    }
    of_halves = {
        q.name: q.references["FullSim, other half"].floor_ratio
        for q in assessment.quantities
        if "FullSim, other half" in q.references
    }
    told = c2st(
        columns(full, gen),
        half == 0,
        [columns(one.take(half == 1), gen.take(half == 1)) for one in fast],
        Settings(classifier_seeds=SEEDS, classifier_resplits=NULLS, threads=1),
    )
    sets = compare_sets(full, half.astype(np.int64), fast[0], gen, settings)
    return {
        "jets": {"FullSim": int((half == 0).sum()), "FastSim": int((half == 1).sum())},
        "floor ratios": {
            **{f"jet {name}": ratios[name] for name in FEATURES},
            "median of jet features": float(np.median([ratios[name] for name in FEATURES])),
            **{one.name.replace("_", " "): one.floor_ratio.value for one in sets.constituents},
        },
        "floor ratios of FullSim's other half": {
            f"jet {name}": of_halves[name] for name in FEATURES
        },
        "classifier": {
            "AUC": float(np.mean(told.auc)),
            "AUC of FullSim against FullSim": float(np.mean(told.null)),
            "excess": told.excess.value,
            "error": told.excess.error,
        },
        "distances": distances(sets),
        "response": response(sets),
        "means": means(full.take(half == 0), fast[0].take(half == 1)),
    }


def as_sample(jets: Jets) -> Sample:
    """Jet features as the comparison reads them; rows of one event stay together."""
    quantities = {name: jets.features[name] for name in FEATURES}
    return Sample(quantities, {}, {}, jets.weight, jets.event)


def columns(jets: Jets, gen: Jets) -> Columns:
    """What the classifier sees."""
    seen = {name: jets.features[name] for name in TOLD_BY}
    seen |= {f"gen:{name}": gen.features[name] for name in TOLD_BY}
    return Columns(seen, jets.weight, jets.event)


def distances(sets: SetComparison) -> dict[str, float]:
    """FPD and KPD beside their null."""
    found = {}
    for one in sets.distances:
        found |= {
            one.name: one.value.value,
            f"{one.name} error": one.value.error,
            f"{one.name} of FullSim against FullSim": one.value.null,
            f"{one.name}, 95 % of those": one.value.null_95,
        }
    return found


def response(sets: SetComparison) -> dict[str, dict[str, float]]:
    """RECO over GEN on the same jets: shift of the median in widths, ratio of widths."""
    return {
        score.name: {
            "shift": score.shift.value,
            "shift_error": score.shift.error,
            "width_ratio": score.width_ratio.value,
            "width_ratio_error": score.width_ratio.error,
        }
        for score in sets.scores
    }


def means(full: Jets, fast: Jets) -> dict[str, dict[str, float]]:
    """What the source of the VAE quotes: means, and its distance between heights of bins.

    That distance is blind to where bins lie; it is here for comparison only.
    """
    found = {}
    for name in ("pt", "mass", "energy", "multiplicity", "tau21", "tau32", "ptD", "width"):
        one, two = full.features[name], fast.features[name]
        edges = np.linspace(*np.quantile(np.concatenate([one, two]), [0.001, 0.999]), BINS + 1)
        heights = [np.histogram(side, edges, density=True)[0] for side in (one, two)]
        found[name] = {
            "FullSim": float(one.mean()),
            "FastSim_over_FullSim": float(two.mean() / one.mean()),
            "W1_over_mean": float(wasserstein_distance(one, two) / one.mean()),
            "distance_of_bin_heights": float(wasserstein_distance(*heights)),
        }
    return found


def widths_of_full(emulators: dict[str, Emulator], sample: Path) -> dict[str, dict[str, float]]:
    """Half the central 68 % width of FullSim's response on each test part, and its error."""
    rng, found = np.random.default_rng(1), {}
    for name, emulator in emulators.items():
        study = emulator.study
        (part,) = study.parts
        events = read_judged(emulator, open_events(sample), test_only=True).events
        full, gen = (jets_of(study, part, events, side) for side in (RECO, GEN))
        found[name] = {}
        for feature in ("pt", "mass"):
            response = full.features[feature] / gen.features[feature]
            alike = np.ones(len(response))
            drawn = [
                half_width(rng.choice(response, len(response)), alike) for _ in range(BOOTSTRAPS)
            ]
            width = half_width(response, alike)
            found[name] |= {feature: width, f"{feature} error": float(np.std(drawn))}
    return found


def training_memory(sample: Path) -> float:
    """Peak memory in GiB of a training of `sets`: of one epoch, all of them need the same."""
    with TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "gen2reco", "train", "wjets-particles",
            "--input", str(sample), "--output", f"{folder}/sets", "--set", "training.epochs=1",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def structure(emulator: Emulator, sample: Path) -> dict[str, float]:
    """How particles of the training part are lost, on which the family rests; shares."""
    tables, _ = read_tables(emulator.study, open_events(sample))
    (table,) = tables.values()
    table = table.take(np.flatnonzero(split(table.keys, emulator.study.split) == TRAIN)[:LOOKED_AT])
    features, network = emulator.parts[0].features, emulator.parts[0].members[0]
    rows = (features.encode_condition(table), features.encode_target(table, 1))
    gen, reco = (Particles.of(side.reshape(len(table), -1, FIELDS)) for side in rows)
    seen = Observed.of(gen, reco, network.detector, network.config.most_left)
    scene, decays, dark = seen.scene, seen.scene.decays, seen.photon == LOST
    chain, whole = scene.chain, decays.sums(scene.energy)
    lost = np.zeros(len(gen.jet), np.bool_)
    lost[scene.charged] = seen.track == LOST
    photons = (gen.kind == PHOTON) & (scene.em.of >= 0)
    lost[photons] = dark[scene.em.of[photons]]
    together = {}
    for name, channel, products in DECAYS:
        some = (decays.channel == channel) & (whole > 60) & (whole < 200)
        who = decays.members[some, :products]
        together |= {
            f"{name}, 60 to 200 GeV, all lost": float(lost[who].all(axis=1).mean()),
            f"{name}, if losses were independent": float(lost[who].mean(axis=0).prod()),
        }
    energy = scene.em.sums(scene.energy)
    near = (chain.before >= 0) & (chain.distance < 0.02) & (energy > 5)
    return {
        "charged RECO with the direction of a GEN particle": float(
            (seen.track == FOUND).sum() / (reco.charge != 0).sum()
        ),
        "charged RECO with eta of a GEN particle": float(
            (seen.track != LOST).sum() / (reco.charge != 0).sum()
        ),
        "photons in a cell that GEN photons enter": float(
            (seen.photon == FOUND).sum() / (reco.kind == PHOTON).sum()
        ),
        "neutral hadrons in a cell that GEN hadrons enter": float(
            seen.neutral.sum() / (reco.kind == NEUTRAL).sum()
        ),
        "particles left over per jet": float(seen.left.mean()),
        **together,
        "cells of photons above 5 GeV lost beside a lost one": float(
            dark[near & dark[chain.before]].mean()
        ),
        "the same beside one that is found": float(dark[near & ~dark[chain.before]].mean()),
    }


def speed(emulators: dict[str, Emulator], sample: Path, repeats: int) -> dict[str, Any]:
    """Jets per second of one core, from events in memory to events in memory, interleaved."""
    chunk = next(open_events(sample).chunks(size=TIMED)).events
    seconds: dict[str, list[float]] = {name: [] for name in emulators}
    speeds = []
    for repeat in range(repeats + 1):
        speeds.append(gflops(3))
        for name, emulator in emulators.items():
            begin = time.process_time()
            emulator.simulate(chunk, seed=repeat)
            if repeat:  # the first round warms up
                seconds[name].append(time.process_time() - begin)
    product = median(speeds)
    return {
        name: {
            "jets_per_second": len(chunk) / median(spent),
            "jets_per_second_over_GFLOP_per_second": len(chunk) / median(spent) / product,
            "GFLOP_per_second": product,
        }
        for name, spent in seconds.items()
    }


def described(emulator: Emulator) -> dict[str, Any]:
    """Size and training of an emulator."""
    network = emulator.parts[0].members[0]
    history = emulator.provenance["history"][emulator.parts[0].part.name][0]
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        **emulator.provenance["rows"][emulator.parts[0].part.name],
        "epochs": len(history),
        "training_minutes": sum(epoch["seconds"] for epoch in history) / 60,
        "validation_loss": min(epoch["validation"] for epoch in history),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="train again what is there")
    every = [*STUDIES, *FOLDS]
    parser.add_argument("--only", nargs="+", default=every, choices=every)
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each emulator")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sample = reference_sample("wjets_particles")
    emulators = {name: trained(name, sample, again=arguments.again) for name in arguments.only}
    shown = {name: emulator for name, emulator in emulators.items() if name in STUDIES}
    rates = speed(shown, sample, arguments.repeats)
    found = {name: judged(name, emulator, sample) for name, emulator in emulators.items()}
    parts = {name: emulators[name] for name in ("sets", *FOLDS) if name in emulators}
    folds = [found.pop(name) for name in FOLDS if name in found]
    record(
        "particles",
        {
            "sample": "wjets_particles.parquet",
            "threads": 1,
            "peak_memory_of_training_GiB": training_memory(sample),
            "structure": structure(emulators["sets"], sample),
            "training": {name: described(emulator) for name, emulator in shown.items()},
            "speed": rates,
            "widths of FullSim's response": widths_of_full(parts, sample),
            **found,
            "sets, folds": over_folds(folds),
        },
    )


def over_folds(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Each number of several folds, their mean and its error from their scatter."""
    first = folds[0] if folds else {}
    if all(isinstance(value, dict) for value in first.values()):
        return {key: over_folds([one[key] for one in folds]) for key in first}
    found = {}
    for key in first:
        values = [float(one[key]) for one in folds]
        error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
        found[key] = {"each": values, "mean": float(np.mean(values)), "error": error}
    return found


if __name__ == "__main__":
    main()
