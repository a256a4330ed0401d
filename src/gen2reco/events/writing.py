"""`EventWriter`, `write_events`: events into Parquet, ROOT or RNTuple files that appear whole.

Beside PATH goes PATH.json with its SHA-256, number of entries, sums of weights and where it comes
from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.events.blocks import Blocks
from gen2reco.events.conform import conform, storable
from gen2reco.events.descriptions import describe
from gen2reco.events.files import ID_TYPES, open_reader
from gen2reco.events.formats import make_writer, output_format
from gen2reco.events.generated import Generated
from gen2reco.events.layout import Columns, flat_columns, part
from gen2reco.events.publish import (
    publish,
    refuse_existing,
    refuse_place,
    remove_stale,
    temporary_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import awkward as ak

    from gen2reco.events.writer import Writer

_LIBRARIES = ("gen2reco", "awkward", "numpy", "pyarrow", "uproot")


class EventWriter:
    """Writes events to one file, chunk by chunk; use it in a `with` statement.

    The file has its name only once it is complete and checked; an error, or a kill at any moment,
    leaves nothing of that name behind. Chunks are cut anew into blocks of `row_group` events, so
    the content, and for Parquet every byte, does not depend on how the events arrive. Memory holds
    one block and one chunk.

    ROOT files get the integer types of NanoAOD v12 (see `nanoaod.INTEGER_TYPES`), and `Runs` and
    `LuminosityBlocks`; they carry a time stamp, so equal content does not mean equal bytes. Parquet
    keeps all types.

    Args:
        path: file to write.
        format: "parquet", "nanoaod" (TTree) or "rntuple"; by default from the suffix: `.parquet`,
            `.root`, `.rntuple.root`.
        overwrite: replace an existing file.
        sidecar: entries to add to PATH.json, read when the file is complete.
        row_group: events in a row group, basket or cluster.
        tables: put the content of `Runs` and `LuminosityBlocks` into PATH.json too, under
            `generated_tables`, for whoever joins files.
        descriptions: column -> what it means; goes before what `descriptions.describe` knows.
            Stored in the file (title of a branch, description of a field) and in PATH.json.

    Attributes:
        path: file to write.
        format: of the file.
        entries: events taken so far.
        summary: content of PATH.json once the file is complete, empty before.

    Raises:
        OutputExistsError: the file is there already; raised again on completion if another writer
            was faster.
        EventFileError: an unknown format, a folder that is not there, a name of something else
            than a file, events that do not fit the earlier ones.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002  (the word users expect)
        overwrite: bool = False,
        sidecar: Mapping[str, Any] | None = None,
        row_group: int = 100_000,
        tables: bool = False,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = output_format(self.path, format)
        self.entries = 0
        self.summary: dict[str, Any] = {}
        if row_group < 1:
            raise EventFileError(
                f"a row group has at least 1 event, not {row_group}", file=str(path)
            )
        refuse_place(self.path)
        if not overwrite:
            refuse_existing(self.path)
        remove_stale(self.path.parent)
        self._overwrite = overwrite
        self._sidecar = {} if sidecar is None else sidecar
        self._row_group = row_group
        self._tables = tables
        self._descriptions = dict(descriptions or {})
        self._like: Columns | None = None
        self._blocks = Blocks()
        self._sumw = 0.0
        self._written, self._generated = Generated(), Generated()
        self._counts_generated = False
        self._temporary = temporary_name(self.path)
        self._writer: Writer | None = None
        self._closed = False
        with self._naming():
            self._temporary.touch()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Say which file it is that the system cannot write."""
        try:
            yield
        except OSError as error:
            message = f"it cannot be written: {error.strerror or error}"
            raise EventFileError(message, file=str(self.path)) from error

    def append(self, events: ak.Array, *, origin: str = "") -> None:
        """Add events; the first ones fix the columns and their types.

        Args:
            events: as `to_events` makes them.
            origin: the file they are from, to be named where they do not fit; by default the one
                they go to.

        Raises:
            EventFileError: other columns or types than before, or something else than numbers and
                lists of numbers.
        """
        columns = {name: storable(column) for name, column in flat_columns(events).items()}
        entries = len(events)
        if self._like is None:
            self._like = {name: part(column, 0, 0) for name, column in columns.items()}
        self.entries += entries
        self._blocks.append(conform(columns, self._like, origin or str(self.path)), entries)
        while len(self._blocks) >= self._row_group:
            self._write(self._blocks.take(self._row_group))

    def count_generated(
        self, run: np.ndarray, luminosityBlock: np.ndarray, weight: np.ndarray
    ) -> None:
        """Count generated events for `Runs`, those that gave no event in this file too.

        Without any call, the events written are counted. Each argument is an array [events].
        """
        self._counts_generated = True
        self._generated.add(
            np.asarray(run), np.asarray(luminosityBlock), np.asarray(weight, np.float64)
        )

    def count_tables(self, tables: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """Count generated events that were counted before: `generated_tables` of another file."""
        self._counts_generated = True
        self._generated.add_tables(tables["Runs"], tables["LuminosityBlocks"])

    def _begin(self) -> Writer:
        if self._writer is None:
            if self._like is None:
                self._like = {name: np.zeros(0, kind) for name, kind in ID_TYPES.items()}
            lines = self._descriptions | describe(self._like, self._descriptions)
            self._writer = make_writer(self.format, self._temporary, lines)
            self._writer.begin(self._like)
        return self._writer

    def _write(self, columns: Columns) -> None:
        with self._naming():
            self._begin().write(columns)
        entries = len(next(iter(columns.values())))
        weight = next((columns[name] for name in ("weight", "genWeight") if name in columns), None)
        weights = np.ones(entries) if weight is None else np.asarray(weight, np.float64)
        self._sumw += float(np.sum(weights))
        if not self._counts_generated and "run" in columns and "luminosityBlock" in columns:
            self._written.add(
                np.asarray(columns["run"]), np.asarray(columns["luminosityBlock"]), weights
            )

    def close(self) -> None:
        """Complete the file, check it, name it and write PATH.json; nothing if already done.

        Raises:
            OutputExistsError: another writer was faster; its file is untouched.
            EventFileError: the file does not read back as it was written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if len(self._blocks):
                self._write(self._blocks.take(len(self._blocks)))
            counted = self._generated if self._counts_generated else self._written
            runs, blocks = counted.tables()
            with self._naming():
                writer = self._begin()
                writer.finish(runs, blocks)
            self._writer = None
            self._check()
            self.summary = self._summarise(runs, blocks)
            with self._naming():
                self._publish()
        except BaseException:
            self._abandon()
            raise

    def _check(self) -> None:
        with open_reader(self._temporary) as reader:
            wrong = set(reader.columns) ^ set(self._like or {})
            if reader.entries != self.entries or wrong:
                message = (
                    f"written {self.entries} events but {reader.entries} read back"
                    if not wrong
                    else f"columns that do not read back: {', '.join(sorted(wrong))}"
                )
                raise EventFileError(message, file=str(self.path))

    def _summarise(self, runs: Columns, blocks: Columns) -> dict[str, Any]:
        with self._temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        own: dict[str, Any] = {
            "sha256": digest,
            "bytes": self._temporary.stat().st_size,
            "entries": self.entries,
            "sumw": self._sumw,
            "format": self.format,
            "columns": list(self._like or {}),
            "descriptions": describe(self._like or {}, self._descriptions),
            **{
                name: float(np.sum(np.asarray(runs[name])))
                for name in ("genEventSumw", "genEventSumw2")
            },
            "genEventCount": int(np.sum(np.asarray(runs["genEventCount"]))),
            "versions": _versions(),
        }
        if self._tables:
            own["generated_tables"] = {
                name: {column: np.asarray(values).tolist() for column, values in table.items()}
                for name, table in (("Runs", runs), ("LuminosityBlocks", blocks))
            }
        return own | dict(self._sidecar) | own  # what was measured here cannot be overridden

    def _publish(self) -> None:
        """First the file, so that only the writer that got the name writes the sidecar."""
        beside = self.path.with_name(f"{self.path.name}.json")
        temporary = temporary_name(beside)
        try:
            text = json.dumps(self.summary, indent=2, default=_as_json)
            temporary.write_text(text + "\n", encoding="utf-8")
            if self._overwrite:
                beside.unlink(missing_ok=True)  # never an old description beside a new file
            publish(self._temporary, self.path, overwrite=self._overwrite)
            publish(temporary, beside, overwrite=True)
        finally:
            temporary.unlink(missing_ok=True)

    def _abandon(self) -> None:
        """Remove what there is; the error that led here is the one to tell."""
        self._closed = True
        with contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.abandon()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self._abandon()


def write_events(
    path: str | Path,
    chunks: Iterable[ak.Array],
    *,
    format: str | None = None,  # noqa: A002  (the word users expect)
    overwrite: bool = False,
    sidecar: Mapping[str, Any] | None = None,
    row_group: int = 100_000,
    descriptions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write chunks of events to one file; the options are those of `EventWriter`.

    Returns:
        The content of PATH.json.

    Raises:
        OutputExistsError: the file is there already.
        EventFileError: the events cannot be written.
    """
    with EventWriter(
        path,
        format=format,
        overwrite=overwrite,
        sidecar=sidecar,
        row_group=row_group,
        descriptions=descriptions,
    ) as writer:
        for events in chunks:
            writer.append(events)
    return writer.summary


@cache
def _versions() -> dict[str, str]:
    """Versions of Python and libraries, looked up once: it takes some milliseconds."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def _as_json(value: object) -> object:
    """Numbers of numpy as numbers, anything else that JSON does not know as text."""
    return value.item() if isinstance(value, np.generic) else str(value)
