import json
import logging

import pytest
import torch
from training_toy import Toy, settings, toy_rows

from gen2reco.errors import OutputExistsError, TrainingError
from gen2reco.models.protocol import Batch
from gen2reco.training import fit, fresh_model
from gen2reco.training.checkpoint import CHECKPOINT, LOG
from gen2reco.training.evaluate import weighted_loss
from gen2reco.training.history import read_history

TRAIN, VALIDATION = toy_rows(3000, seed=1), toy_rows(1500, seed=2)


def toy(**options):
    return fresh_model(lambda: Toy(**options), seed=1)


def run(folder, model=None, train=TRAIN, **options):
    chosen = options.pop("chosen", None) or settings()
    model = model or toy()
    return fit(model, train, VALIDATION, chosen, folder=folder, **options), model


def test_it_learns_the_truth(tmp_path):
    result, model = run(tmp_path, chosen=settings(epochs=20))
    assert torch.exp(model.log_width).tolist() == pytest.approx([0.5, 0.3], rel=0.05)
    assert result.history[-1].validation < result.history[0].validation - 0.5
    # 23 whole batches of 128 in 3000 rows, 20 epochs.
    assert result.steps == 460
    assert result.rows == 3000
    assert result.device == "cpu"
    assert not model.training


def test_the_outcome_is_a_function_of_seed_and_rows(tmp_path):
    options = {"dropout": 0.2, "norm": True}
    first, model = run(tmp_path / "a", toy(**options))
    torch.rand(17)  # a used global generator must not matter
    second, again = run(tmp_path / "b", toy(**options))
    other, _ = run(tmp_path / "c", toy(**options), chosen=settings(seed=2))
    assert [e.train for e in first.history] == [e.train for e in second.history]
    assert [e.train for e in first.history] != [e.train for e in other.history]
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_it_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path, toy(dropout=0.5))
    assert torch.equal(torch.rand(3), expected)


def test_fresh_models_depend_on_seed_and_member():
    def weights(**options):
        return fresh_model(Toy, **options).mean[0].weight

    assert torch.equal(weights(seed=1), weights(seed=1, member=0))
    assert not torch.equal(weights(seed=1), weights(seed=1, member=1))
    assert not torch.equal(weights(seed=1), weights(seed=2))


def test_the_weights_of_the_best_epoch_are_kept(tmp_path):
    few = toy_rows(30, seed=3)
    chosen = settings(epochs=100, batch=30, schedule="constant")
    result, model = run(tmp_path, toy(width=128), few, chosen=chosen)
    losses = [epoch.validation for epoch in result.history]
    assert result.best_epoch == losses.index(min(losses)) + 1 < 100
    assert losses[-1] > min(losses) + 0.1
    assert weighted_loss(model, VALIDATION) == pytest.approx(min(losses), rel=1e-6)


def test_the_weights_of_the_last_epoch_are_kept_on_demand(tmp_path):
    few = toy_rows(30, seed=3)
    chosen = settings(epochs=100, batch=30, schedule="constant", keep="last")
    result, model = run(tmp_path, toy(width=128), few, chosen=chosen)
    losses = [epoch.validation for epoch in result.history]
    assert result.best_epoch == 100
    assert losses[-1] > min(losses) + 0.1
    assert weighted_loss(model, VALIDATION) == pytest.approx(losses[-1], rel=1e-6)
    with pytest.raises(ValueError, match="patience"):
        settings(patience=3, keep="last")


def test_patience_stops_early(tmp_path):
    few = toy_rows(30, seed=3)
    chosen = settings(epochs=200, batch=30, schedule="constant", patience=5)
    result, _ = run(tmp_path, toy(width=128), few, chosen=chosen)
    assert result.stopped_early
    assert len(result.history) == result.best_epoch + 5 < 200


def test_a_physics_metric_may_pick_the_best_epoch(tmp_path):
    seen = []

    def monitor(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(len(seen))
        return abs(len(seen) - 2.0)

    result, _ = run(tmp_path, monitor=monitor)
    assert result.best_epoch == 2
    assert result.best == 0
    assert [e.monitor for e in result.history] == [1, 0, 1, 2]


def test_the_average_of_the_weights_is_what_is_validated_and_kept(tmp_path):
    noisy = settings(epochs=10, schedule="constant", learning_rate=0.1)
    plain, _ = run(tmp_path / "a", chosen=noisy)
    averaged, model = run(tmp_path / "b", chosen=noisy.model_copy(update={"ema": 0.98}))
    assert averaged.best < plain.best
    assert weighted_loss(model, VALIDATION) == pytest.approx(averaged.best, rel=1e-6)
    # The average follows the steps; it does not change them.
    assert [e.train for e in averaged.history] == [e.train for e in plain.history]


def test_several_objectives_move_their_own_parameters_only(tmp_path):
    model = toy(several=True)
    result, _ = run(tmp_path, model, chosen=settings(epochs=20))
    assert list(result.history[0].losses) == ["mean", "width"]
    assert result.history[-1].train == result.history[-1].losses["mean"]
    assert torch.exp(model.log_width).tolist() == pytest.approx([0.5, 0.3], rel=0.1)

    model = toy(several=True)
    model.objectives = lambda: {"width": [model.log_width]}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    run(tmp_path / "one", model)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"log_width"}


