"""Write NanoAOD to ROOT files through uproot: TTrees as in version 12, or RNTuples.

Both have the same flat names (`Muon_pt`) and one counter per collection (`nMuon`), so that an
analysis finds in an RNTuple what it knows from a tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from gen2reco.errors import EventFileError
from gen2reco.events.descriptions import describe
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
    "genPartFlav": np.uint8,
    "jetId": np.uint8,
    "nConstituents": np.uint8,
    "nElectrons": np.uint8,
    "nMuons": np.uint8,
    "nBHadrons": np.uint8,
    "nCHadrons": np.uint8,
    "nCh": np.uint8,
}
"""Integer types of NanoAOD v12 by quantity; indices into collections (`genPartIdx`) are int16.

The last three are not in version 12: hadrons have the type of version 15, `nCh` that of its like.
"""

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
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        self._file.close()

    def _lines(self, columns: Columns) -> dict[str, str]:
        """Return what is known of columns and of their counters."""
        return describe([*columns, *map(counter, lists(columns))], self._descriptions)

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
        tree = self._file.mktree(
            name,
            types,
            title=title,
            counter_name=counter,
            field_name=lambda collection, field: f"{collection}_{field}",
            initial_basket_capacity=1,
        )
        _set_titles(tree, self._lines(columns))
        return tree

    def _data(self, columns: Columns) -> dict[str, Any]:
        """Plain branches as arrays, collections as lists of records, which share one counter."""
        plain: dict[str, Any] = {k: v for k, v in columns.items() if not isinstance(v, Jagged)}
        records = to_events({k: v for k, v in columns.items() if isinstance(v, Jagged)})
        return plain | {collection: records[collection] for collection in records.fields}


class RNTupleWriter(_RootWriter):
    """Writes RNTuples: flat fields, a counter `nMuon` per collection, one cluster per block."""

    format = "rntuple"

    def _make(self, name: str, columns: Columns, title: str) -> Any:
        empty = self._data({k: as_nano(k, part(v, 0, 0)) for k, v in columns.items()}).layout
        lines = self._lines(columns)
        contents = [
            content.copy(parameters={"__doc__": lines[field]}) if field in lines else content
            for field, content in zip(empty.fields, empty.contents, strict=True)
        ]
        form = ak.contents.RecordArray(contents, empty.fields).form
        return self._file.mkrntuple(name, form, description=title)

    def _data(self, columns: Columns) -> ak.Array:
        """Every column a field of its own; a counter before the first field of its collection."""
        first = {member: collection for collection, member in lists(columns).items()}
        fields: dict[str, ak.contents.Content] = {}
        for name, column in columns.items():
            if not isinstance(column, Jagged):
                fields[name] = ak.contents.NumpyArray(column)
                continue
            if name in first:
                counts = column.counts.astype(np.int32)
                fields[counter(first[name])] = ak.contents.NumpyArray(counts)
            content = ak.contents.NumpyArray(column.content)
            fields[name] = ak.contents.ListOffsetArray(ak.index.Index64(column.offsets), content)
        entries = len(next(iter(columns.values())))
        return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields), entries))


def counter(collection: str) -> str:
    """Return the name of the column that counts the objects of a collection."""
    return f"n{collection}"


def lists(columns: Columns) -> dict[str, str]:
    """Return every collection of lists among columns, with the first column that belongs to it."""
    found: dict[str, str] = {}
    for name, column in columns.items():
        if isinstance(column, Jagged):
            found.setdefault(name.partition("_")[0], name)
    return found


def _set_titles(tree: Any, lines: Mapping[str, str]) -> None:
    """Give the branches of a new tree their titles.

    uproot (5.7) has no public way. It puts its own title into a record of each branch, and writes
    the records when the tree is made and again when its first basket comes, if the tree was made
    for one basket. In a tree without any entry the titles stay uproot's own.
    """
    cascading = getattr(tree, "_cascading", None)
    for branch in getattr(cascading, "_branch_data", ()):
        if "fTitle" in branch and branch["fName"] in lines:
            branch["fTitle"] = lines[branch["fName"]]
