"""One part written as a network, checked against Python, with reference rows beside it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gen2reco.errors import EmulatorError
from gen2reco.portable.aoti import run_aoti, write_aoti
from gen2reco.portable.chain import PartChain
from gen2reco.portable.onnx import run_onnx, write_onnx
from gen2reco.portable.reference import compare, references, rounding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.emulator import TrainedPart
    from gen2reco.portable.chain import Precision
    from gen2reco.portable.reference import Agreement, References
    from gen2reco.rows.table import Table

PRECISIONS = ("auto", "float32", "float64")
Choice = Literal["auto", "float32", "float64"]
SUFFIX = {"onnx": ".onnx", "aoti": ".pt2"}
SHOWN = 500
"""Reference rows that are written beside a network."""

log = logging.getLogger(__name__)


def write_network(
    trained: TrainedPart,
    tables: Mapping[str, Table],
    folder: Path,
    *,
    file_format: str,
    precision: Choice = "auto",
    member: int = 0,
) -> tuple[dict[str, Any], Agreement]:
    """Write one part and its reference rows, check it, and return what there is to say about it.

    Args:
        trained: the part.
        tables: part -> reference rows.
        folder: where the files go.
        file_format: `onnx` or `aoti`.
        precision: of the arithmetic inside. Far out in a tail the inverse of a spline amplifies
            rounding a hundredfold, so that two float32 networks differ by more than is allowed;
            `auto` takes float64 for parts where that happens.
        member: of the ensemble.

    Raises:
        EmulatorError: there are no reference rows, the family cannot be exported, or the written
            network differs from Python.
    """
    name = trained.part.name
    if name not in tables or not len(tables[name]):
        raise EmulatorError(f"none of the reference events has a row of part {name}")
    own = rounding(trained, tables[name], member)
    tried: tuple[Precision, ...] = ("float32", "float64") if precision == "auto" else (precision,)
    if precision == "auto" and not own.passed:
        tried = ("float64",)
    for attempt in tried:
        chain = PartChain(trained, member, attempt)
        rows = references(trained, chain, tables[name])
        facts: dict[str, Any] = {
            "name": name,
            "file": f"{name}{SUFFIX[file_format]}",
            "rows": trained.part.rows.kind,
            "precision": attempt,
            "gen": [{"name": one.name, "expression": one.expression} for one in chain.inputs],
            "noise": {"normal": chain.model.noise.normal, "uniform": chain.model.noise.uniform},
            "reco": list(chain.outputs),
        }
        try:
            agreement = _written(chain, rows, folder / facts["file"], file_format, facts)
        except EmulatorError as error:
            if attempt == tried[-1]:
                raise
            log.info("part %s in float64: %s", name, error)
            continue
        facts |= {"check": asdict(agreement), "float32_from_float64": asdict(own)}
        _write_rows(folder / f"{name}.csv", chain, rows)
        return facts, agreement
    raise AssertionError


def _written(
    chain: PartChain, rows: References, path: Path, file_format: str, facts: Mapping[str, Any]
) -> Agreement:
    if file_format == "onnx":
        write_onnx(chain, path, facts)
    else:
        write_aoti(chain, path)
    return compare(chain, rows, partial(run_onnx if file_format == "onnx" else run_aoti, path))


def _write_rows(path: Path, chain: PartChain, rows: References) -> None:
    """Write reference rows as text: GEN features, noise, RECO features, to the last bit."""
    inside = np.flatnonzero(~rows.edge)[:SHOWN]
    names = [
        *(f"gen.{one.name}" for one in chain.inputs),
        *(f"noise.{i}" for i in range(rows.noise.shape[1])),
        *(f"reco.{name}" for name in chain.outputs),
    ]
    table = np.concatenate([rows.gen[inside], rows.noise[inside], rows.reco[inside]], 1)
    np.savetxt(path, table, "%.9g", ",", header=",".join(names), comments="")
