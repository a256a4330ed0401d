"""`simulate`: files of GEN events in, a file of RECO events out, as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gen2reco.emulator import Emulator, load_emulator
from gen2reco.errors import StudyError
from gen2reco.shards import numbers_of, state_of
from gen2reco.verbs.production import planned
from gen2reco.verbs.stream import CHUNK, Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gen2reco.shards import State


@dataclass(frozen=True)
class Simulation(Streamed):
    """Outcome of `simulate`: GEN events read, RECO events written.

    Attributes:
        found: whether it was there already, complete, and nothing had to be done (shards).
    """

    given: ClassVar[str] = "GEN"
    made: ClassVar[str] = "RECO"
    found: bool = False

    def __str__(self) -> str:
        if self.found:
            return f"{self.path}: {self.events} RECO events, there already and complete"
        return super().__str__()


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
    shard: str = "",
) -> Simulation:
    """Turn files of GEN events into one file of RECO events.

    The same seed and event give the same RECO event, whatever the chunk, the order of files or the
    workers. Memory does not grow with the number of events.

    Args:
        model: an emulator or its path.
        files: files or globs with GEN events; may be empty for a shard whose manifest is there.
        output: RECO file, `.parquet` or `.root`; for a shard, the folder of all shards.
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
        shard: `I/N`: only piece I, from 0, of N pieces with equal numbers of events. The first
            call writes `manifest.json`, which says what all pieces are; a piece that is there and
            complete is left as it is, a broken one is made anew. Parquet by default.

    Raises:
        OutputExistsError: the output exists and `overwrite` is off, or the folder holds the shards
            of another production.
        EventFileError: a file cannot be read, lacks a column, or holds unusable values under policy
            `error`.
        EmulatorError: the emulator cannot be loaded, or has fewer members.
        StudyError: the study unfolds, or generates without GEN.
        WorkerError: one of several processes was killed.
    """
    options = {
        "seed": seed,
        "oversample": oversample,
        "members": members,
        "keep": list(keep),
        "policy": policy,
    }
    piece = None
    if shard:
        number, of = numbers_of(shard)
        manifest = planned(
            _simulating(model),
            model,
            files,
            output,
            of,
            options,
            file_format,
            overwrite=overwrite,
        )
        piece = manifest.shard(number)
        piece.check_inputs(manifest.tree)
        state = state_of(piece)
        if state.done and not overwrite:
            return _found(piece.path, state)
        files, output, file_format = [file.path for file in piece.inputs], piece.path, None
        overwrite = overwrite or state.word == "broken"
    done = stream(
        model,
        files,
        output,
        load=_simulating,
        options=options,
        chunk=chunk,
        workers=workers,
        file_format=file_format,
        overwrite=overwrite,
        progress=progress,
        shard=piece,
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


def _found(path: Path, state: State) -> Simulation:
    """Return what a shard's sidecar says about it."""
    said = state.summary or {}
    return Simulation(
        path,
        said["generated"],
        said["entries"],
        said["dropped"],
        said["flagged"],
        0.0,
        {},
        found=True,
    )
