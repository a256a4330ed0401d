"""Write NanoAOD to ROOT files through uproot: TTrees as in version 12, or RNTuples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from gen2reco.errors import EventFileError
from gen2reco.events.layout import Column, Columns, Jagged, field_name, part, to_events
from gen2reco.events.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INTEGER_TYPES: dict[str, type[np.integer[Any]]] = {
    "run": np.uint32,
    "luminosityBlock": np.uint32,
    "event": np.uint64,
    "charge": np.int32,
    "pdgId": np.int32,
    "status": np.int32,
    "statusFlags": np.uint16,
    "partonFlavour": np.int16,
    "hadronFlavour": np.uint8,
    "nConstituents": np.uint8,
}
"""Integer types of NanoAOD v12 by quantity; indices into collections (`genPartIdx`) are int16."""

DESCRIPTIONS = "descriptions"
"""Key of the JSON text that says what columns mean; in a tree uproot has no place for it."""

_LEVEL = 1  # of ZSTD; level 5 takes half as long again and saves nothing on such columns


def nano_type(column: str) -> type[np.integer[Any]] | None:
    """Integer type that NanoAOD v12 gives a column, or None where it does not say."""
    field = field_name(column)
    if "Idx" in field:
        return np.int16
    return INTEGER_TYPES.get(field)


def as_nano(name: str, column: Column) -> Column:
    """Give a column its NanoAOD integer type; other types stay.

    Raises:
        EventFileError: a number is not an integer, or too large for the type.
    """
    wanted = nano_type(name)
    numbers = column.content if isinstance(column, Jagged) else column
    if wanted is None or numbers.dtype in (wanted, np.bool_):
        return column
    limits = np.iinfo(wanted)
    bad = ~((numbers >= limits.min) & (numbers <= limits.max))
    if numbers.dtype.kind == "f":
        bad |= numbers != np.floor(numbers)
    if bad.any():
        value = numbers[int(np.flatnonzero(bad)[0])]
        message = (
            f"{value} is not a {np.dtype(wanted).name}, the type that NanoAOD has for this column"
        )
        raise EventFileError(message, branch=name)
    cast = numbers.astype(wanted)
    return Jagged(column.offsets, cast) if isinstance(column, Jagged) else cast


class _RootWriter(Writer):
    """What a TTree and an RNTuple have in common."""

    def __init__(self, path: Path, descriptions: Mapping[str, str]) -> None:
        self._descriptions = dict(descriptions)
        self._file = uproot.recreate(path, compression=uproot.ZSTD(_LEVEL))
        self._events: Any = None

    def begin(self, columns: Columns) -> None:
        """Fix names and types of the columns; the columns may be empty."""
        missing = [name for name in ("run", "luminosityBlock", "event") if name not in columns]
        if missing:
            raise EventFileError(f"NanoAOD needs the column {missing[0]}", branch=missing[0])
        self._events = self._make("Events", columns, "events, one entry each")

    def write(self, columns: Columns) -> None:
        """Write one block of events: a basket per branch, or a cluster."""
        self._events.extend(self._data({k: as_nano(k, v) for k, v in columns.items()}))

    def finish(self, runs: Columns, blocks: Columns) -> None:
        """Write `Runs` and `LuminosityBlocks` and close the file."""
        for name, columns in (("LuminosityBlocks", blocks), ("Runs", runs)):
            tree = self._make(name, columns, f"{name} of all generated events")
            if len(columns["run"]):
                tree.extend(self._data(columns))
        if self._descriptions:
            self._file[DESCRIPTIONS] = json.dumps(self._descriptions, sort_keys=True)
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        self._file.close()

    def _make(self, name: str, columns: Columns, title: str) -> Any:
        raise NotImplementedError

    def _data(self, columns: Columns) -> Any:
        raise NotImplementedError


class TreeWriter(_RootWriter):
    """Writes TTrees: flat branches, one counter `nMuon` per collection, one basket per block."""

    format = "nanoaod"

    def _make(self, name: str, columns: Columns, title: str) -> Any:
        empty = self._data({k: as_nano(k, part(v, 0, 0)) for k, v in columns.items()})
        types = {
            key: data.layout.form.type if isinstance(data, ak.Array) else data.dtype
            for key, data in empty.items()
        }
        return self._file.mktree(
            name,
            types,
            title=title,
            counter_name=lambda collection: f"n{collection}",
            field_name=lambda collection, field: f"{collection}_{field}",
        )

    def _data(self, columns: Columns) -> dict[str, Any]:
        """Plain branches as arrays, collections as lists of records, which share one counter."""
        plain: dict[str, Any] = {k: v for k, v in columns.items() if not isinstance(v, Jagged)}
        lists = to_events({k: v for k, v in columns.items() if isinstance(v, Jagged)})
        return plain | {collection: lists[collection] for collection in lists.fields}


class RNTupleWriter(_RootWriter):
    """Writes RNTuples: collections as records (`Muon.pt`), one cluster per block."""

    format = "rntuple"

    def _make(self, name: str, columns: Columns, title: str) -> Any:
        form = self._data({k: as_nano(k, part(v, 0, 0)) for k, v in columns.items()}).layout.form
        return self._file.mkrntuple(name, form, description=title)

    def _data(self, columns: Columns) -> ak.Array:
        return to_events(columns)
