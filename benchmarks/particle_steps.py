"""Fidelity against speed of jets as sets of particles: `python benchmarks/particle_steps.py`.

Flow matching on sets draws outcomes in rounds and numbers in steps of a solver; both may change
after training. The emulator is that of `particles.py`, trained if it is not there, and so are those
of the family `sets`, which has neither rounds nor steps, in two sizes (`--only` chooses).

Every point is judged on the test events: FastSim from the GEN of one half of them, one draw with
the same random numbers at every point, FullSim of the other half. The processor's seconds of that
draw give the rate (from events in memory to events in memory, one thread, after a warm-up), beside
the speed of a matrix product right before. Points that were judged before are not judged again.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco import open_events
from gen2reco.rows.spaces import GEN, RECO
from gen2reco.rows.splits import halves
from gen2reco.validation import Settings, assess
from gen2reco.validation.classifier import c2st
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.samples import emulated
from gen2reco.verbs.set_samples import jets_of
from particles import FEATURES, NULLS, TOLD_BY, as_sample, columns, trained
from record import MODELS, gflops, record, reference_sample

if TYPE_CHECKING:
    import awkward
    from numpy.typing import NDArray

    from gen2reco.emulator import Emulator
    from gen2reco.validation import Jets

    Numbers = NDArray[np.float64]

SOLVED = "set flow matching"
STEPS: dict[str, dict[str, Any]] = {
    "2 steps": {"steps": 2},
    "1 step": {"steps": 1},
    "4 steps": {"steps": 4},
    "8 steps": {"steps": 8},
    "16 steps": {"steps": 16},
    "1 step, Euler": {"steps": 1, "solver": "euler"},
    "2 steps, 1 round": {"rounds": 1},
    "2 steps, 2 rounds": {"rounds": 2},
    "2 steps, 8 rounds": {"rounds": 8},
}
"""Settings of the solver (midpoint, two calls per step, if nothing else is said)."""
OTHERS = ("sets", "sets, small")
WARM = 64
"""Events of the call before the timed one."""


def changed(emulator: Emulator, settings: dict[str, Any]) -> Emulator:
    """Return an emulator of the same weights with other settings of its solver."""
    (part,) = emulator.parts
    network = copy.copy(part.members[0])
    for name, value in settings.items():
        assert hasattr(network, name), f"no setting {name} of the solver"
        setattr(network, name, value)
    return replace(emulator, parts=(replace(part, members=(network,)),))


def point(emulator: Emulator, events: awkward.Array, full: Jets, gen: Jets) -> dict[str, Any]:
    """Return figures and rate of one setting on the test events; `full`, `gen`: their jets."""
    half = halves({n: np.asarray(events[n]) for n in ("run", "luminosityBlock", "event")})
    second = events[half == 1]
    emulated(emulator, second[:WARM], seed=1)
    speed = gflops(3)
    before = time.process_time()
    made = emulated(emulator, second, seed=1)
    seconds = time.process_time() - before
    fast, of_fast = (
        jets_of(emulator.study, emulator.study.parts[0], made, RECO),
        gen.take(half == 1),
    )
    settings = Settings(classifier_seeds=0, resplits=100, threads=1)
    ratios = {
        q.name: q.floor_ratio.value
        for q in assess(as_sample(full), half, as_sample(fast), settings=settings).quantities
        if q.floor_ratio is not None
    }
    told = c2st(
        columns(full, gen), half == 0, [columns(fast, of_fast)],
        Settings(classifier_seeds=1, classifier_resplits=NULLS, threads=1),
    )  # fmt: skip
    responses = {
        name: response(*(side.features[name] for side in (fast, full.take(half == 1), of_fast)))
        for name in ("pt", "mass")
    }
    return {
        "jets_per_second": len(second) / seconds,
        "GFLOP_per_second": speed,
        **{f"floor ratio, {name}": ratios[name] for name in TOLD_BY},
        "floor ratio, median": float(np.median([ratios[name] for name in FEATURES])),
        "classifier excess": told.excess.value,
        "classifier error": told.excess.error,
        **{
            f"response of {name}, {what}": value
            for name, found in responses.items()
            for what, value in found.items()
        },
    }


def response(fast: Numbers, full: Numbers, gen: Numbers) -> dict[str, float]:
    """Compare RECO over GEN on the same jets: shift of the median in widths, ratio of widths."""
    quantiles = [np.quantile(side / gen, [0.16, 0.5, 0.84]) for side in (fast, full)]
    widths = [(high - low) / 2 for low, _, high in quantiles]
    shift = (quantiles[0][1] - quantiles[1][1]) / widths[1]
    return {"shift": float(shift), "width_ratio": float(widths[0] / widths[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[SOLVED, *OTHERS], help="settings to judge")
    parser.add_argument("--points", nargs="+", default=list(STEPS), choices=list(STEPS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sample = reference_sample("wjets_particles")
    kept = MODELS / "particle-steps.json"
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    result: dict[str, Any] = {}
    for name in arguments.only:
        emulator = trained(name, sample, again=False)
        events = read_judged(emulator, open_events(sample), test_only=True).events
        full, gen = (
            jets_of(emulator.study, emulator.study.parts[0], events, side) for side in (RECO, GEN)
        )
        for what in arguments.points if name == SOLVED else [""]:
            label = f"{name}, {what}" if what else name
            key = f"{emulator.digest} {what}"
            if key not in known:
                known[key] = point(changed(emulator, STEPS.get(what, {})), events, full, gen)
                kept.write_text(json.dumps(known, allow_nan=False), encoding="utf-8")
            result[label] = known[key]
            print(label, json.dumps(result[label]))
    record("particle_steps", {"sample": "wjets_particles.parquet", "threads": 1, "curve": result})


if __name__ == "__main__":
    main()
