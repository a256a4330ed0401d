"""How far a fit is, and two ways to show it: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_SECONDS = 10.0
_FAST_EPOCH_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """One report of a running fit.

    Attributes:
        kind: "start", "batch" (within an epoch), "epoch" (one is done) or "end".
        member: member of the ensemble.
        epoch: epoch under way ("batch") or done, from 1; 0 at the start.
        epochs: epochs planned.
        step: optimiser steps done.
        steps: optimiser steps planned.
        train: latest training loss: of the last batch within an epoch, of the epoch after it; nan
            before any.
        validation: validation loss of the last complete epoch; nan before any.
        best_epoch: best epoch so far, from 1; 0 before any.
        rows_per_second: training rows per second of this session, validation included.
        seconds: wall time of the fit so far, over all its sessions.
        remaining: estimated seconds to the end; nan where unknown.
        part: name of the part of the study, "" where there is none.
        monitor: the quantity that picks the best epoch, after the last complete one; nan before.
    """

    kind: Literal["start", "batch", "epoch", "end"]
    member: int
    epoch: int
    epochs: int
    step: int
    steps: int
    train: float
    validation: float
    best_epoch: int
    rows_per_second: float
    seconds: float
    remaining: float
    part: str = ""
    monitor: float = math.nan

    @property
    def fit(self) -> tuple[str, int]:
        """Which of several fits reports."""
        return self.part, self.member


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Callable[[Progress], None]]:
    """Give a callback that shows progress on `stream` (default: standard error) in a `with` block.

    On a terminal it is a live bar per part and ensemble member; elsewhere one line per epoch, at
    most one per second for very short epochs, and one per ten seconds within long ones.
    """
    target = stream or sys.stderr
    if target.isatty():
        with _bars(target) as show:
            yield show
    else:
        yield PlainLines(target)


class PlainLines:
    """Writes progress as lines of text, for logs and batch jobs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[tuple[str, int], float] = {}

    def __call__(self, progress: Progress) -> None:
        """Write a line where one is due."""
        now = time.monotonic()
        wait = _LINE_SECONDS if progress.kind == "batch" else _FAST_EPOCH_SECONDS
        complete = progress.kind == "epoch" and progress.remaining == 0
        if progress.kind == "start":
            self._last[progress.fit] = now
            return
        if progress.kind == "end" or (
            now - self._last.get(progress.fit, -math.inf) < wait and not complete
        ):
            return
        self._last[progress.fit] = now
        self._stream.write(f"{_title(progress)}  {_numbers(progress)}\n")
        self._stream.flush()


@contextmanager
def _bars(stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console  # noqa: PLC0415 - slow to import, needed on terminals alone
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[tuple[str, int], TaskID] = {}
    with Bars(*columns, console=Console(file=stream)) as bars:

        def show(progress: Progress) -> None:
            if progress.fit not in tasks:
                tasks[progress.fit] = bars.add_task("", total=progress.steps, numbers="")
            bars.update(
                tasks[progress.fit],
                completed=progress.steps if progress.kind == "end" else progress.step,
                description=_title(progress),
                numbers=_numbers(progress, remaining=False),
            )

        yield show


def _title(progress: Progress) -> str:
    part = f"{progress.part}, " if progress.part else ""
    member = f"member {progress.member}, " if progress.member else ""
    width = len(str(progress.epochs))
    return f"{part}{member}epoch {progress.epoch:{width}d}/{progress.epochs}"


def _numbers(progress: Progress, *, remaining: bool = True) -> str:
    parts = []
    if not math.isnan(progress.train):
        parts.append(f"train {progress.train:.4f}")
    if not math.isnan(progress.validation):
        parts.append(f"validation {progress.validation:.4f} (best: epoch {progress.best_epoch})")
    if progress.rows_per_second:
        parts.append(f"{progress.rows_per_second:,.0f} rows/s".replace(",", " "))
    if remaining:
        parts.append(f"{progress.seconds:.0f} s")
        if progress.remaining > 0:
            parts.append(f"about {progress.remaining:.0f} s left")
    return "  ".join(parts)
