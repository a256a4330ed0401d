"""What `simulate --shard`, `submit` and a cluster's run have in common: the plan of the shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.errors import EmulatorError
from gen2reco.events.formats import output_format
from gen2reco.shards import plan
from gen2reco.verbs.inputs import refuse_negative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.emulator import Emulator
    from gen2reco.shards import Manifest


def planned(
    emulator: Emulator,
    model: Emulator | str | Path,
    files: Sequence[str | Path] | str | Path,
    folder: str | Path,
    shards: int,
    options: Mapping[str, Any],
    file_format: str | None,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Return the manifest of a folder, made now if there is none.

    Args:
        emulator: what simulates.
        model: the path it was loaded from.
        files: files or globs with the events that are given; empty where a manifest names them.
        folder: where the shards go.
        shards: their number.
        options: `seed`, `oversample`, `members`, `keep` and `policy`.
        file_format: of the outputs; None is Parquet.
        overwrite: replace the manifest of another production.

    Raises:
        EmulatorError: the emulator was never saved, or has fewer members.
        StudyError, EventFileError, OutputExistsError: as `gen2reco.shards.plan`.
    """
    if not isinstance(model, str | Path):
        raise EmulatorError("shards are made by processes that load the emulator: give its path")
    emulator.check_options(**{name: options[name] for name in ("oversample", "members", "policy")})
    refuse_negative(options["seed"])
    folder = Path(folder)
    kind = output_format(folder / "shard", file_format or "parquet")
    return plan(
        folder,
        files,
        shards,
        study=emulator.study.name,
        model=model,
        digest=emulator.digest,
        options=options,
        output=kind,
        tree=emulator.study.input.tree,
        overwrite=overwrite,
    )
