"""One RECO quantity of a study (or a vector of them) on its way to the model and back.

RECO, relative to GEN, through the listed transforms, opened at point masses, standardised:

    relative = ratio | wrapped difference | difference | itself         by the kind of the target
    chain    = whole numbers spread by noise, then the listed transforms
    gap      = an interval for each point mass
    final    = zero mean, unit deviation

Point masses are sought in what the chain starts from, or, where a transform mixes components or
depends on other columns of the row, in what it ends with.

For a family that has discrete columns, a flag or category is its rank and nothing else, and the
point masses of the others become levels of a discrete column instead of intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gen2reco.features.arrays import library, like
from gen2reco.features.chain import Chain
from gen2reco.features.elementwise import Standardize
from gen2reco.features.gap import Gap
from gen2reco.features.levels import Levels, filling, log_filling
from gen2reco.features.relative import Ratio, WrappedDifference, wrap
from gen2reco.features.transforms import GEN, NOISE, restore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array
    from gen2reco.features.gap import Atom
    from gen2reco.features.levels import Mass
    from gen2reco.features.transform import Transform

    Numbers = NDArray[np.float64]
    Columns = Mapping[str, NDArray[Any]]

RELATIVE: dict[str, type[Transform]] = {"positive": Ratio, "angle": WrappedDifference}
"""How a kind of target is taken relative to GEN; the others by difference."""


@dataclass(frozen=True)
class TargetBlock:
    """The fitted encoding of one component, or of the components that a transform mixes.

    Attributes:
        names: target components, k of them.
        kind: kind of the target.
        restored: `copy` or `constant` for one that is not learned, "" for one that is.
        constant: what is restored, relative to GEN where `relative` is set.
        relative: to GEN, or None.
        chain: the transforms.
        gaps: point masses of each component as intervals.
        levels: point masses of each component as levels, in place of intervals; else empty.
        ranked: whether the block is one discrete column, the rank of a category.
        early: whether point masses are values before the chain rather than after it.
        final: the last step of what is not discrete.
        low: smallest encoded value that is decoded as it is, per component.
        high: largest one.
        least: smallest RECO value of training, per component.
        most: largest one.
    """

    names: tuple[str, ...]
    kind: str
    restored: Literal["", "copy", "constant"] = ""
    constant: float = 0.0
    relative: Transform | None = None
    chain: Chain = field(default_factory=Chain)
    gaps: tuple[Gap, ...] = ()
    levels: tuple[Levels, ...] = ()
    ranked: bool = False
    early: bool = True
    final: Standardize | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    least: tuple[float, ...] = ()
    most: tuple[float, ...] = ()

    @property
    def encoded(self) -> tuple[str, ...]:
        """Names of the continuous columns that the model sees."""
        return () if self.restored or self.ranked else self.names

    @property
    def discrete(self) -> tuple[tuple[str, int], ...]:
        """Names of the discrete columns that the model sees, and how many values each takes."""
        if self.ranked:
            (step,) = self.chain.steps
            return ((self.names[0], len(getattr(step, "levels", ()))),)
        columns = zip(self.names, self.levels, strict=True) if self.levels else ()
        return tuple(
            (f"{name} point mass", len(levels.masses) + 1)
            for name, levels in columns
            if levels.masses
        )

    @property
    def needs_gen(self) -> bool:
        """Whether encoding, decoding or restoring reads the GEN value."""
        return self.relative is not None or self.restored == "copy"

    @property
    def needs_noise(self) -> bool:
        """Whether encoding spreads rows by noise."""
        if self.ranked:
            return False
        return self.chain.needs_noise or any(self.point_masses(j) for j in range(len(self.names)))

    def point_masses(self, component: int) -> Sequence[Atom | Mass]:
        """Return the point masses of one component, as intervals or as levels."""
        if self.levels:
            return self.levels[component].masses
        return self.gaps[component].atoms if self.gaps else ()

    def encode(self, reco: Numbers, columns: Columns) -> Numbers:
        """Return encoded values [n, k] of RECO values [n, k]; [n, 0] of a category.

        Args:
            reco: RECO values.
            columns: `GEN` [n, k] where it is relative, `NOISE` [n, k] in (0, 1) where it needs
                noise, and what the chain reads.
        """
        if self.ranked:
            return np.empty((len(reco), 0))
        start = self._start(reco, columns)
        opened = end = self.chain.forward(start, columns)
        where = start if self.early else end
        if any(gap.atoms for gap in self.gaps):
            noise = columns[NOISE]
            opened = np.stack(
                [
                    gap.open(end[:, j], gap.find(where[:, j]), noise[:, j])
                    for j, gap in enumerate(self.gaps)
                ]
            ).T
        encoded = np.asarray(self.final.forward(opened, {}) if self.final else np.array(opened))
        for j, levels in enumerate(self.levels):
            if levels.masses:
                hit = levels.ranks(where[:, j]) > 0
                encoded[hit, j] = filling(columns[NOISE][hit, j])
        return encoded

    def ranks(self, reco: Numbers, columns: Columns) -> Numbers:
        """Return the discrete columns [n, d] of RECO values [n, k]: whole numbers from 0."""
        start = self._start(reco, columns)
        if self.ranked:
            return np.asarray(self.chain.forward(start, {NOISE: np.zeros(start.shape)}))
        where = start if self.early else self.chain.forward(start, columns)
        found = [levels.ranks(where[:, j]) for j, levels in enumerate(self.levels) if levels.masses]
        return np.stack(found, axis=1) if found else np.empty((len(reco), 0))

    def decode(self, encoded: Array, columns: Mapping[str, Array], ranks: Array) -> Array:
        """Return RECO values [n, k]; numpy arrays, or tensors of which autograd may know.

        Args:
            encoded: encoded values [n, k], [n, 0] of a category.
            columns: as for `encode`, less noise.
            ranks: the discrete columns [n, d].
        """
        values = (
            self.chain.inverse(ranks, {}) if self.ranked else self._inverse(encoded, columns, ranks)
        )
        if self.relative:
            values = self.relative.inverse(values, {"gen": columns[GEN]})
        return self._physical(values)

    def restore(self, columns: Mapping[str, Array], rows: int) -> Array:
        """Return the values [n, k] of a target that is not learned.

        Args:
            columns: `GEN` [n, k] where it is relative.
            rows: n.
        """
        if self.restored == "copy":
            return columns[GEN] * 1.0  # a copy, which keeps the sign of a zero too
        if not self.relative:
            return np.full((rows, len(self.names)), self.constant)
        lib = library(columns[GEN])
        fixed = lib.full_like(columns[GEN], self.constant)
        return self.relative.inverse(fixed, {"gen": columns[GEN]})

    def log_det(self, reco: Numbers, columns: Columns) -> Numbers:
        """Return log |d encoded / d RECO|, [n].

        At a point mass it is the logarithm of the encoded interval, so that the sum with the log
        density there is a log probability; of a level it is minus the log density of the noise in
        the continuous column, whose share of the model's density it takes out.
        """
        if self.ranked:
            return np.zeros(len(reco))
        start = self._start(reco, columns)
        total = self.chain.log_det(start, columns)
        if self.relative:
            total = total + self.relative.log_det(reco, {"gen": columns[GEN]})
        where = start if self.early else self.chain.forward(start, columns)
        for j, gap in enumerate(self.gaps):
            hits = gap.find(where[:, j])
            if hits and self.early:
                total[np.logical_or.reduce(hits)] = 0.0
            total += gap.log_width(hits, len(reco))
        if self.final:
            total = total + self.final.log_det(reco, {})
        for j, levels in enumerate(self.levels):
            if levels.masses:
                hit = levels.ranks(where[:, j]) > 0
                scale = self.final.deviation[j] if self.final else 1.0
                rest = 0.0 if self.early else total[hit] + np.log(scale)
                total[hit] = rest + log_filling(columns[NOISE][hit, j])
        return np.asarray(total)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON can hold it, exactly."""
        return {
            "names": list(self.names),
            "kind": self.kind,
            "restored": self.restored,
            "constant": self.constant,
            "relative": self.relative.state() if self.relative else None,
            "chain": self.chain.state(),
            "gaps": [gap.state() for gap in self.gaps],
            "levels": [levels.state() for levels in self.levels],
            "ranked": self.ranked,
            "early": self.early,
            "final": self.final.state() if self.final else None,
            **{side: list(getattr(self, side)) for side in ("low", "high", "least", "most")},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TargetBlock:
        """Return the block that gave `state`."""
        return cls(
            names=tuple(state["names"]),
            kind=state["kind"],
            restored=state["restored"],
            constant=state["constant"],
            relative=restore(state["relative"]) if state["relative"] else None,
            chain=Chain.from_state(state["chain"]),
            gaps=tuple(Gap.from_state(gap) for gap in state["gaps"]),
            levels=tuple(Levels.from_state(levels) for levels in state.get("levels", ())),
            ranked=state.get("ranked", False),
            early=state["early"],
            final=Standardize.from_state(state["final"]) if state["final"] else None,
            **{side: tuple(state[side]) for side in ("low", "high", "least", "most")},
        )

    def _start(self, reco: Numbers, columns: Columns) -> Numbers:
        return self.relative.forward(reco, {"gen": columns[GEN]}) if self.relative else reco

    def _inverse(self, encoded: Array, columns: Mapping[str, Array], ranks: Array) -> Array:
        """Return the values before the chain, with those at point masses exact."""
        lib = library(encoded)
        values = lib.clip(encoded, like(encoded, self.low), like(encoded, self.high))
        if self.final:
            values = self.final.inverse(values, {})
        hits: list[list[Array]] = [[] for _ in self.names]
        if any(gap.atoms for gap in self.gaps):
            closed = [gap.close(values[:, j]) for j, gap in enumerate(self.gaps)]
            hits = [hit for _, hit in closed]
            values = lib.stack([column for column, _ in closed]).T
        of_levels = iter(ranks.T)
        for j, levels in enumerate(self.levels):
            if levels.masses:
                hits[j] = levels.hits(next(of_levels))
        if not self.early:
            values = self._put(values, hits)
        values = self.chain.inverse(values, columns)
        return self._put(values, hits) if self.early else values

    def _put(self, values: Array, hits: Sequence[Sequence[Array]]) -> Array:
        """Return the values with those at point masses exact."""
        if not any(hits):
            return values
        lib = library(values)
        placed = []
        for j, of_component in enumerate(hits):
            column = values[:, j]
            for mass, hit in zip(self.point_masses(j), of_component, strict=True):
                column = lib.where(hit, mass.value, column)
            placed.append(column)
        return lib.stack(placed).T

    def _physical(self, values: Array) -> Array:
        lib = library(values)
        if self.kind == "angle":
            return wrap(values)
        if self.kind == "positive":
            return lib.clip(values, 0.0, math.inf)
        if self.kind in {"integer", "flag", "bounded"}:
            return lib.clip(values, like(values, self.least), like(values, self.most))
        return values
