"""H -> mu mu with coffea: one analysis of NanoAOD for FullSim and for simulated events.

    gen2reco simulate model hmumu.parquet -o fast.root --oversample 5
    python -c "import gen2reco as g; g.write_events('full.root', g.open_events('hmumu.parquet'))"
    python examples/hmumu_analysis.py full.root fast.root -o plots

The second line writes the FullSim sample as NanoAOD. `plots` then has one picture per observable,
and the expected events of each step of the selection are printed.

Selection: two muons of opposite charge, relative isolation below 0.25, pt > 20 GeV, |eta| < 2.4;
jets of pt > 25 GeV, |eta| < 4.7, further than 0.4 from both muons, the leading one above 35 GeV;
VBF: m_jj > 400 GeV and |d eta_jj| > 2.5.

The discriminant is D = C (1 - R), between 0 and 1 and large for VBF: C = exp(-4 (y* / d eta_jj)^2)
says how central the muon pair lies between the jets, with y* the rapidity of the pair relative to
the middle of the jets; R = |sum of pt vectors| / sum of pt of muon pair and jets, how little they
balance.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import awkward as ak
import hist
import matplotlib.pyplot as plt
import mplhep
import numpy as np
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

from gen2reco.validation import histogram

EXPECTED = 0.78 * 300
"""Events for 300 / fb: the cross section of the reference sample is 0.78 fb."""

OBSERVABLES = {
    "m_mumu": (r"$m_{\mu\mu}$ [GeV]", np.linspace(110, 140, 31)),
    "jet_pt": (r"$p_\mathrm{T}$ of jets [GeV]", np.linspace(25, 325, 31)),
    "m_jj": (r"$m_\mathrm{jj}$ [GeV]", np.linspace(0, 2400, 25)),
    "deta_jj": (r"$|\Delta\eta_\mathrm{jj}|$", np.linspace(0, 8, 25)),
    "m_mumu_vbf": (r"$m_{\mu\mu}$, VBF [GeV]", np.linspace(110, 140, 31)),
    "d_vbf": (r"discriminant $C\,(1-R)$, VBF", np.linspace(0, 1, 21)),
}
"""Name -> label and edges of the bins."""


class Schema(NanoAODSchema):
    """NanoAOD without warnings for what is not in the file, and with our charge of jets."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar = {
        name: item for name, item in NanoAODSchema.full_like_items.items() if name != "Jet_charge"
    }


@dataclass(frozen=True)
class Analysis:
    """What the analysis finds in one file.

    Attributes:
        histograms: observable -> expected events per bin, with variances.
        steps: step of the selection -> expected events and their statistical error.
    """

    histograms: dict[str, hist.Hist]
    steps: dict[str, tuple[float, float]]


def analyse(path: str | Path) -> Analysis:
    """Run the analysis on a NanoAOD file, with the weights and replicas it may have."""
    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=Schema).events()
    if "member" in events.fields:
        events = events[events.member == 0]  # each member of an ensemble is a whole sample
    with uproot.open(path) as file:
        generated = float(np.sum(file["Runs/genEventSumw"].array(library="np")))
    name = next((n for n in ("weight", "genWeight") if n in events.fields), None)
    weight = np.ones(len(events)) if name is None else np.asarray(events[name], np.float64)
    weight *= EXPECTED / generated
    # Replicas of one GEN event share its numbers; they are not independent.
    numbers = [np.asarray(events[name]) for name in ("run", "luminosityBlock", "event")]
    origin = np.unique(np.stack(numbers), axis=1, return_inverse=True)[1].reshape(-1)

    values, steps = observe(events)
    histograms = {}
    for name, (label, edges) in OBSERVABLES.items():
        entries = values[name][1]
        bins = histogram(values[name][0], weight[entries], origin[entries], edges)
        axis = hist.axis.Variable(edges, name=name, label=label, overflow=False, underflow=False)
        histograms[name] = hist.Hist(axis, storage=hist.storage.Weight())
        histograms[name][...] = np.stack(bins, axis=-1)
    one = np.array([-0.5, 0.5])
    passed = {}
    for step, entries in steps.items():
        content, variance = histogram(np.zeros(len(entries)), weight[entries], origin[entries], one)
        passed[step] = (float(content[0]), float(np.sqrt(variance[0])))
    return Analysis(histograms, passed)


