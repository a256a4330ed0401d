"""`merge`: all shards of a production into one file, with checks."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EventFileError
from gen2reco.events import EventWriter, open_events
from gen2reco.events.formats import output_format
from gen2reco.shards import load_manifest, state_of
from gen2reco.verbs.inputs import refuse_input_as_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gen2reco.shards import Manifest

_CHUNK = 20_480
_SAME = ("model", "study", "direction", "seed", "oversample", "members", "policy")


@dataclass(frozen=True)
class Merged:
    """Outcome of `merge`.

    Attributes:
        path: the file.
        shards: files joined.
        generated: GEN events behind them.
        events: RECO events.
        modes: processors and torch versions that made them; numbers of several may differ in the
            last bit.
        sha256: of the file.
    """

    path: Path
    shards: int
    generated: int
    events: int
    modes: tuple[str, ...]
    sha256: str

    def __str__(self) -> str:
        text = (
            f"{self.path}: {self.events} RECO events from {self.generated} GEN events,"
            f" {self.shards} shards"
        )
        if len(self.modes) > 1:
            text += f"\n  made by different machines: {'; '.join(self.modes)}"
        return text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def merge(
    folder: str | Path,
    output: str | Path,
    *,
    file_format: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """Join all shards of a production into one file, as `simulate` without shards would write it.

    Digests of all shards are compared first, and the sums of events and weights afterwards. For
    Parquet the file has the bytes of a run without shards on the same machine.

    Args:
        folder: the folder of the shards.
        output: file to write, `.parquet` or `.root`.
        file_format: `parquet`, `nanoaod` or `rntuple`; default: by the suffix of `output`.
        overwrite: replace an existing output.
        progress: called with RECO events done and in all.

    Raises:
        EventFileError: a shard is missing or broken, or is the output too, or the sums do not
            agree.
        OutputExistsError: the output exists and `overwrite` is off.
    """
    output_format(Path(output), file_format)
    manifest = load_manifest(folder)
    paths = [manifest.shard(number).path for number in range(manifest.shards)]
    refuse_input_as_output(paths, output)
    summaries = _complete(manifest)
    modes = tuple(sorted({summary["mode"] for summary in summaries}))
    entries = sum(summary["entries"] for summary in summaries)
    generated = sum(summary["generated"] for summary in summaries)
    sidecar: dict[str, Any] = {name: summaries[0][name] for name in _SAME} | {
        "mode": modes[0] if len(modes) == 1 else list(modes),
        "gen2reco": summaries[0]["gen2reco"],
        "input": [
            {"name": Path(file.path).name, "entries": file.entries} for file in manifest.inputs
        ],
        "generated": generated,
        "dropped": dict(sum((Counter(one["dropped"]) for one in summaries), Counter[str]())),
        "flagged": dict(sum((Counter(one["flagged"]) for one in summaries), Counter[str]())),
        "shards": [summary["sha256"] for summary in summaries],
    }
    with EventWriter(
        output,
        format=file_format,
        overwrite=overwrite,
        sidecar=sidecar,
        descriptions=summaries[0]["descriptions"],
    ) as writer:
        sumw = 0.0
        for path, summary in zip(paths, summaries, strict=True):
            writer.count_tables(summary["generated_tables"])
            for chunk in open_events(path).chunks(_CHUNK):
                writer.append(chunk.events, origin=chunk.file)
                sumw += float(np.sum(np.asarray(chunk.events.weight, np.float64)))
                if progress is not None:
                    progress(writer.entries, entries)
        _check_sums(writer.entries, sumw, summaries, str(folder))
    return Merged(
        Path(output), manifest.shards, generated, entries, modes, writer.summary["sha256"]
    )


def _complete(manifest: Manifest) -> list[Mapping[str, Any]]:
    """Return the sidecars of all shards, each checked against its file."""
    summaries = []
    wrong = []
    for number in range(manifest.shards):
        state = state_of(manifest.shard(number))
        if state.summary is None:
            wrong.append(f"shard {number} is {state.word}{f' ({state.why})' if state.why else ''}")
        else:
            summaries.append(state.summary)
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise EventFileError(
            f"{'; '.join(wrong[:5])}{more}; make them with gen2reco simulate --shard I/"
            f"{manifest.shards} or gen2reco submit",
            file=str(manifest.folder),
        )
    found = sum(summary["generated"] for summary in summaries)
    if found != manifest.entries:
        message = f"its shards have read {found} GEN events of {manifest.entries}"
        raise EventFileError(message, file=str(manifest.folder))
    return summaries


def _check_sums(events: int, sumw: float, parts: list[Mapping[str, Any]], folder: str) -> None:
    """Compare what was read with what the sidecars say, before the file gets its name."""
    for name, read in (("entries", events), ("sumw", sumw)):
        total = math.fsum(part[name] for part in parts)
        allowed = 1e-9 * math.fsum(abs(part[name]) for part in parts)
        if not abs(read - total) <= allowed:
            message = f"{name} of what was read is {read}, its sidecars say {total}"
            raise EventFileError(message, file=folder)
