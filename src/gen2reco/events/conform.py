"""Make every chunk of a stream the same columns and types as the first one."""

from __future__ import annotations

import numpy as np

from gen2reco.errors import EventFileError, nearest
from gen2reco.events.layout import Column, Columns, Jagged


def conform(columns: Columns, like: Columns, file: str) -> Columns:
    """The columns in the order and types of earlier ones.

    Args:
        columns: of a chunk.
        like: of an earlier chunk.
        file: they are from or written to, for messages.

    Raises:
        EventFileError: a column is new, missing or of another type (unless it holds no number at
            all).
    """
    odd = sorted(set(columns) ^ set(like))
    if odd:
        message = (
            f"{'new' if odd[0] in columns else 'missing'} column; all chunks must have the same"
        )
        raise EventFileError(f"{message}.{nearest(odd[0], like)}", file=file, branch=odd[0])
    return {name: _fitted(columns[name], first, name, file) for name, first in like.items()}


def _fitted(column: Column, like: Column, name: str, file: str) -> Column:
    if _describe(column) == _describe(like):
        return column
    if isinstance(column, Jagged) == isinstance(like, Jagged) and _size(column) == 0:
        if isinstance(column, Jagged) and isinstance(like, Jagged):
            return Jagged(column.offsets, column.content.astype(like.content.dtype))
        return like
    message = f"{_describe(column)} where earlier events have {_describe(like)}"
    raise EventFileError(message, file=file, branch=name)


def storable(column: Column) -> Column:
    """The column in a type that every format can hold: half and long double precision are not."""
    numbers = column.content if isinstance(column, Jagged) else column
    if numbers.dtype.kind != "f" or numbers.dtype.itemsize in (4, 8):
        return column
    cast = numbers.astype(np.float32 if numbers.dtype.itemsize < 4 else np.float64)
    return Jagged(column.offsets, cast) if isinstance(column, Jagged) else cast


def _describe(column: Column) -> str:
    return f"lists of {column.content.dtype}" if isinstance(column, Jagged) else str(column.dtype)


def _size(column: Column) -> int:
    return len(column.content) if isinstance(column, Jagged) else len(column)
