"""Files of events: finding them, telling their format, knowing their metadata."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import EventFileError, nearest
from gen2reco.events.hdf5 import Hdf5Reader
from gen2reco.events.parquet import ParquetReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.events.reader import Reader

ID_TYPES = {"run": np.uint32, "luminosityBlock": np.uint32, "event": np.uint64}
"""The columns that identify an event, with the integer types of NanoAOD."""

_MAGIC = {b"PAR1": "Parquet", b"root": "ROOT", b"\x89HDF": "HDF5"}
_SUFFIXES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".root": "ROOT",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".hdf": "HDF5",
}


@dataclass(frozen=True)
class EventFile:
    """One file of events, known from its metadata.

    Attributes:
        path: where it is.
        format: "parquet", "nanoaod", "rntuple", "delphes" or "hdf5".
        tree: the tree, RNTuple or group with the events; "" where there is none.
        entries: number of events.
        columns: flat name -> whether it is a list per event.
        unusable: flat name -> what it holds instead of numbers or one list of numbers per event.
    """

    path: Path
    format: str
    entries: int
    columns: Mapping[str, bool] = field(repr=False)
    unusable: Mapping[str, str] = field(repr=False)
    tree: str = ""

    @cached_property
    def _sha256(self) -> str:
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal digits; computed once."""
        return self._sha256

    def check(self, columns: Sequence[str]) -> None:
        """Refuse columns that this file does not have or that cannot be used.

        Raises:
            EventFileError: naming the column, its type, or the nearest names there are.
        """
        for name in columns:
            if name in self.unusable:
                message = (
                    f"it holds {self.unusable[name]}; a number, or one list of numbers per event,"
                    " is needed"
                )
                raise EventFileError(message, file=str(self.path), branch=name)
            if name not in self.columns and name not in ID_TYPES:
                message = (
                    f"there is no such branch.{nearest(name, [*self.columns, *self.unusable])}"
                )
                raise EventFileError(message, file=str(self.path), branch=name)


def find_files(patterns: Sequence[str | Path]) -> list[Path]:
    """Files that names and glob patterns stand for, those of a pattern sorted.

    Raises:
        EventFileError: a pattern matches nothing, or a file is named twice.
    """
    paths: list[Path] = []
    for pattern in patterns:
        if Path(pattern).exists() or not glob.has_magic(str(pattern)):
            paths.append(Path(pattern))
            continue
        matches = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207
        if not matches:
            raise EventFileError("no file matches this pattern", file=str(pattern))
        paths += matches
    if not paths:
        raise EventFileError("no file of events was named")
    seen: dict[Path | tuple[int, int], Path] = {}
    for path in paths:
        known = _identity(path)
        if known in seen:
            also = f", also as {seen[known]}" if seen[known] != path else ""
            raise EventFileError(
                f"it is named twice{also}; each event may come once", file=str(path)
            )
        seen[known] = path
    return paths


def _identity(path: Path) -> Path | tuple[int, int]:
    """What two names of one file share, links included."""
    with contextlib.suppress(OSError):
        known = path.stat()
        if known.st_ino:  # some file systems number nothing
            return known.st_dev, known.st_ino
    return path.resolve()


def open_reader(path: Path, tree: str = "Events") -> Reader:
    """Open one file with the reader of its format, found from the first bytes.

    Raises:
        EventFileError: the file is missing, empty, of no known format, or damaged.
    """
    kind = _kind(path)
    if kind == "Parquet":
        return ParquetReader(path)
    if kind == "ROOT":
        from gen2reco.events.root import open_root  # noqa: PLC0415  (uproot takes half a second)

        return open_root(path, tree)
    return Hdf5Reader(path, tree)


def _kind(path: Path) -> str:
    if path.is_dir():
        raise EventFileError(
            "this is a folder; name its files, for example with *.parquet", file=str(path)
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except FileNotFoundError as error:
        there = (
            [str(path.parent / other.name) for other in path.parent.glob("*")]
            if path.parent.is_dir()
            else []
        )
        raise EventFileError(
            f"there is no such file.{nearest(str(path), there)}", file=str(path)
        ) from error
    except OSError as error:
        raise EventFileError(f"it cannot be opened: {error.strerror}", file=str(path)) from error
    if not head:
        raise EventFileError("it is empty (0 bytes)", file=str(path))
    if head in _MAGIC:
        return _MAGIC[head]
    named = _SUFFIXES.get(path.suffix.lower())
    if named == "HDF5":  # may begin with a block of the user's own
        return named
    message = (
        f"it does not begin as a {named} file does" if named else "it is not Parquet, ROOT or HDF5"
    )
    raise EventFileError(f"{message}; its first bytes are {head!r}", file=str(path))
