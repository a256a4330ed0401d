"""What a fit leaves behind: one record per epoch, its JSON lines, and the result of the whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Epoch:
    """Outcome of one pass over the training rows.

    Attributes:
        epoch: number of the epoch, from 1.
        step: optimiser steps done so far.
        learning_rate: rate of the epoch's last step.
        train: mean loss over the epoch, while the weights were moving and with dropout on.
        validation: loss of the validation rows after the epoch, with averaged weights where they
            are used.
        monitor: the quantity that picks the best epoch; the validation loss unless a physics metric
            was given.
        losses: training loss of every objective; `train` is the first.
        validation_losses: the same on the validation rows.
        measures: what else is followed on the validation rows: distributions and correlations with
            `monitor: distributions`, and what the model has to tell.
        seconds: wall time, validation included.
        rows_per_second: training rows per second, validation excluded.
    """

    epoch: int
    step: int
    learning_rate: float
    train: float
    validation: float
    monitor: float
    losses: dict[str, float] = field(default_factory=dict)
    validation_losses: dict[str, float] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    rows_per_second: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data, as it stands in the log."""
        return asdict(self)


@dataclass(frozen=True)
class FitResult:
    """Outcome of a fit; the model itself holds the weights of the best epoch.

    Attributes:
        history: one record per epoch.
        best_epoch: epoch (from 1) whose weights were kept.
        best: value of the monitored quantity there.
        steps: optimiser steps done.
        seconds: wall time over all sessions of the fit, in seconds.
        stopped_early: whether patience ended the fit before its last epoch.
        skipped: batches left out because their signed weights cancelled.
        rows: training rows per epoch.
        member: which member of the ensemble this is, 0 for the nominal one.
        device: where it ran, "cpu" or "cuda".
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    best: float
    steps: int
    seconds: float
    stopped_early: bool
    skipped: int
    rows: int
    member: int
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return asdict(self)


class EpochLog(Protocol):
    """Where epoch records go as they come."""

    def restart(self, history: Sequence[Epoch]) -> None:
        """Begin with the epochs already done, in place of whatever was there."""

    def write(self, epoch: Epoch) -> None:
        """Add one epoch."""

    def close(self) -> None:
        """Finish."""


class JsonLines:
    """One JSON object per epoch and line in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def restart(self, history: Sequence[Epoch]) -> None:
        """Begin with the epochs already done, in place of whatever was there."""
        self._path.write_text("".join(_line(epoch) for epoch in history), encoding="utf-8")

    def write(self, epoch: Epoch) -> None:
        """Add one epoch."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(epoch))

    def close(self) -> None:
        """Nothing is held open between epochs."""


class TensorBoard:
    """Scalars for TensorBoard; needs the extra `gen2reco[tensorboard]`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra)

        self._make: Callable[..., Any] = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def restart(self, history: Sequence[Epoch]) -> None:
        """Hide steps after the last epoch done, which a killed run may have written already."""
        done = history[-1].epoch if history else 0
        self._writer = self._make(str(self._folder), purge_step=done + 1)

    def write(self, epoch: Epoch) -> None:
        """Add one epoch."""
        scalars = {
            "learning rate": epoch.learning_rate,
            "monitor": epoch.monitor,
            "rows per second": epoch.rows_per_second,
        }
        scalars |= {f"{name}/train": value for name, value in epoch.losses.items()}
        scalars |= {f"{name}/validation": value for name, value in epoch.validation_losses.items()}
        scalars |= {f"{name}/measure": value for name, value in epoch.measures.items()}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, global_step=epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


def read_history(path: Path) -> tuple[Epoch, ...]:
    """Read the epochs of a JSON lines log."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(Epoch(**json.loads(line)) for line in lines if line.strip())


def _line(epoch: Epoch) -> str:
    return json.dumps(epoch.as_dict(), allow_nan=False) + "\n"
