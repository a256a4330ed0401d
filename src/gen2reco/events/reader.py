"""What every file format offers, and how a failing library becomes one clear error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from gen2reco.errors import EventFileError, Gen2RecoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gen2reco.events.layout import Columns


class Reader(ABC):
    """One open file of events; close it, or use it in a `with` statement.

    Laws: the columns asked for are the columns read; pieces come in order and add up to the entry
    range; every column is an array [events] or a `Jagged` with offsets from zero, in the byte order
    of the machine.

    Attributes:
        format: "parquet", "nanoaod", "rntuple", "delphes" or "hdf5".
        entries: number of events.
        columns: flat NanoAOD-style name -> whether it is a list per event.
        unusable: flat name -> what it holds instead of numbers or one list of numbers per event.
        tree: name of the tree, RNTuple or group that is read; "" where there is none.
    """

    format: str
    entries: int
    columns: dict[str, bool]
    unusable: dict[str, str]
    tree: str = ""

    @abstractmethod
    def read(self, columns: Sequence[str], start: int, stop: int, piece: int) -> Iterator[Columns]:
        """Yield entries `start` to `stop` of these columns in pieces of about `piece` events."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises on damaged bytes into an `EventFileError` that names the file.

    Parsers of binary formats fail on damaged input with almost any exception (struct, value,
    assertion, zstd errors), so nothing less than all of them would keep the promise.
    """
    try:
        yield
    except (Gen2RecoError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        message = (
            f"not readable as {what}; it is damaged or was not written to its end"
            f" ({type(error).__name__}: {lines[0][:200]})"
        )
        raise EventFileError(message, file=str(path)) from error


def guarded(pieces: Iterator[Columns], path: Path, what: str) -> Iterator[Columns]:
    """Iterate over pieces with `reading` around the library's work, not around the caller's."""
    while True:
        with reading(path, what):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
        del piece  # before the next one is read: memory holds one, not two
