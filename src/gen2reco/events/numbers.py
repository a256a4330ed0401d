"""Events that are no more than their numbers: what a generator starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.events.files import ID_TYPES
from gen2reco.events.layout import to_events
from gen2reco.events.reading import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gen2reco.events.files import EventFile

RUN = 1
"""Run of generated events."""
PER_BLOCK = 100_000
"""Events in a luminosity block."""
MOST = (2**32 - 1) * PER_BLOCK
"""Events that have numbers."""


class EventNumbers:
    """Events `first`, `first` + 1, ... with run, luminosity block and event number, nothing else.

    The ids of an event follow from its number alone, so that what is made of it does not depend on
    where a job begins or ends. It streams as `EventSource` does.

    Attributes:
        entries: how many there are.
        first: number of the first one, from 0.
        files: none.
        columns: the ids.
    """

    files: tuple[EventFile, ...] = ()
    columns: Sequence[str] = tuple(ID_TYPES)
    is_list: Mapping[str, bool] = dict.fromkeys(ID_TYPES, False)
    unfit: Mapping[str, str] = {}
    label = "generated events"

    def __init__(self, entries: int, first: int = 0) -> None:
        """Number events.

        Raises:
            StudyError: less than one event, or numbers that there are not.
        """
        if entries < 1:
            raise StudyError(f"at least 1 event can be generated, not {entries}")
        if first < 0 or first + entries > MOST:
            raise StudyError(f"events are numbered from 0 to {MOST - 1}, not from {first}")
        self.entries, self.first = entries, first

    def chunks(
        self,
        size: int = 100_000,
        columns: Sequence[str] | None = None,  # noqa: ARG002  (there are no others)
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Chunk]:
        """Iterate over the events in order, as `EventSource.chunks` does."""
        last = self.entries if stop is None else min(stop, self.entries)
        for begin in range(start, last, size):
            number = np.arange(begin, min(begin + size, last), dtype=np.uint64) + np.uint64(
                self.first
            )
            ids = {
                "run": np.full(len(number), RUN),
                "luminosityBlock": 1 + number // PER_BLOCK,
                "event": 1 + number,
            }
            typed = {name: ids[name].astype(kind) for name, kind in ID_TYPES.items()}
            yield Chunk(to_events(typed), self.label, begin, begin)
