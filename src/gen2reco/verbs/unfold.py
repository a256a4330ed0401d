"""`unfold`: files of RECO events in, a file of GEN events out, as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen2reco.emulator import Emulator, as_emulator
from gen2reco.verbs.stream import CHUNK, Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Unfolding(Streamed):
    """Outcome of `unfold`: RECO events read, GEN events written."""

    given, made = "RECO", "GEN"


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
        model: an emulator whose study has `direction: unfold`, or of a family that runs both ways
            (`transport`: its encoder), or its path.
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
    done = stream(
        model,
        files,
        output,
        load=unfolding,
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
    return Unfolding(**vars(done))


def unfolding(model: Emulator | str | Path) -> Emulator:
    """Return what gives GEN for RECO; EmulatorError where an emulator runs one way only."""
    emulator = as_emulator(model)
    return emulator.backward()
