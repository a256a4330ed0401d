"""The manifest of a production: which events of which files go into which output.

A shard is a range of entries over all input files, so that shards differ by one event at most
whatever the files are like. It is planned from metadata alone, once; whoever works on a shard then
opens the files of this shard only.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.errors import EventFileError, OutputExistsError, StudyError
from gen2reco.events.files import find_files, open_reader
from gen2reco.events.publish import publish, temporary_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = 1
NAME = "manifest.json"
_SUFFIX = {"parquet": ".parquet", "nanoaod": ".root", "rntuple": ".rntuple.root"}
_TYPES = {
    **dict.fromkeys(("study", "model", "digest", "output", "tree"), str),
    "options": dict,
    "inputs": list,
    "shards": int,
}


@dataclass(frozen=True)
class Input:
    """One file of events, known from metadata.

    Attributes:
        path: where it is, absolute.
        entries: events in it.
        size: bytes.
    """

    path: str
    entries: int
    size: int

    @classmethod
    def of(cls, path: Path, tree: str) -> Input:
        """Look a file up; EventFileError where it cannot be read."""
        with open_reader(path, tree) as reader:
            return cls(str(path.absolute()), reader.entries, path.stat().st_size)


@dataclass(frozen=True)
class Shard:
    """One piece of a production.

    Attributes:
        number: from 0 to `of` - 1.
        of: pieces in all.
        path: output.
        inputs: files that it reads.
        start: entry over these files of its first event.
        stop: entry after its last one.
        task: digest of all that its content depends on: emulator, options, files and entries.
    """

    number: int
    of: int
    path: Path
    inputs: tuple[Input, ...]
    start: int
    stop: int
    task: str

    @property
    def entries(self) -> int:
        """Events that it reads."""
        return self.stop - self.start

    def check_inputs(self, tree: str) -> None:
        """Refuse input files that are not those of the plan.

        Raises:
            EventFileError: a file has another size or number of events than when it was planned.
        """
        for planned in self.inputs:
            found = Input.of(Path(planned.path), tree)
            if (found.entries, found.size) != (planned.entries, planned.size):
                raise EventFileError(
                    f"it has {found.entries} events in {found.size} bytes; when these shards were"
                    f" planned it had {planned.entries} in {planned.size}. Put the old file back,"
                    " or begin again in another folder",
                    file=planned.path,
                )


@dataclass(frozen=True)
class Manifest:
    """What a production consists of; DIR/manifest.json.

    Attributes:
        folder: where the outputs go.
        study: name of the study.
        model: path of the emulator when it was planned.
        digest: digest of the emulator.
        options: options of `simulate` that the content depends on.
        output: format of the outputs: "parquet", "nanoaod" or "rntuple".
        tree: tree with the events in the input files.
        inputs: input files, in order.
        shards: number of pieces.
    """

    folder: Path
    study: str
    model: str
    digest: str
    options: Mapping[str, Any]
    output: str
    tree: str
    inputs: tuple[Input, ...]
    shards: int

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(file.entries for file in self.inputs))

    @property
    def entries(self) -> int:
        """Events in all input files."""
        return self._ends[-1]

    def shard(self, number: int) -> Shard:
        """Return one piece.

        Raises:
            StudyError: there is no such piece.
        """
        if not 0 <= number < self.shards:
            raise StudyError(
                f"shards are counted from 0: of {self.shards} the last is {self.shards - 1}, not"
                f" {number}"
            )
        low = number * self.entries // self.shards
        high = (number + 1) * self.entries // self.shards
        first = bisect_right(self._ends, low)
        last = bisect_right(self._ends, high - 1)
        inputs = self.inputs[first : last + 1]
        before = self._ends[first] - self.inputs[first].entries
        said = [
            self.digest,
            dict(self.options),
            self.output,
            [[Path(file.path).name, file.entries, file.size] for file in inputs],
            [low - before, high - before],
        ]
        return Shard(
            number,
            self.shards,
            self.folder / f"shard-{number:06d}-of-{self.shards:06d}{_SUFFIX[self.output]}",
            inputs,
            low - before,
            high - before,
            hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
        )

    def save(self, *, overwrite: bool = False) -> None:
        """Write DIR/manifest.json, and make the folder; the first writer wins.

        Raises:
            OutputExistsError: there is one already and `overwrite` is off.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        text = {
            "format": FORMAT,
            "study": self.study,
            "model": self.model,
            "digest": self.digest,
            "options": dict(self.options),
            "output": self.output,
            "tree": self.tree,
            "shards": self.shards,
            "inputs": [[file.path, file.entries, file.size] for file in self.inputs],
            "outputs": [self.shard(number).path.name for number in range(self.shards)],
        }
        path = self.folder / NAME
        temporary = temporary_name(path)
        try:
            temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
            publish(temporary, path, overwrite=overwrite)
        finally:
            temporary.unlink(missing_ok=True)


def numbers_of(shard: str) -> tuple[int, int]:
    """Read `I/N`: the number of a shard, from 0, and how many there are.

    Raises:
        StudyError: it is not two whole numbers, or I is not below N.
    """
    number, _, of = shard.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise StudyError(f"a shard is I/N with I from 0 to N - 1, for example 0/100, not {shard!r}")
    return int(number), int(of)