def observe(events: Any) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, np.ndarray]]:
    """Select events and compute the observables.

    Returns:
        Observable -> values and the entries of `events` that they belong to; step of the selection
        -> entries that pass.
    """
    values: dict[str, tuple[Any, np.ndarray]] = {}
    steps = {"all": np.arange(len(events))}

    muons = events.Muon
    muons = muons[(muons.pfRelIso04_all < 0.25) & (muons.pt > 20) & (abs(muons.eta) < 2.4)]
    pair = ak.num(muons) >= 2
    muons, jets, entry = muons[pair], events.Jet[pair], steps["all"][pair]
    opposite = muons.charge[:, 0] * muons.charge[:, 1] < 0
    muons, jets, entry = muons[opposite], jets[opposite], entry[opposite]
    mu1, mu2 = muons[:, 0], muons[:, 1]
    dimuon = mu1 + mu2
    values["m_mumu"] = dimuon.mass, entry
    steps["two muons"] = entry

    jets = jets[(jets.pt > 25) & (abs(jets.eta) < 4.7)]
    jets = jets[(jets.delta_r(mu1) > 0.4) & (jets.delta_r(mu2) > 0.4)]
    values["jet_pt"] = ak.flatten(jets.pt), np.repeat(entry, ak.num(jets))

    two = (ak.num(jets) >= 2) & (ak.fill_none(ak.firsts(jets.pt), 0) > 35)
    jets, dimuon, entry = jets[two], dimuon[two], entry[two]
    jet1, jet2 = jets[:, 0], jets[:, 1]
    dijet = jet1 + jet2
    gap = abs(jet1.eta - jet2.eta)
    values["m_jj"] = dijet.mass, entry
    values["deta_jj"] = gap, entry
    steps["two jets"] = entry

    centre = (dimuon.rapidity - (jet1.eta + jet2.eta) / 2) / gap
    balance = 1 - (dimuon + dijet).pt / (dimuon.pt + jet1.pt + jet2.pt)
    vbf = (dijet.mass > 400) & (gap > 2.5)
    steps["VBF"] = entry[vbf]
    values["m_mumu_vbf"] = dimuon.mass[vbf], entry[vbf]
    values["d_vbf"] = (np.exp(-4 * centre**2) * balance)[vbf], entry[vbf]
    return {k: (np.asarray(v, np.float64), e) for k, (v, e) in values.items()}, steps


def draw(full: Analysis, fast: Analysis, folder: Path) -> list[Path]:
    """Draw FullSim as points and FastSim as a line, with their ratio; one picture each."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, one in full.histograms.items():
        with plt.rc_context({**mplhep.style.ROOT, "font.size": 20}):
            figure, (above, below) = plt.subplots(
                2, 1, figsize=(8, 8), sharex=True, height_ratios=[3, 1], layout="constrained"
            )
            other = fast.histograms[name]
            edges = other.axes[0].edges
            mplhep.histplot(one, ax=above, histtype="errorbar", color="black", label="FullSim")
            mplhep.histplot(other, ax=above, yerr=False, color="C0", lw=2, label="FastSim")
            error = np.sqrt(other.variances())
            band = {"color": "C0", "alpha": 0.3, "lw": 0}
            above.stairs(other.values() + error, edges, baseline=other.values() - error, **band,
                         fill=True)  # fmt: skip
            # Bins without FastSim have no ratio.
            filled = np.where(other.values() > 0, other.values(), np.nan)
            ratio, points = one.values() / filled, np.sqrt(one.variances()) / filled
            share = np.nan_to_num(error / filled)
            below.stairs(1 + share, edges, baseline=1 - share, **band, fill=True)
            below.axhline(1, color="C0", lw=2)
            below.errorbar(other.axes[0].centers, ratio, points, fmt="o", color="black", ms=7)
            below.set(ylim=(0.5, 1.5), xlim=edges[[0, -1]], xlabel=one.axes[0].label)
            below.set_ylabel("Full / Fast", loc="center")
            above.set_ylabel(("jets" if name == "jet_pt" else "events") + " per bin")
            above.set_xlabel("")
            if name == "jet_pt":
                above.set_yscale("log")
            else:
                above.set_ylim(0, 1.35 * above.get_ylim()[1])
            lines, texts = above.get_legend_handles_labels()
            above.legend(lines[::-1], texts[::-1], title=r"VBF H, 300 fb$^{-1}$")
            drawn.append(folder / f"{name}.png")
            figure.savefig(drawn[-1], dpi=80)
            plt.close(figure)
    return drawn


def main() -> None:
    """Analyse two files and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("full", help="NanoAOD of the full simulation")
    parser.add_argument("fast", help="NanoAOD of gen2reco")
    parser.add_argument("-o", "--output", type=Path, default=Path("plots"))
    arguments = parser.parse_args()
    full, fast = analyse(arguments.full), analyse(arguments.fast)
    draw(full, fast, arguments.output)
    print(f"{'events for 300/fb':18} {'FullSim':>16} {'FastSim':>16}")
    for step, (events, error) in full.steps.items():
        other, its = fast.steps[step]
        print(f"{step:18} {events:8.2f} +- {error:4.2f} {other:8.2f} +- {its:4.2f}")


if __name__ == "__main__":
    main()
