"""`generate`: events out of nothing but their numbers, from an emulator that reads no GEN."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gen2reco.emulator import Emulator, as_emulator
from gen2reco.errors import EmulatorError
from gen2reco.events.numbers import EventNumbers
from gen2reco.verbs.stream import CHUNK, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Generation:
    """Outcome of `generate`.

    Attributes:
        path: the file of generated events.
        events: events written, those of all members.
        seconds: wall time, the start of workers included.
        shares: numbering, model and writing as fractions of the time of one process (empty with
            workers).
    """

    path: Path
    events: int
    seconds: float
    shares: Mapping[str, float]

    def __str__(self) -> str:
        rate = self.events / self.seconds
        return (
            f"{self.path}: {self.events} generated events in {self.seconds:.1f} s"
            f" ({rate:.0f} events/s)"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def generate(
    model: Emulator | str | Path,
    number: int,
    output: str | Path,
    *,
    seed: int = 1,
    first: int = 0,
    chunk: int = CHUNK,
    workers: int = 1,
    members: int = 1,
    file_format: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """Draw events from an emulator that was trained without GEN (`pairing: none`).

    Event number i of a seed is the same in every job: run 1, event i + 1, luminosity blocks of
    100 000. Memory does not grow with the number of events.

    Args:
        model: an emulator or its path.
        number: how many events.
        output: file to write, `.parquet` or `.root`.
        seed: seed of all random numbers.
        first: number of the first event, from 0: a second job goes on where a first one ended.
        chunk: events per step.
        workers: processes, this one included; each uses one thread.
        members: ensemble members to run (`member` column), for the systematic uncertainty.
        file_format: `parquet`, `nanoaod` or `rntuple`; default: by the suffix of `output`.
        overwrite: replace an existing output.
        progress: called with events done and in all.

    Raises:
        EmulatorError: the emulator cannot be loaded, has fewer members, or is given GEN.
        StudyError: a number out of range.
        OutputExistsError: the output exists and `overwrite` is off.
        WorkerError: one of several processes was killed.
    """
    done = stream(
        model,
        EventNumbers(number, first),
        output,
        load=generating,
        options={
            "seed": seed,
            "oversample": 1,
            "members": members,
            "keep": (),
            "policy": "error",
        },
        chunk=chunk,
        workers=workers,
        file_format=file_format,
        overwrite=overwrite,
        progress=progress,
    )
    return Generation(Path(output), done.events, done.seconds, done.shares)


def generating(model: Emulator | str | Path) -> Emulator:
    """Load an emulator; EmulatorError where it needs events to start from, with what to do."""
    emulator = as_emulator(model)
    study = emulator.study
    if study.generates:
        return emulator
    reads = next(part.name for part in study.parts if not part.generates)
    verb = "unfold" if study.direction == "unfold" else "simulate"
    raise EmulatorError(
        f"the emulator of study {study.name!r} is given {study.given} (part {reads!r} has"
        f" conditions or targets relative to it): use `gen2reco {verb}` with files of events. Only"
        " studies whose parts have rows of pairing 'none', such as zgamma, generate without"
    )
