"""How the encoding of a target is found: copies, constants, transforms, point masses, scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.features.atoms import LEAST_ROWS, LEAST_SHARE, MOST, find_atoms
from gen2reco.features.chain import Chain, fit_chain
from gen2reco.features.findings import Finding
from gen2reco.features.finishing import SAME, finish, restored_findings
from gen2reco.features.gap import Gap
from gen2reco.features.levels import Levels
from gen2reco.features.relative import Difference, Ratio
from gen2reco.features.targets import RELATIVE, TargetBlock
from gen2reco.features.transforms import GEN, KINDS, NOISE, SUPPLIED, parse
from gen2reco.study import TransformSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gen2reco.features.transform import Transform
    from gen2reco.study import Part, Target

    Numbers = NDArray[np.float64]
    Columns = Mapping[str, NDArray[Any]]

_RANKED = {"flag", "category"}
_SPREAD_BY = {"integer": "dequantize", "flag": "dequantize", "category": "categories"}


@dataclass(frozen=True)
class Wanted:
    """What a block is to encode, and where the study says so.

    Attributes:
        names: components.
        kind: kind of the target.
        relative: whether it is relative to GEN.
        specs: transforms.
        atoms: point masses that the study names.
        levels: whether the model has discrete columns, for point masses too.
        where: place in the study, for messages.
    """

    names: tuple[str, ...]
    kind: str
    relative: bool
    specs: tuple[TransformSpec, ...]
    atoms: tuple[float, ...]
    levels: bool
    where: str

    @property
    def ranked(self) -> bool:
        """Whether it becomes a discrete column and nothing else."""
        listed = {spec.kind for spec in self.specs}
        return self.levels and (self.kind in _RANKED or "categories" in listed)


def wanted_blocks(part: Part, *, levels: bool = False) -> Iterator[Wanted]:
    """Yield the blocks of a part: components that no transform mixes are encoded one by one.

    Args:
        part: the part of the study.
        levels: whether the model has discrete columns.

    Raises:
        StudyError: a transform, an option or a role is unknown, wrong or missing.
    """
    for target in part.target:
        where = f"part {part.name}, target {', '.join(target.name)}"
        specs = _specs(target, where)
        kinds = [
            parse(spec, len(target.name), f"{where}, transform {number}")[0]
            for number, spec in enumerate(specs, 1)
        ]
        vectors = [kind.components for kind in kinds if kind.components]
        if target.atoms and not _early(kinds):
            raise StudyError(
                f"{where}: atoms are values before the transforms, so these must act on each "
                "column by itself and read no others; point masses after them are found in the data"
            )
        groups = [target.name] if vectors else [(name,) for name in target.name]
        for names in groups:
            relative = bool(target.relative_to)
            yield Wanted(names, target.kind, relative, specs, target.atoms, levels, where)


def _early(kinds: Sequence[type[Transform]]) -> bool:
    """Return whether a value before these transforms decides the value after them, noise apart."""
    return not any(kind.components or set(kind.roles) - set(SUPPLIED) for kind in kinds)


def _specs(target: Target, where: str) -> tuple[TransformSpec, ...]:
    """Return the listed transforms, after those that the kind of the target implies."""
    listed = {spec.kind for spec in target.transform}
    if target.kind in _SPREAD_BY:
        if target.kind == "category" and target.relative_to:
            raise StudyError(f"{where}: a category cannot be relative to a GEN value")
        if not listed & {"dequantize", "categories", "jitter"}:
            return (TransformSpec(kind=_SPREAD_BY[target.kind]), *target.transform)
    if target.kind == "bounded" and not target.relative_to and "logit" not in listed:
        return (TransformSpec(kind="logit"), *target.transform)
    return target.transform


def fit_block(
    wanted: Wanted, reco: Numbers, columns: Columns, *, standardize: bool
) -> tuple[TargetBlock, list[Finding]]:
    """Fit one block.

    Args:
        wanted: what it is to encode.
        reco: RECO values [n, k], n at least 1.
        columns: `GEN` [n, k] where the target is relative to it, `NOISE` [n, k], and what the
            transforms read, by expression.
        standardize: whether the last step brings columns to zero mean and unit deviation.

    Raises:
        StudyError: a transform cannot take these values.
    """
    gen = {"gen": columns[GEN]} if wanted.relative else None
    block = TargetBlock(
        names=wanted.names,
        kind=wanted.kind,
        relative=RELATIVE.get(wanted.kind, Difference).fit(reco, gen, None) if gen else None,
        least=tuple(reco.min(axis=0).tolist()),
        most=tuple(reco.max(axis=0).tolist()),
    )
    start = block.relative.forward(reco, gen) if block.relative and gen else reco
    whole = _restored(block, reco, start, columns)
    if whole:
        return whole, restored_findings(whole)
    fit = _Fit(wanted, block, reco, start, columns)
    block = fit.run()
    if block.restored:
        return block, restored_findings(block, fit.exceptions)
    return finish(block, reco, columns, standardize=standardize, findings=fit.findings)


def _restored(
    block: TargetBlock, reco: Numbers, start: Numbers, columns: Columns
) -> TargetBlock | None:
    """Return the block as a copy or a constant where every row is one."""
    if block.relative and np.array_equal(reco, columns[GEN]):
        return replace(block, restored="copy")
    if (reco == reco[0, 0]).all():
        return replace(block, restored="constant", constant=float(reco[0, 0]), relative=None)
    if (start == start[0, 0]).all():
        return replace(block, restored="constant", constant=float(start[0, 0]))
    return None


class _Fit:
    """The search for point masses and the fit of the chain to the rest of the rows."""

    def __init__(
        self, wanted: Wanted, block: TargetBlock, reco: Numbers, start: Numbers, columns: Columns
    ) -> None:
        self.wanted, self.block, self.columns = wanted, block, columns
        self.reco, self.start = reco, start
        self.findings: list[Finding] = []
        self.exceptions = 0
        kinds = [KINDS[spec.kind] for spec in wanted.specs]
        self.whole = any(set(SUPPLIED) & set(kind.roles) for kind in kinds)
        self.early = len(wanted.names) == 1 and _early(kinds)

    def run(self) -> TargetBlock:
        """Return the block with chain and point masses."""
        if self.wanted.ranked:
            return self._category(np.ones(len(self.start), np.bool_))
        if self.whole and not (self.wanted.levels and self.wanted.atoms):
            chain, finite = self._chain(np.ones(len(self.reco), np.bool_))
            self._all_finite(finite)
            if self.wanted.levels:
                return replace(self.block, chain=chain, levels=(Levels(),) * len(self.wanted.names))
            return replace(self.block, chain=chain, gaps=(Gap(),) * len(self.wanted.names))
        return self._early() if self.early else self._late()

    def _early(self) -> TargetBlock:
        start = self.start[:, 0]
        atoms = self._atoms(start)
        rest = ~np.isin(start, atoms)
        few = int(np.count_nonzero(rest))
        if few < LEAST_ROWS and few < LEAST_SHARE * len(rest):
            return self._only_atoms(atoms, few)
        chain, finite = self._chain(rest)
        forced = np.unique(start[rest][~finite])
        if len(forced) > MOST:
            raise StudyError(
                f"{self.wanted.where}: its transforms send {np.count_nonzero(~finite)} values of "
                f"{self.wanted.names[0]} to infinity, the first {forced[0]:g}; "
                "choose transforms that take them"
            )
        rest &= ~np.isin(start, forced)
        atoms = [*atoms, *forced.tolist()]
        if self.wanted.levels:
            return replace(self.block, chain=chain, levels=(Levels.fit(start, atoms),))
        with np.errstate(all="ignore"):
            images = chain.forward(np.array(atoms)[:, None], self.columns)[:, 0]
            continuous = chain.forward(start[rest][:, None], self.columns)[:, 0]
        images = np.where(np.isnan(images), -np.inf, images)
        counts = np.array([np.count_nonzero(start == atom) for atom in atoms])
        gap = Gap.fit(continuous, atoms, images, counts) if atoms else Gap()
        return replace(self.block, chain=chain, gaps=(gap,))

    def _atoms(self, start: Numbers) -> list[float]:
        """Return the point masses that the study names, then those that are found."""
        name, ratio = self.wanted.names[0], isinstance(self.block.relative, Ratio)
        named = []
        for atom in self.wanted.atoms:
            if (start == atom).any():
                named.append(atom)
            else:
                text = f"{name} is named to have a point mass at {atom:g}, but no row is there"
                self.findings.append(Finding("point mass", name, 0.0, atom, text))
        if self.whole:
            return named
        gen = self.columns[GEN][:, 0] if self.block.relative else None
        found = find_atoms(start, self.reco[:, 0], gen, ratio=ratio)
        return [*named, *(atom for atom in found if atom not in named)]

    def _only_atoms(self, atoms: Sequence[float], few: int) -> TargetBlock:
        """Return a copy, a constant, or categories, where all rows but a negligible few agree."""
        self.exceptions = few
        if len(atoms) == 1:
            copied = self.block.relative is not None and atoms[0] == SAME.get(
                self.block.relative.kind
            )
            restored = "copy" if copied else "constant"
            return replace(self.block, restored=restored, constant=atoms[0])  # type: ignore[arg-type]
        name = self.wanted.names[0]
        share = 1 - few / len(self.start)
        text = f"{name} takes {len(atoms)} values only and is modelled as a category"
        self.findings.append(Finding("discrete", name, share, 0.0, text))
        return self._category(np.isin(self.start, atoms)[:, 0])

    def _category(self, rows: NDArray[np.bool_]) -> TargetBlock:
        """Return the block as the values that these rows take."""
        columns = {NOISE: self.columns[NOISE][rows]}
        spec = TransformSpec(kind="categories")
        chain, _ = fit_chain([spec], self.start[rows], columns, self.wanted.where)
        if self.wanted.levels:
            return replace(self.block, chain=chain, ranked=True)
        return replace(self.block, chain=chain, gaps=(Gap(),))

    def _late(self) -> TargetBlock:
        chain, finite = self._chain(np.ones(len(self.start), np.bool_))
        self._all_finite(finite)
        end = chain.forward(self.start, self.columns)
        gaps, levels = [], []
        for column in end.T:
            atoms = find_atoms(column, column)
            rest = ~np.isin(column, atoms)
            if not rest.any():
                atoms, rest = [], np.ones(len(column), np.bool_)
            counts = np.array([np.count_nonzero(column == atom) for atom in atoms])
            gaps.append(Gap.fit(column[rest], atoms, np.array(atoms), counts) if atoms else Gap())
            levels.append(Levels.fit(column, atoms))
        block = replace(self.block, chain=chain, early=False)
        if self.wanted.levels:
            return replace(block, levels=tuple(levels))
        return replace(block, gaps=tuple(gaps))

    def _chain(self, rows: NDArray[np.bool_]) -> tuple[Chain, NDArray[np.bool_]]:
        columns = {name: column[rows] for name, column in self.columns.items()}
        return fit_chain(self.wanted.specs, self.start[rows], columns, self.wanted.where)

    def _all_finite(self, finite: NDArray[np.bool_]) -> None:
        if not finite.all():
            raise StudyError(
                f"{self.wanted.where}: its transforms send {np.count_nonzero(~finite)} of "
                f"{len(finite)} rows to infinity, the first is row {int(np.argmin(finite))}"
            )
