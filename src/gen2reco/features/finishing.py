"""The last steps of fitting a target: its scale, its range, and what is remarkable about it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.features.elementwise import Standardize
from gen2reco.features.findings import Finding, percent
from gen2reco.features.transform import floats, mean_and_deviation
from gen2reco.features.transforms import GEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from gen2reco.features.targets import TargetBlock

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

SAME = {"ratio": 1.0, "difference": 0.0, "wrapped_difference": 0.0}
"""What a RECO value equal to its GEN value becomes."""


def finish(
    block: TargetBlock,
    reco: Numbers,
    columns: Columns,
    *,
    standardize: bool,
    findings: list[Finding],
) -> tuple[TargetBlock, list[Finding]]:
    """Add the final scale and the range of training; list what is remarkable."""
    if not block.ranked:
        block = _scaled(block, reco, columns, standardize=standardize)
        findings += _numbers_findings(block, reco, columns)
    for finding in findings:
        logger.info("%s", finding)
    return block, findings


def _scaled(
    block: TargetBlock, reco: Numbers, columns: Columns, *, standardize: bool
) -> TargetBlock:
    """Return the block with the final scale and the range of training, from what is continuous."""
    endless = replace(block, final=None, levels=())
    with np.errstate(all="ignore"):
        opened = endless.encode(reco, columns)
    rest = _continuous(block, reco, columns)
    own = [mean_and_deviation(opened[here, j : j + 1]) for j, here in enumerate(rest.T)]
    mean, deviation = (floats([float(pair[k][0]) for pair in own]) for k in (0, 1))
    final = Standardize(mean, deviation) if standardize else None
    encoded = final.forward(opened, {}) if final else opened
    margin = CLAMP * (np.ones(len(own)) if final else np.array(deviation))
    return replace(
        block,
        final=final,
        low=floats(np.where(rest, encoded, np.inf).min(axis=0) - margin),
        high=floats(np.where(rest, encoded, -np.inf).max(axis=0) + margin),
    )


def _continuous(block: TargetBlock, reco: Numbers, columns: Columns) -> NDArray[np.bool_]:
    """Return which encoded values [n, k] are not the noise of a level."""
    with np.errstate(all="ignore"):
        ranks = iter(block.ranks(reco, columns).T)
    rest = [
        next(ranks) == 0 if block.levels and block.levels[j].masses else np.ones(len(reco), bool)
        for j in range(len(block.names))
    ]
    return np.stack(rest, axis=1)


def _numbers_findings(block: TargetBlock, reco: Numbers, columns: Columns) -> Iterator[Finding]:
    """Yield what is remarkable about the continuous columns of a block."""
    with np.errstate(all="ignore"):
        encoded = block.encode(reco, columns)
    start = block.relative.forward(reco, {"gen": columns[GEN]}) if block.relative else reco
    for j, name in enumerate(block.names):
        for mass in block.point_masses(j):
            yield _point_mass(block, name, mass.value, mass.share)
        values = len(np.unique(start[:, j]))
        if not block.needs_noise and values <= FEW_VALUES and len(start) > 50 * values:
            text = f"{name} is continuous by its kind but takes {values} values only: an integer?"
            yield Finding("discrete", name, 1.0, 0.0, text)
        far = float(np.mean(np.abs(encoded[:, j]) > REACH)) if block.final else 0.0
        if far > MANY_BEYOND:
            text = f"{name}: {percent(far)} of the encoded values lie beyond +-{REACH:g}"
            yield Finding("tail", name, far, 0.0, text)


def _point_mass(block: TargetBlock, name: str, value: float, share: float) -> Finding:
    kind = block.relative.kind if block.relative and block.early else ""
    if kind and value == SAME[kind]:
        what = f"{name} equals its GEN value"
    elif not block.early:
        what = f"{name} is, after its transforms, exactly {value:g}"
    elif kind and not (kind == "ratio" and value == 0):
        what = f"{name} {'/' if kind == 'ratio' else '-'} GEN is exactly {value:g}"
    else:
        what = f"{name} is exactly {value:g}"
    return Finding("point mass", name, share, value, f"{what} in {percent(share)} of the rows")


def restored_findings(block: TargetBlock, exceptions: int = 0) -> list[Finding]:
    """Return the findings about a block that is not learned, where so many rows are exceptions."""
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
