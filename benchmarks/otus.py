"""Detector learned without pairs, against OTUS and against pairs: `python benchmarks/otus.py`.

Trains the studies of a process (ours, the faithful OTUS, the flow on pairs) and judges them on the
test events beside the identity (x = z) and Gaussian smearing. Emulators stay in
`benchmarks/models`; one that is there is not trained again, an interrupted training goes on.

Distributions are compared between simulated RECO of one half of the test events and true RECO of
the other half; the null compares true RECO of both halves. Every figure is the median over the same
random re-splits; `repeated` says how far ours moves with other draws and other re-splits. Responses
compare simulated and true RECO with GEN event by event, which training
without pairs never saw. One thread; training times are the processor's seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import spearmanr

from gen2reco import load_emulator, load_study, open_events, train
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, TRAIN, halves, split
from gen2reco.validation.distances import kolmogorov, w2_squared
from gen2reco.validation.sliced import directions, sliced_w2
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.samples import emulated
from otus_kinematics import Tops, eta, mass, phi, pt
from record import MODELS, RESULTS, record, reference_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import awkward as ak
    from numpy.typing import NDArray

    from gen2reco.emulator import Emulator
    from gen2reco.study import Study

    Numbers = NDArray[np.float64]

SPLITS = 20
SEED = 7
REPEATS = 10
"""Further draws of the emulator, each with re-splits of its own."""
SLICE_SPLITS = 5
SLICES = 200
BINS = 50
"""Bins of the chi2, between the 0.5 % and 99.5 % quantiles of the truth."""


@dataclass(frozen=True)
class Selection:
    """Which events are learned, beside the study's own selection.

    Attributes:
        name: of the selection.
        inside: condition on RECO of the events that are learned.
        epochs: factor on the study's number of epochs: as many steps on fewer rows.
    """

    name: str
    inside: str
    epochs: int = field(default=1, kw_only=True)


@dataclass(frozen=True)
class Region(Selection):
    """A control region: what is learned there is applied to the events outside.

    Attributes:
        outside: function of GEN momenta that tells the events outside.
    """

    outside: Callable[[Numbers], NDArray[np.bool_]]

    @property
    def how(self) -> str:
        """How tables call what was trained there."""
        return f"ours, from {self.name}"


@dataclass(frozen=True)
class Process:
    """What is compared for one process.

    Attributes:
        sample: name of the reference sample.
        studies: name of a method -> name of its study.
        gen: objects of the study on the GEN side, in the order of `reco`.
        reco: objects on the RECO side.
        derived: names -> function of four-momenta [n, objects, 4] (px, py, pz, E).
        limits: smallest pt and largest |eta| per RECO object; 0: none.
        written: definitions that hold for simulated events: objects are what was written, whether
            inside the thresholds or not.
        regions: control regions to train in.
        within: selection of the events that all methods learn and are judged on; None: the studies'
            own.
    """

    sample: str
    studies: Mapping[str, str]
    gen: tuple[str, ...]
    reco: tuple[str, ...]
    derived: Mapping[str, Callable[[Numbers], Numbers]]
    limits: tuple[tuple[float, float], ...]
    written: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    within: Selection | None = None


TTBAR = Process(
    "ttbar_partons",
    {"ours": "ttbar", "OTUS": "ttbar-otus", "flow on pairs": "ttbar-paired"},
    ("gen_electron", "gen_neutrino", "gen_b", "gen_bbar", "gen_up", "gen_down"),
    ("electron", "MET", "jet_1", "jet_2", "jet_3", "jet_4"),
    {
        "m_tt": lambda p: mass(p, *range(6)),
        "m_W hadronic": lambda p: Tops.of(p).hadronic_w,
        "m_t hadronic": lambda p: Tops.of(p).hadronic_top,
        "m_W leptonic, transverse": lambda p: Tops.of(p).leptonic_w,
        "m_t leptonic": lambda p: Tops.of(p).leptonic_top,
    },
    ((10.0, 2.5), (0.0, 0.0), *([(20.0, 4.5)] * 4)),
    written={"jets": "where(Jet, pt > 0)"},
)
PROCESSES = {
    "zee": Process(
        "zee",
        {"ours": "zee", "OTUS": "zee-otus", "flow on pairs": "zee-paired"},
        ("gen_minus", "gen_plus"),
        ("minus", "plus"),
        {
            "m_Z": lambda p: mass(p, 0, 1),
            "pt_Z": lambda p: np.hypot(*p[:, :, :2].sum(1).T),
        },
        ((10.0, 2.5), (10.0, 2.5)),
        regions=(
            Region(
                "low-pt", "pt(minus, plus) < 15", lambda p: np.hypot(*p[:, :, :2].sum(1).T) > 15
            ),
            Region(
                "peak",
                "abs(mass(minus, plus) - 91) < 10",
                lambda p: np.abs(mass(p, 0, 1) - 91) > 10,
            ),
        ),
    ),
    "ttbar": TTBAR,
    "ttbar, exactly four jets": replace(
        TTBAR,
        studies={how: study for how, study in TTBAR.studies.items() if how != "OTUS"},
        within=Selection("four-jets", "count(jets) == 4", epochs=3),
    ),
}


def momenta_of(
    events: ak.Array,
    study: Study,
    names: tuple[str, ...],
    written: Mapping[str, str] | None = None,
) -> Numbers:
    """px, py, pz, E of named objects of a study, [n, objects, 4]; MET has pz = 0."""
    space = Namespace(events, {**study.define, **(written or {})})

    def column(name: str, part: str) -> Numbers:
        found = space.evaluate(f"{name}.{part}")
        assert found.valid.all(), f"an event has no {name}"
        return np.asarray(found.values, np.float64)

    fields = ("px", "py", "pz", "energy")
    return np.stack([np.stack([column(n, f) for f in fields], 1) for n in names], 1)


def quantities(process: Process, momenta: Numbers) -> dict[str, Numbers]:
    """Components and derived quantities by name."""
    found = {
        f"{name} {component}": momenta[:, i, k]
        for i, name in enumerate(process.reco)
        for k, component in enumerate(("px", "py", "pz", "E"))
        if not (name == "MET" and component == "pz")
    }
    found |= {f"{name} pt": pt(momenta[:, i]) for i, name in enumerate(process.reco)}
    return found | {name: derive(momenta) for name, derive in process.derived.items()}


def chi2(first: Numbers, second: Numbers) -> float:
    """Two-sample chi2 per degree of freedom; `second` is the truth that sets the bins."""
    edges = np.linspace(*np.quantile(second, [0.005, 0.995]), BINS + 1)
    a, b = np.histogram(first, edges)[0], np.histogram(second, edges)[0]
    used = a + b > 10
    ratio = np.sqrt(len(second) / len(first))
    return float(np.mean((a[used] * ratio - b[used] / ratio) ** 2 / (a + b)[used]))


def compared(truth: Numbers, other: Numbers, resplits: list[Numbers]) -> dict[str, float]:
    """KS, W2^2 and chi2/dof of another sample of the same events against the truth."""
    found: dict[str, list[float]] = {"w2_squared": [], "chi2_ndf": []}
    half = len(truth) // 2
    for order in resplits:
        pair = other[order[:half]], truth[order[half:]]
        found["w2_squared"].append(w2_squared(*pair))
        found["chi2_ndf"].append(chi2(*pair))
    medians = {name: float(np.median(values)) for name, values in found.items()}
    return {"ks": ks(truth, other, resplits), **medians}


def ks(truth: Numbers, other: Numbers, resplits: list[Numbers]) -> float:
    """Median KS of one half of another sample of the same events against the truth's other."""
    half = len(truth) // 2
    return float(
        np.median([kolmogorov(other[order[:half]], truth[order[half:]])[0] for order in resplits])
    )


