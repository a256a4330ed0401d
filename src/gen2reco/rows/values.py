"""What an expression can stand for: numbers, collections of objects, single objects.

Every value belongs to a `Frame`, which says what it has one entry for. Frames form a ladder (object
of a collection -> row of a table -> event), and values of different rungs meet on the finer one.
Everything is flat numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from gen2reco.rows.segments import Array, Flags, Index, kept_offsets, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gen2reco.rows.store import Source


class FrameError(Exception):
    """Values that have no common frame: fields of two different lists of objects."""


class Frame:
    """What a value has one entry for: the events of a chunk, or rows made from them.

    A frame holds coarser ones, never finer ones: what it knows of those is known weakly, so that
    no circle keeps the arrays of a chunk alive.
    """

    def __init__(
        self, size: int, label: str, parent: Frame | None = None, index: Index | None = None
    ) -> None:
        self.size = size
        self.label = label
        self._steps: list[tuple[Frame, Index]] = []
        if parent is not None and index is not None:
            self._steps.append((parent, index))
        self._known: WeakKeyDictionary[Frame, Index | None] = WeakKeyDictionary()

    def index_into(self, other: Frame) -> Index | None:
        """Return, per entry, its position in a coarser frame; None where the two are unrelated."""
        if other not in self._known:
            self._known[other] = self._find(other)
        return self._known[other]

    def _find(self, other: Frame) -> Index | None:
        for parent, index in self._steps:
            if parent is other:
                return index
            above = parent.index_into(other)
            if above is not None:
                return above[index]
        return None


class Elements(Frame):
    """The objects of a list per event (or per row, once laid out for the rows of a table)."""

    def __init__(
        self, owner: Frame, offsets: Index, label: str, step: tuple[Frame, Index] | None = None
    ) -> None:
        super().__init__(int(offsets[-1]), label, *(step or ()))
        self.owner = owner
        self.offsets = offsets
        self._laid_out: WeakValueDictionary[Frame, Elements] = WeakValueDictionary()

    @cached_property
    def event(self) -> Index:
        """The entry of `owner` that each object belongs to."""
        return np.repeat(np.arange(self.owner.size), np.diff(self.offsets))

    def _find(self, other: Frame) -> Index | None:
        if other is self.owner:
            return self.event
        above = self.owner.index_into(other)
        return above[self.event] if above is not None else super()._find(other)

    def laid_out(self, rows: Frame) -> Elements:
        """Return the frame with this list once for every one of `rows`."""
        elements = self._laid_out.get(rows)
        if elements is None:
            chosen = rows.index_into(self.owner)
            if chosen is None:
                raise FrameError(f"{self.label} and {rows.label}")
            offsets, flat = repeated(self.offsets, chosen)
            elements = Elements(rows, offsets, self.label, (self, flat))
            self._laid_out[rows] = elements
        return elements


def common(frames: Sequence[Frame | None]) -> Frame | None:
    """Return the frame on which values of these frames meet; None: all are constants."""
    present = [frame for frame in frames if frame is not None]
    return finest(*present) if present else None


def finest(result: Frame, *frames: Frame) -> Frame:
    """Return the frame that all of these reach, a list laid out for rows where that is needed."""
    for frame in frames:
        if frame is result or result.index_into(frame) is not None:
            continue
        if frame.index_into(result) is not None:
            result = frame
        elif isinstance(result, Elements) and not isinstance(frame, Elements):
            result = result.laid_out(frame)
        elif isinstance(frame, Elements) and not isinstance(result, Elements):
            result = frame.laid_out(result)
        else:
            raise FrameError(f"{result.label} and {frame.label}")
    return result


@dataclass(frozen=True, eq=False)
class Value:
    """Numbers, one per entry of `frame` (None: a constant), valid as `valid` says (None: all)."""

    values: Any
    valid: Flags | None = None
    frame: Frame | None = None

    def on(self, frame: Frame) -> Value:
        """Return the same numbers with one entry per entry of a finer frame."""
        if self.frame is frame:
            return self
        if self.frame is None:
            values = np.full(frame.size, self.values)
            return Value(
                values, None if self.valid is None else np.full(frame.size, self.valid), frame
            )
        index = frame.index_into(self.frame)
        if index is None:
            raise FrameError(f"{self.frame.label} and {frame.label}")
        return Value(self.values[index], None if self.valid is None else self.valid[index], frame)

    def truth(self) -> Array:
        """Return the numbers as flags; a missing one and NaN are false."""
        flags: Flags = self.values
        if flags.dtype != np.bool_:
            flags = (flags != 0) & ~np.isnan(flags)
        return flags if self.valid is None else flags & self.valid


def both(*flags: Flags | None) -> Flags | None:
    """Return where all of several masks hold; None stands for everywhere."""
    result: Flags | None = None
    for mask in flags:
        if mask is not None:
            result = mask if result is None else result & mask
    return result


def combine(function: Callable[..., Any], *operands: Value) -> Value:
    """Apply a numpy function entry by entry; the result is missing where an operand is."""
    frame = common([operand.frame for operand in operands])
    if frame is not None:
        # Constants stay scalars: numpy broadcasts them without a temporary array.
        operands = tuple(item if item.frame is None else item.on(frame) for item in operands)
    return Value(
        function(*(as_number(item.values) for item in operands)),
        both(*(item.valid for item in operands)),
        frame,
    )


def restricted(value: Value, allowed: Value) -> Value:
    """Return `value`, missing where `allowed` is false; both come from the same operands."""
    if np.all(allowed.values):
        return value
    return Value(value.values, both(value.valid, allowed.values), value.frame)


def as_number(values: Any) -> Any:
    """Return flags as integers, so that their sum is a count; other numbers as they are."""
    if isinstance(values, bool | np.bool_):
        return np.int64(values)
    return values.astype(np.int64) if values.dtype == bool else values


def widened(column: Array) -> Array:
    """Return a stored column as bool, int64 or float64, safe for arithmetic.

    Whole numbers beyond int64 stay uint64: they can be compared, and `operations` refuse the rest.
    """
    if column.dtype.kind == "b":
        return column
    if column.dtype == np.uint64 and column.max(initial=0) > np.iinfo(np.int64).max:
        return column
    return column.astype(np.int64 if column.dtype.kind in "iu" else np.float64, copy=False)


class Thing:
    """What has fields: a collection or a single object. Derived fields are kept once computed."""

    def __init__(self, source: Source, frame: Frame) -> None:
        self.source = source
        self.frame = frame
        self.kept: dict[str, Value] = {}

    @property
    def known(self) -> Mapping[str, str]:
        """Stored field -> flat column."""
        return self.source.fields

    def stored(self, field: str) -> Value:
        """Return a stored field."""
        raise NotImplementedError


class Collection(Thing):
    """A list of objects per event: a stored collection, or what of it passed a condition.

    `index` is the flat position of each object in the stored columns; None for all of them.
    """

    frame: Elements

    def __init__(self, source: Source, frame: Elements, index: Index | None = None) -> None:
        super().__init__(source, frame)
        self.index = index

    @property
    def positions(self) -> Index:
        """Flat position of each object in the stored columns."""
        return np.arange(self.frame.size) if self.index is None else self.index

    def stored(self, field: str) -> Value:
        """Return a stored field, one value per object."""
        if self.index is None:
            return Value(self.source.whole(field), None, self.frame)
        return Value(widened(self.source.raw(field)[self.index]), None, self.frame)

    def on(self, frame: Frame) -> Collection:
        """Return the same lists laid out for a frame that `common` made from this one's."""
        if frame is self.frame:
            return self
        flat = frame.index_into(self.frame)
        if flat is None or not isinstance(frame, Elements):
            raise FrameError(f"{self.frame.label} and {frame.label}")
        return Collection(self.source, frame, flat if self.index is None else self.index[flat])

    def where(self, mask: Flags, label: str) -> Collection:
        """Return the objects that a flat mask keeps."""
        frame = Elements(self.frame.owner, kept_offsets(self.frame.offsets, mask), label)
        chosen = np.flatnonzero(mask)
        return Collection(self.source, frame, chosen if self.index is None else self.index[chosen])

    def pick(self, found: Index) -> Single:
        """Return one object per event, from its flat position in this collection; -1: missing."""
        if self.index is not None:
            found = _gather(self.index, found, -1)
        return Single(self.source, self.frame.owner, found)


