"""How the encoding of a target is found: copies, constants, transforms, point masses, scale."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.features.atoms import LEAST_ROWS, LEAST_SHARE, MOST, find_atoms
from gen2reco.features.chain import Chain, fit_chain
from gen2reco.features.elementwise import Standardize
from gen2reco.features.findings import Finding, percent
from gen2reco.features.gap import Gap
from gen2reco.features.relative import Difference, Ratio
from gen2reco.features.targets import RELATIVE, TargetBlock
from gen2reco.features.transform import mean_and_deviation
from gen2reco.features.transforms import GEN, KINDS, NOISE, SUPPLIED, parse
from gen2reco.study import TransformSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gen2reco.study import Part, Target

    Numbers = NDArray[np.float64]
    Columns = Mapping[str, NDArray[Any]]

logger = logging.getLogger(__name__)

CLAMP = 0.1
"""Encoded values are decoded up to so many standard deviations beyond those of training: after an
exponential that is some 15 % beyond the largest ratio or residual that was seen."""
REACH = 6.0
"""Encoded values beyond this are far for a spline, ..."""
MANY_BEYOND = 1e-4
"""... and reported where they make up a larger share than this."""
FEW_VALUES = 64
"""A continuous quantity that takes no more values than this in many rows is reported."""

_SPREAD_BY = {"integer": "dequantize", "flag": "dequantize", "category": "categories"}


@dataclass(frozen=True)
class Wanted:
    """What a block is to encode: components, kind and transforms, and where the study says so."""

    names: tuple[str, ...]
    kind: str
    relative: bool
    specs: tuple[TransformSpec, ...]
    where: str


def wanted_blocks(part: Part) -> Iterator[Wanted]:
    """Yield the blocks of a part: components that no transform mixes are encoded one by one.

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
        groups = [target.name] if vectors else [(name,) for name in target.name]
        for names in groups:
            yield Wanted(names, target.kind, bool(target.relative_to), specs, where)


def _specs(target: Target, where: str) -> tuple[TransformSpec, ...]:
    """Return the listed transforms, after those that the kind of the target implies."""
    listed = {spec.kind for spec in target.transform}
    if target.kind in _SPREAD_BY:
        if target.kind == "category" and target.relative_to:
            raise StudyError(f"{where}: a category cannot be relative to a GEN value")
        if not listed & {"dequantize", "categories"}:
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
        return whole, _restored_findings(whole)
    fit = _Fit(wanted, block, reco, start, columns)
    block = fit.run()
    if block.restored:
        return block, _restored_findings(block, fit.exceptions)
    return _finish(block, reco, columns, standardize=standardize, findings=fit.findings)


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
        self.early = len(wanted.names) == 1 and not any(
            kind.components or set(kind.roles) - set(SUPPLIED) for kind in kinds
        )

    def run(self) -> TargetBlock:
        """Return the block with chain and gaps."""
        if self.whole:
            chain, finite = self._chain(np.ones(len(self.reco), np.bool_))
            self._all_finite(finite)
            return replace(self.block, chain=chain, gaps=(Gap(),) * len(self.block.names))
        return self._early() if self.early else self._late()

    def _early(self) -> TargetBlock:
        start, gen = self.start[:, 0], self.columns.get(GEN)
        ratio = isinstance(self.block.relative, Ratio)
        atoms = find_atoms(start, self.reco[:, 0], None if gen is None else gen[:, 0], ratio=ratio)
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
        with np.errstate(all="ignore"):
            images = chain.forward(np.array(atoms)[:, None], self.columns)[:, 0]
            continuous = chain.forward(start[rest][:, None], self.columns)[:, 0]
        images = np.where(np.isnan(images), -np.inf, images)
        counts = np.array([np.count_nonzero(start == atom) for atom in atoms])
        gap = Gap.fit(continuous, atoms, images, counts) if atoms else Gap()
        return replace(self.block, chain=chain, gaps=(gap,), early=True)

    def _only_atoms(self, atoms: Sequence[float], few: int) -> TargetBlock:
        """Return a copy, a constant, or categories, where all rows but a negligible few agree."""
        self.exceptions = few
        if len(atoms) == 1:
            copied = self.block.relative is not None and atoms[0] == _SAME.get(
                self.block.relative.kind
            )
            restored = "copy" if copied else "constant"
            return replace(self.block, restored=restored, constant=atoms[0])  # type: ignore[arg-type]
        name = self.wanted.names[0]
        share = 1 - few / len(self.start)
        text = f"{name} takes {len(atoms)} values only and is modelled as a category"
        self.findings.append(Finding("discrete", name, share, 0.0, text))
        kept = np.isin(self.start, atoms)[:, 0]
        values = self.start[kept]
        columns = {NOISE: self.columns[NOISE][kept]}
        chain, _ = fit_chain([TransformSpec(kind="categories")], values, columns, self.wanted.where)
        return replace(self.block, chain=chain, gaps=(Gap(),))

    def _late(self) -> TargetBlock:
        chain, finite = self._chain(np.ones(len(self.start), np.bool_))
        self._all_finite(finite)
        end = chain.forward(self.start, self.columns)
        gaps = []
        for column in end.T:
            atoms = find_atoms(column, column)
            rest = ~np.isin(column, atoms)
            if not rest.any():
                atoms, rest = [], np.ones(len(column), np.bool_)
            counts = np.array([np.count_nonzero(column == atom) for atom in atoms])
            gaps.append(Gap.fit(column[rest], atoms, np.array(atoms), counts) if atoms else Gap())
        return replace(self.block, chain=chain, gaps=tuple(gaps), early=False)

    def _chain(self, rows: NDArray[np.bool_]) -> tuple[Chain, NDArray[np.bool_]]:
        columns = {name: column[rows] for name, column in self.columns.items()}
        return fit_chain(self.wanted.specs, self.start[rows], columns, self.wanted.where)

    def _all_finite(self, finite: NDArray[np.bool_]) -> None:
        if not finite.all():
            raise StudyError(
                f"{self.wanted.where}: its transforms send {np.count_nonzero(~finite)} of "
                f"{len(finite)} rows to infinity, the first is row {int(np.argmin(finite))}"
            )