def load_manifest(folder: str | Path) -> Manifest:
    """Read DIR/manifest.json.

    Raises:
        EventFileError: there is none, or it is damaged or of a newer version.
    """
    path = Path(folder) / NAME
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        if text["format"] > FORMAT:
            raise EventFileError(
                f"it has format {text['format']}, newer than {FORMAT}; update gen2reco",
                file=str(path),
            )
        return _manifest_of(Path(folder), text)
    except FileNotFoundError:
        message = (
            f"there is no {NAME} here: no shards were begun in this folder"
            " (gen2reco simulate --shard I/N, or gen2reco submit)"
        )
        raise EventFileError(message, file=str(folder)) from None
    except KeyError as error:
        raise EventFileError(f"it is damaged ({error} is missing)", file=str(path)) from error
    except (ValueError, TypeError) as error:
        raise EventFileError(f"it is damaged ({error})", file=str(path)) from error


def _manifest_of(folder: Path, text: Mapping[str, Any]) -> Manifest:
    """Return what was saved; KeyError, TypeError or ValueError where it is something else."""
    for name, kind in _TYPES.items():
        if not isinstance(text[name], kind):
            raise TypeError(f"{name} is {text[name]!r:.100} and no {kind.__name__}")
    for file in text["inputs"]:
        if [type(item) for item in file] != [str, int, int]:
            raise TypeError(f"one of the inputs is {file!r:.100}, not path, events and bytes")
    if text["output"] not in _SUFFIX:
        raise ValueError(f"output is {text['output']!r}, not one of {', '.join(_SUFFIX)}")
    inputs = tuple(Input(*file) for file in text["inputs"])
    made = Manifest(**{name: text[name] for name in _TYPES} | {"folder": folder, "inputs": inputs})
    if not (made.inputs and 1 <= made.shards <= made.entries):
        raise ValueError(f"{made.shards} shards of {len(made.inputs)} inputs")
    return made


def plan(
    folder: str | Path,
    files: Sequence[str | Path] | str | Path,
    shards: int,
    *,
    study: str,
    model: str | Path,
    digest: str,
    options: Mapping[str, Any],
    output: str,
    tree: str,
    overwrite: bool = False,
) -> Manifest:
    """Return the manifest of a folder: the one that is there if it fits, else a new one, saved.

    Files may be left out where a manifest is there; it then says which they are.

    Args:
        folder: where the outputs go.
        files: files or globs of events; their metadata is read only for a new manifest.
        shards: number of pieces.
        study: name of the study.
        model: path of the emulator.
        digest: its digest.
        options: options of `simulate` that the content depends on.
        output: format of the outputs.
        tree: tree with the events.
        overwrite: replace a manifest that does not fit.

    Raises:
        OutputExistsError: the manifest that is there belongs to another production.
        StudyError: less than one piece, or more pieces than events.
        EventFileError: a file cannot be read, or none is named and there is no manifest.
    """
    given = [files] if isinstance(files, str | Path) else list(files)
    folder = Path(folder)
    wanted = {
        "digest": digest,
        "options": dict(options),
        "output": output,
        "tree": tree,
        "shards": shards,
    }
    if (folder / NAME).exists():
        there = load_manifest(folder)
        try:
            _agree(there, wanted, find_files(given) if given else None)
        except OutputExistsError:
            if not overwrite or not given:
                raise
        else:
            return there
    if shards < 1:
        raise StudyError(f"there must be at least 1 shard, not {shards}")
    inputs = tuple(Input.of(path, tree) for path in find_files(given))
    total = sum(file.entries for file in inputs)
    if shards > total:
        raise StudyError(f"{shards} shards of {total} events: choose fewer, each needs an event")
    made = Manifest(
        folder, study, str(Path(model).absolute()), digest, dict(options), output, tree, inputs,
        shards,
    )  # fmt: skip
    try:
        made.save(overwrite=overwrite)
    except OutputExistsError:  # another process planned the same at the same time
        there = load_manifest(folder)
        _agree(there, wanted, [Path(file.path) for file in inputs])
        return there
    return made


def _agree(there: Manifest, wanted: Mapping[str, Any], files: Sequence[Path] | None) -> None:
    """Refuse to mix two productions in one folder.

    Raises:
        OutputExistsError: naming what differs.
    """
    differ = [
        f"{name} {getattr(there, name)!r} is not {value!r}"
        for name, value in wanted.items()
        if getattr(there, name) != value
    ]
    planned = [Path(file.path) for file in there.inputs]
    pairs = zip_longest(planned, planned if files is None else files)
    for number, (one, other) in enumerate(pairs, 1):
        if not (one and other) or (one != other.absolute() and one.resolve() != other.resolve()):
            differ.append(f"its input file {number} is {one or 'none'} and not {other or 'none'}")
            break
    if differ:
        raise OutputExistsError(
            f"{there.folder} holds the shards of another production: {'; '.join(differ)}. Choose"
            " another folder, or replace it with --overwrite"
        )
