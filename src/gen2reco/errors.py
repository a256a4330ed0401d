"""Every error a user can meet: one clear message, shown by the command line without traceback."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Gen2RecoError(Exception):
    """Base of all errors caused by input, files or settings.

    Attributes:
        exit_code: what the command line returns.
    """

    exit_code = 1


class StudyError(Gen2RecoError):
    """A study file, an expression in it or a setting is wrong."""

    exit_code = 3


class EventFileError(Gen2RecoError):
    """A file of events cannot be read or written: missing, truncated, wrong type or branch.

    Attributes:
        file: path of the file, "" where events came from memory.
        branch: the column concerned, "" where the whole file is.
        row: the entry concerned, -1 where no single one is.
    """

    exit_code = 4

    def __init__(self, message: str, *, file: str = "", branch: str = "", row: int = -1) -> None:
        where = [f"file {file}"] if file else []
        where += [f"branch {branch}"] if branch else []
        where += [f"row {row}"] if row >= 0 else []
        super().__init__(f"{', '.join(where)}: {message}" if where else message)
        self.file, self.branch, self.row = file, branch, row


class EmulatorError(Gen2RecoError):
    """A saved emulator is damaged, of an unknown version, or lacks what was asked of it."""

    exit_code = 5


class TrainingError(Gen2RecoError):
    """Training cannot start or go on: no rows, non-finite loss, a checkpoint of other settings."""

    exit_code = 6


class OutputExistsError(Gen2RecoError):
    """The output is already there; nothing was touched."""

    exit_code = 7


class SampleError(Gen2RecoError):
    """Two samples cannot be compared as given: lengths, names, weights or events do not fit."""

    exit_code = 8


class MissingExtraError(Gen2RecoError):
    """What was asked needs a package that an extra of gen2reco installs, and it is not there."""

    exit_code = 10


class WorkerError(Gen2RecoError):
    """A worker process ended before its work was done."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return a phrase naming the known names most like `name`, or "" where none is like it.

    The phrase starts with a blank, so that it can be appended to a sentence.
    """
    spellings: dict[str, list[str]] = {}
    for candidate in sorted(set(known)):
        spellings.setdefault(candidate.lower(), []).append(candidate)
    hits = difflib.get_close_matches(name.lower(), spellings, n=count, cutoff=0.5)
    alike = [candidate for hit in hits for candidate in spellings[hit]][:count]
    return f" Did you mean {' or '.join(map(repr, alike))}?" if alike else ""