def _finish(
    block: TargetBlock,
    reco: Numbers,
    columns: Columns,
    *,
    standardize: bool,
    findings: list[Finding],
) -> tuple[TargetBlock, list[Finding]]:
    """Add the final scale and the range of training; list what is remarkable."""
    endless = replace(block, final=None)
    with np.errstate(all="ignore"):
        opened = endless.encode(reco, columns)
    final = Standardize.fit(opened, {}, None) if standardize else None
    encoded = final.forward(opened, {}) if final else opened
    margin = CLAMP * (1.0 if final else mean_and_deviation(opened)[1])
    block = replace(
        block,
        final=final,
        low=tuple((encoded.min(axis=0) - margin).tolist()),
        high=tuple((encoded.max(axis=0) + margin).tolist()),
    )
    start = block.relative.forward(reco, {"gen": columns[GEN]}) if block.relative else reco
    for j, (name, gap) in enumerate(zip(block.names, block.gaps, strict=True)):
        findings += [_point_mass(block, name, atom.value, atom.share) for atom in gap.atoms]
        values = len(np.unique(start[:, j]))
        if not block.needs_noise and values <= FEW_VALUES and len(start) > 50 * values:
            text = f"{name} is continuous by its kind but takes {values} values only: an integer?"
            findings.append(Finding("discrete", name, 1.0, 0.0, text))
        far = float(np.mean(np.abs(encoded[:, j]) > REACH)) if final else 0.0
        if far > MANY_BEYOND:
            text = f"{name}: {percent(far)} of the encoded values lie beyond +-{REACH:g}"
            findings.append(Finding("tail", name, far, 0.0, text))
    for finding in findings:
        logger.info("%s", finding)
    return block, findings


_SAME = {"ratio": 1.0, "difference": 0.0, "wrapped_difference": 0.0}
"""What a RECO value equal to its GEN value becomes."""


def _point_mass(block: TargetBlock, name: str, value: float, share: float) -> Finding:
    kind = block.relative.kind if block.relative and block.early else ""
    if kind and value == _SAME[kind]:
        what = f"{name} equals its GEN value"
    elif not block.early:
        what = f"{name} is, after its transforms, exactly {value:g}"
    elif kind and not (kind == "ratio" and value == 0):
        what = f"{name} {'/' if kind == 'ratio' else '-'} GEN is exactly {value:g}"
    else:
        what = f"{name} is exactly {value:g}"
    return Finding("point mass", name, share, value, f"{what} in {percent(share)} of the rows")


def _restored_findings(block: TargetBlock, exceptions: int = 0) -> list[Finding]:
    rows = f"all but {exceptions} rows" if exceptions else "every row"
    result = []
    for name in block.names:
        if block.restored == "copy":
            text = f"{name} equals its GEN value in {rows}; it is copied, not learned"
        else:
            relative = f" {block.relative.kind} to GEN" if block.relative else ""
            text = f"{name} is {block.constant:g}{relative} in {rows}; it is kept, not learned"
        result.append(Finding(block.restored or "copy", name, 1.0, block.constant, text))
    for finding in result:
        logger.info("%s", finding)
    return result
