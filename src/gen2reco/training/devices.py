"""Where a fit runs: the CPU, or a CUDA device where one is present."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gen2reco.errors import TrainingError

if TYPE_CHECKING:
    from gen2reco.models.protocol import Batch


def choose_device(wanted: str) -> torch.device:
    """Return the device for `training.device`: auto, cpu or cuda.

    Raises:
        TrainingError: cuda is asked for and not there.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError(
            "training.device is cuda, but torch sees no CUDA device here; use auto or cpu"
        )
    return torch.device("cuda" if wanted != "cpu" and available else "cpu")


def cuda_index(device: torch.device) -> list[int]:
    """Return the CUDA devices whose random state belongs to a fit on `device`."""
    return [torch.cuda.current_device()] if device.type == "cuda" else []


def to_device(rows: Batch, device: torch.device) -> Batch:
    """Return the rows on `device`."""
    return rows.map(lambda tensor: tensor.to(device))
