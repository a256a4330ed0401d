"""`init`: look into a file of events and write a commented study to start from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import OutputExistsError, StudyError
from gen2reco.events import open_events
from gen2reco.events.layout import Jagged, flat_columns
from gen2reco.verbs.inputs import refuse_empty, refuse_input_as_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.events import EventSource

LOOK_AT = 20_000
"""Events read to guess units and how often objects exist."""

LEPTONS = {"Electron": 11, "Muon": 13, "Photon": 22}
"""RECO collections whose GEN partners are particles, and their PDG codes."""
JETS = {"Jet": ("GenJet",), "FatJet": ("GenFatJet", "GenJetAK8")}
MASSES = {"Electron": "0.000511", "Muon": "0.10566", "Photon": "0"}
MEV_IF_ABOVE = 2000.0
"""A median leading pt above this is taken as MeV."""


@dataclass(frozen=True)
class _Pair:
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


def init(sample: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> str:
    """Write a starting study for a file of events.

    It has the leading object of every RECO collection with a GEN partner, and MET.

    Args:
        sample: a file with GEN and RECO.
        output: study file to write; None: only return the text.
        overwrite: replace an existing study file.

    Returns:
        The text of the study, YAML with comments.

    Raises:
        EventFileError: the file cannot be read or holds no events.
        StudyError: no RECO collection of the file has a GEN partner.
        OutputExistsError: the study file exists and `overwrite` is off.
    """
    if output is not None and Path(output).exists() and not overwrite:
        raise OutputExistsError(f"{output} exists; choose another --output or give --overwrite")
    source = open_events(sample)
    if output is not None:
        refuse_input_as_output(source.paths, output)
    refuse_empty(source, "look at")
    columns = _first_events(source)
    pairs = [
        pair for reco in (*LEPTONS, *JETS) if (pair := _pair(reco, columns)) and pair.share > 0
    ]
    common = [pair for pair in pairs if pair.share >= 0.3] or sorted(
        pairs, key=lambda pair: -pair.share
    )[:1]
    has_met = {"MET_pt", "MET_phi", "GenMET_pt", "GenMET_phi"} <= columns.keys()
    if not common and not has_met:
        found = (
            ", ".join(sorted({name.partition("_")[0] for name in columns if "_" in name})) or "none"
        )
        raise StudyError(
            f"{sample} has no RECO collection with a GEN partner"
            " (Jet and GenJet, Muon and GenPart, MET and GenMET ...)."
            f" Collections found: {found}"
        )
    text = _compose(Path(sample), source, columns, common, pairs, has_met)
    if output is not None:
        Path(output).write_text(text, encoding="utf-8")
    return text


def _first_events(source: EventSource) -> dict[str, np.ndarray | Jagged]:
    wanted = re.compile(
        r"(run|luminosityBlock|event|genWeight|(Gen)?MET_(pt|phi)"
        r"|(GenPart|GenJet|GenFatJet|GenJetAK8|Jet|FatJet|Muon|Electron|Photon)"
        r"_(pt|eta|phi|mass|pdgId|isPrompt|status))"
    )
    names = [name for name in source.columns if wanted.fullmatch(name)]
    return flat_columns(
        next(source.chunks(size=LOOK_AT, columns=names, stop=min(LOOK_AT, source.entries))).events
    )


def _counts(columns: Mapping[str, np.ndarray | Jagged], name: str) -> np.ndarray:
    column = columns[name]
    return np.diff(column.offsets) if isinstance(column, Jagged) else np.ones(len(column), np.int64)


def _pair(reco: str, columns: Mapping[str, np.ndarray | Jagged]) -> _Pair | None:
    if not {f"{reco}_{field}" for field in ("pt", "eta", "phi")} <= columns.keys():
        return None
    present = _counts(columns, f"{reco}_pt") > 0
    has_mass = f"{reco}_mass" in columns
    for gen in JETS.get(reco, ()):
        if f"{gen}_pt" in columns:
            both = float(np.mean(present & (_counts(columns, f"{gen}_pt") > 0)))
            return _Pair(reco, f"leading({gen})", both, has_mass and f"{gen}_mass" in columns)
    if reco in LEPTONS and "GenPart_pdgId" in columns:
        code = LEPTONS[reco]
        prompt = " and isPrompt" if "GenPart_isPrompt" in columns else ""
        final = " and status == 1" if "GenPart_status" in columns and not prompt else ""
        pdg = columns["GenPart_pdgId"]
        assert isinstance(pdg, Jagged)
        event = np.repeat(np.arange(len(pdg.offsets) - 1), np.diff(pdg.offsets))
        has_gen = np.zeros(len(pdg.offsets) - 1, bool)
        has_gen[event[np.abs(pdg.content) == code]] = True
        condition = f"pdgId == {code}" if code == LEPTONS["Photon"] else f"abs(pdgId) == {code}"
        return _Pair(
            reco,
            f"leading(GenPart, {condition}{prompt}{final})",
            float(np.mean(present & has_gen)),
            False,
        )
    return None


def _units(columns: Mapping[str, np.ndarray | Jagged]) -> str:
    for name in ("GenJet_pt", "Jet_pt", "GenPart_pt", "GenMET_pt", "MET_pt"):
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


def _compose(
    sample: Path,
    source: EventSource,
    columns: Mapping[str, np.ndarray | Jagged],
    pairs: list[_Pair],
    every_pair: list[_Pair],
    has_met: bool,
) -> str:
    rare = [pair for pair in every_pair if pair not in pairs]
    lines = [
        *_head(sample, source, columns, rare),
        "",
        *_definitions(pairs),
        "",
        "parts:",
        "  - name: event",
        "    rows: {kind: event, pairing: paired}",
        "    # what the model sees of GEN",
        "    condition:",
        *_condition(pairs, has_met),
        (
            "    # what it learns of RECO, relative to GEN;"
            " copies of GEN and point masses are found at fit time"
        ),
        "    target:",
        *_target(pairs, has_met),
        "    # the RECO columns to write",
        "    output:",
        *_output(pairs, has_met),
        "    model: {kind: flow, couplings: 8, hidden: [64, 64], bins: 16}",
        "",
        "training: {seed: 1, epochs: 24}",
        "",
        *_validation(pairs, has_met),
    ]
    return "\n".join(lines) + "\n"


def _axis(pairs: list[_Pair]) -> str:
    """Name of the GEN object from which azimuths are measured; "" where the study has no object."""
    return pairs[0].partner if pairs else ""


def _head(
    sample: Path,
    source: EventSource,
    columns: Mapping[str, np.ndarray | Jagged],
    rare: list[_Pair],
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
        f"name: {name}",
        (
            f"input: {{tree: Events, units: {_units(columns)}{weight}}}"
            "  # units guessed from the median of the leading pt"
        ),
    ]


def _definitions(pairs: list[_Pair]) -> list[str]:
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


def _condition(pairs: list[_Pair], has_met: bool) -> list[str]:
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
    if has_met:
        lines.append("      - {name: gen_met, value: GenMET.pt, transform: asinh}")
    if has_met and axis:
        lines += [
            f'      - {{name: gen_met_sin, value: "sin(GenMET.phi - {axis}.phi)"}}',
            f'      - {{name: gen_met_cos, value: "cos(GenMET.phi - {axis}.phi)"}}',
        ]
    return lines


def _target(pairs: list[_Pair], has_met: bool) -> list[str]:
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
    if has_met:
        axis = _axis(pairs)
        rotate = f"{{kind: rotate, given: {{angle: {axis}.phi}}}}, " if axis else ""
        lines += [
            "      - name: [met_x, met_y]",
            "        value: [MET.px, MET.py]",
            "        relative_to: [GenMET.px, GenMET.py]",
            f"        transform: [{rotate}asinh]",
        ]
    return lines


def _output(pairs: list[_Pair], has_met: bool) -> list[str]:
    lines = []
    for pair in pairs:
        reco = pair.name
        mass = f"{reco}_mass" if pair.has_mass else MASSES.get(pair.reco, "0")
        lines.append(
            f"      {pair.reco}: {{pt: {reco}_pt, eta: {reco}_eta, phi: {reco}_phi, mass: {mass}}}"
        )
    if has_met:
        lines.append('      MET: {pt: "hypot(met_x, met_y)", phi: "atan2(met_y, met_x)"}')
    return lines


def _validation(pairs: list[_Pair], has_met: bool) -> list[str]:
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
    if has_met:
        quantities += ["    met_x: MET.px", "    met_y: MET.py", "    met: MET.pt"]
        responses += [
            "    met_x: {reco: MET.px, gen: GenMET.px}",
            "    met_y: {reco: MET.py, gen: GenMET.py}",
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
