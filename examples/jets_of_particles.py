"""Jets as sets of particles, from training to a picture, in a minute.

    python examples/jets_of_particles.py -o jets [-i wjets.parquet]

Trains a small setting of the study `wjets-particles` on the jets that are bundled (or on your own),
simulates the jets that training did not see, and shows one of them before and behind the detector.
1 600 jets are enough to see how it works and too few for physics.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import awkward as ak
import matplotlib.figure
import numpy as np

import gen2reco
from gen2reco.rows.splits import TEST, split
from gen2reco.verbs.train import bundled_sample

SMALL = {
    "parts.0.model.hidden": [24, 24],
    "parts.0.model.couplings": 1,
    "training.epochs": 12,
    "training.batch": 32,
}


def pt_of_jets(particles: ak.Array) -> np.ndarray:
    """Return pt of the sum of each jet's particles, GeV."""
    px = ak.sum(particles.pt * np.cos(particles.phi), axis=1)
    py = ak.sum(particles.pt * np.sin(particles.phi), axis=1)
    return np.hypot(ak.to_numpy(px), ak.to_numpy(py))


def held_back(events: ak.Array, study: gen2reco.Study) -> ak.Array:
    """Return the jets of the test part."""
    names = ("run", "luminosityBlock", "event")
    return events[split({name: ak.to_numpy(events[name]) for name in names}, study.split) == TEST]


def draw(sides: dict[str, ak.Array], path: Path) -> None:
    """Draw one jet as seen by each side: a disc per particle, its area as pt."""
    figure = matplotlib.figure.Figure(figsize=(4 * len(sides), 4), layout="tight")
    panels = figure.subplots(1, len(sides), sharex=True, sharey=True)
    for axes, (name, jet) in zip(panels, sides.items(), strict=True):
        for charged, colour in ((True, "tab:blue"), (False, "tab:orange")):
            chosen = jet[(jet.charge != 0) == charged]
            axes.scatter(chosen.eta, chosen.phi, s=8 * chosen.pt, c=colour, alpha=0.5)
        axes.set(title=f"{name}: {len(jet)} particles", xlabel="eta")
    panels[0].set_ylabel("phi")
    figure.suptitle("charged particles blue, neutral ones orange")
    figure.savefig(path, dpi=90)


def main(output: Path, files: list[str]) -> tuple[float, float]:
    """Return the median response of jet pt in FullSim and in FastSim."""
    output.mkdir(parents=True, exist_ok=True)
    made = gen2reco.train(
        "wjets-particles", files, output / "model", overrides=SMALL, overwrite=True
    )
    emulator = made.emulator
    source = gen2reco.open_events(files or bundled_sample("wjets-particles"))
    full = held_back(next(source.chunks()).events, emulator.study)
    fast = emulator.simulate(full, seed=1)
    gen = pt_of_jets(full.GenPFCand)
    responses = [float(np.median(pt_of_jets(side.PFCand) / gen)) for side in (full, fast)]
    print("median response of jet pt: FullSim {:.3f}, FastSim {:.3f}".format(*responses))
    sides = {"GEN": full.GenPFCand[0], "FullSim": full.PFCand[0], "FastSim": fast.PFCand[0]}
    draw(sides, output / "jet.png")
    return responses[0], responses[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("jets"))
    parser.add_argument("-i", "--input", nargs="*", default=[])
    arguments = parser.parse_args()
    main(arguments.output, arguments.input)
