"""NanoAOD in ROOT files: a TTree with `Muon_pt[nMuon]` branches, or an RNTuple; through uproot.

Branches are always named, never "everything": files carry references and status words that no one
can read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import uproot

from gen2reco.errors import EventFileError, nearest
from gen2reco.events.branches import Leaf, describe, numbers_of
from gen2reco.events.delphes import DELPHES_TREE, delphes_leaves, fill_leaf, is_delphes
from gen2reco.events.layout import Columns, flat_columns
from gen2reco.events.reader import Reader, guarded, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_WHAT = "ROOT"
_EVENTS = "Events"
_NOT_EVENTS = ("Runs", "LuminosityBlocks", "MetaData", "ParameterSets")
"""Trees of NanoAOD beside `Events`."""
_TREES = ("TTree", "TChain", "TNtuple", "TNtupleD")
_RNTUPLES = ("ROOT::RNTuple", "ROOT::Experimental::RNTuple")


def open_root(path: Path, tree: str) -> TreeReader | RNTupleReader:
    """Open the tree or RNTuple of that name; without one, the `Delphes` tree if there is one.

    "" stands for `Events`, or for the only one that holds events.

    Raises:
        EventFileError: the file is damaged or has no such tree (the message names those it has).
    """
    with reading(path, _WHAT):
        file = uproot.open(path, array_cache=None)
    length = path.stat().st_size
    if file.file.fEND > length:
        file.close()
        message = (
            f"it is cut off: {length} bytes of the {file.file.fEND} that its header tells; copy it"
            " again"
        )
        raise EventFileError(message, file=str(path))
    try:
        with reading(path, _WHAT):
            name, is_rntuple = _choose(file, tree, path)
            reader = (RNTupleReader if is_rntuple else TreeReader)(path, file, file[name])
            reader.tree = name
            return reader
    except BaseException:
        file.close()
        raise


def _choose(file: Any, tree: str, path: Path) -> tuple[str, bool]:
    """Name of what holds the events, and whether it is an RNTuple."""
    classes = {key.partition(";")[0]: kind for key, kind in file.classnames().items()}
    known = [key for key, kind in classes.items() if kind in _TREES + _RNTUPLES]
    wanted = tree or _EVENTS
    name = wanted if wanted in known else DELPHES_TREE
    if name not in known:
        alone = [key for key in known if key not in _NOT_EVENTS]
        if len(alone) == 1 and not tree:
            return alone[0], classes[alone[0]] in _RNTUPLES
        message = f"there is no tree {wanted!r}; it has no tree at all"
        if known:
            message = (
                f"there is no tree {wanted!r}; it has {', '.join(sorted(known))}."
                f"{nearest(wanted, known)} Name the tree of the events:"
                f" `input: {{tree: {(alone or known)[0]}}}` in the study, --tree of info and init"
            )
        raise EventFileError(message, file=str(path))
    return name, classes[name] in _RNTUPLES


class TreeReader(Reader):
    """Reads a TTree, as NanoAOD or as Delphes writes it; see `Reader`."""

    def __init__(self, path: Path, file: Any, tree: Any) -> None:
        self._path, self._file, self._tree = path, file, tree
        self.entries = int(tree.num_entries)
        self.unusable: dict[str, str] = {}
        branches = {branch.name: describe(branch) for branch in tree.itervalues(recursive=True)}
        self._leaves: dict[str, Leaf] = {}
        if is_delphes(branches):
            self.format = "delphes"
            self._leaves = delphes_leaves(branches, self.unusable)
        else:
            self.format = "nanoaod"
            counters = {branch.counter for branch in branches.values()}
            for name, branch in branches.items():
                if not branch.numbers or branch.components:
                    self.unusable[name] = branch.type_name
                elif name not in counters:
                    self._leaves[name] = Leaf((name,), branch.jagged)
        self.columns = {name: leaf.jagged for name, leaf in self._leaves.items()}

    def read(self, columns: Sequence[str], start: int, stop: int, piece: int) -> Iterator[Columns]:
        """Yield entries `start` to `stop` of these columns in pieces of about `piece` events."""
        return guarded(self._pieces(columns, start, stop, piece), self._path, _WHAT)

    def _pieces(
        self, columns: Sequence[str], start: int, stop: int, piece: int
    ) -> Iterator[Columns]:
        wanted = {branch for name in columns for branch in self._leaves[name].branches}
        if start >= stop:
            return
        position = start
        for arrays in self._tree.iterate(
            filter_branch=lambda branch: branch.name in wanted,
            entry_start=start,
            entry_stop=stop,
            step_size=piece,
            library="ak",
            how=dict,
        ):
            raw = {name.rpartition("/")[2]: numbers_of(array) for name, array in arrays.items()}
            entries = len(next(iter(raw.values())))
            yield {
                name: fill_leaf(self._leaves[name], raw, name, str(self._path), position)
                for name in columns
            }
            del raw, arrays  # before the next baskets are read
            position += entries

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class RNTupleReader(Reader):
    """Reads an RNTuple: collections as records (`Muon.pt`) or flat (`Muon_pt`); see `Reader`."""

    format = "rntuple"

    def __init__(self, path: Path, file: Any, ntuple: Any) -> None:
        self._path, self._file, self._ntuple = path, file, ntuple
        self.entries = int(ntuple.num_entries)
        self.columns: dict[str, bool] = {}
        self.unusable: dict[str, str] = {}
        self._field: dict[str, str] = {}
        form, _ = ntuple.to_akform()
        for top, content in zip(form.fields, form.contents, strict=True):
            # `_collection0` and its like are where a converted tree keeps what its named fields
            # point to.
            if not top.startswith("_"):
                self._describe(top, content)
        lists = {name.partition("_")[0] for name, jagged in self.columns.items() if jagged}
        for counter in [f"n{name}" for name in lists if f"n{name}" in self.columns]:
            del self.columns[counter]

    def _describe(self, top: str, form: Any) -> None:
        if form.parameter("__array__") is not None:
            self.unusable[top] = str(form.parameter("__array__"))
            return
        inner = form.content if form.is_list else form
        members = (
            zip(inner.fields, inner.contents, strict=True) if inner.is_record else [("", inner)]
        )
        for member, content in members:
            name = f"{top}_{member}" if member else top
            if isinstance(content, ak.forms.NumpyForm) and not content.parameters:
                self.columns[name] = form.is_list
                self._field[name] = f"{top}.{member}" if member else top
            else:
                self.unusable[name] = str(content.type)

    def read(self, columns: Sequence[str], start: int, stop: int, piece: int) -> Iterator[Columns]:
        """Yield entries `start` to `stop` of these columns in pieces of about `piece` events."""
        return guarded(self._pieces(columns, start, stop, piece), self._path, _WHAT)

    def _pieces(
        self, columns: Sequence[str], start: int, stop: int, piece: int
    ) -> Iterator[Columns]:
        fields = [self._field[name] for name in columns]
        for low in range(start, stop, piece):
            high = min(low + piece, stop)
            flat = flat_columns(
                self._ntuple.arrays(fields, entry_start=low, entry_stop=high), file=str(self._path)
            )
            yield {name: flat[name] for name in columns}

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
