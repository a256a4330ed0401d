"""Capture a part as a program of tensor operations, for any number of rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from gen2reco.errors import EmulatorError

if TYPE_CHECKING:
    from gen2reco.portable.chain import PartChain

_ROWS = 64


def captured(chain: PartChain) -> torch.export.ExportedProgram:
    """Return the part as a program with inputs `gen` and `noise`.

    Raises:
        EmulatorError: the family does something that cannot be captured.
    """
    # Here and not in the `except`: an interrupt there would meet a module that is half imported.
    from torch._dynamo.exc import UserError  # noqa: PLC0415  (takes a second)

    chain.eval()
    rows = torch.export.Dim("rows", min=1)
    example = (
        torch.full((_ROWS, len(chain.inputs)), 0.5),
        torch.full((_ROWS, chain.model.noise.width), 0.5),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.inference_mode(False), torch.no_grad():
                return torch.export.export(
                    chain, example, dynamic_shapes=({0: rows}, {0: rows}), strict=False
                )
        except (RuntimeError, UserError) as error:
            reason = reason_of(error)
            if reason.startswith("Constraints violated"):
                reason = "its code makes the number of rows a constant, as `len(x)` does where"
                reason += " `x.shape[0]` does not"
            raise EmulatorError(
                f"this family cannot be exported, simulate in Python instead: {reason}"
            ) from error


def reason_of(error: BaseException) -> str:
    """Return what went wrong first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
