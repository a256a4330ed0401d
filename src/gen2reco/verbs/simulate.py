"""`simulate`: files of GEN events in, a file of RECO events out, as a stream."""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections import Counter, deque
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.emulator import Emulator, Simulated, load_emulator
from gen2reco.emulator.assemble import event_weights
from gen2reco.emulator.blocks import BLOCK
from gen2reco.errors import EmulatorError, StudyError
from gen2reco.events import EventWriter, open_events
from gen2reco.events.layout import flat_columns, to_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gen2reco.events import EventSource
    from gen2reco.events.layout import Columns

CHUNK = 10 * BLOCK
"""GEN events per step: whole blocks of the models, small beside the memory of the libraries."""
TASK = 100_000
"""GEN events of one task of a worker."""


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
        rate = self.generated / self.seconds
        lines = [
            (
                f"{self.path}: {self.events} RECO events from {self.generated} GEN events"
                f" in {self.seconds:.1f} s ({rate:.0f} GEN events/s)"
            )
        ]
        lines += [
            f"  left out, {reason}: {count}" for reason, count in sorted(self.dropped.items())
        ]
        lines += [f"  flagged, {reason}: {count}" for reason, count in sorted(self.flagged.items())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know to simulate any range of entries."""

    model: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    chunk: int
    options: Mapping[str, Any]


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
        workers: processes; each uses one thread.
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
    """
    begin = time.perf_counter()
    if chunk < 1 or workers < 1:
        raise StudyError(f"chunk and workers must be at least 1, not {chunk} and {workers}")
    emulator = model if isinstance(model, Emulator) else load_emulator(model)
    source = open_events(files, tree=emulator.study.input.tree, units=emulator.study.input.units)
    try:
        columns = emulator.columns_needed(source, keep)
    except StudyError as error:
        names = ", ".join(str(file.path) for file in source.files)
        raise StudyError(f"{names}: the emulator cannot read its GEN here: {error}") from error
    options = {
        "seed": seed,
        "oversample": oversample,
        "members": members,
        "keep": keep,
        "policy": policy,
    }
    sidecar: dict[str, Any] = {
        "model": emulator.digest,
        "study": emulator.study.name,
        "seed": seed,
        "oversample": oversample,
        "members": members,
        "policy": policy,
        "mode": (
            f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()},"
            f" torch {version('torch')}"
        ),
        "gen2reco": version("gen2reco"),
        "input": [{"name": file.path.name, "entries": file.entries} for file in source.files],
    }
    dropped: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    spent = {"read": 0.0, "model": 0.0, "write": 0.0}
    done = events = 0
    descriptions = dict(emulator.study.describe)
    if emulator.study.input.weight:
        descriptions.setdefault(emulator.study.input.weight, "the same as weight")
    with EventWriter(
        output,
        format=file_format,
        overwrite=overwrite,
        sidecar=sidecar,
        descriptions=descriptions,
    ) as writer:
        if workers == 1:
            stream = _simulate_here(emulator, source, columns, chunk, options, spent)
        else:
            if isinstance(model, Emulator):
                raise EmulatorError("several workers load the emulator themselves: give its path")
            job = _Job(
                str(model),
                tuple(str(file.path) for file in source.files),
                tuple(columns),
                chunk,
                options,
            )
            stream = _simulate_in_workers(job, source, workers)
        for generated, simulated in stream:
            mark = time.perf_counter()
            writer.count_generated(**generated)
            writer.append(simulated.events)
            dropped += simulated.dropped
            flagged += simulated.flagged
            done += len(generated["run"])
            events += len(simulated.events)
            sidecar |= {"generated": done, "dropped": dict(dropped), "flagged": dict(flagged)}
            spent["write"] += time.perf_counter() - mark
            if progress is not None:
                progress(done, source.entries)
        mark = time.perf_counter()
    spent["write"] += time.perf_counter() - mark
    busy = sum(spent.values())
    shares = (
        {name: round(value / busy, 4) for name, value in spent.items()}
        if workers == 1 and busy
        else {}
    )
    seconds = time.perf_counter() - begin
    return Simulation(Path(output), done, events, dict(dropped), dict(flagged), seconds, shares)


def _simulate_here(
    emulator: Emulator,
    source: EventSource,
    columns: Sequence[str],
    chunk: int,
    options: Mapping[str, Any],
    spent: dict[str, float],
    start: int = 0,
    stop: int | None = None,
) -> Iterator[tuple[dict[str, np.ndarray], Simulated]]:
    """Yield the counts of generated events and the RECO events of every chunk, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        mark = time.perf_counter()
        for piece in source.chunks(size=chunk, columns=columns, start=start, stop=stop):
            spent["read"] += time.perf_counter() - mark
            mark = time.perf_counter()
            simulated = emulator.simulate_chunk(
                piece.events, where=piece.file, first=piece.start, **options
            )
            generated = _generated(flat_columns(piece.events), emulator.study.input.weight)
            spent["model"] += time.perf_counter() - mark
            yield generated, simulated
            mark = time.perf_counter()
    finally:
        torch.set_num_threads(threads)


def _generated(columns: Columns, weight: str) -> dict[str, np.ndarray]:
    return {
        "run": np.asarray(columns["run"]),
        "luminosityBlock": np.asarray(columns["luminosityBlock"]),
        "weight": event_weights(columns, weight),
    }


_worker: dict[str, Any] = {}
"""State of a worker process: its job, emulator and source, set once when it starts."""


def _start_worker(job: _Job) -> None:
    torch.set_num_threads(1)
    emulator = load_emulator(job.model)
    inputs = emulator.study.input
    _worker.update(
        job=job,
        emulator=emulator,
        source=open_events(job.files, tree=inputs.tree, units=inputs.units),
    )


def _simulate_range(
    start: int, stop: int
) -> list[tuple[dict[str, np.ndarray], dict[str, Any], Any, Any]]:
    job: _Job = _worker["job"]
    spent = {"read": 0.0, "model": 0.0}
    return [
        (generated, flat_columns(simulated.events), simulated.dropped, simulated.flagged)
        for generated, simulated in _simulate_here(
            _worker["emulator"],
            _worker["source"],
            job.columns,
            job.chunk,
            job.options,
            spent,
            start,
            stop,
        )
    ]


def _simulate_in_workers(
    job: _Job, source: EventSource, workers: int
) -> Iterator[tuple[dict[str, np.ndarray], Simulated]]:
    """Yield chunks in the order of the input.

    Meanwhile `workers` processes work ahead, by at most two tasks each.
    """
    # A task is a run of chunks about as long as a row group, which is read as a whole.
    step = job.chunk * max(1, TASK // job.chunk)
    starts = iter(range(0, source.entries, step))
    pending: deque[Future[Any]] = deque()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(job,)
    ) as pool:
        try:
            while True:
                while len(pending) < 2 * workers and (start := next(starts, None)) is not None:
                    pending.append(
                        pool.submit(_simulate_range, start, min(start + step, source.entries))
                    )
                if not pending:
                    return
                for generated, columns, dropped, flagged in pending.popleft().result():
                    yield generated, Simulated(to_events(columns), dropped, flagged)
        finally:
            for future in pending:
                future.cancel()
