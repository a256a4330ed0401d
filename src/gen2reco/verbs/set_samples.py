"""From events to jets with their constituents: GEN, FullSim and FastSim of the same GEN jets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.events.layout import flat_columns
from gen2reco.features.sets import types
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.sets import constituents
from gen2reco.rows.spaces import GEN, RECO
from gen2reco.rows.splits import halves
from gen2reco.rows.substructure import jet_features
from gen2reco.validation import Jets, SetComparison, compare_sets

if TYPE_CHECKING:
    import awkward as ak

    from gen2reco.study import Part, Study
    from gen2reco.validation import Settings

__all__ = ["compare_constituents", "jets_of"]


def compare_constituents(
    study: Study, events: ak.Array, fast: ak.Array, settings: Settings
) -> SetComparison | None:
    """Compare jets as sets; None for a study without a part with rows of kind set.

    Args:
        study: the study.
        events: events with GEN and FullSim, one jet each.
        fast: the same events with FastSim in FullSim's place.
        settings: of the comparison.
    """
    parts = [part for part in study.parts if part.rows.kind == "set"]
    if not parts:
        return None
    (part,) = parts
    half = halves(flat_columns(events)).astype(np.int64)
    sides = (
        jets_of(study, part, events, RECO),
        jets_of(study, part, fast, RECO),
        jets_of(study, part, events, GEN),
    )
    return compare_sets(sides[0], half, sides[1], sides[2], settings)


def jets_of(study: Study, part: Part, events: ak.Array, side: str) -> Jets:
    """Return the jets of one side, `gen` or `reco`, their constituents by falling pt."""
    columns = flat_columns(events)
    names = Namespace(columns, study.define)
    found = constituents(part, names, side)
    order = np.argsort(np.where(np.isnan(found["pt"]), np.inf, -found["pt"]), axis=1, kind="stable")
    found = {name: np.take_along_axis(wide, order, axis=1) for name, wide in found.items()}
    identity = np.asarray(columns["event"], np.int64)
    if len(np.unique(np.asarray(columns["run"]))) > 1:
        ids = np.stack([np.asarray(columns[n], np.int64) for n in ("run", "event")], axis=1)
        identity = np.unique(ids, axis=0, return_inverse=True)[1].reshape(-1)
    weight = study.input.weight
    return Jets(
        pt=found["pt"],
        eta=found["eta"],
        phi=found["phi"],
        kind=types(np.nan_to_num(found["pdgId"]), np.nan_to_num(found["charge"])),
        features=jet_features(found["pt"], found["eta"], found["phi"]),
        event=identity,
        weight=np.asarray(columns[weight], np.float64) if weight else np.ones(len(identity)),
    )