class Single(Thing):
    """One object per event or row: its flat position in the stored columns, -1 where missing.

    `index` None: an object stored without a list around it, which every event has.
    """

    def __init__(self, source: Source, frame: Frame, index: Index | None = None) -> None:
        super().__init__(source, frame)
        self.index = index
        self.exists: Flags | None = None
        if index is not None and index.size and index.min() < 0:
            self.exists = index >= 0

    def stored(self, field: str) -> Value:
        """Return a stored field, one value per event or row."""
        if self.index is None:
            return Value(self.source.whole(field), None, self.frame)
        values = self.source.raw(field)
        if self.exists is not None:
            return Value(widened(_gather(values, self.index, 0)), self.exists, self.frame)
        return Value(widened(values[self.index]), None, self.frame)

    def local_index(self) -> Value:
        """Return the position of the object in the list of its event, -1 where missing."""
        if self.index is None:
            return Value(np.zeros(self.frame.size, np.int64), None, self.frame)
        elements = self.source.elements
        event = self.frame.index_into(elements.owner)
        starts = elements.offsets[:-1] if event is None else elements.offsets[event]
        return Value(np.where(self.index < 0, -1, self.index - starts), None, self.frame)


def _gather(values: Array, index: Index, missing: int) -> Array:
    """Return values[index], with `missing` where the index is -1."""
    if not len(values):
        return np.full(len(index), missing, values.dtype)
    taken = values[index]
    taken[index < 0] = missing
    return taken
