"""Parquet: columns `Muon_pt` with lists (or `Muon` as a list of structs), through pyarrow.

Everything runs in the calling thread, so that one core stays one core; row groups are streamed, so
memory stays flat whatever their size. Arrow's own conversions from and to numpy are not used: they
load pandas where it is installed, which takes most of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gen2reco.errors import EventFileError
from gen2reco.events.layout import Column, Columns, Jagged
from gen2reco.events.reader import Reader, guarded, reading
from gen2reco.events.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_WHAT = "Parquet"
_READ_AHEAD = 1 << 18
"""Bytes of a column read at a time; the default is all that a row group holds of it."""
_NUMPY_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}


class ParquetReader(Reader):
    """Reads one Parquet file; see `Reader`."""

    format = "parquet"

    def __init__(self, path: Path) -> None:
        self._path = path
        with reading(path, _WHAT):
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_AHEAD)
            self._groups = [
                self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)
            ]
            self.entries = int(self._file.metadata.num_rows)
            schema = self._file.schema_arrow
            leaves = [self._file.schema.column(i).path for i in range(len(self._file.schema))]
        self.columns: dict[str, bool] = {}
        self.unusable: dict[str, str] = {}
        self._place: dict[
            str, tuple[str, str]
        ] = {}  # flat name -> top-level column, field of its struct or ""
        self._leaf: dict[
            str, str
        ] = {}  # flat name -> what pyarrow wants to hear to read this leaf alone
        for field in schema:
            self._describe(field, leaves)

    def _describe(self, field: Any, leaves: list[str]) -> None:
        listed = _is_list(field.type)
        inner = field.type.value_type if listed else field.type
        members = list(inner) if pa.types.is_struct(inner) else [None]
        for member in members:
            name = f"{field.name}_{member.name}" if member is not None else field.name
            kind = member.type if member is not None else inner
            if not _is_number(kind):
                self.unusable[name] = str(field.type if member is None else member.type)
                continue
            self.columns[name] = listed
            self._place[name] = (field.name, member.name if member is not None else "")
            tail = f".{member.name}" if member is not None else ""
            matching = [
                path for path in leaves if path.startswith(f"{field.name}.") and path.endswith(tail)
            ]
            self._leaf[name] = matching[0] if tail else field.name

    def read(self, columns: Sequence[str], start: int, stop: int, piece: int) -> Iterator[Columns]:
        """Yield entries `start` to `stop` of these columns in pieces of about `piece` events."""
        return guarded(self._pieces(columns, start, stop, piece), self._path, _WHAT)

    def _pieces(
        self, columns: Sequence[str], start: int, stop: int, piece: int
    ) -> Iterator[Columns]:
        first = np.concatenate([[0], np.cumsum(self._groups)])
        groups = [i for i in range(len(self._groups)) if first[i] < stop and first[i + 1] > start]
        if not groups:
            return
        position = int(first[groups[0]])
        batches = self._file.iter_batches(
            batch_size=piece,
            row_groups=groups,
            columns=[self._leaf[name] for name in columns],
            use_threads=False,
        )
        for batch in batches:
            rows = batch.num_rows
            low, high = max(start - position, 0), min(stop - position, rows)
            if low < high:
                cut = batch if (low, high) == (0, rows) else batch.slice(low, high - low)
                yield {name: self._column(cut, name, position + low) for name in columns}
                del cut
            del batch  # before the next one is decoded
            position += rows
            if position >= stop:
                return

    def _column(self, batch: Any, name: str, position: int) -> Column:
        top, member = self._place[name]
        array = batch.column(top)
        if not self.columns[name]:
            return self._numbers(array.field(member) if member else array, name, position)
        offsets, values = _list_parts(array)
        values = values.field(member) if member else values
        if values.null_count:
            row = int(np.searchsorted(offsets, _first_null(values), side="right")) - 1
            return Jagged(offsets, self._numbers(values, name, position, row))
        return Jagged(offsets, self._numbers(values, name, position))

    def _numbers(self, array: Any, name: str, position: int, row: int = -1) -> np.ndarray:
        """Numpy view of an arrow array; a missing float is NaN, another missing value an error."""
        if array.null_count:
            if not pa.types.is_floating(array.type):
                row = row if row >= 0 else _first_null(array)
                message = f"a value of type {array.type} is missing (null) here"
                raise EventFileError(message, file=str(self._path), branch=name, row=position + row)
            array = array.fill_null(float("nan"))
        if pa.types.is_boolean(array.type):
            bits = np.frombuffer(array.buffers()[1] or b"", np.uint8)
            flags = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
            return flags[array.offset :].view(np.bool_)
        numbers = _as_numpy(array)
        return numbers.astype(np.float32) if numbers.dtype == np.float16 else numbers

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _first_null(array: Any) -> int:
    return int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])


def _as_numpy(array: Any) -> np.ndarray:
    """The numbers of an arrow array in which none is missing, as a view."""
    kind = np.dtype(_NUMPY_NAMES.get(str(array.type), str(array.type)))
    numbers = np.frombuffer(array.buffers()[1] or b"", kind)
    return numbers[array.offset : array.offset + len(array)]


def _list_parts(array: Any) -> tuple[np.ndarray, Any]:
    """Offsets from zero and the values between them; a missing list is an empty one."""
    if array.null_count or pa.types.is_fixed_size_list(array.type):
        counts = _as_numpy(pc.fill_null(pc.list_value_length(array), 0))
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return offsets, array.flatten()
    raw = _as_numpy(array.offsets)
    first, last = int(raw[0]), int(raw[-1])
    values = array.values
    if (first, last) != (0, len(values)):
        values = values.slice(first, last - first)
    return raw.astype(np.int64) if first == 0 else raw.astype(np.int64) - first, values


class ParquetWriter(Writer):
    """Writes one row group per block; the bytes depend on nothing but the blocks."""

    format = "parquet"

    def __init__(self, path: Path, descriptions: Mapping[str, str]) -> None:
        self._path = path
        self._descriptions = descriptions
        self._writer: Any = None

    def begin(self, columns: Columns) -> None:
        """Fix names and types of the columns; the columns may be empty."""
        fields = []
        for name, column in columns.items():
            number = pa.from_numpy_dtype(
                (column.content if isinstance(column, Jagged) else column).dtype
            )
            kind = (
                pa.list_(pa.field("element", number, nullable=False))
                if isinstance(column, Jagged)
                else number
            )
            text = self._descriptions.get(name)
            fields.append(
                pa.field(
                    name, kind, nullable=False, metadata={"description": text} if text else None
                )
            )
        self._schema = pa.schema(fields)
        # Dictionaries cost twice the time and a third more space on continuous quantities.
        self._writer = pq.ParquetWriter(
            self._path, self._schema, compression="zstd", compression_level=1, use_dictionary=False
        )

    def write(self, columns: Columns) -> None:
        """Write one row group."""
        arrays = [_arrow(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def finish(self, runs: Columns, blocks: Columns) -> None:  # noqa: ARG002
        """Write the footer; Parquet has no place for `Runs`, their sums are in the sidecar."""
        self._writer.close()
        self._writer = None

    def abandon(self) -> None:
        """Let go of the file as it is."""
        if self._writer is not None:
            self._writer.close()


def _arrow(column: Column, kind: Any) -> Any:
    if isinstance(column, Jagged):
        assert column.offsets[-1] < 2**31, "a row group holds far fewer numbers"
        offsets = pa.py_buffer(column.offsets.astype(np.int32))
        numbers = _arrow(column.content, kind.value_type)
        return pa.Array.from_buffers(kind, len(column), [None, offsets], children=[numbers])
    values = np.packbits(column, bitorder="little") if column.dtype == np.bool_ else column
    return pa.Array.from_buffers(
        kind, len(column), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )
