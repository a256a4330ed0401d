"""One RECO quantity of a study (or a vector of them) on its way to the model and back.

RECO, relative to GEN, through the listed transforms, opened at point masses, standardised:

    relative = ratio | wrapped difference | difference | itself         by the kind of the target
    chain    = whole numbers spread by noise, then the listed transforms
    gap      = an interval for each point mass
    final    = zero mean, unit deviation

Point masses are sought in what the chain starts from, or, where a transform mixes components or
depends on other columns of the row, in what it ends with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gen2reco.features.chain import Chain
from gen2reco.features.elementwise import Standardize
from gen2reco.features.gap import Gap
from gen2reco.features.relative import Ratio, WrappedDifference, wrap
from gen2reco.features.transforms import GEN, NOISE, restore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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
        gaps: point masses of each component.
        early: whether point masses are values before the chain rather than after it.
        final: the last step; None where the model normalises by itself.
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
    early: bool = True
    final: Standardize | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    least: tuple[float, ...] = ()
    most: tuple[float, ...] = ()

    @property
    def encoded(self) -> tuple[str, ...]:
        """Names of the columns that the model sees."""
        return () if self.restored else self.names

    @property
    def needs_gen(self) -> bool:
        """Whether encoding, decoding or restoring reads the GEN value."""
        return self.relative is not None or self.restored == "copy"

    @property
    def needs_noise(self) -> bool:
        """Whether encoding spreads rows by noise."""
        return self.chain.needs_noise or any(gap.atoms for gap in self.gaps)

    def encode(self, reco: Numbers, columns: Columns) -> Numbers:
        """Return encoded values [n, k] of RECO values [n, k].

        Args:
            reco: RECO values.
            columns: `GEN` [n, k] where it is relative, `NOISE` [n, k] in (0, 1) where it needs
                noise, and what the chain reads.
        """
        start = self._start(reco, columns)
        opened = end = self.chain.forward(start, columns)
        if any(gap.atoms for gap in self.gaps):
            noise, where = columns[NOISE], start if self.early else end
            opened = np.stack(
                [
                    gap.open(end[:, j], gap.find(where[:, j]), noise[:, j])
                    for j, gap in enumerate(self.gaps)
                ]
            ).T
        return np.asarray(self.final.forward(opened, {}) if self.final else opened)

    def decode(self, encoded: Numbers, columns: Columns) -> Numbers:
        """Return RECO values [n, k] of encoded ones [n, k]; columns as for `encode`, less noise."""
        values = np.clip(encoded, self.low, self.high)
        if self.final:
            values = self.final.inverse(values, {})
        hits: list[list[NDArray[np.bool_]]] = [[] for _ in self.gaps]
        if any(gap.atoms for gap in self.gaps):
            closed = [gap.close(values[:, j]) for j, gap in enumerate(self.gaps)]
            hits = [hit for _, hit in closed]
            values = np.stack([column for column, _ in closed]).T
        if not self.early:
            self._put(values, hits)
        values = self.chain.inverse(values, columns)
        if self.early:
            self._put(values, hits)
        if self.relative:
            values = self.relative.inverse(values, {"gen": columns[GEN]})
        return self._physical(values)

    def restore(self, columns: Columns, rows: int) -> Numbers:
        """Return the values [n, k] of a target that is not learned.

        Args:
            columns: `GEN` [n, k] where it is relative.
            rows: n.
        """
        if self.restored == "copy":
            return np.array(columns[GEN])
        fixed = np.full((rows, len(self.names)), self.constant)
        return self.relative.inverse(fixed, {"gen": columns[GEN]}) if self.relative else fixed

    def log_det(self, reco: Numbers, columns: Columns) -> Numbers:
        """Return log |d encoded / d RECO|, [n].

        At a point mass it is the logarithm of the encoded interval, so that the sum with the log
        density there is a log probability.
        """
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
            early=state["early"],
            final=Standardize.from_state(state["final"]) if state["final"] else None,
            **{side: tuple(state[side]) for side in ("low", "high", "least", "most")},
        )

    def _start(self, reco: Numbers, columns: Columns) -> Numbers:
        return self.relative.forward(reco, {"gen": columns[GEN]}) if self.relative else reco

    def _put(self, values: Numbers, hits: Sequence[Sequence[NDArray[np.bool_]]]) -> None:
        for j, (gap, of_gap) in enumerate(zip(self.gaps, hits, strict=True)):
            for atom, hit in zip(gap.atoms, of_gap, strict=True):
                values[hit, j] = atom.value

    def _physical(self, values: Numbers) -> Numbers:
        if self.kind == "angle":
            return np.asarray(wrap(values))
        if self.kind == "positive":
            return np.maximum(values, 0.0)
        if self.kind in {"integer", "flag", "bounded"}:
            return np.clip(values, self.least, self.most)
        return values
