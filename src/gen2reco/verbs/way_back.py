"""The way back of an emulator that runs both ways: unfolded events, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.study import Validation
from gen2reco.verbs.samples import replaced, to_sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    import awkward

    from gen2reco.emulator import Emulator
    from gen2reco.study import Study
    from gen2reco.validation import Sample
    from gen2reco.verbs.judged import Judged


@dataclass(frozen=True)
class Compared:
    """Two samples that should be alike.

    Attributes:
        full: events of the file, both halves.
        half: half of each of them.
        fast: what was made of half B.
        made: the events of half B with what was made.
    """

    full: Sample
    half: np.ndarray
    fast: Sample
    made: awkward.Array


def way_back(emulator: Emulator, judged: Judged, *, seed: int) -> Mapping[str, Compared]:
    """Unfold the RECO of half B, and simulate what came out.

    Returns:
        `unfolded`: GEN of the file and unfolded GEN, in the conditions and what
        `validation.gen` names; `reconstructed`: RECO of the file and RECO made of unfolded GEN, in
        the quantities of the study.
    """
    study = emulator.study
    b = np.flatnonzero(judged.half == 1)
    events = judged.events[b]
    unfolded = replaced(events, emulator.backward().simulate(events, seed=seed + 1), 1)
    again = replaced(unfolded, emulator.simulate(unfolded, seed=seed + 2), 1)
    conditions = {
        item.name: item.value for part in study.parts if part.unfolded for item in part.condition
    }
    terms = {
        "unfolded": (Validation(quantities=conditions | study.validation.gen), unfolded),
        "reconstructed": (
            Validation(select=study.validation.select, quantities=study.validation.quantities),
            again,
        ),
    }
    return {
        name: _compared(study.model_copy(update={"validation": judging}), judged, made, b)
        for name, (judging, made) in terms.items()
    }


def _compared(study: Study, judged: Judged, made: awkward.Array, origin: np.ndarray) -> Compared:
    full = to_sample(study, judged.events, np.arange(len(judged.events)), {})
    return Compared(full, judged.half[full.event], to_sample(study, made, origin, {}), made)
