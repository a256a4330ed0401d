"""Columns of two files of RECO events: the quantities that both have, and the event weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.events.layout import flat_columns
from gen2reco.rows.table import IDS
from gen2reco.verbs.inputs import FLAGS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import awkward

    from gen2reco.events import EventSource

NOT_PHYSICS = (*IDS, "replica", "member", "weight", "genWeight", FLAGS)


def common_quantities(full: EventSource, fast: EventSource) -> dict[str, str]:
    """Name what two files can be compared in.

    These are counts and the leading object of collections, and plain columns.

    Raises:
        EventFileError: they have no physics column in common.
    """
    common = [
        name
        for name in full.columns
        if name in fast.columns and not name.startswith(("Gen", "LHE"))
    ]
    found: dict[str, str] = {}
    for name in common:
        collection, _, field = name.partition("_")
        if name in NOT_PHYSICS or field.endswith("Idx"):
            continue
        if not full.is_list[name]:
            found[name] = f"{collection}.{field}" if field else name
        elif f"{collection}_pt" in common:
            found[f"n_{collection}"] = f"count({collection})"
            found[f"leading_{name}"] = f"leading({collection}).{field}"
    if not found:
        raise EventFileError(
            f"{full.files[0].path} and {fast.files[0].path} have no RECO column in common: "
            f"{', '.join(full.columns[:8])}... and {', '.join(fast.columns[:8])}..."
        )
    return found


def weights_of(events: awkward.Array, weight: str) -> np.ndarray:
    """Return the weight of every event, float64 [events]; 1 without a column."""
    columns = flat_columns(events)
    name = weight_column(columns, weight)
    return np.asarray(columns[name], np.float64) if name else np.ones(len(events))


def weight_column(columns: Collection[str], weight: str) -> str:
    """Name of the column with the weights of one side, "" where every event counts 1."""
    return next((name for name in ("weight", weight) if name and name in columns), "")


def refuse_one_sided(
    sources: Sequence[EventSource], sides: Sequence[awkward.Array], weight: str
) -> None:
    """Refuse to weight one side alone, unless all its weights are the same.

    Raises:
        EventFileError: naming the side without weights.
    """
    for this, other in ((0, 1), (1, 0)):
        weights = weights_of(sides[other], weight)
        if not weight_column(sources[this].columns, weight) and np.ptp(weights) > 0:
            column = weight_column(sources[other].columns, weight)
            raise EventFileError(
                f"it has no event weights (no column `weight`{f' or `{weight}`' * bool(weight)}),"
                f" while those of {sources[other].label} differ (`{column}`); name the column with"
                " --study and input.weight, or give it this name",
                file=sources[this].label,
            )
