"""Units: momenta, energies, masses in GeV everywhere inside, angles in radians, lengths in mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen2reco.errors import StudyError, nearest
from gen2reco.events.layout import Columns, Jagged, field_name

if TYPE_CHECKING:
    import numpy as np

MOMENTUM_LIKE = frozenset(
    [
        *("pt", "px", "py", "pz", "p", "pterr", "rawpt", "leadmuonpt"),
        *("e", "et", "energy", "energyerr", "regrenergy", "eem", "ehad"),
        *("m", "mass", "mt", "msoftdrop", "rawmass"),
        *("met", "ht", "sumet", "sumpt", "sumptcharged", "sumptneutral", "scale", "scalepdf"),
    ]
)
"""Quantities (what follows the first `_`, in small letters) that MeV input multiplies by 0.001.

All else stays as it is: angles, flags, fractions, lengths, and covariance elements too.
"""

_UNITS = ("GeV", "MeV")


def check_units(units: str) -> None:
    """Refuse a unit that is neither GeV nor MeV.

    Raises:
        StudyError: naming the units that exist.
    """
    if units not in _UNITS:
        raise StudyError(f"units are {' or '.join(_UNITS)}, not {units!r}.{nearest(units, _UNITS)}")


def is_momentum(column: str) -> bool:
    """Whether a column holds a momentum, energy or mass, judged by its name."""
    return field_name(column).lower() in MOMENTUM_LIKE


def mev_to_gev(columns: Columns) -> Columns:
    """Convert the momentum-like columns; float32 stays float32, integers become float64."""
    return {
        name: _scaled(column) if is_momentum(name) else column for name, column in columns.items()
    }


def _scaled(column: np.ndarray | Jagged) -> np.ndarray | Jagged:
    if isinstance(column, Jagged):
        return Jagged(column.offsets, column.content * 0.001)
    return column * 0.001
