import pytest
import torch
from torch.nn.utils import get_total_norm
from training_toy import Toy, settings, toy_rows

from gen2reco.errors import TrainingError
from gen2reco.training.optimizers import Objective, objectives

ROWS = toy_rows(256)


def norm_after_step(clip):
    torch.manual_seed(0)
    model = Toy()
    (objective,) = objectives(model, settings(clip=clip))
    objective.step(model.loss(ROWS), 0.01, alone=True)
    return float(get_total_norm([p.grad for p in model.parameters()]))


def test_gradients_are_clipped_to_the_norm_asked_for():
    free = norm_after_step(0)
    assert free > 0.5
    assert norm_after_step(0.5) == pytest.approx(0.5, rel=1e-4)
    assert norm_after_step(10 * free) == free


def test_the_state_goes_on_where_it_was():
    def train(model, objective, steps):
        for _ in range(steps):
            objective.step(model.loss(ROWS), 0.01, alone=True)

    torch.manual_seed(0)
    model = Toy()
    (through,) = objectives(model, settings())
    train(model, through, 5)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    moments = {k: v.clone() for k, v in through.state().items()}
    train(model, through, 5)

    other = Toy()
    other.load_state_dict(weights)
    (resumed,) = objectives(other, settings())
    resumed.restore(moments)
    train(other, resumed, 5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_an_objective_leaves_other_parameters_without_gradient():
    model = Toy(several=True)
    first, _ = objectives(model, settings())
    first.step(model.loss(ROWS, "mean"), 0.01, alone=False)
    assert model.log_width.grad is None


def test_frozen_parameters_stay_and_nothing_to_move_is_an_error():
    model = Toy()
    model.log_width.requires_grad_(False)
    (objective,) = objectives(model, settings())
    assert all(p is not model.log_width for p in objective.parameters)
    with pytest.raises(TrainingError, match="no trainable parameters"):
        Objective("width", [model.log_width], settings())


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_both_optimizers_reduce_the_loss(kind):
    model = Toy()
    (objective,) = objectives(model, settings(optimizer=kind))
    before = float(model.loss(ROWS).detach())
    for _ in range(20):
        objective.step(model.loss(ROWS), 0.01, alone=True)
    assert float(model.loss(ROWS).detach()) < before
