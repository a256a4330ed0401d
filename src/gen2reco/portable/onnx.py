"""ONNX: a part as a graph that ONNX Runtime runs, from Python, C++ or inside a framework."""

from __future__ import annotations

import json
import logging
import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen2reco.errors import EmulatorError
from gen2reco.portable.program import captured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from gen2reco.portable.chain import PartChain

OPSET = 18


def write_onnx(chain: PartChain, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a part as ONNX: inputs `gen` and `noise`, output `reco`, any number of rows.

    Args:
        chain: the part.
        path: file to write.
        facts: what goes into the model's metadata under `gen2reco`, as JSON.

    Raises:
        EmulatorError: an operation of this family has no counterpart.
    """
    program = captured(chain)
    with quiet():
        try:
            made = torch.onnx.export(
                program.run_decompositions(_without_rare_operations()),
                dynamo=True,
                input_names=["gen", "noise"],
                output_names=["reco"],
                opset_version=OPSET,
                custom_translation_table=_exact_numbers(),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EmulatorError(f"this family cannot be written as ONNX: {reason}") from error
    assert made is not None
    made.model.metadata_props["gen2reco"] = json.dumps(facts)
    made.save(str(path))


def run_onnx(path: Path, gen: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Run a file on rows with ONNX Runtime, on one thread."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (reco,) = session.run(None, {"gen": gen, "noise": noise})
    found: np.ndarray = reco
    return found


def _without_rare_operations() -> Any:
    """Return rules that spell out what ONNX Runtime has in float32 only, for float64."""
    aten = torch.ops.aten
    rules: dict[Any, Any] = {
        aten.sinh.default: lambda x: (torch.exp(x) - torch.exp(-x)) / 2,
        aten.cosh.default: lambda x: (torch.exp(x) + torch.exp(-x)) / 2,
        aten.asinh.default: _asinh,
        aten.cos.default: lambda x: torch.sin(x + math.pi / 2),
        aten.hardswish.default: lambda x: x * (x + 3).clamp(0, 6) / 6,
        aten.silu.default: lambda x: x / (1 + torch.exp(-x)),
    }
    return torch.export.default_decompositions() | rules


def _exact_numbers() -> dict[Any, Any]:
    """Return translations that keep numbers in the program in double precision.

    The exporter's own write them as float32 and cast that: log 2 or the bounds of a logit would be
    off by 3e-8, and splines amplify it.
    """
    import onnx_ir as ir  # noqa: PLC0415
    from onnxscript import opset18 as op  # noqa: PLC0415

    def number(value: Any, dtype: Any) -> Any:
        if value is None or isinstance(value, ir.Value):
            return value
        exact: Any = ir.tensor(value, dtype=ir.DataType(dtype))
        return op.Constant(value=exact)

    def scalar_tensor(
        s: Any,
        dtype: int = -1,
        layout: str = "",  # noqa: ARG001
        device: str = "",  # noqa: ARG001
        pin_memory: bool = False,  # noqa: ARG001
    ) -> Any:
        return number(s, ir.DataType.FLOAT if dtype == -1 else dtype)

    def clamp(self: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002
        return op.Clip(self, number(min, self.dtype), number(max, self.dtype))

    aten = torch.ops.aten
    return {aten.scalar_tensor.default: scalar_tensor, aten.clamp.default: clamp}


def _asinh(x: Tensor) -> Tensor:
    size = x.abs()
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the exporter says about packages that nobody needs to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