def sliced(truth: Numbers, other: Numbers, resplits: list[Numbers]) -> float:
    """Mean W2^2 along random directions of all four-momenta, GeV^2."""
    flat, made = (values.reshape(len(values), -1) for values in (truth, other))
    along = directions(flat.shape[1], SLICES, np.random.default_rng(3))
    half = len(truth) // 2
    found = [
        sliced_w2(made[order[:half]], flat[order[half : 2 * half]], along)
        for order in resplits[:SLICE_SPLITS]
    ]
    return float(np.median(found))


def response(process: Process, gen: Numbers, reco: Numbers) -> dict[str, dict[str, float]]:
    """Median and half 68 % width of RECO over GEN energy; of jets with a parton within 0.4."""
    found = {}
    for i, name in enumerate(process.reco):
        if name == "MET":
            continue
        partner, near = gen[:, i], np.ones(len(gen), np.bool_)
        if name.startswith("jet"):
            distance = np.hypot(
                eta(gen[:, 2:]) - eta(reco[:, i])[:, None],
                np.angle(np.exp(1j * (phi(gen[:, 2:]) - phi(reco[:, i])[:, None]))),
            )
            nearest = distance.argmin(1)
            partner = gen[np.arange(len(gen)), 2 + nearest]
            near = distance.min(1) < 0.4
        ratio = reco[near, i, 3] / partner[near, 3]
        low, middle, high = np.quantile(ratio, [0.159, 0.5, 0.841])
        found[name] = {
            "median": float(middle),
            "half_width": float(high - low) / 2,
            "share": float(near.mean()),
        }
    return found


