"""Distributions of samples that do not fit into memory: sketches, their distances, their nulls."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.validation.labels import label_of
from gen2reco.validation.records import Real  # noqa: TC001 - pydantic reads annotations
from gen2reco.validation.results import Distribution
from gen2reco.validation.sketch import BITS, Sketch, Sketching, distance, expected_w1

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.validation.columns import Reals

FILE = "streamed.json"
BINS = 40
DRAWN = (0.001, 0.999)
"""Quantiles of FullSim between which a distribution is drawn."""
_NOTHING = np.empty(0)
SIDES = ("full_a", "full_b", "fast")
"""FullSim of half A, FullSim of half B (the null), FastSim."""


@dataclass(frozen=True)
class StreamedQuantity:
    """One quantity or response of all events.

    Attributes:
        name: of it.
        group: `quantity` or `response`.
        entries: numbers of FullSim (half A) and of FastSim.
        w1: W1 of FullSim and FastSim, in the unit of the quantity.
        w1_error: how far the exact one may be from it, for the sketch.
        null: mean W1 of two samples of this size from FullSim.
        null_observed: W1 of FullSim's halves A and B; NaN without a half B.
        ks: Kolmogorov-Smirnov statistic.
        ks_error: by how much it may be larger, for the sketch.
        medians: of FullSim and FastSim.
        widths: central 68 % widths of both.
        shape: both distributions in bins.
    """

    name: str
    group: str
    entries: tuple[int, int]
    w1: Real
    w1_error: Real
    null: Real
    null_observed: Real
    ks: Real
    ks_error: Real
    medians: tuple[Real, Real]
    widths: tuple[Real, Real]
    shape: Distribution

    @property
    def single(self) -> bool:
        """Whether FullSim has one value only: a copy, or a constant."""
        return not self.null > 0

    @property
    def floor_ratio(self) -> float:
        """W1 over its null."""
        return self.w1 / self.null if self.null else math.nan


@dataclass(frozen=True)
class Streamed:
    """All events of a comparison, quantity by quantity.

    Attributes:
        events: events of FullSim (halves A and B) and FastSim that were read.
        rows: events that everything else in the report is about: a subsample by their keys.
        quantities: what was found.
    """

    events: tuple[int, int, int]
    rows: int
    quantities: tuple[StreamedQuantity, ...]

    def __str__(self) -> str:
        lines = [
            (
                f"all events ({self.events[0]} FullSim, {self.events[2]} FastSim); the rest of the"
                f" report is about {self.rows} of them"
            ),
            f"{'quantity':<24}{'W1':>12}{'floor ratio':>14}{'KS':>10}",
        ]
        for one in self.quantities:
            name = one.name if one.group == "quantity" else f"{one.name} response"
            lines.append(f"{name:<24}{one.w1:>12.4g}{one.floor_ratio:>14.2f}{one.ks:>10.2g}")
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write `streamed.json` into the folder of a report."""
        text: dict[str, Any] = asdict(self) | {"relative_width_of_cells": 2.0**-BITS}
        for one, quantity in zip(text["quantities"], self.quantities, strict=True):
            one["floor_ratio"] = quantity.floor_ratio
        plain = json.dumps(_finite(text), indent=1, allow_nan=False)
        (folder / FILE).write_text(plain + "\n", encoding="utf-8")


class Streaming:
    """Sketches of both sides in the making.

    Args:
        origins: response -> the number it is near to, from which it is sketched: cells are finest
            there. 1 for a ratio.
        labels: axis labels of the study by quantity.
    """

    def __init__(
        self,
        origins: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._labels = labels
        self._origins = {("response", name): origin for name, origin in (origins or {}).items()}
        self._sketches: dict[tuple[str, str, str], Sketching] = {}
        self._events = dict.fromkeys(SIDES, 0)

    def add(
        self,
        side: str,
        events: int,
        weight: Reals,
        quantities: Mapping[str, Reals],
        responses: Mapping[str, Reals] | None = None,
    ) -> None:
        """Add rows of one side; there may be none.

        Args:
            side: `full_a`, `full_b` or `fast`.
            events: events that were read for them.
            weight: weight of each row, [n].
            quantities: name -> values [n].
            responses: name -> values [n].
        """
        self._events[side] += events
        for group, columns in (("quantity", quantities), ("response", responses or {})):
            for name, values in columns.items():
                key = (group, name, side)
                near = values - self._origins.get((group, name), 0.0)
                self._sketches.setdefault(key, Sketching()).add(near, weight)

    def take(self, part: Streaming) -> None:
        """Add what was added to another one; the same parts in the same order give the same."""
        for side, events in part._events.items():
            self._events[side] += events
        for key, sketch in part._sketches.items():
            self._sketches.setdefault(key, Sketching()).take(sketch.result())

    def result(self, rows: int) -> Streamed:
        """Compare what was added; quantities without numbers on a side are left out."""
        made = {key: sketch.result() for key, sketch in self._sketches.items()}
        found = []
        for group, name in dict.fromkeys(key[:2] for key in made):
            sides = [made.get((group, name, side), Sketch.of(_NOTHING)) for side in SIDES]
            if sides[0].sum > 0 and sides[2].sum > 0:
                origin = self._origins.get((group, name), 0.0)
                label = label_of(name, self._labels)
                label = f"{label} response" if group == "response" else label
                found.append(_compared(name, group, *sides, origin=origin, label=label))
        events = tuple(self._events[side] for side in SIDES)
        return Streamed((events[0], events[1], events[2]), rows, tuple(found))


def _compared(
    name: str, group: str, full: Sketch, null: Sketch, fast: Sketch, *, origin: float, label: str
) -> StreamedQuantity:
    apart = distance(full, fast)
    return StreamedQuantity(
        name,
        group,
        (full.entries, fast.entries),
        apart.w1,
        apart.w1_error,
        expected_w1(full, fast),
        distance(full, null).w1 if null.sum > 0 else math.nan,
        apart.ks,
        apart.ks_error,
        (full.quantile(0.5) + origin, fast.quantile(0.5) + origin),
        (_width(full), _width(fast)),
        _shape(f"{group}:{name}", label, full, fast, origin),
    )


def _shape(name: str, label: str, full: Sketch, fast: Sketch, origin: float) -> Distribution:
    """Return both distributions in bins; an entry has the variance of the mean squared weight."""
    edges = _edges(full)
    scale = full.sum / fast.sum
    a, b = full.histogram(edges), fast.histogram(edges) * scale
    filled = a[a > 0]
    return Distribution(
        name=name,
        label=label,
        edges=tuple((edges + origin).tolist()),
        full=tuple(a.tolist()),
        full_variance=tuple((a * full.squares / full.sum).tolist()),
        fast=tuple(b.tolist()),
        fast_variance=tuple((b * scale * fast.squares / fast.sum).tolist()),
        band=(0.0,) * len(a),
        gen=(),
        outside=(1 - float(a.sum()) / full.sum, 1 - float(b.sum()) / full.sum),
        log=bool(len(filled) > 3 and filled.max() / np.quantile(filled, 0.1) > 300),
    )


def _edges(full: Sketch) -> Reals:
    """Return edges of bins: regular ones of the core, or one for each whole number."""
    lowest = full.lowest()
    if np.all(lowest == np.round(lowest)) and lowest[-1] - lowest[0] < 2 * BINS:
        return np.arange(lowest[0], lowest[-1] + 2) - 0.5
    low, high = (full.quantile(share) for share in DRAWN)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _width(sketch: Sketch) -> float:
    return sketch.quantile(0.84) - sketch.quantile(0.16)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
