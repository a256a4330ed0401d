"""Delphes trees under NanoAOD names: split branches such as `Jet.PT` become `Jet_pt`.

The names come from rules and a short table, not from a list of branches, because every Delphes card
writes its own collections. What the rules do not name keeps its Delphes name with a small first
letter (`Jet.NCharged` -> `Jet_nCharged`). Units are GeV, radians, mm.

Beyond the branches themselves there are
    - `Muon_mass`, `Electron_mass`, `Photon_mass`: constants, which Delphes does not store;
    - `Jet_btag`, `Jet_tautag`: the first working point of the card (bit 0 of the mask), as a flag;
    - `GenPart_isPrompt`: no hadron but the beams among the ancestors along the first mothers, as a
      flag;
    - `Jet_tau1` ... `Jet_tau5` and the like for branches with a fixed number of values.
`Event.Number` is `Event_number` and not the NanoAOD id `event`: it repeats where files were merged.
References (`TRef`), status words (`fBits`) and embedded four-vectors are never read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.events.branches import Branch, Leaf
from gen2reco.events.layout import Column, Jagged

if TYPE_CHECKING:
    from collections.abc import Mapping

DELPHES_TREE = "Delphes"

COLLECTIONS = {"Particle": "GenPart", "GenMissingET": "GenMET", "MissingET": "MET"}
"""Delphes collection -> NanoAOD collection; all others keep their name."""

LEAVES = {
    "PT": "pt",
    "MET": "pt",
    "E": "energy",
    "PID": "pdgId",
    "M1": "genPartIdxMother",
    "T": "time",
    "PTD": "ptD",
    "BTag": "btag",
    "TauTag": "tautag",
    "Flavor": "partonFlavour",
    "IsolationVar": "pfRelIso04_all",
}
"""Delphes leaf -> NanoAOD field; others get a small first letter (all small if all capital)."""

COLUMNS = {"Event_weight": "genWeight", "Event_scalePDF": "Generator_scalePDF"}
"""Names that are whole columns in NanoAOD."""

MASSES = {"Muon": 0.1056584, "Electron": 0.000511, "Photon": 0.0}
"""Masses in GeV of what Delphes stores without one."""

_SINGLE_CLASSES = ("HepMCEvent", "LHEFEvent", "LHCOEvent", "Event", "MissingET", "ScalarHT")
_SKIPPED = ("fBits", "fUniqueID")
_BEAM_STATUS = 4


def is_delphes(branches: Mapping[str, Branch]) -> bool:
    """Whether branches are named as in Delphes: `Jet.PT`, `Event.Number`, `Particle.PID`."""
    return any(re.fullmatch(r"\w+\.(PT|MET|Number|PID)", name) for name in branches)


def nano_name(collection: str, leaf: str) -> str:
    """NanoAOD-style column name of a Delphes leaf."""
    field = LEAVES.get(leaf) or (leaf.lower() if leaf.isupper() else leaf[:1].lower() + leaf[1:])
    name = f"{COLLECTIONS.get(collection, collection)}_{field}"
    return COLUMNS.get(name, name)


def delphes_leaves(branches: Mapping[str, Branch], unusable: dict[str, str]) -> dict[str, Leaf]:
    """Find the columns a Delphes tree offers; other branches go to `unusable` with their type."""
    leaves: dict[str, Leaf] = {}
    for name, branch in branches.items():
        collection, dot, leaf = name.partition(".")
        leaf = leaf.partition("[")[0]
        if not dot or leaf in _SKIPPED or "." in leaf:
            continue
        column = nano_name(collection, leaf)
        single = (branch.stored_class or collection) in _SINGLE_CLASSES or collection.endswith(
            "MissingET"
        )
        if not (branch.numbers and branch.jagged):
            unusable[column] = branch.type_name
        elif branch.components:
            for i in range(branch.components):
                leaves[f"{column}{i + 1}"] = Leaf((name,), not single, single, component=i)
        else:
            rule = "flag" if leaf in ("BTag", "TauTag") else ""
            leaves[column] = Leaf((name,), not single, single, rule=rule)
    for collection, mass in MASSES.items():
        if f"{collection}_pt" in leaves and f"{collection}_mass" not in leaves:
            source = leaves[f"{collection}_pt"].branches
            leaves[f"{collection}_mass"] = Leaf(source, True, rule="constant", value=mass)
    ancestry = ("Particle.PID", "Particle.M1", "Particle.Status")
    if all(name in branches for name in ancestry):
        leaves["GenPart_isPrompt"] = Leaf(ancestry, True, rule="prompt")
    return leaves


def fill_leaf(leaf: Leaf, raw: Mapping[str, Column], name: str, file: str, position: int) -> Column:
    """Make a column from the branches that were read.

    Args:
        leaf: where the column comes from.
        raw: branch name -> what was read.
        name: of the column, for messages.
        file: of the branches, for messages.
        position: entry of the first event in `raw`.

    Raises:
        EventFileError: not exactly one entry in a collection that has one per event.
    """
    column = raw[leaf.branches[0]]
    if not isinstance(column, Jagged):
        return column
    content = column.content
    if leaf.component >= 0:
        content = np.ascontiguousarray(content[:, leaf.component])
    if leaf.rule == "flag":
        content = (content & 1).astype(np.bool_)
    elif leaf.rule == "constant":
        content = np.full(len(content), leaf.value, np.float32)
    elif leaf.rule == "prompt":
        mothers, status = (cast("Jagged", raw[name]).content for name in leaf.branches[1:])
        content = is_prompt(column.offsets, content, mothers, status)
    if not leaf.single:
        return Jagged(column.offsets, content)
    odd = np.flatnonzero(column.counts != 1)
    if len(odd):
        row = int(odd[0])
        message = f"{column.counts[row]} entries in a collection that has exactly one per event"
        raise EventFileError(message, file=file, branch=name, row=position + row)
    return content


def is_prompt(
    offsets: np.ndarray, pdg_id: np.ndarray, mother: np.ndarray, status: np.ndarray
) -> np.ndarray:
    """Flag particles without a hadron, beams aside, among their ancestors by first mothers.

    Args:
        offsets: int64 [events + 1].
        pdg_id: particle ids [particles].
        mother: index of the first mother within the event, negative for none [particles].
        status: Pythia status codes [particles]; 4 is a beam particle.

    Returns:
        bool [particles].
    """
    counts = np.diff(offsets)
    first, size = np.repeat(offsets[:-1], counts), np.repeat(counts, counts)
    nobody = len(pdg_id)  # one place more at the end, which is its own ancestor
    known = (mother >= 0) & (mother < size)
    ancestor = np.append(np.where(known, first + mother, nobody), nobody)
    hadron = np.append(is_hadron(pdg_id) & (status != _BEAM_STATUS), False)
    found = hadron[ancestor]
    # Each round doubles how far back is looked; no chain is longer than the event.
    for _ in range(int(counts.max(initial=0)).bit_length()):
        found |= found[ancestor]
        ancestor = ancestor[ancestor]
    prompt: np.ndarray = ~found[:-1]
    return prompt


def is_hadron(pdg_id: np.ndarray) -> np.ndarray:
    """Flag mesons and baryons, excited ones too, by their PDG code."""
    code = np.abs(pdg_id.astype(np.int64))
    family = code // 1_000_000
    ordinary = (family == 0) | ((family == 9) & (code // 100_000 != 99))
    flags: np.ndarray = (code > 100) & ordinary & (code // 10 % 10 > 0) & (code // 100 % 10 > 0)
    return flags
