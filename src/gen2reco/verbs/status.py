"""`status`: which shards of a production are done, missing or broken."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gen2reco.shards import load_manifest, state_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Status:
    """Outcome of `status`.

    Attributes:
        folder: the production's folder.
        shards: how many there are.
        done: numbers of the shards that are complete.
        missing: numbers of those that are not there.
        broken: number -> what is wrong with it.
        generated: GEN events in shards that are done.
        entries: GEN events in all.
        events: RECO events in shards that are done.
    """

    folder: Path
    shards: int
    done: tuple[int, ...]
    missing: tuple[int, ...]
    broken: Mapping[int, str]
    generated: int
    entries: int
    events: int

    @property
    def complete(self) -> bool:
        """Whether every shard is done."""
        return len(self.done) == self.shards

    def __str__(self) -> str:
        lines = [
            (
                f"{self.folder}: {len(self.done)} of {self.shards} shards done,"
                f" {len(self.missing)} missing, {len(self.broken)} broken;"
                f" {self.events} RECO events from {self.generated} of {self.entries} GEN events"
            )
        ]
        if self.missing:
            lines.append(f"  missing: {ranges(self.missing)}")
        lines += [f"  broken: {number}: {why}" for number, why in sorted(self.broken.items())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def status(folder: str | Path, *, digests: bool = True) -> Status:
    """Look at every shard of a production.

    Args:
        folder: the folder given to `simulate --shard` or `submit`.
        digests: compare the SHA-256 of every file with its sidecar, which reads them all;
            otherwise their sizes.

    Raises:
        EventFileError: there is no manifest in the folder.
    """
    manifest = load_manifest(folder)
    done, missing = [], []
    broken: dict[int, str] = {}
    generated = events = 0
    for number in range(manifest.shards):
        state = state_of(manifest.shard(number), digests=digests)
        if state.summary is not None:
            done.append(number)
            generated += state.summary["generated"]
            events += state.summary["entries"]
        elif state.word == "missing":
            missing.append(number)
        else:
            broken[number] = state.why
    return Status(
        Path(folder),
        manifest.shards,
        tuple(done),
        tuple(missing),
        broken,
        generated,
        manifest.entries,
        events,
    )


def ranges(numbers: tuple[int, ...]) -> str:
    """Write ascending numbers as `0-3, 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in parts)
