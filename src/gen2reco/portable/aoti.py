"""AOTInductor: a part as compiled code in one file, which C++ loads with libtorch alone."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from gen2reco.errors import EmulatorError
from gen2reco.portable.program import captured, reason_of

if TYPE_CHECKING:
    from pathlib import Path

    from gen2reco.portable.chain import PartChain


def write_aoti(chain: PartChain, path: Path) -> None:
    """Compile a part for this kind of processor, with inputs `gen` and `noise`, any number of rows.

    Args:
        chain: the part.
        path: file to write, `.pt2`.

    Raises:
        EmulatorError: there is no C++ compiler, or the family cannot be compiled.
    """
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        raise EmulatorError("--format aoti needs a C++ compiler (g++, or the one named in CXX)")
    program = captured(chain)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as cache:
        warnings.simplefilter("ignore")
        before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        try:
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))  # noqa: SLF001
        except RuntimeError as error:
            raise EmulatorError(
                f"this family cannot be compiled, simulate in Python instead: {reason_of(error)}"
            ) from error
        finally:
            if before is None:
                del os.environ["TORCHINDUCTOR_CACHE_DIR"]
            else:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def run_aoti(path: Path, gen: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Run a file on rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch._inductor.aoti_load_package(str(path))  # noqa: SLF001
    with torch.inference_mode():
        reco = network(torch.from_numpy(gen), torch.from_numpy(noise))
    return np.asarray(reco)
