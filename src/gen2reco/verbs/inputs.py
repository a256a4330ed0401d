"""What verbs refuse about the files they are given, before any work is done."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import EventFileError, StudyError
from gen2reco.events.layout import flat_columns
from gen2reco.rows.table import IDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gen2reco.events import EventSource

LOOKED_AT = 10_000
"""Events whose ids are compared, the first ones of each file; what repeats ids does so from its
start: a file that has none of its own, and files that were numbered one by one."""


@contextmanager
def naming(source: EventSource, trouble: str) -> Iterator[None]:
    """Say which files an error of an expression is about: `FILES: trouble: error`."""
    try:
        yield
    except StudyError as error:
        raise StudyError(f"{source.label}: {trouble}: {error}") from error


def refuse_empty(source: EventSource, purpose: str, fewest: int = 1) -> None:
    """Refuse files without events, or with fewer than are needed: there are none to PURPOSE.

    Raises:
        EventFileError: naming the files.
    """
    if source.entries < fewest:
        raise EventFileError(f"there are no events to {purpose}", file=source.label)


def refuse_negative(seed: int) -> None:
    """Refuse a seed below 0, which generators do not take: StudyError."""
    if seed < 0:
        raise StudyError(f"a seed is a whole number from 0 on, not {seed}")


def refuse_repeated_events(source: EventSource, number: str = "") -> None:
    """Refuse files whose first events have the same run, luminosity block and event number.

    Random numbers belong to these three: such events would all get the same response. `number` is
    a column that numbers the rows of an event, where the study has one.

    Raises:
        EventFileError: naming file, both events and what to do.
    """
    own = (*IDS, number) if number in source.columns else IDS
    share = -(-LOOKED_AT // len(source.files))
    pieces, places = [], []
    for chunk in source.beginnings(share, own):
        columns = flat_columns(chunk.events)
        pieces.append(np.stack([np.asarray(columns[name], np.uint64) for name in own], axis=1))
        places += [(chunk.file, chunk.start + row) for row in range(len(chunk))]
    if not pieces:
        return
    ids = np.concatenate(pieces)
    _, first, inverse = np.unique(ids, axis=0, return_index=True, return_inverse=True)
    earliest = first[inverse.reshape(-1)]
    again = np.flatnonzero(earliest != np.arange(len(ids)))
    if len(again):
        (file, row), (before, earlier) = places[again[0]], places[earliest[again[0]]]
        shown = ", ".join(f"{name} {ids[again[0], i]}" for i, name in enumerate(own))
        raise EventFileError(
            f"{shown} is in row {earlier}{'' if before == file else f' of {before}'} already."
            " Random numbers belong to an event's ids, which must therefore differ: number the"
            " events, or leave out all three columns",
            file=file,
            row=row,
        )


def refuse_input_as_output(inputs: Iterable[Path], output: str | Path) -> None:
    """Refuse to write over a file that is being read.

    Raises:
        EventFileError: the output is one of the inputs.
    """
    place = Path(output).resolve()
    if any(path.resolve() == place for path in inputs):
        raise EventFileError(
            "it is read and cannot be the output too; choose another name", file=str(output)
        )
