"""`simulate`: files of GEN events in, a file of RECO events out, as a stream."""

from __future__ import annotations

import platform
import time
from collections import Counter, deque
from contextlib import closing
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
from gen2reco.verbs.inputs import naming, refuse_input_as_output, refuse_repeated_events
from gen2reco.workers import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from gen2reco.events import EventSource
    from gen2reco.events.layout import Columns

    _Task = tuple[Columns, str, int]
    """GEN events, their file and the entry of the first."""
    _Work = Callable[[_Task, Callable[[Any], None]], None]

CHUNK = 10 * BLOCK
"""GEN events per step: whole blocks of the models, small beside the memory of the libraries."""


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
        WorkerError: one of several processes was killed.
    """
    begin = time.perf_counter()
    if chunk < 1 or workers < 1:
        raise StudyError(f"chunk and workers must be at least 1, not {chunk} and {workers}")
    emulator = model if isinstance(model, Emulator) else load_emulator(model)
    emulator.check_options(oversample=oversample, members=members, policy=policy)
    source = open_events(files, tree=emulator.study.input.tree, units=emulator.study.input.units)
    refuse_input_as_output(source, output)
    with naming(source, "the emulator cannot read its GEN here"):
        columns = emulator.columns_needed(source, keep)
    refuse_repeated_events(source)
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
            stream = _simulate_in_workers(
                emulator, str(model), source, columns, chunk, options, workers
            )
        with closing(stream):
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
) -> Generator[tuple[dict[str, np.ndarray], Simulated]]:
    """Yield the counts of generated events and the RECO events of every chunk, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        mark = time.perf_counter()
        for piece in source.chunks(size=chunk, columns=columns):
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


def _simulate_in_workers(
    emulator: Emulator,
    path: str,
    source: EventSource,
    columns: Sequence[str],
    chunk: int,
    options: Mapping[str, Any],
    workers: int,
) -> Generator[tuple[dict[str, np.ndarray], Simulated]]:
    """Yield chunks in the order of the input, simulated by so many processes, this one included.

    Reading and writing stay here, so that every file is opened and decoded once; whenever the
    others have enough to do, and before they have started, this process simulates as well.
    """
    under_way: deque[dict[str, np.ndarray]] = deque()

    def tasks() -> Iterator[_Task]:
        for piece in source.chunks(size=chunk, columns=columns):
            given = flat_columns(piece.events)
            under_way.append(_generated(given, emulator.study.input.weight))
            yield given, piece.file, piece.start

    first = [flat_columns(piece.events) for piece in source.chunks(1, columns, stop=1)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Crew(_start_worker, (path, options, first), processes=workers - 1) as crew:
            here = _worker(emulator, options)
            for _, (made, dropped, flagged) in crew.run(tasks(), ahead=2, in_order=True, here=here):
                yield under_way.popleft(), Simulated(to_events(made), dropped, flagged)
    finally:
        torch.set_num_threads(threads)


def _start_worker(path: str, options: Mapping[str, Any], first: Sequence[Columns]) -> _Work:
    """Load the emulator and use it once, which compiles its kernels and those of the rows."""
    torch.set_num_threads(1)
    emulator = load_emulator(path)
    for columns in first:
        emulator.simulate_chunk(to_events(columns), **{**options, "policy": "flag"})
    return _worker(emulator, options)


def _worker(emulator: Emulator, options: Mapping[str, Any]) -> _Work:
    def work(task: _Task, report: Callable[[Any], None]) -> None:
        given, file, start = task
        made = emulator.simulate_chunk(to_events(given), where=file, first=start, **options)
        report((flat_columns(made.events), made.dropped, made.flagged))

    return work
