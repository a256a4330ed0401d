import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed_fit import train
from safetensors import safe_open

from gen2reco.training import loop
from gen2reco.training.checkpoint import (
    CHECKPOINT,
    LOG,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from gen2reco.training.history import read_history


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """The fit that nobody killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("through")
    result, model = train(folder, resume=False)
    torch.set_num_threads(before)
    return result, model.state_dict()


def bare(history):
    """The curve without wall times."""
    return [(e.epoch, e.step, e.learning_rate, e.losses, e.validation_losses) for e in history]


def assert_same(folder, through):
    expected, weights = through
    result, model = train(folder, resume=True)
    assert bare(result.history) == bare(expected.history)
    assert bare(read_history(folder / LOG)) == bare(expected.history)
    assert (result.best_epoch, result.best, result.steps) == (
        expected.best_epoch,
        expected.best,
        expected.steps,
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, LOG]


@pytest.mark.parametrize("mode", ["time", "write", "rename"])
def test_a_fit_killed_at_any_moment_goes_on_to_the_same_bits(tmp_path, through, mode):
    script = Path(__file__).parent / "killed_fit.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), mode, "1", "10"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["kills"] >= 5
    assert_same(tmp_path, through)


class Stopped(Exception):  # noqa: N818
    """Stands for a kill inside an epoch."""


def test_a_file_system_that_cannot_flush_folders_holds_checkpoints(tmp_path, monkeypatch):
    flush = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    save_checkpoint(tmp_path, Checkpoint({"seed": 1}, {"epoch": 3}, {"w": torch.ones(2)}))
    assert load_checkpoint(tmp_path, {"seed": 1}).state == {"epoch": 3}


def test_a_checkpoint_within_an_epoch_holds_the_place(tmp_path, through, monkeypatch):
    original, seen = loop.save_checkpoint, []

    def stop_within(folder, checkpoint):
        original(folder, checkpoint)
        seen.append(checkpoint.state["position"])
        if len([p for p in seen if p]) == 3:
            raise Stopped

    monkeypatch.setattr(loop, "save_checkpoint", stop_within)
    with pytest.raises(Stopped):
        train(tmp_path, resume=False)
    monkeypatch.undo()
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as stored:
        state = json.loads(stored.metadata()["gen2reco"])["state"]
    assert 0 < state["position"] < 37
    assert not state["done"]
    assert_same(tmp_path, through)
