"""Several processes fit what one would: torchrun with gloo, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gen2reco import info
from gen2reco.errors import TrainingError
from gen2reco.models.protocol import Batch
from gen2reco.training.group import Group

SCRIPT = Path(__file__).parent / "several_processes.py"


def torchrun(processes, *words):
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [sys.executable, *command, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=240,
    )


@pytest.mark.parametrize("family", ["toy", "flow"])
def test_two_processes_have_the_losses_of_one(tmp_path, family):
    """127 rows per batch are no even shares, and weights differ."""
    alone = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, family], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    done = torchrun(2, SCRIPT, tmp_path, family)
    assert done.returncode == 0, done.stderr
    one, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")
    )
    assert first == second  # to the last bit
    assert first["train"] == pytest.approx(one["train"], rel=1e-4, abs=1e-4)
    assert first["validation"] == pytest.approx(one["validation"], rel=1e-4, abs=1e-4)
    assert first["weights"] == pytest.approx(one["weights"], rel=1e-2, abs=1e-3)


def test_rows_are_shared_once_with_their_weights():
    weight = torch.arange(1.0, 8.0)
    batch = Batch(torch.arange(7.0)[:, None], torch.zeros(7, 0), weight)
    shares = [Group(rank, 3).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat([part.target for part, _ in shares]), batch.target)
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert shares[2][1] == pytest.approx((5 + 6 + 7) / 28)


def test_what_cannot_be_shared_is_refused():
    batch = Batch(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([1.0, -0.5]))
    with pytest.raises(TrainingError, match="negative weights"):
        Group(0, 2).share(batch)
    with pytest.raises(TrainingError, match="too few for 3"):
        Group(0, 3).share(batch)


@pytest.mark.slow
def test_train_runs_under_torchrun(tmp_path):
    words = ["-m", "gen2reco", "train", "wjet", "-o", tmp_path / "model"]
    for setting in (
        "training.epochs=1",
        "training.max_rows=3000",
        "model.continuous.couplings=2",
        "model.continuous.hidden=[8]",
        "model.categories.hidden=[8]",
    ):
        words += ["--set", setting]
    done = torchrun(2, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("emulator of study wjet") == 1
    assert not info(tmp_path / "model", check=True).failed
