"""Cut a stream of flat columns, in whatever pieces it arrives, into blocks of a fixed size."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.events.layout import Column, Columns, Jagged, part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Blocks:
    """A queue of events: pieces go in, blocks of any asked size come out, in order.

    A block that is exactly one piece, or lies within one, is a view; only blocks across pieces are
    copied.
    """

    def __init__(self) -> None:
        self._pieces: deque[Columns] = deque()
        self._skip = 0  # events of the first piece that were taken already
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def append(self, columns: Columns, entries: int) -> None:
        """Add a piece of `entries` events."""
        if entries:
            self._pieces.append(columns)
            self._entries += entries

    def take(self, entries: int) -> Columns:
        """Remove and return the next `entries` events; there must be as many."""
        taken: list[Columns] = []
        wanted = entries
        while wanted:
            piece = self._pieces[0]
            length = len(next(iter(piece.values())))
            stop = min(length, self._skip + wanted)
            whole = self._skip == 0 and stop == length
            taken.append(
                piece if whole else {k: part(v, self._skip, stop) for k, v in piece.items()}
            )
            wanted -= stop - self._skip
            self._skip = stop
            if stop == length:
                self._pieces.popleft()
                self._skip = 0
        self._entries -= entries
        return taken[0] if len(taken) == 1 else join(taken)


def join(pieces: list[Columns]) -> Columns:
    """Put pieces with the same columns one after the other."""
    return {name: _join([piece[name] for piece in pieces]) for name in pieces[0]}


def _join(columns: list[Column]) -> Column:
    content = np.concatenate([c.content if isinstance(c, Jagged) else c for c in columns])
    counts = [c.counts for c in columns if isinstance(c, Jagged)]
    if not counts:
        return content
    offsets = np.zeros(1 + sum(map(len, counts)), np.int64)
    np.cumsum(np.concatenate(counts), out=offsets[1:])
    return Jagged(offsets, content)


def cut(pieces: Iterable[Columns], size: int, entries: int) -> Iterator[Columns]:
    """Cut `entries` events that arrive in pieces into blocks of `size`; the last may be shorter."""
    blocks = Blocks()
    left = entries
    for piece in pieces:
        blocks.append(piece, len(next(iter(piece.values()))))
        del piece  # it lives on only in the queue and in blocks cut from it
        while left and len(blocks) >= min(size, left):
            block = min(size, left)
            left -= block
            yield blocks.take(block)
