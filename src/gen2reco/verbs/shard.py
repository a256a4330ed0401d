"""One shard: made if it is not there, whoever asks for it, and however often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gen2reco.emulator import Emulator, as_emulator
from gen2reco.errors import OutputExistsError, StudyError
from gen2reco.shards import state_of
from gen2reco.verbs.stream import Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gen2reco.shards import Shard, State


@dataclass(frozen=True)
class Simulation(Streamed):
    """Outcome of `simulate`: GEN events read, RECO events written.

    Attributes:
        path: the file of RECO events, or the folder of shards.
        found: whether it was there already, complete, and nothing had to be done (shards).
    """

    given: ClassVar[str] = "GEN"
    made: ClassVar[str] = "RECO"
    found: bool = False

    def __str__(self) -> str:
        if self.found:
            return f"{self.path}: {self.events} RECO events, there already and complete"
        return super().__str__()


def simulating(model: Emulator | str | Path) -> Emulator:
    """Load an emulator; StudyError where it gives GEN for RECO."""
    emulator = as_emulator(model)
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


def make_shard(
    model: Emulator | str | Path,
    shard: Shard,
    options: Mapping[str, Any],
    *,
    chunk: int,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Make a shard, unless it is there and complete; the first of several writers wins.

    Args:
        model: an emulator, or its path, which several workers need.
        shard: the piece.
        options: of `Emulator.simulate_chunk`.
        chunk: GEN events per step.
        workers: processes, this one included.
        overwrite: make it anew even if it is complete.
        progress: called with GEN events done and in all.
    """
    emulator = simulating(model)
    shard.check_inputs(emulator.study.input.tree)
    state = state_of(shard)
    if state.done and not overwrite:
        return _found(shard, state)
    try:
        done = stream(
            emulator if workers == 1 else model,
            [file.path for file in shard.inputs],
            shard.path,
            load=simulating,
            options=options,
            chunk=chunk,
            workers=workers,
            file_format=None,
            overwrite=overwrite or state.word == "broken",
            progress=progress,
            shard=shard,
        )
    except OutputExistsError:
        state = state_of(shard)
        if not state.done:
            raise
        return _found(shard, state)
    return Simulation(**vars(done))


def _found(shard: Shard, state: State) -> Simulation:
    """Return what a shard's sidecar says about it."""
    said = state.summary or {}
    counts = said["generated"], said["entries"], said["dropped"], said["flagged"]
    return Simulation(shard.path, *counts, seconds=0.0, shares={}, found=True)
