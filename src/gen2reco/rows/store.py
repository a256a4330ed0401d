"""The columns of a chunk of events as expressions see them: what there is, and what was read."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.events.layout import Jagged
from gen2reco.rows.values import Elements, Frame, Value, widened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.rows.segments import Array, Flags, Index


class Available(Protocol):
    """What a file (or several) has: the flat columns and whether each is a list per event."""

    @property
    def columns(self) -> Sequence[str]:
        """Flat column names: `run`, `MET_pt`, `Jet_pt`."""

    @property
    def is_list(self) -> Mapping[str, bool]:
        """Column -> whether it holds a list per event."""

    @property
    def unfit(self) -> Mapping[str, str]:
        """Flat name that is there but cannot be read -> why, for messages."""


class Flat:
    """The flat columns of some events, read by name.

    Attributes:
        events: the frame with one entry per event.
        used: names of the columns read so far.
    """

    def __init__(self, columns: Mapping[str, Any], events: int | Frame) -> None:
        """Keep the columns.

        Args:
            columns: flat name -> array or Jagged.
            events: how many there are, or their frame where other columns have it.
        """
        self._columns = columns
        self._ready: dict[str, Any] = {}
        self.events = Frame(events, "event") if isinstance(events, int) else events
        self.used: set[str] = set()

    def read(self, name: str) -> Any:
        """Return a stored column and note that it was read; lists start at offset 0."""
        self.used.add(name)
        if name not in self._ready:
            column = self._columns[name]
            content = column.content if isinstance(column, Jagged) else column
            if np.asarray(content).dtype.kind not in "biuf":
                raise EventFileError(f"holds {np.asarray(content).dtype}, not numbers", branch=name)
            if isinstance(column, Jagged):
                offsets = np.asarray(column.offsets, np.int64)
                column = Jagged(offsets - offsets[0], column.content[offsets[0] : offsets[-1]])
            self._ready[name] = column
        return self._ready[name]


class Source:
    """The stored columns of a collection (`Jet_*`, lists) or of one object per event (`MET_*`).

    `unfit` are fields that are there but cannot be used, and why.
    """

    def __init__(
        self,
        name: str,
        fields: Mapping[str, str],
        flat: Flat,
        *,
        is_list: bool,
        unfit: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.fields = fields
        self.unfit = unfit or {}
        self.is_list = is_list
        self._flat = flat
        self._widened: dict[str, Array] = {}

    @cached_property
    def elements(self) -> Elements:
        """The frame of the collection; reads `pt`, or the first field where there is none."""
        column = self._flat.read(self.fields["pt" if "pt" in self.fields else min(self.fields)])
        return Elements(self._flat.events, column.offsets, self.name)

    def raw(self, field: str) -> Array:
        """Return a stored column as it is, flat."""
        column = self._flat.read(self.fields[field])
        if not self.is_list:
            return np.asarray(column)
        if len(column.content) != self.elements.size:
            raise EventFileError(
                f"has {len(column.content)} objects where {self.name} has {self.elements.size}:"
                " the columns of a collection must have the same lists",
                branch=self.fields[field],
            )
        return np.asarray(column.content)

    def whole(self, field: str) -> Array:
        """Return a stored column ready for arithmetic, flat."""
        if field not in self._widened:
            self._widened[field] = widened(self.raw(field))
        return self._widened[field]


class Store:
    """The columns of some events, by their flat names and as collections and objects.

    It and what it hands out hold no reference back to it: a chunk's columns are freed with the
    last use, not when the garbage collector comes by.

    Attributes:
        events: the frame with one entry per event.
        used: names of the columns read so far.
        made: names that namespaces of these events added, for hints.
        sources: collections and objects by name.
        unfit: flat name that is there but cannot be read -> why.
    """

    def __init__(
        self, columns: Mapping[str, Any], size: int, unfit: Mapping[str, str] | None = None
    ) -> None:
        self._columns = columns
        self.unfit = unfit or {}
        self._lists: dict[str, Elements] = {}
        self._flat = Flat(columns, size)
        self.events = self._flat.events
        self.used = self._flat.used
        self.made: dict[str, None] = {}
        fields: defaultdict[str, dict[str, str]] = defaultdict(dict)
        lists: set[str] = set()
        for name in columns:
            prefix, separator, field = name.partition("_")
            listed = isinstance(columns[name], Jagged)
            # Beside a column `met`, `met_phi` is a column too and no field of an object `met`.
            if separator and (listed or prefix not in columns):
                fields[prefix][field] = name
                if listed:
                    lists.add(prefix)
        self.sources = {
            prefix: Source(
                prefix,
                {
                    f: n
                    for f, n in of.items()
                    if isinstance(columns[n], Jagged) == (prefix in lists)
                },
                self._flat,
                is_list=prefix in lists,
                unfit={
                    f: f"{n} is one number per event, not a list"
                    for f, n in of.items()
                    if isinstance(columns[n], Jagged) != (prefix in lists)
                }
                | {
                    n.removeprefix(f"{prefix}_"): f"{n} {why}"
                    for n, why in self.unfit.items()
                    if n.startswith(f"{prefix}_")
                },
            )
            for prefix, of in fields.items()
        }

    @classmethod
    def empty(cls, available: Available) -> Store:
        """Return a store without events, on which expressions show what they read."""
        numbers = np.zeros(0)
        lists = Jagged(np.zeros(1, np.int64), numbers)
        columns = {
            name: lists if available.is_list[name] else numbers for name in available.columns
        }
        return cls(columns, 0, available.unfit)

    @property
    def names(self) -> list[str]:
        """Everything that can be named: collections, objects, columns."""
        return [*self.sources, *self._columns]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def read(self, name: str) -> Any:
        """Return a stored column and note that it was read; lists start at offset 0."""
        return self._flat.read(name)

    def column(self, name: str) -> Value | None:
        """Return a column by its flat name, per event or per object; None if there is none."""
        if name not in self._columns:
            return None
        column = self.read(name)
        if not isinstance(column, Jagged):
            return Value(widened(column), None, self.events)
        prefix, _, field = name.partition("_")
        if field:
            source = self.sources[prefix]
            return Value(source.whole(field), None, source.elements)
        if name not in self._lists:
            self._lists[name] = Elements(self.events, column.offsets, name)
        return Value(widened(column.content), None, self._lists[name])

    def nan_events(self) -> dict[str, Flags]:
        """Return, for every column read that holds a NaN, the events that have one."""
        found: dict[str, Flags] = {}
        for name in sorted(self.used):
            column = self.read(name)
            content = column.content if isinstance(column, Jagged) else np.asarray(column)
            # One sum is the cheapest look at all values: NaN survives it.
            if content.dtype.kind != "f" or not np.isnan(np.sum(content)):
                continue
            bad = np.isnan(content)
            if isinstance(column, Jagged) and bad.any():
                events: Index = (
                    np.searchsorted(column.offsets, np.flatnonzero(bad), side="right") - 1
                )
                bad = np.zeros(self.events.size, np.bool_)
                bad[events] = True
            if bad.any():
                found[name] = bad
        return found
