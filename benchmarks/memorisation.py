"""Do emulators hand back their training events? `python benchmarks/memorisation.py`.

The distance from a FastSim event to its nearest training event, over that to its nearest test
event, in all quantities and responses at once: 1 within its error, smaller where events were
learned by heart. FastSim is made from the GEN of one half of the test events, or without GEN, and
the test events are those of the other half. Needs the emulators that `fidelity.py`, `flashsim.py`
and `zgamma.py` train; one that is not there is left out, and said.
"""

from __future__ import annotations

import numpy as np
import torch

from gen2reco import load_emulator, open_events
from gen2reco.rows.splits import TEST, TRAIN, halves, split
from gen2reco.validation import memorisation
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.samples import emulated, judged_columns
from record import MODELS, record, reference_sample, say
from zgamma_judging import full_features, made_features

PAIRED = {"wjet": "wjet", "hmumu-fold-1": "hmumu"}
"""Emulator -> reference sample."""
GENERATORS = ("zgamma-1", "zgamma-vae-1", "zgamma-vae-nf-1", "zgamma-copula-1")
SEED = 1


def paired(model: str, sample: str) -> dict[str, np.ndarray]:
    """Rows of FastSim, training part and test part of an emulator that is given GEN."""
    emulator = load_emulator(MODELS / model)
    events = read_judged(emulator, open_events(reference_sample(sample)), test_only=False).events
    keys = {name: np.asarray(events[name]) for name in ("run", "luminosityBlock", "event")}
    part, half = split(keys, emulator.study.split), halves(keys)
    made = emulated(emulator, events[(part == TEST) & (half == 1)], seed=SEED)
    sides = {
        "fast": made,
        "train": events[part == TRAIN],
        "test": events[(part == TEST) & (half == 0)],
    }
    found = {}
    for name, side in sides.items():
        _, _, quantities, responses = judged_columns(emulator.study, side)
        rows = np.stack([*quantities.values(), *responses.values()], axis=1)
        found[name] = rows[np.isfinite(rows).all(axis=1)]
    return found


def generated(model: str) -> dict[str, np.ndarray]:
    """The same of a generator."""
    full, part, half = full_features()
    rows = np.stack(list(full.values()), axis=1)
    test = rows[(part == TEST) & (half == 0)]
    made = made_features(load_emulator(MODELS / "zgamma" / model), len(test), SEED)
    return {
        "fast": np.stack([made[name] for name in full], axis=1),
        "train": rows[part == TRAIN],
        "test": test,
    }


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for model in (*PAIRED, *GENERATORS):
        folder = MODELS / model if model in PAIRED else MODELS / "zgamma" / model
        if not folder.exists():
            say(f"left out: {folder} is not there; its own benchmark trains it")
            continue
        rows = paired(model, PAIRED[model]) if model in PAIRED else generated(model)
        ratio = memorisation(rows["fast"], rows["train"], rows["test"], seed=SEED)
        found[model] = {
            "distance to training over distance to test": ratio.value,
            "error": ratio.error,
            **{f"{name} events": len(side) for name, side in rows.items()},
            "columns": rows["fast"].shape[1],
        }
        say(f"{model}: {ratio.value:.4f} +- {ratio.error:.4f}")
    record("memorisation", {"emulators": found})


if __name__ == "__main__":
    main()