def inside(process: Process, momenta: Numbers) -> float:
    """Share of events with every object inside its thresholds."""
    kept = np.ones(len(momenta), np.bool_)
    for i, (least, most) in enumerate(process.limits):
        kept &= pt(momenta[:, i]) >= least
        if most:
            kept &= np.abs(eta(momenta[:, i])) <= most
    return float(kept.mean())


def judged(
    process: Process,
    gen: Numbers,
    truth: Numbers,
    made: Numbers,
    resplits: list[Numbers],
) -> dict[str, Any]:
    """Everything about one simulated sample."""
    true, simulated = quantities(process, truth), quantities(process, made)
    return {
        "quantities": {name: compared(true[name], simulated[name], resplits) for name in true},
        "sw2_squared": sliced(truth, made, resplits),
        "response": response(process, gen, made),
        "inside_thresholds": inside(process, made),
        "rank_correlation": {
            name: float(spearmanr(made[:, i, 3], truth[:, i, 3])[0])
            for i, name in enumerate(process.reco)
        },
    }


def smeared(gen: Numbers, gen_train: Numbers, reco_train: Numbers, start: Numbers) -> Numbers:
    """GEN scaled by normal numbers with median and width of the true response in training."""
    rng = np.random.default_rng(4)
    made = start.copy()
    for i in range(gen.shape[1]):
        ratio = reco_train[:, i, 3] / gen_train[:, i, 3]
        low, middle, high = np.quantile(ratio, [0.159, 0.5, 0.841])
        factor = rng.normal(middle, (high - low) / 2, len(gen)).clip(0.05)
        made[:, i] *= factor[:, None]
    return made


def as_reco(process: Process, gen: Numbers) -> Numbers:
    """GEN taken as RECO: MET without pz, jets by falling pt."""
    made = gen.copy()
    for i, name in enumerate(process.reco):
        if name == "MET":
            made[:, i, 2] = 0.0
            made[:, i, 3] = pt(made[:, i])
    jets = [i for i, name in enumerate(process.reco) if name.startswith("jet")]
    if jets:
        order = np.argsort(-pt(made[:, jets]), axis=1)
        made[:, jets] = np.take_along_axis(made[:, jets], order[..., None], 1)
    return made


def trained_emulator(
    study: str, sample: Path, learned: Selection | None = None
) -> tuple[Emulator, float]:
    """The emulator of a study and the processor's seconds that its training took.

    Args:
        study: its name.
        sample: file of events.
        learned: the events that are learned; None: the study's own.
    """
    name = f"{study}-{learned.name}" if learned else study
    path, clock = MODELS / name, MODELS / f"{name}.seconds.json"
    if not path.exists():
        overrides: dict[str, Any] = {}
        if learned:
            own = load_study(study)
            overrides["select"] = f"({own.select}) and {learned.inside}"
            overrides["training.epochs"] = own.training.epochs * learned.epochs
        begin = time.process_time()
        train(study, sample, path, overrides=overrides, resume=True)
        clock.write_text(json.dumps(time.process_time() - begin))
    seconds = json.loads(clock.read_text()) if clock.exists() else 0.0
    return load_emulator(path), seconds


