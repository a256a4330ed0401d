"""The text of a starting study, YAML with comments, which `init` writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.events.layout import Jagged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.events import EventSource

LEPTONS = {"Electron": 11, "Muon": 13, "Photon": 22}
"""RECO collections whose GEN partners are particles, and their PDG codes."""
JETS = {"Jet": ("GenJet",), "FatJet": ("GenFatJet", "GenJetAK8")}
METS = ("MET", "PuppiMET", "PFMET")
"""Names of RECO MET; the first that is there is learned, given GenMET."""
MASSES = {"Electron": "0.000511", "Muon": "0.10566", "Photon": "0"}
CHARGED = ("Electron", "Muon")
"""RECO collections that are given the charge of their GEN partner."""
MEV_IF_ABOVE = 2000.0
"""A median leading pt above this is taken as MeV."""


@dataclass(frozen=True)
class Pair:
    """A RECO collection, the expression of its GEN partner, and the share of events with both."""

    reco: str
    gen: str
    share: float
    has_mass: bool

    @property
    def name(self) -> str:
        """Name of the RECO object in the study."""
        return self.reco.lower()

    @property
    def partner(self) -> str:
        """Name of the GEN object in the study."""
        return f"gen_{self.name}"


def has_met(name: str, columns: Mapping[str, np.ndarray | Jagged]) -> bool:
    """Whether a RECO MET of that name and GenMET are there."""
    return {f"{name}_pt", f"{name}_phi", "GenMET_pt", "GenMET_phi"} <= columns.keys()


def _units(columns: Mapping[str, np.ndarray | Jagged]) -> str:
    for name in ("GenJet_pt", "Jet_pt", "GenPart_pt", "GenMET_pt", "MET_pt", "PuppiMET_pt"):
        if name in columns:
            column = columns[name]
            if isinstance(column, Jagged):
                filled = np.flatnonzero(np.diff(column.offsets))
                values = (
                    np.maximum.reduceat(column.content, column.offsets[filled])
                    if len(filled)
                    else np.zeros(1)
                )
            else:
                values = np.asarray(column)
            return "MeV" if float(np.median(values)) > MEV_IF_ABOVE else "GeV"
    return "GeV"


def compose(
    sample: Path,
    source: EventSource,
    columns: Mapping[str, np.ndarray | Jagged],
    pairs: list[Pair],
    every_pair: list[Pair],
    met: str,
) -> str:
    """Return the study of these pairs and this MET ("" for none); the other pairs are rare."""
    rare = [pair for pair in every_pair if pair not in pairs]
    lines = [
        *_head(sample, source, columns, rare, met),
        "",
        *_definitions(pairs),
        "",
        "parts:",
        "  - name: event",
        "    rows: {kind: event, pairing: paired}",
        "    # what the model sees of GEN",
        "    condition:",
        *_condition(pairs, met),
        (
            "    # what it learns of RECO, relative to GEN;"
            " copies of GEN and point masses are found at fit time"
        ),
        "    target:",
        *_target(pairs, met),
        "    # the RECO columns to write",
        "    output:",
        *_output(pairs, met),
        "    model: {kind: flow, couplings: 8, hidden: [64, 64], bins: 16}",
        "",
        "training: {seed: 1, epochs: 24}",
        "",
        *_validation(pairs, met),
    ]
    return "\n".join(lines) + "\n"


def _axis(pairs: list[Pair]) -> str:
    """Name of the GEN object from which azimuths are measured; "" where the study has no object."""
    return pairs[0].partner if pairs else ""


def _head(
    sample: Path,
    source: EventSource,
    columns: Mapping[str, np.ndarray | Jagged],
    rare: list[Pair],
    met: str,
) -> list[str]:
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", sample.stem).strip("-.") or "study"
    weight = ", weight: genWeight" if "genWeight" in columns else ""
    return [
        (
            f"# A starting study for {sample.name} ({source.entries} events,"
            f" {source.files[0].format}), written by `gen2reco init`."
        ),
        (
            "# One row per event: the leading object of each RECO collection, given its GEN"
            " partner. Read it through:"
        ),
        "# which objects belong together is physics that a file does not tell.",
        *(
            "# Left out, since GEN and RECO exist together in only"
            f" {pair.share:.0%} of the events: {pair.reco}."
            for pair in rare
        ),
        *(
            f"# Left out: {name}; one MET is learned, which is {met}."
            for name in METS
            if met not in ("", name) and has_met(name, columns)
        ),
        f"name: {name}",
        (
            f"input: {{tree: {source.files[0].tree or 'Events'}, units: {_units(columns)}{weight}}}"
            "  # units guessed from the median of the leading pt"
        ),
    ]


def _definitions(pairs: list[Pair]) -> list[str]:
    lines = [
        (
            "# Which events are learned: objects exist in RECO. No kinematic cut here:"
            " thresholds belong to validation."
        ),
        "select: " + (" and ".join(f"count({pair.reco}) >= 1" for pair in pairs) or '""'),
        "",
        "define:" if pairs else "define: {}",
    ]
    leptons = [pair for pair in pairs if pair.reco in LEPTONS]
    for pair in pairs:
        gen = pair.gen
        if pair.reco in JETS and leptons:  # GEN jets contain leptons and photons
            away = " and ".join(f"delta_r({other.partner}) > 0.4" for other in leptons)
            gen = gen.removesuffix(")") + f", {away})"
        lines += [
            f"  {pair.partner}: {gen}",
            (
                f"  {pair.name}: leading({pair.reco})"
                f"  # in {pair.share:.0%} of the events, GEN and RECO"
            ),
        ]
    return lines


def _condition(pairs: list[Pair], met: str) -> list[str]:
    lines = []
    for pair in pairs:
        gen = pair.partner
        lines += [
            f"      - {{name: {gen}_pt, value: {gen}.pt, transform: log}}",
            f"      - {{name: {gen}_eta, value: {gen}.eta}}",
        ]
        if pair.has_mass:
            lines.append(f"      - {{name: {gen}_mass, value: {gen}.mass, transform: asinh}}")
    axis = _axis(pairs)
    for pair in pairs[1:]:
        gen = pair.partner
        lines += [
            f'      - {{name: {gen}_sin, value: "sin({gen}.phi - {axis}.phi)"}}',
            f'      - {{name: {gen}_cos, value: "cos({gen}.phi - {axis}.phi)"}}',
        ]
    if met:
        lines.append("      - {name: gen_met, value: GenMET.pt, transform: asinh}")
    if met and axis:
        lines += [
            f'      - {{name: gen_met_sin, value: "sin(GenMET.phi - {axis}.phi)"}}',
            f'      - {{name: gen_met_cos, value: "cos(GenMET.phi - {axis}.phi)"}}',
        ]
    return lines


def _target(pairs: list[Pair], met: str) -> list[str]:
    lines = []
    for pair in pairs:
        reco, gen = pair.name, pair.partner
        lines += [
            (
                f"      - {{name: {reco}_pt, value: {reco}.pt, kind: positive,"
                f" relative_to: {gen}.pt, transform: [log, asinh]}}"
            ),
            (
                f"      - {{name: {reco}_eta, value: {reco}.eta,"
                f" relative_to: {gen}.eta, transform: asinh}}"
            ),
            (
                f"      - {{name: {reco}_phi, value: {reco}.phi, kind: angle,"
                f" relative_to: {gen}.phi, transform: asinh}}"
            ),
        ]
        if pair.has_mass:
            lines.append(
                f"      - {{name: {reco}_mass, value: {reco}.mass,"
                f" relative_to: {gen}.mass, transform: asinh}}"
            )
    if met:
        axis = _axis(pairs)
        rotate = f"{{kind: rotate, given: {{angle: {axis}.phi}}}}, " if axis else ""
        lines += [
            "      - name: [met_x, met_y]",
            f"        value: [{met}.px, {met}.py]",
            "        relative_to: [GenMET.px, GenMET.py]",
            f"        transform: [{rotate}asinh]",
        ]
    return lines


def _output(pairs: list[Pair], met: str) -> list[str]:
    lines = []
    for pair in pairs:
        reco = pair.name
        mass = f"{reco}_mass" if pair.has_mass else MASSES.get(pair.reco, "0")
        charge = f", charge: -sign({pair.partner}.pdgId)" if pair.reco in CHARGED else ""
        lines.append(
            f"      {pair.reco}:"
            f" {{pt: {reco}_pt, eta: {reco}_eta, phi: {reco}_phi, mass: {mass}{charge}}}"
        )
    if met:
        lines.append(f'      {met}: {{pt: "hypot(met_x, met_y)", phi: "atan2(met_y, met_x)"}}')
    return lines


def _validation(pairs: list[Pair], met: str) -> list[str]:
    quantities, responses = [], []
    for pair in pairs:
        reco, gen = pair.name, pair.partner
        fields = ("pt", "eta", "phi", "mass") if pair.has_mass else ("pt", "eta", "phi")
        quantities += [f"    {reco}_{field}: {reco}.{field}" for field in fields]
        responses += [
            f"    {reco}_pt: {{reco: {reco}.pt, gen: {gen}.pt, kind: ratio}}",
            f"    {reco}_eta: {{reco: {reco}.eta, gen: {gen}.eta}}",
            f"    {reco}_phi: {{reco: {reco}.phi, gen: {gen}.phi, kind: angle}}",
        ]
    if met:
        quantities += [f"    met_x: {met}.px", f"    met_y: {met}.py", f"    met: {met}.pt"]
        responses += [
            f"    met_x: {{reco: {met}.px, gen: GenMET.px}}",
            f"    met_y: {{reco: {met}.py, gen: GenMET.py}}",
        ]
    lines = [
        "validation:",
        '  select: ""  # your final selection on RECO, applied to FullSim and FastSim alike',
        "  quantities:",
        *quantities,
        "  responses:",
        *responses,
    ]
    if pairs:
        axis = _axis(pairs)
        lines.append(f"  response_bins: {{{axis}_pt: {axis}.pt, {axis}_eta: {axis}.eta}}")
    return lines
