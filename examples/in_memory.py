"""RECO for GEN events that a program has in memory, one batch after the other.

    python examples/in_memory.py model

`generate` stands for a program of your own: a loop over a generator, or arrays that an analysis has
read. What `model` (an emulator of the study `hmumu`) needs are awkward arrays with the names of
NanoAOD, in GeV, and three numbers that identify an event; RECO is a function of these numbers and
the seed, so a repeated event gets the same RECO.
"""

from __future__ import annotations

import sys

import awkward as ak
import numpy as np

import gen2reco


def generate(first: int, number: int) -> ak.Array:
    """Make toy events: two muons back to back and two forward jets."""
    rng = np.random.default_rng(first)
    turn = rng.uniform(0, 2 * np.pi, (number, 1))
    pt = np.concatenate([25 + rng.exponential(30, (number, 2)), [[60, 40]] * number], axis=1)
    eta = np.concatenate([rng.normal(0, 1, (number, 2)), [[-2.5, 2.5]] * number], axis=1)
    phi = np.mod(turn + np.array([0, np.pi, 1.5, 1.5 + np.pi]), 2 * np.pi) - np.pi

    def per_object(*values: float) -> np.ndarray:
        return np.tile(values, (number, 1))

    muons = {
        "pt": pt[:, :2],
        "eta": eta[:, :2],
        "phi": phi[:, :2],
        "mass": per_object(0.10566, 0.10566),
        "pdgId": per_object(13, -13),
        "isPrompt": per_object(1, 1),
    }
    # Whatever leaves energy in the detector is in a GEN jet, muons too.
    jets = {
        "pt": pt,
        "eta": eta,
        "phi": phi,
        "mass": per_object(0.2, 0.2, 8, 8),
        "nConstituents": per_object(1, 1, 25, 25),
        "partonFlavour": per_object(0, 0, 2, 1),
        "hadronFlavour": per_object(0, 0, 0, 0),
        "nBHadrons": per_object(0, 0, 0, 0),
        "nCHadrons": per_object(0, 0, 0, 0),
        "leadMuonPt": pt * [[1, 1, 0, 0]],
    }
    return ak.Array(
        {
            "run": np.full(number, 1),
            "luminosityBlock": np.full(number, 1 + first // 1000),
            "event": first + np.arange(number),
            "GenPart": ak.zip(muons),
            "GenJet": ak.zip(jets),
            "GenMET": ak.zip({"pt": rng.exponential(5, number), "phi": phi[:, 0]}),
        }
    )


def main(model: str) -> list[ak.Array]:
    """Simulate three batches of toy events."""
    emulator = gen2reco.load_emulator(model)
    batches = []
    for first in (0, 500, 1000):
        gen = generate(first, 500)
        reco = emulator.simulate(gen, seed=7, oversample=2, keep=["GenMET_pt"])
        print(
            f"events from {first}: {ak.mean(ak.num(reco.Muon)):.2f} muons,"
            f" {ak.mean(ak.num(reco.Jet)):.2f} jets, MET {ak.mean(reco.MET.pt):.1f} GeV"
        )
        batches.append(reco)
    return batches


if __name__ == "__main__":
    main(sys.argv[1])
