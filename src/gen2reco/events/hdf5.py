"""HDF5 with flat arrays, read through h5py (an extra of the package).

A dataset (n,) is one number per event, (n, k) a list of k numbers per event. A list of varying
length is a dataset with all numbers one after the other and `<name>_offsets` (n + 1) beside it, or
one `Muon_offsets` for all `Muon_*`. Datasets lie at the top of the file or in a group with the name
of the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.events.layout import Column, Columns, Jagged
from gen2reco.events.reader import Reader, guarded, reading
from gen2reco.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_WHAT = "HDF5"
_OFFSETS = "_offsets"


class Hdf5Reader(Reader):
    """Reads one HDF5 file; see `Reader`."""

    format = "hdf5"

    def __init__(self, path: Path, tree: str) -> None:
        require("hdf5", f"file {path}: reading HDF5")
        import h5py  # noqa: PLC0415  (an extra: needed for this format alone)

        self._path = path
        self.columns: dict[str, bool] = {}
        self.unusable: dict[str, str] = {}
        self._data: dict[str, Any] = {}
        self._offsets: dict[str, Any] = {}
        with reading(path, _WHAT):
            self._file = h5py.File(path, "r")
            group = self._file.get(tree or "Events")
            if isinstance(group, h5py.Group):
                self.tree = tree or "Events"
            else:
                group = self._file
            self._describe(
                {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}
            )
            self.entries = self._count()

    def _describe(self, data: dict[str, Any]) -> None:
        for name, item in data.items():
            if name.endswith(_OFFSETS):
                continue
            offsets = data.get(name + _OFFSETS, data.get(name.partition("_")[0] + _OFFSETS))
            if offsets is not None and (offsets.ndim != 1 or offsets.dtype.kind not in "iuf"):
                self.unusable[name] = (
                    f"lists whose offsets are {offsets.dtype} with shape {offsets.shape}"
                )
            elif (
                item.dtype.kind not in "biuf"
                or item.ndim not in (1, 2)
                or (offsets is not None and item.ndim == 2)
            ):
                self.unusable[name] = f"{item.dtype} with shape {item.shape}"
            else:
                self.columns[name] = offsets is not None or item.ndim == 2
                self._data[name] = item
                if offsets is not None:
                    self._offsets[name] = offsets

    def _count(self) -> int:
        lengths = {
            name: len(self._offsets[name]) - 1 if name in self._offsets else len(item)
            for name, item in self._data.items()
        }
        if not lengths:
            message = "it has no dataset of numbers at the top or in the group of the tree"
            raise EventFileError(message, file=str(self._path))
        first, entries = next(iter(lengths.items()))
        for name, length in lengths.items():
            if length != entries:
                message = f"it has {length} events where {first} has {entries}"
                raise EventFileError(message, file=str(self._path), branch=name)
        return entries

    def read(self, columns: Sequence[str], start: int, stop: int, piece: int) -> Iterator[Columns]:
        """Yield entries `start` to `stop` of these columns in pieces of about `piece` events."""
        return guarded(self._pieces(columns, start, stop, piece), self._path, _WHAT)

    def _pieces(
        self, columns: Sequence[str], start: int, stop: int, piece: int
    ) -> Iterator[Columns]:
        for low in range(start, stop, piece):
            high = min(low + piece, stop)
            yield {name: self._column(name, low, high) for name in columns}

    def _column(self, name: str, low: int, high: int) -> Column:
        item = self._data[name]
        if name in self._offsets:
            offsets = np.asarray(self._offsets[name][low : high + 1], np.int64)
            if np.any(np.diff(offsets) < 0) or offsets[0] < 0 or offsets[-1] > len(item):
                message = f"its offsets do not ascend from 0 to the {len(item)} numbers there are"
                raise EventFileError(message, file=str(self._path), branch=name)
            return Jagged(offsets - offsets[0], _native(item[offsets[0] : offsets[-1]]))
        numbers = _native(item[low:high])
        if numbers.ndim == 1:
            return numbers
        width = numbers.shape[1]
        return Jagged(np.arange(high - low + 1, dtype=np.int64) * width, numbers.reshape(-1))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _native(numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype == np.float16:
        return numbers.astype(np.float32)
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
