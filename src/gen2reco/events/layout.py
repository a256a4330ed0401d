"""Two shapes of the same events: flat NanoAOD columns, and awkward records `events.Muon.pt`.

Flat columns are what files hold and what numerics want: `Muon_pt` is a `Jagged`, `MET_pt` and `run`
are plain arrays. Which prefix is a collection is read off the columns: a jagged `Muon_pt` makes a
collection `Muon`, plain columns that share a prefix make one record per event (`MET_pt`, `MET_phi`
-> `events.MET`), a name without `_` stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from gen2reco.errors import EventFileError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, eq=False)
class Jagged:
    """A list of numbers per event: event i holds `content[offsets[i]:offsets[i + 1]]`.

    Attributes:
        offsets: int64 [events + 1], ascending.
        content: all numbers, one after the other.
    """

    offsets: np.ndarray
    content: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """Numbers per event, int64 [events]."""
        return np.diff(self.offsets)

    def part(self, start: int, stop: int) -> Jagged:
        """Events `start` to `stop`, offsets from zero; the content is a view."""
        offsets = self.offsets[start : stop + 1]
        first = int(offsets[0])
        content = self.content[first : int(offsets[-1])]
        return Jagged(offsets if first == 0 else offsets - first, content)


Column = np.ndarray | Jagged
Columns = dict[str, Column]


def field_name(column: str) -> str:
    """The quantity a column holds: what follows the first `_`, or all of a name without one."""
    return column.partition("_")[2] or column


def part(column: Column, start: int, stop: int) -> Column:
    """Events `start` to `stop` of a column, as a view."""
    return column.part(start, stop) if isinstance(column, Jagged) else column[start:stop]


def to_events(
    columns: Mapping[str, Column | tuple[np.ndarray, np.ndarray]],
    *,
    file: str = "",
    entries: int = -1,
) -> ak.Array:
    """Build awkward events from flat columns, without copying numbers.

    Args:
        columns: NanoAOD-style name -> array [events], or `Jagged` (or the pair offsets, content)
            for a collection.
        file: where the columns came from, for messages.
        entries: number of events; needed only where there is no column at all.

    Returns:
        A record array with scalars, one list of records per collection and one record per group of
        plain columns. A plain column whose prefix is a collection's (or a column's) name keeps its
        full name.

    Raises:
        EventFileError: columns of different length, or columns of one collection with different
            numbers of objects.
    """
    named: Columns = {
        name: Jagged(*column) if isinstance(column, tuple) else column
        for name, column in columns.items()
    }
    if entries < 0:
        entries = len(next(iter(named.values()))) if named else 0
    for name, column in named.items():
        if len(column) != entries:
            message = f"it has {len(column)} events where other columns have {entries}"
            raise EventFileError(message, file=file, branch=name)

    fields: dict[str, ak.contents.Content] = {}
    for group, members in _groups(named).items():
        if group in named:
            column = named[group]
            numbers = ak.contents.NumpyArray(
                column.content if isinstance(column, Jagged) else column
            )
            fields[group] = (
                _list(column.offsets, numbers) if isinstance(column, Jagged) else numbers
            )
            continue
        leaves = {field_name(name): named[name] for name in members}
        offsets = _shared_offsets(group, leaves, file)
        contents = [
            ak.contents.NumpyArray(leaf.content if isinstance(leaf, Jagged) else leaf)
            for leaf in leaves.values()
        ]
        records = ak.contents.RecordArray(contents, list(leaves))
        fields[group] = records if offsets is None else _list(offsets, records)
    return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields), length=entries))


def _groups(columns: Columns) -> dict[str, list[str]]:
    """Field of the events -> the columns it is made of, in the order of the columns."""
    collections = {
        name.partition("_")[0]
        for name, column in columns.items()
        if isinstance(column, Jagged) and "_" in name
    }
    groups: dict[str, list[str]] = {}
    for name, column in columns.items():
        prefix, _, field = name.partition("_")
        alone = not field or not prefix or prefix in columns
        if not alone and prefix in collections and not isinstance(column, Jagged):
            alone = True
        groups.setdefault(name if alone else prefix, []).append(name)
    return groups


def _shared_offsets(group: str, leaves: Columns, file: str) -> np.ndarray | None:
    offsets: np.ndarray | None = None
    first = ""
    for field, leaf in leaves.items():
        if not isinstance(leaf, Jagged):
            continue
        if offsets is None:
            offsets, first = leaf.offsets, field
        elif leaf.offsets is not offsets and not np.array_equal(leaf.offsets, offsets):
            event = int(np.flatnonzero(leaf.counts != np.diff(offsets))[:1].sum())
            message = (
                f"{leaf.counts[event]} objects where {group}_{first} has {np.diff(offsets)[event]};"
                " columns of one collection must agree"
            )
            raise EventFileError(message, file=file, branch=f"{group}_{field}", row=event)
    return offsets


def _list(offsets: np.ndarray, content: ak.contents.Content) -> ak.contents.ListOffsetArray:
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)


def flat_columns(events: ak.Array, *, file: str = "") -> Columns:
    """Take awkward events apart into flat columns; the inverse of `to_events`.

    Sliced, masked and re-ordered events are accepted; option types are, as long as nothing is
    missing.

    Raises:
        EventFileError: something is not a number or one list of numbers per event, or a value is
            missing.
    """
    layout = _plain(ak.to_layout(events), "", file)
    if not isinstance(layout, ak.contents.RecordArray):
        raise EventFileError(f"events must be records, these are {ak.type(events)}", file=file)
    columns: Columns = {}
    for name in layout.fields:
        field = _plain(layout.content(name), name, file)
        if isinstance(field, ak.contents.RecordArray):
            for leaf in field.fields:
                _add(
                    columns,
                    f"{name}_{leaf}",
                    _numbers(field.content(leaf), f"{name}_{leaf}", file),
                    file,
                )
        elif isinstance(field, ak.contents.ListOffsetArray):
            offsets = np.asarray(field.offsets)
            content = _plain(field.content[: offsets[-1]], name, file)
            if isinstance(content, ak.contents.RecordArray):
                for leaf in content.fields:
                    numbers = _numbers(content.content(leaf), f"{name}_{leaf}", file)
                    _add(columns, f"{name}_{leaf}", Jagged(offsets, numbers), file)
            else:
                _add(columns, name, Jagged(offsets, _numbers(content, name, file)), file)
        else:
            _add(columns, name, _numbers(field, name, file), file)
    return columns


def _add(columns: Columns, name: str, column: Column, file: str) -> None:
    if name in columns:
        raise EventFileError("two fields of the events have this flat name", file=file, branch=name)
    columns[name] = column


def _plain(layout: Any, name: str, file: str) -> Any:
    """The same array without indirection or options, lists with offsets from zero."""
    if layout.is_option:
        missing = np.flatnonzero(layout.mask_as_bool(valid_when=False))
        if len(missing):
            raise EventFileError(
                "a value is missing here", file=file, branch=name, row=int(missing[0])
            )
        return _plain(layout.project(), name, file)
    if layout.is_indexed:
        return _plain(layout.project(), name, file)
    if layout.parameter("__array__") in ("string", "bytestring", "char", "byte", "categorical"):
        raise EventFileError(
            "it holds text; numbers or lists of numbers are needed", file=file, branch=name
        )
    if layout.is_list:
        return layout.to_ListOffsetArray64(True)
    if layout.is_unknown:
        return layout.to_NumpyArray(np.float64)
    return layout


def _numbers(layout: Any, name: str, file: str) -> np.ndarray:
    layout = _plain(layout, name, file)
    if isinstance(layout, ak.contents.NumpyArray):
        numbers = np.asarray(layout.data)
        if numbers.ndim == 1 and numbers.dtype.kind in "biuf":
            return numbers
    message = f"it holds {layout.form.type}; a number, or one list of numbers per event, is needed"
    raise EventFileError(message, file=file, branch=name)
