"""Half precision in the loss: a fit like that in float32, and resumed to the same bits."""

import pytest
import torch
from training_toy import SHAPE, Toy, settings, toy_rows

from gen2reco.errors import StudyError, TrainingError
from gen2reco.models.classifier import ClassifierConfig
from gen2reco.models.flow import FlowConfig
from gen2reco.models.protocol import Batch, Shape
from gen2reco.training import fit, fresh_model, loop
from gen2reco.training.precision import Arithmetic

FLOW = FlowConfig(couplings=2, hidden=(8,), bins=4)


def flags():
    rows = toy_rows(1500, seed=1)
    return Batch((rows.target[:, :1] > 0).float(), rows.condition, rows.weight)


CASES = {
    "toy": (Toy, toy_rows(1500, seed=1)),
    "flow": (lambda: FLOW.build(SHAPE), toy_rows(1500, seed=1)),
    "classifier": (
        lambda: ClassifierConfig(hidden=(16,)).build(Shape(1, 3, levels=(2,))),
        flags(),
    ),
}


def fitted(folder, family, precision, *, resume=False):
    build, rows = CASES[family]
    model = fresh_model(build, seed=1)
    chosen = settings(epochs=3, precision=precision)
    result = fit(model, rows, rows, chosen, folder=folder, resume=resume)
    return model, result


@pytest.mark.parametrize("family", CASES)
def test_half_precision_learns_what_float32_does(tmp_path, family):
    losses = {}
    for precision in ("fp32", "bf16", "fp16"):
        model, result = fitted(tmp_path / precision, family, precision)
        losses[precision] = result.history[-1].validation
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"]  # it does act
    assert losses["fp16"] != losses["fp32"]
    for half in ("bf16", "fp16"):
        assert losses[half] == pytest.approx(losses["fp32"], rel=0.05, abs=0.05)


class Stopped(Exception):  # noqa: N818
    """Stands for a kill between epochs."""


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_fit_in_half_precision_is_resumed_to_the_same_bits(tmp_path, monkeypatch, precision):
    through, _ = fitted(tmp_path / "through", "toy", precision)
    original = loop.save_checkpoint

    def stop(folder, checkpoint):
        original(folder, checkpoint)
        raise Stopped

    monkeypatch.setattr(loop, "save_checkpoint", stop)
    with pytest.raises(Stopped):
        fitted(tmp_path / "stopped", "toy", precision)
    monkeypatch.undo()
    resumed, _ = fitted(tmp_path / "stopped", "toy", precision, resume=True)
    for name, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(TrainingError, match=r"settings\.precision"):
        fitted(tmp_path / "stopped", "toy", "fp32", resume=True)


def test_the_scale_of_gradients_is_carried_along():
    arithmetic, other = (Arithmetic("fp16", torch.device("cpu")) for _ in range(2))
    arithmetic.scaler.load_state_dict(
        arithmetic.scaler.state_dict() | {"scale": 32.0, "_growth_tracker": 7}
    )
    other.restore(arithmetic.state())
    assert other.scaler.state_dict() == arithmetic.scaler.state_dict()
    assert Arithmetic("bf16", torch.device("cpu")).state() == {}


def test_what_a_device_cannot_do_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match=r"tf32, but TF32 is of CUDA.*runs on cpu"):
        fitted(tmp_path, "toy", "tf32")
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(TrainingError, match="older than Ampere"):
        Arithmetic("tf32", cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(TrainingError, match="no bfloat16"):
        Arithmetic("bf16", cuda)
    compiled = FLOW.model_copy(update={"mode": "compiled"}).build(SHAPE)
    with pytest.raises(StudyError, match="half precision"):
        fit(
            compiled,
            toy_rows(300),
            toy_rows(300),
            settings(precision="bf16"),
            folder=tmp_path / "c",
        )


def test_tf32_is_on_in_the_fit_and_off_after_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    before = torch.get_float32_matmul_precision()
    with Arithmetic("tf32", torch.device("cuda", 0)).products():
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
