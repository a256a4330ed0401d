"""`simulate`: files of GEN events in, a file of RECO events out, as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gen2reco.emulator import Emulator, load_emulator
from gen2reco.errors import StudyError
from gen2reco.verbs.stream import CHUNK, Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Simulation:
    """Outcome of `simulate`.

    Attributes:
        path: the file of RECO events.
        generated: GEN events read.
        events: RECO events written, replicas and members included.
        dropped: reason -> GEN events that gave no RECO event; `part: reason` -> GEN objects that
            that part could not take, of the other events.
        flagged: reason -> RECO events marked in `gen2reco_flags`.
        seconds: wall time, the start of workers included.
        shares: reading, model and writing as fractions of the time of one process (empty with
            workers).
    """

    path: Path
    generated: int
    events: int
    dropped: Mapping[str, int]
    flagged: Mapping[str, int]
    seconds: float
    shares: Mapping[str, float]

    def __str__(self) -> str:
        streamed = Streamed(
            self.generated, self.events, self.dropped, self.flagged, self.seconds, self.shares
        )
        return streamed.told(self.path, "GEN", "RECO")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def simulate(
    model: Emulator | str | Path,
    files: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    seed: int = 1,
    chunk: int = CHUNK,
    workers: int = 1,
    oversample: int = 1,
    members: int = 1,
    keep: Sequence[str] = (),
    policy: str = "error",
    file_format: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Turn files of GEN events into one file of RECO events.

    The same seed and event give the same RECO event, whatever the chunk, the order of files or the
    workers. Memory does not grow with the number of events.

    Args:
        model: an emulator or its path.
        files: files or globs with GEN events.
        output: RECO file, `.parquet` or `.root`.
        seed: seed of all random numbers.
        chunk: GEN events per step.
        workers: processes, this one included; each uses one thread.
        oversample: RECO events per GEN event (`replica` column, weights divided by it).
        members: ensemble members to run (`member` column), for the systematic uncertainty.
        keep: GEN columns or patterns to carry along.
        policy: for GEN values that are not finite: `error`, `drop` or `flag`.
        file_format: `parquet`, `nanoaod` or `rntuple`; default: by the suffix of `output`.
        overwrite: replace an existing output.
        progress: called with GEN events done and in all.

    Raises:
        OutputExistsError: the output exists and `overwrite` is off.
        EventFileError: a file cannot be read, lacks a column, or holds unusable values under policy
            `error`.
        EmulatorError: the emulator cannot be loaded, or has fewer members.
        StudyError: the study unfolds, or generates without GEN.
        WorkerError: one of several processes was killed.
    """
    emulator = model if isinstance(model, Emulator) else load_emulator(model)
    if emulator.study.direction != "simulate":
        raise StudyError(
            f"study {emulator.study.name!r} learned GEN given RECO (direction: unfold); use"
            " `gen2reco unfold` with this emulator"
        )
    if emulator.study.generates:
        raise StudyError(
            f"study {emulator.study.name!r} learned events without GEN, and what it makes has"
            " nothing to do with the events of a file; use `gen2reco generate` with this emulator"
        )
    done = stream(
        model,
        emulator,
        files,
        output,
        options={
            "seed": seed,
            "oversample": oversample,
            "members": members,
            "keep": keep,
            "policy": policy,
        },
        chunk=chunk,
        workers=workers,
        file_format=file_format,
        overwrite=overwrite,
        progress=progress,
    )
    return Simulation(
        Path(output),
        done.read,
        done.events,
        done.dropped,
        done.flagged,
        done.seconds,
        done.shares,
    )
