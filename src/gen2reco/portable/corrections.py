"""Efficiencies and responses of an emulator as tables in correctionlib's JSON.

A table holds less than an emulator: means over everything but its two axes, no correlations and no
tails. It is what an analysis wants that scales or smears objects by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EmulatorError, nearest
from gen2reco.features.relative import wrap
from gen2reco.study import NUMBER, PRESENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.rows.tables import Table
    from gen2reco.study import Part

    Numbers = np.ndarray

BINS = (8, 6)
"""Bins of the first and the second axis, with equal numbers of rows each."""
LEAST_ROWS = 50
"""A bin with fewer rows takes the value of all rows in its bin of the first axis."""

Bins = dict[str, np.ndarray]
"""Name of a value (`nominal`, `median`, ...) -> one number per bin, first axis outermost."""


@dataclass(frozen=True)
class Drawn:
    """The rows of one part and what was drawn for them.

    Attributes:
        part: the part, or its presence.
        table: its rows, once per draw.
        values: target -> what was drawn, float64 [rows].
    """

    part: Part
    table: Table
    values: Mapping[str, Numbers]


def axes_of(drawn: Drawn, names: Sequence[str]) -> dict[str, Numbers]:
    """Return the GEN quantities of the two axes; the first two conditions by default.

    Raises:
        EmulatorError: the part has no such condition.
    """
    known = drawn.table.condition
    for name in names:
        if name not in known:
            raise EmulatorError(
                f"part {drawn.part.name} has no condition {name!r}.{nearest(name, known)}"
            )
    return {name: known[name] for name in (names or list(known)[:2])}


def tables(drawn: Drawn, axes: Mapping[str, Numbers]) -> dict[str, tuple[str, Bins, list[Numbers]]]:
    """Return the tables of a part: name -> description, values by bin, edges of each axis."""
    edges = [_edges(axis, count) for axis, count in zip(axes.values(), BINS, strict=False)]
    places = [
        np.clip(np.searchsorted(edge, axis, side="right") - 1, 0, len(edge) - 2)
        for axis, edge in zip(axes.values(), edges, strict=True)
    ]
    if drawn.part.name.endswith(PRESENCE):
        if drawn.part.rows.kind != "object":
            return {}
        found = (drawn.values[NUMBER] > 0.5).astype(np.float64)
        name = drawn.part.name.removesuffix(PRESENCE)
        text = f"probability that a GEN object of {name} has a RECO object"
        binned = _binned(found, drawn.table.weight, places, edges, _efficiency)
        return {f"{name}_efficiency": (text, binned, edges)}
    made = {}
    for target in drawn.part.target:
        for name in target.name if target.relative_to else ():
            gen = drawn.table.relative_to[name]
            if target.kind == "positive":
                values, text = drawn.values[name] / gen, f"{name} over its GEN value"
            elif target.kind == "angle":
                values, text = wrap(drawn.values[name] - gen), f"{name} minus its GEN value"
            elif target.kind == "continuous":
                values, text = drawn.values[name] - gen, f"{name} minus its GEN value"
            else:
                continue
            sound = np.isfinite(values)
            binned = _binned(
                values[sound],
                drawn.table.weight[sound],
                [place[sound] for place in places],
                edges,
                _response,
            )
            made[f"{drawn.part.name}_{name}_response"] = (text, binned, edges)
    return made


def as_correction(name: str, text: str, bins: Bins, edges: Sequence[Numbers], axes: Any) -> Any:
    """Return one table as a correction: inputs `value` (which number) and the two GEN quantities.

    Values beyond the outer edges count as in the outer bins.
    """
    from correctionlib import schemav2 as cs  # noqa: PLC0415

    content = {
        value: cs.MultiBinning(
            nodetype="multibinning",
            inputs=list(axes),
            edges=[edge.tolist() for edge in edges],
            content=numbers.tolist(),
            flow="clamp",
        )
        for value, numbers in bins.items()
    }
    return cs.Correction(
        name=name,
        version=1,
        description=text,
        inputs=[
            cs.Variable(name="value", type="string", description=", ".join(bins)),
            *(cs.Variable(name=axis, type="real", description="GEN") for axis in axes),
        ],
        output=cs.Variable(name=name, type="real"),
        data=cs.Category(
            nodetype="category",
            input="value",
            content=[cs.CategoryItem(key=key, value=item) for key, item in content.items()],
        ),
    )


def _edges(axis: Numbers, count: int) -> Numbers:
    """Return edges with about equal numbers of rows between them; a flag has two bins."""
    edges = np.unique(np.quantile(axis, np.linspace(0, 1, count + 1)))
    if len(edges) < 3:
        low, high = float(axis.min()), float(axis.max())
        return np.array([low, (low + high) / 2, high]) if high > low else np.array([low, low + 1])
    return edges


def _binned(
    values: Numbers, weight: Numbers, places: Sequence[Numbers], edges: Sequence[Numbers], of: Any
) -> Bins:
    """Apply a function of rows to every bin; the last axis varies fastest."""
    shape = [len(edge) - 1 for edge in edges]
    index = np.ravel_multi_index(tuple(places), shape)
    found: list[Mapping[str, float]] = []
    for place in range(int(np.prod(shape))):
        inside = index == place
        if inside.sum() < LEAST_ROWS:
            inside = places[0] == np.unravel_index(place, shape)[0]
        if not inside.any():
            inside = np.ones(len(values), np.bool_)
        found.append(of(values[inside], weight[inside]))
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def _efficiency(found: Numbers, weight: Numbers) -> dict[str, float]:
    total = weight.sum()
    share = float(np.clip((weight * found).sum() / total, 0, 1)) if total else 0.0
    entries = total**2 / (weight**2).sum() if total else 1.0
    return {"nominal": share, "error": float(np.sqrt(share * (1 - share) / entries))}


def _response(values: Numbers, weight: Numbers) -> dict[str, float]:
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) - weight[order] / 2
    reached = np.maximum.accumulate(reached) / weight.sum()
    low, median, high = np.interp([0.16, 0.5, 0.84], reached, values[order]).tolist()
    width = (high - low) / 2
    entries = weight.sum() ** 2 / (weight**2).sum()
    return {
        "median": median,
        "width": width,
        # of a normal distribution: sqrt(pi / 2) sigma / sqrt(n)
        "median_error": float(np.sqrt(np.pi / 2 / entries) * width),
    }
