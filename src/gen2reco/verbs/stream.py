"""Files of events through an emulator into one file: the stream of simulate and unfold."""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections import Counter, deque
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.emulator import Emulator, Simulated, load_emulator
from gen2reco.emulator.blocks import BLOCK
from gen2reco.errors import EmulatorError, StudyError
from gen2reco.events import EventWriter, open_events
from gen2reco.events.layout import flat_columns, to_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gen2reco.events import EventSource

CHUNK = 10 * BLOCK
"""Events read per step: whole blocks of the models, small beside the memory of the libraries."""
TASK = 100_000
"""Events read in one task of a worker."""


@dataclass(frozen=True)
class Streamed:
    """What went through.

    Attributes:
        read: events read.
        events: events written, replicas and members included.
        dropped: reason -> events read that gave none; `part: reason` -> objects left out of it.
        flagged: reason -> events written that are marked in `gen2reco_flags`.
        seconds: wall time, the start of workers included.
        shares: reading, model and writing as fractions of the time of one process (empty with
            workers).
    """

    read: int
    events: int
    dropped: Mapping[str, int]
    flagged: Mapping[str, int]
    seconds: float
    shares: Mapping[str, float]

    def told(self, path: Path, given: str, made: str) -> str:
        """Return what went through as text, a line for each reason."""
        rate = self.read / self.seconds
        lines = [
            (
                f"{path}: {self.events} {made} events from {self.read} {given} events"
                f" in {self.seconds:.1f} s ({rate:.0f} {given} events/s)"
            )
        ]
        lines += [
            f"  left out, {reason}: {count}" for reason, count in sorted(self.dropped.items())
        ]
        lines += [f"  flagged, {reason}: {count}" for reason, count in sorted(self.flagged.items())]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know to work on any range of entries."""

    model: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    chunk: int
    options: Mapping[str, Any]


def stream(
    model: Emulator | str | Path,
    emulator: Emulator,
    files: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    options: Mapping[str, Any],
    chunk: int,
    workers: int,
    file_format: str | None,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> Streamed:
    """Send files of events through an emulator into one file with its sidecar.

    Args:
        model: what workers load: the path of the emulator, or the emulator itself for one process.
        emulator: the same, loaded.
        files: files or globs with the events that are given.
        output: file to write.
        options: `seed`, `oversample`, `members`, `keep` and `policy` of `Emulator.simulate_chunk`.
        chunk: events read per step.
        workers: processes; each uses one thread.
        file_format: format of the output; None: by its suffix.
        overwrite: replace an existing output.
        progress: called with events done and in all.

    Raises:
        StudyError, EventFileError, EmulatorError, OutputExistsError: as `simulate`.
    """
    begin = time.perf_counter()
    if chunk < 1 or workers < 1:
        raise StudyError(f"chunk and workers must be at least 1, not {chunk} and {workers}")
    study = emulator.study
    source = open_events(files, tree=study.input.tree, units=study.input.units)
    try:
        columns = emulator.columns_needed(source, options["keep"])
    except StudyError as error:
        names = ", ".join(str(file.path) for file in source.files)
        raise StudyError(
            f"{names}: the emulator cannot read its {study.given} here: {error}"
        ) from error
    sidecar: dict[str, Any] = {
        "model": emulator.digest,
        "study": study.name,
        "direction": study.direction,
        **{name: value for name, value in options.items() if name != "keep"},
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
    with EventWriter(output, format=file_format, overwrite=overwrite, sidecar=sidecar) as writer:
        if workers == 1:
            pieces = _made_here(emulator, source, columns, chunk, options, spent)
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
            pieces = _made_in_workers(job, source, workers)
        for generated, simulated in pieces:
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
    return Streamed(done, events, dict(dropped), dict(flagged), seconds, shares)


def _made_here(
    emulator: Emulator,
    source: EventSource,
    columns: Sequence[str],
    chunk: int,
    options: Mapping[str, Any],
    spent: dict[str, float],
    start: int = 0,
    stop: int | None = None,
) -> Iterator[tuple[dict[str, np.ndarray], Simulated]]:
    """Yield the counts of events read and what they became, chunk by chunk, on one thread."""
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


def _generated(columns: Mapping[str, Any], weight: str) -> dict[str, np.ndarray]:
    run = np.asarray(columns["run"])
    weights = np.asarray(columns[weight], dtype=np.float64) if weight else np.ones(len(run))
    return {
        "run": run,
        "luminosityBlock": np.asarray(columns["luminosityBlock"]),
        "weight": weights,
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


def _made_range(
    start: int, stop: int
) -> list[tuple[dict[str, np.ndarray], dict[str, Any], Any, Any]]:
    job: _Job = _worker["job"]
    spent = {"read": 0.0, "model": 0.0}
    return [
        (generated, flat_columns(simulated.events), simulated.dropped, simulated.flagged)
        for generated, simulated in _made_here(
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


def _made_in_workers(
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
                        pool.submit(_made_range, start, min(start + step, source.entries))
                    )
                if not pending:
                    return
                for generated, columns, dropped, flagged in pending.popleft().result():
                    yield generated, Simulated(to_events(columns), dropped, flagged)
        finally:
            for future in pending:
                future.cancel()
