"""One shard: made if it is not there, whoever asks for it, and however often."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from gen2reco.errors import OutputExistsError
from gen2reco.shards import state_of
from gen2reco.verbs.stream import Streamed, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gen2reco.emulator import Emulator
    from gen2reco.shards import Shard, State


@dataclass(frozen=True)
class Simulation:
    """Outcome of `simulate`.

    Attributes:
        path: the file of RECO events, or the folder of shards.
        generated: GEN events read.
        events: RECO events written, replicas and members included.
        dropped: reason -> GEN events that gave no RECO event; `part: reason` -> GEN objects that
            that part could not take, of the other events.
        flagged: reason -> RECO events marked in `gen2reco_flags`.
        seconds: wall time, the start of workers included.
        shares: reading, model and writing as fractions of the time of one process (empty with
            workers).
        found: whether it was there already, complete, and nothing had to be done (shards).
    """

    path: Path
    generated: int
    events: int
    dropped: Mapping[str, int]
    flagged: Mapping[str, int]
    seconds: float
    shares: Mapping[str, float]
    found: bool = False

    def __str__(self) -> str:
        if self.found:
            return f"{self.path}: {self.events} RECO events, there already and complete"
        streamed = Streamed(
            self.generated, self.events, self.dropped, self.flagged, self.seconds, self.shares
        )
        return streamed.told(self.path, "GEN", "RECO")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def make_shard(
    model: Emulator | str | Path,
    emulator: Emulator,
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
        model: what workers load.
        emulator: the same, loaded.
        shard: the piece.
        options: of `Emulator.simulate_chunk`.
        chunk: GEN events per step.
        workers: processes, this one included.
        overwrite: make it anew even if it is complete.
        progress: called with GEN events done and in all.
    """
    shard.check_inputs(emulator.study.input.tree)
    state = state_of(shard)
    if state.done and not overwrite:
        return _found(shard, state)
    try:
        done = stream(
            model,
            emulator,
            [file.path for file in shard.inputs],
            shard.path,
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
    return Simulation(
        shard.path,
        done.read,
        done.events,
        done.dropped,
        done.flagged,
        done.seconds,
        done.shares,
    )


def _found(shard: Shard, state: State) -> Simulation:
    """Return what a shard's sidecar says about it."""
    said = state.summary or {}
    counts = said["generated"], said["entries"], said["dropped"], said["flagged"]
    return Simulation(shard.path, *counts, seconds=0.0, shares={}, found=True)
