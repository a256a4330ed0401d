"""The state of an unfinished fit in one file: tensors as safetensors, the rest as JSON.

The file appears whole or not at all: it is written under a temporary name in the same folder,
flushed to the disk and renamed. A kill at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gen2reco.errors import OutputExistsError, TrainingError
from gen2reco.events.publish import flush

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from gen2reco.models.protocol import Batch, Model
    from gen2reco.study import Training

FORMAT = 1
CHECKPOINT = "checkpoint.safetensors"
LOG = "training.jsonl"
BOARD = "tensorboard"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a fit needs to go on exactly where it was.

    Attributes:
        fingerprint: what the fit is (settings, data, model); a resumed fit must have the same.
        state: counters, history and other plain data.
        tensors: weights, optimiser moments, averaged weights, best weights, random state, losses of
            the epoch.
    """

    fingerprint: dict[str, Any]
    state: dict[str, Any]
    tensors: dict[str, Tensor]


def make_room(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make `folder` ready for a fit: keep what it holds, remove it, or insist on nothing there.

    Raises:
        OutputExistsError: the folder holds a fit and neither is set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left = [folder / CHECKPOINT, folder / LOG]
    if resume:
        return
    if not overwrite and any(path.exists() for path in left):
        raise OutputExistsError(f"{folder} holds a fit already: resume it, or overwrite it")
    for path in left:
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / BOARD, ignore_errors=True)


def fingerprint(
    model: Model,
    train: Batch,
    validation: Batch,
    settings: Training,
    *,
    member: int,
    repeats: NDArray[Any] | None,
) -> dict[str, Any]:
    """Return what a resumed fit must share; device and size of the ensemble may change."""
    # What is as it was before there was a choice needs no mention.
    plain = {"precision"} if settings.precision == "fp32" else set()
    counts = b"" if repeats is None else np.ascontiguousarray(repeats, np.float64).tobytes()
    return {
        "settings": settings.model_dump(mode="json", exclude={"members", "device"} | plain),
        "member": member,
        "training rows": _digest_rows(train),
        "validation rows": _digest_rows(validation),
        "bootstrap": hashlib.sha256(counts).hexdigest(),
        "model": _digest_model(model),
    }


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint of `folder`, replacing the previous one in one step."""
    # Clones, because safetensors refuses tensors that share memory (tied weights).
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in checkpoint.tensors.items()}
    header = {
        "format": FORMAT,
        "fingerprint": checkpoint.fingerprint,
        "state": checkpoint.state,
    }
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        metadata={"gen2reco": json.dumps(header, allow_nan=False)},
    )
    temporary = folder / f".{CHECKPOINT}.tmp"
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / CHECKPOINT)
    flush(folder)  # the rename itself survives a power cut


def load_checkpoint(folder: Path, fingerprint: Mapping[str, Any]) -> Checkpoint | None:
    """Return the checkpoint of `folder`, or None where there is none.

    Raises:
        TrainingError: the file is damaged, of another version, or of a fit with another
            fingerprint; the message names what differs.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            header = json.loads((stored.metadata() or {})["gen2reco"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise TrainingError(
            f"{path} is not a readable checkpoint ({error}); remove it, or train with overwrite"
        ) from error
    if header.get("format") != FORMAT:
        raise TrainingError(
            f"{path} has checkpoint format {header.get('format')}, this version reads {FORMAT}; "
            "finish the fit with the version that began it, or train with overwrite"
        )
    if differences := _differences(header["fingerprint"], json.loads(json.dumps(fingerprint))):
        raise TrainingError(
            f"{path} belongs to another fit: {'; '.join(differences)}. Resume with the "
            "settings and data it began with, or train with overwrite"
        )
    return Checkpoint(header["fingerprint"], header["state"], tensors)


def _digest_rows(rows: Batch) -> str:
    """Return the SHA-256 of encoded rows: their shapes and bytes."""
    digest = hashlib.sha256()
    known = [] if rows.known is None else [rows.known]
    for tensor in (rows.target, rows.condition, rows.weight, *known):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _digest_model(model: nn.Module) -> str:
    """Return the SHA-256 of a model's structure: modules, settings, shapes; not its weights."""
    config = getattr(model, "config", None)
    settings = config.model_dump_json() if isinstance(config, BaseModel) else ""
    # Addresses in memory, which some modules print, change from run to run.
    printed = re.sub(r"0x[0-9a-fA-F]+", "", repr(model))
    described = [type(model).__qualname__, printed, settings]
    described += [f"{k} {v.dtype} {tuple(v.shape)}" for k, v in model.state_dict().items()]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()


def _differences(old: dict[str, Any], new: dict[str, Any], place: str = "") -> list[str]:
    found = []
    for key in sorted(old.keys() | new.keys()):
        name = f"{place}{key}"
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            found += _differences(before, now, f"{name}.")
        elif before != now:
            long = isinstance(before, str) and len(before) == hashlib.sha256().digest_size * 2
            found.append(f"{name} differ" if long else f"{name} was {before!r} and is now {now!r}")
    return found
