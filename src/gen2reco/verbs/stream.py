"""Files of events through an emulator into one file: the stream of simulate and unfold."""

from __future__ import annotations

import platform
import time
from collections import Counter, deque
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from gen2reco.emulator import Emulator, Simulated
from gen2reco.emulator.assemble import event_weights
from gen2reco.emulator.blocks import BLOCK
from gen2reco.errors import EmulatorError, StudyError
from gen2reco.events import Chunk, EventWriter, open_events
from gen2reco.events.files import ID_TYPES
from gen2reco.events.layout import Jagged, flat_columns, to_events
from gen2reco.events.numbers import EventNumbers
from gen2reco.verbs.inputs import naming, refuse_input_as_output, refuse_repeated_events
from gen2reco.workers import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from gen2reco.events import EventSource
    from gen2reco.events.layout import Columns
    from gen2reco.shards import Shard

    Given = Sequence[str | Path] | str | Path | EventNumbers
    _Task = tuple[Columns, str, int]
    """Events that are given, their file and the entry of the first."""
    _Piece = tuple[str, dict[str, np.ndarray], Simulated]
    """File of events that were given, their counts, and what they became."""
    _Work = Callable[[_Task, Callable[[Any], None]], None]

CHUNK = 10 * BLOCK
"""Events read per step: whole blocks of the models, small beside the memory of the libraries."""


