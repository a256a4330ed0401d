"""`unfold`: files of RECO events in, a file of GEN events out, as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gen2reco.emulator import Emulator, load_emulator
from gen2reco.errors import EmulatorError
from gen2reco.verbs.stream import CHUNK, Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Unfolding:
    """Outcome of `unfold`.

    Attributes:
        path: the file of GEN events.
        read: RECO events read.
        events: GEN events written, all draws included.
        dropped: reason -> RECO events that could not be unfolded.
        flagged: reason -> GEN events marked in `gen2reco_flags`.
        seconds: wall time, the start of workers included.
    """

    path: Path
    read: int
    events: int
    dropped: Mapping[str, int]
    flagged: Mapping[str, int]
    seconds: float

    def __str__(self) -> str:
        streamed = Streamed(self.read, self.events, self.dropped, self.flagged, self.seconds, {})
        return streamed.told(self.path, "RECO", "GEN")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def unfold(
    model: Emulator | str | Path,
    files: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    draws: int = 1,
    seed: int = 1,
    chunk: int = CHUNK,
    workers: int = 1,
    members: int = 1,
    keep: Sequence[str] = (),
    policy: str = "error",
    file_format: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Unfolding:
    """Turn files of RECO events into one file of GEN events, drawn from p(GEN | RECO).

    The draws of one event are its posterior under the GEN distribution of the training sample, the
    prior; `gen2reco.unfolding` has what makes the answer depend less on it. The same seed and event
    give the same draws, whatever the chunk, the order of files or the workers.

    Args:
        model: an emulator whose study has `direction: unfold`, or its path.
        files: files or globs with RECO events.
        output: GEN file, `.parquet` or `.root`.
        draws: GEN events per RECO event (`replica` column, weights divided by it).
        seed: seed of all random numbers.
        chunk: RECO events per step.
        workers: processes, this one included; each uses one thread.
        members: ensemble members to run (`member` column), for the systematic uncertainty.
        keep: columns or patterns to carry along.
        policy: for RECO values that are not finite: `error`, `drop` or `flag`.
        file_format: `parquet`, `nanoaod` or `rntuple`; default: by the suffix of `output`.
        overwrite: replace an existing output.
        progress: called with RECO events done and in all.

    Raises:
        OutputExistsError: the output exists and `overwrite` is off.
        EventFileError: a file cannot be read, lacks a column, or holds unusable values under policy
            `error`.
        EmulatorError: the emulator cannot be loaded, cannot unfold, or has fewer members.
        WorkerError: one of several processes was killed.
    """
    emulator = model if isinstance(model, Emulator) else load_emulator(model)
    check_unfolds(emulator)
    done = stream(
        model,
        emulator,
        files,
        output,
        options={
            "seed": seed,
            "oversample": draws,
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
    return Unfolding(Path(output), done.read, done.events, done.dropped, done.flagged, done.seconds)


def check_unfolds(emulator: Emulator) -> None:
    """Raise EmulatorError where an emulator cannot give GEN for RECO, with what to do."""
    study = emulator.study
    if study.direction == "unfold":
        return
    kinds = ", ".join(sorted({str(part.part.model["kind"]) for part in emulator.parts}))
    raise EmulatorError(
        f"the emulator of study {study.name!r} learned RECO given GEN, and the family {kinds} does"
        " not run backwards. Train a study with `direction: unfold`, whose conditions are RECO and"
        " whose targets are GEN, such as zee-unfold"
    )