def run(name: str) -> dict[str, Any]:
    """Train and judge all methods of one process."""
    process = PROCESSES[name]
    sample = reference_sample(process.sample)
    emulators = {
        how: trained_emulator(study, sample, process.within)
        for how, study in process.studies.items()
    }
    for region in process.regions:
        emulators[region.how] = trained_emulator(process.studies["ours"], sample, region)
    emulator, _ = emulators["ours"]
    study, source = emulator.study, open_events(sample)
    events = read_judged(emulator, source, test_only=False).events
    part = split(
        {key: np.asarray(events[key]) for key in ("run", "luminosityBlock", "event")}, study.split
    )
    learned, test = events[part == TRAIN], events[part == TEST]
    gen, truth = momenta_of(test, study, process.gen), momenta_of(test, study, process.reco)
    start = as_reco(process, gen)
    samples = {
        "identity": start,
        "Gaussian smearing": smeared(
            gen,
            as_reco(process, momenta_of(learned, study, process.gen)),
            momenta_of(learned, study, process.reco),
            start,
        ),
    }
    unfolded = {"null": gen, "RECO": truth}
    for how, (one, _) in emulators.items():
        samples[how] = momenta_of(
            emulated(one, test, seed=SEED), one.study, process.reco, process.written
        )
        if one.unfolds:
            back = one.backward()
            unfolded[how] = momenta_of(back.simulate(test, seed=SEED), back.study, process.gen)
    rng = np.random.default_rng(2)
    resplits = [rng.permutation(len(gen)) for _ in range(SPLITS)]
    results: dict[str, Any] = {
        "test_events": len(gen),
        "events": source.entries,
        "events_with_reco": len(events) / source.entries,
        "training_rows": {
            how: one.provenance["rows"]["event"]["training"] for how, (one, _) in emulators.items()
        },
        "training_cpu_seconds": {how: round(s, 1) for how, (_, s) in emulators.items() if s},
        "null": judged(process, gen, truth, truth, resplits),
        "methods": {
            how: judged(process, gen, truth, made, resplits) for how, made in samples.items()
        },
        "unfolding": {
            how: {
                name: compared(derive(gen), derive(made), resplits)
                for name, derive in process.derived.items()
                if not name.startswith("m_W") and not name.startswith("m_t ")
            }
            for how, made in unfolded.items()
        },
    }
    results["unfolding_sw2_squared"] = {
        how: sliced(gen, made, resplits) for how, made in unfolded.items()
    }
    again = [
        momenta_of(
            emulated(emulator, test, seed=SEED + 1 + number), study, process.reco, process.written
        )
        for number in range(REPEATS)
    ]
    results["repeated"] = repeated(process, truth, again)
    results["outside"] = {
        region.name: outside(region, gen, truth, samples) for region in process.regions
    }
    return results


def repeated(process: Process, truth: Numbers, again: list[Numbers]) -> dict[str, dict[str, float]]:
    """KS over the null of further draws, each with re-splits of its own: mean and deviation.

    The test events are the same in all of them: what other test events would change is not in it.
    """
    true = quantities(process, truth)
    ratios: dict[str, list[float]] = {name: [] for name in true}
    for number, made in enumerate(again):
        rng = np.random.default_rng([6, number])
        resplits = [rng.permutation(len(truth)) for _ in range(SPLITS)]
        for name, values in quantities(process, made).items():
            null, found = (ks(true[name], other, resplits) for other in (true[name], values))
            ratios[name].append(found / null)
    return {
        name: {
            "mean": float(np.mean(values)),
            "error of the mean": float(np.std(values, ddof=1) / np.sqrt(len(values))),
            "deviation of one": float(np.std(values, ddof=1)),
        }
        for name, values in ratios.items()
    }


def outside(
    region: Region, gen: Numbers, truth: Numbers, simulated: dict[str, Numbers]
) -> dict[str, dict[str, float]]:
    """KS over the null for the events outside a control region, by quantity and method."""
    beyond = region.outside(gen)
    rng = np.random.default_rng(5)
    resplits = [rng.permutation(int(beyond.sum())) for _ in range(SPLITS)]
    kept = {"ours": simulated["ours"], region.how: simulated[region.how]}
    rows = {}
    for name, derive in {
        "m_Z": lambda p: mass(p, 0, 1),
        "pt of the electron": lambda p: pt(p[:, 0]),
    }.items():
        true = derive(truth[beyond])
        null = ks(true, true, resplits)
        ratios = {
            how: ks(true, derive(made[beyond]), resplits) / null for how, made in kept.items()
        }
        rows[name] = {"events": int(beyond.sum()), "null": null, **ratios}
    return rows


