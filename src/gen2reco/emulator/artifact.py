"""The emulator on disk: a folder (or one zip of it) of JSON, safetensors and reference events.

Loading runs no code.

emulator.json        format, study, features' state, training domain, provenance, licence
PART-MEMBER.safetensors   weights and buffers of one network
reference.parquet    some GEN events and the RECO events this emulator made of them
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from safetensors import SafetensorError

from gen2reco import models
from gen2reco.emulator.assemble import RecoLayout
from gen2reco.emulator.emulator import Emulator, TrainedPart
from gen2reco.emulator.migrations import FORMAT, migrate
from gen2reco.errors import EmulatorError, OutputExistsError, StudyError, nearest
from gen2reco.events.publish import (
    flush,
    publish_folder,
    refuse_below_file,
    refuse_foreign,
    remove_stale,
    temporary_name,
)
from gen2reco.features import PartFeatures, features_from_state
from gen2reco.models.protocol import Shape
from gen2reco.study import Study, shipped_studies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gen2reco.models.protocol import Model

DOCUMENT = "emulator.json"
REFERENCE = "reference.parquet"
_DAMAGED = (
    AttributeError,
    IndexError,
    TypeError,
    ValueError,  # those of json and pydantic are
    StudyError,
    SafetensorError,
    RuntimeError,
    OSError,
)
"""What reading a document and weights raises where they are not what was written."""
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError)
"""What unpacking raises; an unknown way of compression is a RuntimeError."""


def save_emulator(
    emulator: Emulator,
    path: str | Path,
    *,
    overwrite: bool = False,
    add_reference: Callable[[Emulator, Path], None] | None = None,
) -> Emulator:
    """Write an emulator as a folder, or as a zip file if `path` ends in `.zip`.

    It appears whole or not at all.

    Args:
        emulator: what to save.
        path: where; its parent folder is made if need be.
        overwrite: replace what is there.
        add_reference: writes the reference events into the folder it is given, see
            `emulator.reference`.

    Returns:
        The emulator with its digest set.

    Raises:
        OutputExistsError: `path` exists and `overwrite` is off.
    """
    path = Path(path)
    check_replaceable(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    folder = temporary_name(path)
    folder.mkdir(mode=0o700)
    try:
        for trained in emulator.parts:
            for member, model in enumerate(trained.members):
                tensors = {
                    name: value.detach().cpu().contiguous()
                    for name, value in model.state_dict().items()
                }
                safetensors.torch.save_file(
                    tensors, folder / weights_file(trained.part.name, member)
                )
        document = {
            "format": FORMAT,
            "study": emulator.study.model_dump(mode="json"),
            "parts": [
                {
                    "name": trained.part.name,
                    "shape": {
                        "targets": trained.features.shape[0],
                        "conditions": trained.features.shape[1],
                    },
                    "features": trained.features.state(),
                    "members": len(trained.members),
                    **({"backward": trained.backward.state()} if trained.backward else {}),
                }
                for trained in emulator.parts
            ],
            "layout": emulator.layout.as_dict(),
            "provenance": dict(emulator.provenance),
            "licence": emulator.provenance.get("licence", ""),
        }
        (folder / DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")
        emulator = replace(emulator, digest=_digest(folder))
        if add_reference is not None:
            add_reference(emulator, folder)
        for file in folder.iterdir():
            flush(file)
        _appear(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return emulator


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Refuse a place where something is that must not be replaced.

    Raises:
        OutputExistsError: there is something and `overwrite` is off, or it is no emulator, or it
            would lie in a file.
    """
    refuse_below_file(path)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(f"{path} exists; choose another --output or give --overwrite")
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if DOCUMENT in archive.namelist():
                return
    refuse_foreign(path, DOCUMENT, "an emulator")


def load_emulator(path: str | Path) -> Emulator:
    """Read a saved emulator from its folder or zip file.

    Raises:
        EmulatorError: it is missing, damaged, or of a format that this version does not know.
    """
    path = Path(path)
    if not path.exists():
        if str(path) in shipped_studies():
            raise EmulatorError(
                f"there is no emulator at {path}, which is a study; make one of it with"
                f" `gen2reco train {path} -o model`"
            )
        there = [str(other) for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise EmulatorError(f"there is no emulator at {path}.{nearest(str(path), there)}")
    with unpacked(path) as folder:
        return _load_folder(folder, str(path))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield the folder of a saved emulator; that of a zip file is there until this closes.

    Raises:
        EmulatorError: it is a file, and no zip or one that cannot be unpacked.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        if not zipfile.is_zipfile(path):
            raise EmulatorError(f"{path} is neither a folder nor a zip file with an emulator")
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        except _DAMAGED_ZIP as error:
            raise EmulatorError(f"{path} cannot be unpacked: {error!s:.300}") from error
        yield Path(folder)


def as_emulator(model: Emulator | str | Path) -> Emulator:
    """Return an emulator itself, or the one that a path holds; EmulatorError as `load_emulator`."""
    return model if isinstance(model, Emulator) else load_emulator(model)


def weights_file(part: str, member: int) -> str:
    """Name of the file with the weights of one network."""
    return f"{part}-{member}.safetensors"


def _load_folder(folder: Path, shown: str) -> Emulator:
    file = folder / DOCUMENT
    if not file.is_file():
        raise EmulatorError(
            f"{shown} holds no {DOCUMENT}: not an emulator, or a training that has not finished"
        )
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise TypeError(f"{DOCUMENT} is no mapping")
        document = migrate(document, shown)
        study = Study.model_validate(document["study"])
        parts = tuple(_load_part(folder, study, saved) for saved in document["parts"])
        layout = RecoLayout(
            singletons=tuple(document["layout"]["singletons"]),
            types=dict(document["layout"]["types"]),
        )
        provenance = dict(document["provenance"])
    except KeyError as error:
        raise EmulatorError(f"{shown} is damaged: {error!s:.300} is missing") from error
    except _DAMAGED as error:
        raise EmulatorError(f"{shown} is damaged: {error!s:.300}") from error
    return Emulator(study, parts, layout, provenance, _digest(folder))


def _load_part(folder: Path, study: Study, saved: dict[str, Any]) -> TrainedPart:
    part = study.part(saved["name"])
    features = features_from_state(part, saved["features"])
    shape = Shape(*features.shape)
    members: list[Model] = []
    for member in range(saved["members"]):
        model = models.build(part.model, shape)
        model.load_state_dict(safetensors.torch.load_file(folder / weights_file(part.name, member)))
        members.append(model.eval())
    backward = None
    if "backward" in saved:
        backward = PartFeatures.from_state(part.backward, saved["backward"])
    return TrainedPart(part, features, tuple(members), backward)


def _digest(folder: Path) -> str:
    """Sha256 over document and weights; the reference events are a consequence of them."""
    total = hashlib.sha256()
    for file in sorted([folder / DOCUMENT, *folder.glob("*.safetensors")]):
        total.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _appear(folder: Path, path: Path) -> None:
    """Move the finished folder, or a zip of it, to its final name."""
    if path.suffix == ".zip":
        packed = temporary_name(path)
        try:
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(folder.iterdir()):
                    archive.write(file, file.name)
            flush(packed)
            packed.replace(path)
        finally:
            packed.unlink(missing_ok=True)
        return
    folder.chmod(0o755)
    publish_folder(folder, path)
