"""`init`: look into a file of events and write a commented study to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import OutputExistsError, StudyError
from gen2reco.events import open_events
from gen2reco.events.layout import Jagged, flat_columns
from gen2reco.events.publish import refuse_place
from gen2reco.verbs.inputs import refuse_empty, refuse_input_as_output
from gen2reco.verbs.starting_study import JETS, LEPTONS, METS, Pair, compose, has_met

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.events import EventSource

LOOK_AT = 20_000
"""Events read to guess units and how often objects exist."""


def init(
    sample: str | Path,
    output: str | Path | None = None,
    *,
    tree: str = "",
    overwrite: bool = False,
) -> str:
    """Write a starting study for a file of events.

    It has the leading object of every RECO collection with a GEN partner, and MET.

    Args:
        sample: a file with GEN and RECO.
        output: study file to write; None: only return the text.
        tree: tree, RNTuple or group with the events; "": `Events`, or the only one with events.
        overwrite: replace an existing study file.

    Returns:
        The text of the study, YAML with comments.

    Raises:
        EventFileError: the file cannot be read or holds no events, or the study file has no folder.
        StudyError: no RECO collection of the file has a GEN partner.
        OutputExistsError: the study file exists and `overwrite` is off.
    """
    if output is not None:
        refuse_place(Path(output))
        if Path(output).exists() and not overwrite:
            raise OutputExistsError(f"{output} exists; choose another --output or give --overwrite")
    source = open_events(sample, tree=tree)
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
    met = next((name for name in METS if has_met(name, columns)), "")
    if not common and not met:
        raise StudyError(
            f"{sample} has no RECO collection with a GEN partner"
            " (Jet and GenJet, Muon and GenPart, MET and GenMET ...)."
            f" Collections found: {', '.join(_collections(source)) or 'none'} (a name ends at the"
            " first `_`). Of other names, write the study by hand"
        )
    text = compose(Path(sample), source, columns, common, pairs, met)
    if output is not None:
        Path(output).write_text(text, encoding="utf-8")
    return text


def _collections(source: EventSource) -> list[str]:
    """Names of what columns stand together for: up to the first `_`."""
    return sorted({name.partition("_")[0] for name in source.columns if "_" in name})


def _first_events(source: EventSource) -> dict[str, np.ndarray | Jagged]:
    wanted = re.compile(
        r"(run|luminosityBlock|event|genWeight|(Gen|Puppi|PF)?MET_(pt|phi)"
        r"|(GenPart|GenJet|GenFatJet|GenJetAK8|Jet|FatJet|Muon|Electron|Photon)"
        r"_(pt|eta|phi|mass|pdgId|isPrompt|status|statusFlags))"
    )
    names = [name for name in source.columns if wanted.fullmatch(name)]
    return flat_columns(
        next(source.chunks(size=LOOK_AT, columns=names, stop=min(LOOK_AT, source.entries))).events
    )


def _counts(columns: Mapping[str, np.ndarray | Jagged], name: str) -> np.ndarray:
    column = columns[name]
    return np.diff(column.offsets) if isinstance(column, Jagged) else np.ones(len(column), np.int64)


def _pair(reco: str, columns: Mapping[str, np.ndarray | Jagged]) -> Pair | None:
    if not {f"{reco}_{field}" for field in ("pt", "eta", "phi")} <= columns.keys():
        return None
    present = _counts(columns, f"{reco}_pt") > 0
    has_mass = f"{reco}_mass" in columns
    for gen in JETS.get(reco, ()):
        if f"{gen}_pt" in columns:
            both = float(np.mean(present & (_counts(columns, f"{gen}_pt") > 0)))
            return Pair(reco, f"leading({gen})", both, has_mass and f"{gen}_mass" in columns)
    if reco in LEPTONS and "GenPart_pdgId" in columns:
        code = LEPTONS[reco]
        prompt = " and isPrompt" if "GenPart_isPrompt" in columns else ""
        final = " and status == 1" if "GenPart_status" in columns and not prompt else ""
        if "GenPart_statusFlags" in columns and not prompt:
            final += " and bit(statusFlags, 0)"  # NanoAOD's flag isPrompt
        pdg = columns["GenPart_pdgId"]
        assert isinstance(pdg, Jagged)
        event = np.repeat(np.arange(len(pdg.offsets) - 1), np.diff(pdg.offsets))
        has_gen = np.zeros(len(pdg.offsets) - 1, bool)
        has_gen[event[np.abs(pdg.content) == code]] = True
        condition = f"pdgId == {code}" if code == LEPTONS["Photon"] else f"abs(pdgId) == {code}"
        return Pair(
            reco,
            f"leading(GenPart, {condition}{prompt}{final})",
            float(np.mean(present & has_gen)),
            False,
        )
    return None