def variable_jets() -> dict[str, dict[str, float]]:
    """Four to six jets (study `ttbar-jets`): their number and the pt of those that not all have.

    The error of a share and the KS of the null are those of half of the test events.
    """
    emulator, _ = trained_emulator("ttbar-jets", reference_sample("ttbar_partons"))
    study, source = emulator.study, open_events(reference_sample("ttbar_partons"))
    test = read_judged(emulator, source, test_only=True).events
    made = emulated(emulator, test, seed=7)
    side = halves({name: np.asarray(test[name]) for name in ("run", "luminosityBlock", "event")})

    def pt_of(events: ak.Array, half: int, place: int) -> Numbers:
        found = Namespace(events[side == half], study.define).evaluate(f"nth(jets, {place}).pt")
        return np.asarray(found.values, np.float64)[found.valid]

    first, second, fast = (
        [pt_of(*which, place) for place in range(6)] for which in ((test, 0), (test, 1), (made, 1))
    )
    rows: dict[str, dict[str, float]] = {}
    for place in (4, 5):
        share = [len(pts[place]) / len(pts[0]) for pts in (first, second, fast)]
        rows[f"share with jet {place + 1}"] = {
            "truth, first half": share[0],
            "truth, second half": share[1],
            "ours": share[2],
            "error": float(np.sqrt(share[0] * (1 - share[0]) / len(first[0]))),
        }
        rows[f"KS of the pt of jet {place + 1}"] = {
            "truth, second half": kolmogorov(second[place], first[place])[0],
            "ours": kolmogorov(fast[place], first[place])[0],
        }
    return rows


def tables(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of a process as tables: name -> row -> method -> figure."""
    null, methods = result["null"], result["methods"]
    everything = {"null": null, **methods}
    found: dict[str, dict[str, Any]] = {
        "samples": {
            "sample": {"events": result["events"]},
            "with all objects in RECO": {
                "events": round(result["events_with_reco"] * result["events"]),
                "share": result["events_with_reco"],
            },
            "test events": {"events": result["test_events"]},
            **{
                f"training rows, {how}": {"events": rows}
                for how, rows in result["training_rows"].items()
            },
        },
        "processor seconds of training": {
            how: {"seconds": seconds} for how, seconds in result["training_cpu_seconds"].items()
        },
        "KS over the median of the null": {
            name: {"null": one["ks"]}
            | {how: made["quantities"][name]["ks"] / one["ks"] for how, made in methods.items()}
            for name, one in null["quantities"].items()
        },
    }
    found["KS over the median of the null, ours with other draws and re-splits"] = result[
        "repeated"
    ]
    for title, key in (("W2 squared [GeV squared]", "w2_squared"), ("chi2 per bin", "chi2_ndf")):
        found[title] = {
            name: {how: made["quantities"][name][key] for how, made in everything.items()}
            for name in null["quantities"]
        }
    found["W2 squared [GeV squared]"]["sliced, all momenta"] = {
        how: made["sw2_squared"] for how, made in everything.items()
    }
    found["physicality"] = {
        f"response of {name}, {key.replace('_', ' ')}": {
            "truth": truth[key],
            **{how: made["response"][name][key] for how, made in methods.items()},
        }
        for name, truth in null["response"].items()
        for key in ("median", "half_width", "share")
    }
    found["physicality"] |= {
        f"rank correlation with the truth, {name}": {
            how: made["rank_correlation"][name] for how, made in methods.items()
        }
        for name in null["rank_correlation"]
    }
    found["physicality"]["share inside the thresholds"] = {
        "truth": null["inside_thresholds"],
        **{how: made["inside_thresholds"] for how, made in methods.items()},
    }
    unfolded = result["unfolding"]
    found["unfolding, KS"] = {
        name: {how: made[name]["ks"] for how, made in unfolded.items()} for name in unfolded["null"]
    }
    found["unfolding, W2 squared [GeV squared]"] = {
        "sliced, all momenta": result["unfolding_sw2_squared"]
    }
    for name, rows in result["outside"].items():
        found[f"outside the control region {name}, KS over the null"] = rows
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PROCESSES, help="processes; default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = RESULTS / "otus.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in arguments.only or PROCESSES:
        made = {f"{name}: {title}": rows for title, rows in tables(run(name)).items()}
        if name == "ttbar":
            made["ttbar: four to six jets"] = variable_jets()
        others = {
            title: rows
            for title, rows in results.items()
            if title.partition(": ")[0] in set(PROCESSES) - {name}
        }
        results = others | made
        record("otus", results)


if __name__ == "__main__":
    main()