@dataclass(frozen=True)
class Streamed:
    """What went through.

    Attributes:
        path: the file written.
        read: events read.
        events: events written, replicas (or draws) and members included.
        dropped: reason -> events read that gave none; `part: reason` -> objects left out of it.
        flagged: reason -> events written that are marked in `gen2reco_flags`.
        seconds: wall time, the start of workers included.
        shares: reading, model and writing as fractions of the time of one process (empty with
            workers).
    """

    given: ClassVar[str] = "given"
    made: ClassVar[str] = "made"
    path: Path
    read: int
    events: int
    dropped: Mapping[str, int]
    flagged: Mapping[str, int]
    seconds: float
    shares: Mapping[str, float]

    def __str__(self) -> str:
        lines = [
            (
                f"{self.path}: {self.events} {self.made} events from {self.read} {self.given}"
                f" events in {self.seconds:.1f} s"
                f" ({self.read / self.seconds:.0f} {self.given} events/s)"
            )
        ]
        lines += [
            f"  left out, {reason}: {count}" for reason, count in sorted(self.dropped.items())
        ]
        lines += [f"  flagged, {reason}: {count}" for reason, count in sorted(self.flagged.items())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def stream(
    model: Emulator | str | Path,
    files: Given,
    output: str | Path,
    *,
    load: Callable[[Emulator | str | Path], Emulator],
    options: Mapping[str, Any],
    chunk: int,
    workers: int,
    file_format: str | None,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
    shard: Shard | None = None,
) -> Streamed:
    """Send files of events through an emulator into one file with its sidecar.

    Args:
        model: the path of the emulator, or the emulator itself for one process.
        files: files or globs with the events that are given; or the numbers of events, for an
            emulator that is given nothing.
        output: file to write.
        load: makes of `model` what the events go through, here and in every worker; a function of
            a module.
        options: `seed`, `oversample`, `members`, `keep` and `policy` of `Emulator.simulate_chunk`.
        chunk: events read per step.
        workers: processes; each uses one thread.
        file_format: format of the output; None: by its suffix.
        overwrite: replace an existing output.
        progress: called with events done and in all.
        shard: the piece of a production that this is; its entries of `files` are read.

    Raises:
        StudyError, EventFileError, EmulatorError, OutputExistsError, WorkerError: as `simulate`.
    """
    begin = time.perf_counter()
    if chunk < 1 or workers < 1:
        raise StudyError(f"chunk and workers must be at least 1, not {chunk} and {workers}")
    emulator = load(model)
    study = emulator.study
    emulator.check_options(**{name: options[name] for name in ("oversample", "members", "policy")})
    source, columns = _given(files, emulator, output, options["keep"])
    sidecar: dict[str, Any] = {
        "model": emulator.digest,
        "study": study.name,
        "direction": study.direction,
        **{name: value for name, value in options.items() if name != "keep"},
        **_made_by(),
        "input": [{"name": file.path.name, "entries": file.entries} for file in source.files],
    }
    if isinstance(source, EventNumbers):
        sidecar |= {"direction": "generate", "first": source.first}
    start, stop = (shard.start, shard.stop) if shard else (0, source.entries)
    if shard:
        sidecar["shard"] = {
            "number": shard.number,
            "of": shard.of,
            "start": start,
            "stop": stop,
            "task": shard.task,
        }
    dropped: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    spent = {"read": 0.0, "model": 0.0, "write": 0.0}
    done = events = 0
    descriptions = dict(study.describe)
    if study.input.weight:
        descriptions.setdefault(study.input.weight, "the same as weight")
    with EventWriter(
        output,
        format=file_format,
        overwrite=overwrite,
        sidecar=sidecar,
        tables=shard is not None,
        descriptions=descriptions,
    ) as writer:
        some = source.chunks(chunk, columns, start, stop)
        chunks = some if stop > start else [_no_events(source, columns)]
        if workers == 1:
            pieces = _made_here(emulator, chunks, options, spent)
        else:
            if isinstance(model, Emulator):
                raise EmulatorError("several workers load the emulator themselves: give its path")
            first = source.chunks(1, columns, start, start + 1)
            pieces = _made_in_workers(
                emulator, partial(load, model), first, chunks, options, workers
            )
        with closing(pieces):
            for file, generated, simulated in pieces:
                mark = time.perf_counter()
                writer.count_generated(**generated)
                writer.append(simulated.events, origin=file)
                dropped += simulated.dropped
                flagged += simulated.flagged
                done += len(generated["run"])
                events += len(simulated.events)
                sidecar |= {"generated": done, "dropped": dict(dropped), "flagged": dict(flagged)}
                spent["write"] += time.perf_counter() - mark
                if progress is not None:
                    progress(done, stop - start)
        mark = time.perf_counter()
    spent["write"] += time.perf_counter() - mark
    busy = sum(spent.values())
    shares = (
        {name: round(value / busy, 4) for name, value in spent.items()}
        if workers == 1 and busy
        else {}
    )
    seconds = time.perf_counter() - begin
    return Streamed(Path(output), done, events, dict(dropped), dict(flagged), seconds, shares)


@cache
def _made_by() -> dict[str, str]:
    """Say what computes, looked up once: versions take a millisecond each."""
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {"mode": f"{processor}, torch {version('torch')}", "gen2reco": version("gen2reco")}


def _given(
    files: Given, emulator: Emulator, output: str | Path, keep: Sequence[str]
) -> tuple[EventSource | EventNumbers, list[str]]:
    """Return the events that are given and the columns of them to read."""
    if isinstance(files, EventNumbers):
        return files, list(files.columns)
    study = emulator.study
    source = open_events(files, tree=study.input.tree, units=study.input.units)
    refuse_input_as_output(source.paths, output)
    with naming(source, f"the emulator cannot read its {study.given} here"):
        columns = emulator.columns_needed(source, keep)
    refuse_repeated_events(source, *emulator.numbers)
    return source, columns


def _no_events(source: EventSource | EventNumbers, columns: Sequence[str]) -> Chunk:
    """Return a chunk without events: what is made of it has all columns of the output.

    Columns that are no ids are float32 in it, as there is no number to say what they are.
    """
    offsets = np.zeros(1, np.int64)
    none: Columns = {name: np.zeros(0, ID_TYPES.get(name, np.float32)) for name in columns}
    lists: Columns = {
        name: Jagged(offsets, np.asarray(none[name])) for name in columns if source.is_list[name]
    }
    return Chunk(to_events(none | lists), source.label, 0, 0)


def _made_here(
    emulator: Emulator,
    chunks: Iterable[Chunk],
    options: Mapping[str, Any],
    spent: dict[str, float],
) -> Generator[_Piece]:
    """Yield file and counts of the events of each chunk and what they became, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        mark = time.perf_counter()
        for piece in chunks:
            spent["read"] += time.perf_counter() - mark
            mark = time.perf_counter()
            simulated = emulator.simulate_chunk(
                piece.events, where=piece.file, first=piece.start, **options
            )
            generated = _generated(flat_columns(piece.events), emulator.study.input.weight)
            spent["model"] += time.perf_counter() - mark
            yield piece.file, generated, simulated
            mark = time.perf_counter()
    finally:
        torch.set_num_threads(threads)


def _generated(columns: Columns, weight: str) -> dict[str, np.ndarray]:
    return {
        "run": np.asarray(columns["run"]),
        "luminosityBlock": np.asarray(columns["luminosityBlock"]),
        "weight": event_weights(columns, weight),
    }


def _made_in_workers(
    emulator: Emulator,
    load: Callable[[], Emulator],
    first: Iterable[Chunk],
    chunks: Iterable[Chunk],
    options: Mapping[str, Any],
    workers: int,
) -> Generator[_Piece]:
    """Yield chunks in the order of the input, made by so many processes, this one included.

    Reading and writing stay here, so that every file is opened and decoded once; whenever the
    others have enough to do, and before they have started, this process works on them as well.
    """
    under_way: deque[tuple[str, dict[str, np.ndarray]]] = deque()

    def tasks() -> Iterator[_Task]:
        for piece in chunks:
            given = flat_columns(piece.events)
            under_way.append((piece.file, _generated(given, emulator.study.input.weight)))
            yield given, piece.file, piece.start

    few = [flat_columns(piece.events) for piece in first]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Crew(_start_worker, (load, options, few), processes=workers - 1) as crew:
            here = _worker(emulator, options)
            for _, (made, dropped, flagged) in crew.run(tasks(), ahead=2, in_order=True, here=here):
                yield *under_way.popleft(), Simulated(to_events(made), dropped, flagged)
    finally:
        torch.set_num_threads(threads)


def _start_worker(
    load: Callable[[], Emulator], options: Mapping[str, Any], first: Sequence[Columns]
) -> _Work:
    """Load the emulator and use it once, which compiles its kernels and those of the rows."""
    torch.set_num_threads(1)
    emulator = load()
    for columns in first:
        emulator.simulate_chunk(to_events(columns), **{**options, "policy": "flag"})
    return _worker(emulator, options)


def _worker(emulator: Emulator, options: Mapping[str, Any]) -> _Work:
    def work(task: _Task, report: Callable[[Any], None]) -> None:
        given, file, start = task
        made = emulator.simulate_chunk(to_events(given), where=file, first=start, **options)
        report((flat_columns(made.events), made.dropped, made.flagged))

    return work
