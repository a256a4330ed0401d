"""What columns mean, in a line each: names of NanoAOD, of the reference samples, and our own.

A writer stores the line as title of a branch, description of a field or metadata of a column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS = {
    "run": "run number",
    "luminosityBlock": "luminosity block number",
    "event": "event number",
    "weight": "weight of the GEN event over the number of its replicas; use this one",
    "genWeight": "generator weight",
    "replica": "number of this RECO event among those of the same GEN event, from 0",
    "member": "ensemble member; each one is a complete sample, 0 is the nominal one",
    "gen2reco_flags": (
        "0: good; bit 0: GEN outside the training domain; bit 1: GEN was not finite"
    ),
    "GenPart_genPartIdxMother": "index into GenPart of the mother, -1: none",
    "GenMET_pt": "transverse momentum of what is invisible (GeV)",
    "Generator_scalePDF": "scale of the parton densities (GeV)",
    "genEventCount": "GEN events, those without RECO event too",
    "genEventSumw": "sum of their weights",
    "genEventSumw2": "sum of their squared weights",
}
"""Column -> its line; these go before `FIELDS`."""

FIELDS = {
    "pt": "transverse momentum (GeV)",
    "eta": "pseudorapidity",
    "phi": "azimuth (rad)",
    "mass": "mass (GeV)",
    "energy": "energy (GeV)",
    "charge": "electric charge (e)",
    "pdgId": "PDG id",
    "status": "status in the generator",
    "statusFlags": "bits about the origin in the generator",
    "isPrompt": "no hadron among the ancestors",
    "fromTau": "a tau lepton among the ancestors",
    "partonFlavour": "PDG id of the parton that the jet comes from, 0: none",
    "hadronFlavour": "5, 4, 0: b hadron, else c hadron, else neither inside",
    "nBHadrons": "b hadrons inside",
    "nCHadrons": "c hadrons inside",
    "nConstituents": "constituents",
    "nCh": "charged constituents",
    "leadMuonPt": "transverse momentum of the hardest muon inside, 0: none (GeV)",
    "chEF": "energy fraction of charged constituents",
    "chHEF": "energy fraction of charged hadrons",
    "neEmEF": "energy fraction of neutral electromagnetic constituents",
    "neHEF": "energy fraction of neutral hadronic constituents",
    "ptD": "root of the sum of squared pt of the constituents, over the sum of their pt",
    "width": "mean distance of the constituents from the axis, weighted by pt (rad)",
    "leadFrac": "pt of the hardest constituent over the sum of their pt",
    "btag": "passes the b tag",
    "tautag": "passes the tau tag",
    "pfRelIso04_all": "sum of pt in a cone of 0.4 around the lepton, over its pt",
    "isoSumPtCharged": "sum of pt of charged particles in the isolation cone (GeV)",
    "isoSumPtNeutral": "sum of pt of neutral particles in the isolation cone (GeV)",
    "deltaEta": "extent in pseudorapidity",
    "deltaPhi": "extent in azimuth (rad)",
}
"""Field of any collection -> its line."""

_INDEX = re.compile(r"(?P<target>[a-z]\w*?)Idx\d*")


def describe(columns: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return a line for every column that has one.

    Args:
        columns: flat names; `nMuon` is the number of objects of `Muon`.
        given: column -> line; goes before what is known here.
    """
    names = list(columns)
    collections = {name.partition("_")[0] for name in names}
    lines = {name: given.get(name) or _known(name, collections) for name in names}
    return {name: line for name, line in lines.items() if line}


def _known(name: str, collections: set[str]) -> str:
    if name in COLUMNS:
        return COLUMNS[name]
    field = name.partition("_")[2]
    if not field:
        counted = name[1:] if name.startswith("n") else ""
        return f"number of entries of {counted}" if counted in collections else ""
    index = _INDEX.fullmatch(field)
    if index:
        target = index["target"]
        return f"index into {target[0].upper()}{target[1:]} of the same event, -1: none"
    return FIELDS.get(field, "")
