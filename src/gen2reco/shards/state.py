"""The state of a shard's output: done, missing or broken."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.shards.manifest import Shard


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("model", "study", "direction", "policy", "mode", "gen2reco"), str),
    **dict.fromkeys(("seed", "oversample", "members", "generated", "entries", "bytes"), int),
    **dict.fromkeys(("dropped", "flagged", "descriptions"), dict),
    "sumw": (int, float),
}
_TABLES = {
    "Runs": ("run", "genEventCount", "genEventSumw", "genEventSumw2"),
    "LuminosityBlocks": ("run", "luminosityBlock"),
}
"""What is read from the sidecar of a shard that is done, and its types; and lists in it."""


@dataclass(frozen=True)
class State:
    """What became of one shard.

    Attributes:
        word: "done", "missing" or "broken".
        why: what is wrong with a broken one.
        summary: the sidecar of one that is done.
    """

    word: str
    why: str = ""
    summary: Mapping[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.word == "done"


def state_of(shard: Shard, *, digests: bool = True) -> State:
    """Look at the output of a shard.

    Args:
        shard: the piece.
        digests: compare the SHA-256 of the file, which reads it all; otherwise its size.
    """
    beside = shard.path.with_name(f"{shard.path.name}.json")
    if not shard.path.is_file():
        return State("missing")
    try:
        summary = _checked(json.loads(beside.read_text(encoding="utf-8")))
        task, size, digest = summary["shard"]["task"], summary["bytes"], summary["sha256"]
    except FileNotFoundError:
        return State("broken", f"{beside.name} is missing beside it")
    except KeyError as error:
        return State("broken", f"{beside.name} is damaged ({error} is missing)")
    except (ValueError, TypeError) as error:
        return State("broken", f"{beside.name} is damaged ({error})")
    why = ""
    if task != shard.task:
        why = "it was made from other files, options or another emulator"
    elif shard.path.stat().st_size != size:
        why = f"it has {shard.path.stat().st_size} bytes and not {size}"
    elif digests and _sha256(shard.path) != digest:
        why = "its SHA-256 is not the one in its sidecar"
    return State("broken", why) if why else State("done", summary=summary)


def _checked(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a sidecar; KeyError or TypeError where it lacks something that is read from it."""
    for name, kind in _TYPES.items():
        if not isinstance(summary[name], kind):
            raise TypeError(f"{name} is {summary[name]!r:.100}")
    for table, columns in _TABLES.items():
        for column in columns:
            len(summary["generated_tables"][table][column])
    return summary


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
