"""Padded jets and their constituents, and from particles, one after the other, back to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.models.nn.jet_units import masses
from gen2reco.rows.clustering import in_hardest_jet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

    Made = tuple[Index, Numbers, Numbers, Numbers, Numbers, Numbers]
    """Jet, pt, eta, phi, pdgId and charge of each particle."""

FIELDS = 5
"""Of a constituent: pt, eta, phi, pdgId, charge."""


def out_of_slots(side: Tensor, slots: int) -> NDArray[np.float32]:
    """Return padded jets [jets, slots x FIELDS] as constituents [jets, slots, FIELDS]."""
    return np.asarray(side.detach().cpu().numpy().reshape(len(side), slots, FIELDS))


def in_slots(made: Made, jets: int, slots: int, radius: float | None = None) -> NDArray[np.float32]:
    """Return constituents [jets, slots, FIELDS] by falling pt, the hardest of too many.

    Args:
        made: particles in any order.
        jets: number of jets.
        slots: of each.
        radius: of anti-kT jets of which the hardest one is kept; without, all particles are.
    """
    out = np.zeros((jets, slots, FIELDS), np.float32)
    jet, fields = made[0], np.stack(made[1:], axis=1)
    order = np.lexsort((-fields[:, 0], jet))
    jet, fields = jet[order], fields[order]
    if radius is not None:
        pt, eta, phi, pdg_id, _ = fields.T
        inside = in_hardest_jet(jet, pt, eta, phi, masses(pdg_id), radius)
        jet, fields = jet[inside], fields[inside]
    place = np.arange(len(jet)) - np.searchsorted(jet, jet)
    kept = place < slots
    out[jet[kept], place[kept]] = fields[kept]
    return out
