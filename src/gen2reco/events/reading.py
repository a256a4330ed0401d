"""`open_events`: one or many files of any known format as one stream of events in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import EventFileError, StudyError
from gen2reco.events.blocks import cut
from gen2reco.events.files import ID_TYPES, EventFile, find_files, open_reader
from gen2reco.events.layout import Columns, Jagged, to_events
from gen2reco.events.units import check_units, mev_to_gev

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import awkward as ak

_PIECE = 16_384  # events; smaller reads cost more per event than they save in memory


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of one file.

    Attributes:
        events: awkward record array, see `to_events`.
        file: path of the file.
        start: entry in the file of the first event.
        index: entry over all files of the first event.
    """

    events: ak.Array
    file: str
    start: int
    index: int

    def __len__(self) -> int:
        return len(self.events)


class EventSource:
    """A stream of events out of one or many files; made by `open_events`.

    Nothing stays open between iterations, and an iteration holds no more than a few chunks in
    memory.

    Attributes:
        files: the files, in order.
        entries: events in all files.
        columns: flat NanoAOD-style names that every file has; `run`, `luminosityBlock` and `event`
            always.
        is_list: column -> whether it is a list per event.
        unfit: flat name that some file has but that cannot be read -> why, as the rest of a
            sentence that begins with the name.
        label: the files in words, for messages.
    """

    def __init__(self, files: Sequence[EventFile], *, tree: str, units: str) -> None:
        self.files = tuple(files)
        self.entries = sum(file.entries for file in files)
        common = dict(files[0].columns)
        for file in files[1:]:
            common = {
                name: listed for name, listed in common.items() if file.columns.get(name) == listed
            }
        ids = [name for name in ID_TYPES if name not in common]
        self.is_list: Mapping[str, bool] = {**dict.fromkeys(ids, False), **common}
        self.columns = tuple(self.is_list)
        self.unfit: Mapping[str, str] = _unfit(self.files, self.is_list)
        names = [str(file.path) for file in self.files]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        self.label = f"{', '.join(names[:3])}{more}"
        self._tree, self._units = tree, units

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the files are, in order."""
        return tuple(file.path for file in self.files)

    def chunks(
        self,
        size: int = 100_000,
        columns: Sequence[str] | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Chunk]:
        """Iterate over events in order; a chunk never crosses a file, so its last may be short.

        Args:
            size: events in a chunk.
            columns: flat names to read; all that every file has by default.
            start: first entry over all files.
            stop: entry after the last one; all by default.

        Returns:
            An iterator of chunks whose events have just the columns asked for. Momenta, masses and
            energies in GeV.

        Raises:
            EventFileError: a column is not in some file or not usable, or a file turns out to be
                damaged.
            StudyError: a size below 1 or an entry range outside the events.
        """
        if size < 1:
            raise StudyError(f"a chunk has at least 1 event, not {size}")
        last = self.entries if stop is None else min(stop, self.entries)
        if start < 0 or last < 0:
            raise StudyError(f"entries count from 0, the range {start} to {stop} does not")
        names = list(dict.fromkeys(self.columns if columns is None else columns))
        for file in self.files:
            file.check(names)
        return self._chunks(size, names, start, last)

    def beginnings(self, events: int, columns: Sequence[str]) -> Iterator[Chunk]:
        """Iterate over the first `events` of each file, one chunk for each that has any.

        Raises:
            EventFileError: as `chunks`.
        """
        first = 0
        for file in self.files:
            file.check(columns)
            yield from self._of(file, events, list(columns), 0, min(events, file.entries), first)
            first += file.entries

    def within(self, start: int, stop: int) -> tuple[EventSource, int, int]:
        """Return the files that hold a range of entries, and the range in them.

        What travels to another process should not be the metadata of all files.
        """
        first, kept, before = 0, [], 0
        for file in self.files:
            if first < stop and first + file.entries > start:
                kept.append(file)
            elif not kept:
                before += file.entries
            first += file.entries
        part = EventSource(kept or self.files[:1], tree=self._tree, units=self._units)
        return part, start - before, min(stop, self.entries) - before

    def _chunks(self, size: int, names: list[str], start: int, stop: int) -> Iterator[Chunk]:
        first = 0
        for file in self.files:
            low, high = max(start - first, 0), min(stop - first, file.entries)
            yield from self._of(file, size, names, low, high, first)
            first += file.entries

    def _of(
        self, file: EventFile, size: int, names: list[str], low: int, high: int, first: int
    ) -> Iterator[Chunk]:
        """Chunks of the entries `low` to `high` of one file, before which there are `first`."""
        position, name = low, str(file.path)
        for columns in self._blocks(file, names, low, high, size):
            entries = min(size, high - position)
            events = to_events(columns, file=name, first=position, entries=entries)
            del columns
            yield Chunk(events, name, position, first + position)
            del events  # before the next chunk is read
            position += entries

    def _blocks(
        self, file: EventFile, names: list[str], low: int, high: int, size: int
    ) -> Iterator[Columns]:
        """Blocks of `size` events with ids supplied, in GeV."""
        if low >= high:
            return
        stored = [name for name in names if name in file.columns]
        piece = size * max(1, _PIECE // size)
        position = low
        with open_reader(file.path, self._tree) as reader:
            if stored:
                blocks = cut(reader.read(stored, low, high, piece), size, high - low)
            else:
                blocks = ({} for _ in range(low, high, size))
            for block in blocks:
                entries = min(size, high - position)
                columns = {
                    name: block[name] if name in block else _supplied(file, name, position, entries)
                    for name in names
                }
                for name in ID_TYPES:
                    if name in block:
                        columns[name] = _as_id(block[name], name, file, position)
                del block
                yield mev_to_gev(columns) if self._units == "MeV" else columns
                del columns  # before the next block is read
                position += entries

    def __iter__(self) -> Iterator[ak.Array]:
        for chunk in self.chunks():
            yield chunk.events

    def __len__(self) -> int:
        return self.entries


def _unfit(files: Sequence[EventFile], fit: Mapping[str, bool]) -> dict[str, str]:
    """Why columns that some file has are not among those of all files."""
    found: dict[str, str] = {}
    for file in files:
        for name, kind in file.unusable.items():
            where = f" in {file.path}" if len(files) > 1 else ""
            found[name] = f"holds {kind}{where}, not a number or a list of numbers"
    for name in {name for file in files for name in file.columns}:
        if name in fit or name in found:
            continue
        lack = [str(file.path) for file in files if name not in file.columns]
        kinds = {file.columns[name]: str(file.path) for file in files if name in file.columns}
        found[name] = (
            f"is missing in {lack[0]}"
            if lack
            else f"is a list per event in {kinds[True]} and a number in {kinds[False]}"
        )
    return {name: why for name, why in found.items() if name not in fit}


def _supplied(file: EventFile, name: str, position: int, entries: int) -> np.ndarray:
    """Ids of a file that has none: digits of its digest and the entry in it."""
    if name == "event":
        numbers = np.arange(position, position + entries, dtype=np.uint64)
        if {"run", "luminosityBlock"} <= file.columns.keys():  # which other files may have as well
            numbers += np.uint64((int(file.digest()[:8], 16) >> 1) << 32)
        return numbers
    digits = file.digest()[-8:] if name == "run" else file.digest()[-16:-8]
    return np.full(entries, int(digits, 16), np.uint32)


def _as_id(column: np.ndarray | Jagged, name: str, file: EventFile, position: int) -> np.ndarray:
    wanted = ID_TYPES[name]
    if isinstance(column, Jagged) or column.dtype.kind not in "iu":
        message = "an id must be one integer per event"
        raise EventFileError(message, file=str(file.path), branch=name)
    ids: np.ndarray = column.astype(wanted, copy=False)
    wrong = np.flatnonzero(ids != column) if column.dtype != wanted else ids[:0]
    if column.dtype.kind == "i":
        wrong = np.flatnonzero(column < 0) if not len(wrong) else wrong
    if len(wrong):
        row = int(wrong[0])
        message = f"{column[row]} does not fit into {np.dtype(wanted).name}, the type of this id"
        raise EventFileError(message, file=str(file.path), branch=name, row=position + row)
    return ids


def open_events(
    paths: str | Path | Sequence[str | Path], *, tree: str = "Events", units: str = "GeV"
) -> EventSource:
    """Open a file, a list of files or glob patterns (`data/*.parquet`) as one stream of events.

    The format is found from the content of each file: Parquet, ROOT (NanoAOD as TTree or RNTuple,
    or Delphes), HDF5. A file without `run`, `luminosityBlock` or `event` gets those it lacks: `run`
    is the lowest 32 bits of the SHA-256 of the file, `luminosityBlock` the next 32, and `event` the
    entry in the file, below the highest 31 bits of the SHA-256 where the file has the other two, so
    that ids stay unique and the same whatever the file is called or read together with.

    Args:
        paths: files or patterns; the files of a pattern are sorted.
        tree: tree, RNTuple or HDF5 group with the events; a `Delphes` tree is found by itself.
        units: "GeV" or "MeV": unit of momenta, energies and masses in the files; see
            `units.MOMENTUM_LIKE`.

    Raises:
        EventFileError: nothing matches, a file is missing, empty, damaged, named twice, or has no
            such tree.
        StudyError: an unknown unit.
    """
    check_units(units)
    files = []
    for path in find_files([paths] if isinstance(paths, str | Path) else paths):
        with open_reader(path, tree) as reader:
            files.append(
                EventFile(path, reader.format, reader.entries, reader.columns, reader.unusable)
            )
    return EventSource(files, tree=tree, units=units)