def test_negative_weights_subtract(tmp_path):
    """Rows of a wrong truth with weight -1 cancel the same rows with weight +1."""
    wrong = toy_rows(3000, seed=9)
    wrong = Batch(wrong.target + 5, wrong.condition, wrong.weight)
    sides = [
        torch.cat([getattr(TRAIN, s), getattr(wrong, s), getattr(wrong, s)])
        for s in ("target", "condition")
    ]
    weight = torch.cat([3 * TRAIN.weight, wrong.weight, -wrong.weight])
    chosen = settings(epochs=20, batch=512)
    result, model = run(tmp_path, toy(several=True), Batch(*sides, weight), chosen=chosen)
    residual = VALIDATION.target - model.mean(VALIDATION.condition).detach()
    # With the signs ignored the mean would be off by 5 * 2/5.
    assert residual.mean(0).tolist() == pytest.approx([0, 0], abs=0.1)
    assert result.skipped == 0


def test_log_and_history_agree(tmp_path):
    result, _ = run(tmp_path)
    assert read_history(tmp_path / LOG) == result.history
    line = json.loads((tmp_path / LOG).read_text().splitlines()[0])
    assert {"epoch", "step", "learning_rate", "train", "validation", "seconds"} <= line.keys()
    assert line["rows_per_second"] > 0
    assert json.dumps(result.as_dict())


def test_an_earlier_fit_is_not_overwritten_unasked(tmp_path):
    run(tmp_path)
    with pytest.raises(OutputExistsError, match="resume it, or overwrite it"):
        run(tmp_path)
    result, _ = run(tmp_path, chosen=settings(epochs=2), overwrite=True)
    assert len(result.history) == len(read_history(tmp_path / LOG)) == 2


def test_resuming_a_finished_fit_returns_it(tmp_path, caplog):
    result, model = run(tmp_path)
    again = toy()
    with caplog.at_level(logging.INFO):
        repeated, _ = run(tmp_path, again, resume=True)
    assert repeated == result
    assert "resumed after 4 epochs" in caplog.text
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": settings(learning_rate=0.5)}, "settings.learning_rate was 0.03 and is now 0.5"),
        ({"train": toy_rows(3000, seed=7)}, "training rows differ"),
        ({"model": Toy(width=17)}, "model differ"),
        ({"model": Toy(dropout=0.3)}, "model differ"),
        ({"member": 1}, "member was 0 and is now 1"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, change, message):
    run(tmp_path)
    with pytest.raises(TrainingError, match=message):
        run(tmp_path, resume=True, **change)


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path):
    run(tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        run(tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_fit_with_advice(tmp_path):
    far = Batch(TRAIN.target * 1e30, TRAIN.condition, TRAIN.weight)
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 .*smaller training.learning_rate"):
        run(tmp_path, train=far)
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_metric_that_is_not_finite_stops_the_fit(tmp_path):
    with pytest.raises(TrainingError, match="monitored quantity on the validation rows is nan"):
        run(tmp_path, monitor=lambda _: float("nan"))


def test_no_cuda_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="no CUDA device"):
        run(tmp_path, chosen=settings(device="cuda"))
    assert not list(tmp_path.iterdir())


def test_progress_is_reported(tmp_path):
    seen = []
    run(tmp_path, progress=seen.append, chosen=settings(epochs=3))
    kinds = [p.kind for p in seen if p.kind != "batch"]
    assert kinds == ["start", "epoch", "epoch", "epoch", "end"]
    assert [p.step for p in seen if p.kind == "epoch"] == [23, 46, 69]
    assert seen[-1].steps == 69
    assert seen[-1].remaining == 0


def test_scalars_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator

    result, _ = run(tmp_path, tensorboard=True)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    written = [s.value for s in events.Scalars("loss/validation")]
    assert written == pytest.approx([e.validation for e in result.history])
