"""`simulate`: files of GEN events in, a file of RECO events out, as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen2reco.emulator import Emulator, load_emulator
from gen2reco.errors import StudyError
from gen2reco.verbs.stream import CHUNK, Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Simulation(Streamed):
    """Outcome of `simulate`: GEN events read, RECO events written."""

    given, made = "GEN", "RECO"


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
    done = stream(
        model,
        files,
        output,
        load=_simulating,
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
    return Simulation(**vars(done))


def _simulating(model: Emulator | str | Path) -> Emulator:
    """Load an emulator; StudyError where it gives GEN for RECO."""
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
    return emulator
