"""Precision of the products in a fit: float32, TF32 on CUDA, or half precision in the loss.

Weights, optimiser and validation stay float32 whatever is chosen; half precision is torch's
autocast around the loss. Float16 has few exponents: its gradients are scaled, and steps that
overflow are left out while the scale comes down.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from gen2reco.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
AMPERE = (8, 0)
"""The first CUDA capability with TF32."""


class Arithmetic:
    """How a fit multiplies on its device.

    Args:
        precision: `training.precision`: fp32, tf32, bf16 or fp16.
        device: of the fit.

    Attributes:
        scaler: of the gradients of float16, else None.

    Raises:
        TrainingError: the device cannot.
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self.precision, self.device = precision, device
        obstacle = _obstacle(precision, device)
        if obstacle:
            raise TrainingError(
                f"training.precision is {precision}, but {obstacle}; use fp32, which runs anywhere"
            )
        half = precision == "fp16"
        self.scaler = torch.amp.GradScaler(device.type) if half else None

    @contextmanager
    def products(self) -> Iterator[None]:
        """Let float32 products use TF32 meanwhile, if that is what was asked for."""
        before = torch.get_float32_matmul_precision()
        if self.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            if self.precision == "tf32":
                torch.set_float32_matmul_precision(before)

    def of_loss(self) -> AbstractContextManager[object]:
        """Return the context in which a loss is computed."""
        half = HALVES.get(self.precision)
        return torch.autocast(self.device.type, half) if half else nullcontext()

    def state(self) -> dict[str, Tensor]:
        """Return what a resumed fit needs: the scale of the gradients, and the steps with it."""
        if self.scaler is None:
            return {}
        state = self.scaler.state_dict()
        return {name: torch.tensor(state[name]) for name in ("scale", "_growth_tracker")}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Set what `state` gave."""
        if self.scaler is not None:
            found = {name: value.item() for name, value in state.items()}
            self.scaler.load_state_dict(self.scaler.state_dict() | found)


def _obstacle(precision: str, device: torch.device) -> str:
    """Return why a device cannot, "" where it can."""
    cuda = device.type == "cuda"
    if precision == "tf32" and not cuda:
        return f"TF32 is of CUDA devices and this fit runs on {device.type}"
    if precision == "tf32" and torch.cuda.get_device_capability(device) < AMPERE:
        return "this CUDA device is older than Ampere"
    if precision == "bf16" and cuda and not torch.cuda.is_bf16_supported():
        return "this CUDA device has no bfloat16"
    return ""
