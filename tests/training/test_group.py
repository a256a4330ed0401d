"""Several processes fit what one would: torchrun with gloo, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_toy import SHAPE, Toy

from gen2reco import info
from gen2reco.errors import TrainingError
from gen2reco.models.nn.momenta import Particle
from gen2reco.models.protocol import Batch, Shape
from gen2reco.models.quantile import QuantileConfig
from gen2reco.models.transport import TransportConfig
from gen2reco.training.group import Group, pieces

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


FAMILIES = (
    *("toy", "flow", "toy signed", "flow signed"),
    *("flow shared bootstrap", "toy shared signed", "toy shared small"),
)


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Every family, fitted by one process and by two."""
    folder = tmp_path_factory.mktemp("fits")
    words = [SCRIPT, folder, *FAMILIES]
    alone = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    done = torchrun(2, *words)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_have_the_losses_of_one(fits, family):
    """127 rows per batch are no even shares, weights differ, and those of a share may cancel."""
    one, first, second = (
        json.loads((fits / f"{family}-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")
    )
    assert first == second  # to the last bit
    assert first["train"] == pytest.approx(one["train"], rel=1e-4, abs=1e-4)
    assert first["validation"] == pytest.approx(one["validation"], rel=1e-4, abs=1e-4)
    assert first["weights"] == pytest.approx(one["weights"], rel=1e-2, abs=1e-3)


def test_rows_are_shared_once_with_their_weights():
    weight = torch.tensor([1.0, -2.0, 3.0, 4.0, -5.0, 6.0, 0.0])
    batch = Batch(torch.arange(7.0)[:, None], torch.zeros(7, 0), weight)
    shares = [Group(rank, 3).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat([part.target for part in shares]), batch.target)
    net = float(weight.sum())
    found = [pieces(part, net, batch) for part in shares]
    assert [len(each) for each in found] == [2, 1, 2]
    assert sum(share for each in found for _, share in each) == pytest.approx(1)
    for part, share in found[2]:
        assert float(part.weight.sum()) / net == pytest.approx(share)
    # Each is a mean of its own, although the weights of a share may cancel.
    values = sum(
        share * float((part.target[:, 0] * part.weight).sum() / part.weight.sum())
        for each in found
        for part, share in each
    )
    assert values == pytest.approx(float((torch.arange(7.0) * weight).sum()) / net)


def test_a_process_without_rows_of_a_batch_adds_nothing():
    batch = Batch(torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(2))
    nothing = batch.map(lambda tensor: tensor[:0])
    assert pieces(nothing, 2.0, batch) == [(batch, 0.0)]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Toy(norm=True),
        lambda: QuantileConfig(derived="none").build(SHAPE),
        lambda: TransportConfig(gen=(Particle(),), reco=(Particle(),)).build(Shape(3, 3)),
    ],
)
def test_losses_that_are_no_sums_over_rows_are_refused(build):
    model = build()
    with pytest.raises(TrainingError, match=f"{type(model).__name__} compares or normalises"):
        Group(0, 2).check_model(model)
    Group().check_model(model)
    Group(0, 2).check_model(Toy())


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
    words[words.index(tmp_path / "model")] = tmp_path / "one"
    alone = subprocess.run([sys.executable, *map(str, words)], capture_output=True, check=False)
    assert alone.returncode == 0
    one, two = (
        json.loads((tmp_path / name / "emulator.json").read_text()) for name in ("one", "model")
    )
    assert one["parts"][0]["features"] == two["parts"][0]["features"]  # to the last bit
    first, second = one["provenance"], two["provenance"]
    assert (first["processes"], second["processes"]) == (1, 2)
    for same in ("rows", "dropped", "findings", "precision"):
        assert first[same] == second[same]
    assert second["precision"] == {"event": "fp32"}
    losses = [found["history"]["event"][0][0] for found in (first, second)]
    for kind in ("train", "validation"):
        assert losses[0][kind] == pytest.approx(losses[1][kind], rel=1e-4, abs=1e-4)
