import math
from types import SimpleNamespace

import pytest
import torch
from training_toy import SHAPE, Toy, settings, toy_rows

from gen2reco.models.classifier import ClassifierConfig
from gen2reco.models.protocol import Batch, Shape
from gen2reco.training import fit, fresh_model
from gen2reco.training.health import check_health
from gen2reco.training.history import Epoch

TRAIN, VALIDATION = toy_rows(4000, seed=1), toy_rows(2000, seed=2)
GOOD_CURVE = [3.0, 2.0, 1.5, 1.3, 1.25, 1.23, 1.225, 1.224]


def perfect():
    """A toy that equals the truth."""
    model = Toy()
    target = [0.5, 0.5 / 1.667]
    with torch.no_grad():
        model.log_width.copy_(torch.tensor(target).log())

    class Truth(torch.nn.Module):
        def forward(self, condition):
            return torch.stack([0.7 * condition[:, k] + 0.3 * k for k in range(2)], 1)

    model.mean = Truth()
    return model


def epochs(validation, train=None):
    train = train or [v - 0.01 for v in validation]
    return [
        Epoch(k + 1, k + 1, 0.1, t, v, v)
        for k, (t, v) in enumerate(zip(train, validation, strict=True))
    ]


def check(model=None, *, curve=GOOD_CURVE, train_curve=None, train=TRAIN, **options):
    validation = options.pop("validation", VALIDATION)
    history = epochs(curve, train_curve)
    return check_health(history, model or perfect(), train, validation, **options)


def topics(found):
    return [advice.topic for advice in found]


def test_a_good_fit_gets_no_advice(tmp_path):
    assert check() == []


def test_a_real_fit_of_the_toy_is_healthy(tmp_path):
    model = fresh_model(Toy, seed=1)
    result = fit(model, TRAIN, VALIDATION, settings(epochs=16), folder=tmp_path)
    assert check_health(result.history, model, TRAIN, VALIDATION) == []


def test_overfitting_names_epoch_and_rise(tmp_path):
    few = toy_rows(40, seed=3)
    model = fresh_model(lambda: Toy(width=128), seed=1)
    chosen = settings(epochs=80, batch=40, schedule="constant")
    result = fit(model, few, VALIDATION, chosen, folder=tmp_path)
    found = {a.topic: a for a in check_health(result.history, model, few, VALIDATION)}
    assert f"after epoch {result.best_epoch} of 80" in found["overfitting"].message
    assert f"training.epochs to about {result.best_epoch}" in found["overfitting"].remedy
    assert "772 parameters for 40 effective training rows" in found["few rows"].message


def test_a_rise_without_a_falling_training_loss_is_not_overfitting():
    rising = [3.0, 2.0, 1.0, 1.2, 1.3, 1.4]
    assert topics(check(curve=rising, train_curve=rising)) == []
    assert topics(check(curve=rising, train_curve=[3, 2, 1, 0.9, 0.8, 0.7])) == ["overfitting"]


def test_an_unfinished_fit_is_told_to_go_on():
    falling = [3.0 - 0.2 * k for k in range(8)]
    (advice,) = check(curve=falling)
    assert advice.topic == "still learning"
    assert "by 0.6 in the last 3 of 8 epochs" in advice.message
    assert "training.epochs: 16" in advice.remedy


def test_two_epochs_say_nothing_about_the_curve():
    assert check(curve=[3.0, 1.0]) == []


@pytest.mark.parametrize("where", ["model", "config"])
def test_mass_outside_the_spline(where):
    model = perfect()
    if where == "model":
        model.bound = 2.0
    else:
        model.config = SimpleNamespace(bound=2.0)
    found = check(model, targets=["jet pt", "jet mass"])
    assert topics(found) == ["outside the spline"] * 2
    share = float((TRAIN.target[:, 0].abs() > 2).double().mean())
    assert f"{share:.2%} of the values of jet pt lie beyond +-2" in found[0].message
    assert found[0].severity == ("warning" if share > 0.01 else "note")


def test_a_feature_of_the_wrong_width_is_named():
    model = perfect()
    with torch.no_grad():
        model.log_width[1] += math.log(4.0)
    (advice,) = check(model, targets=["jet pt", "jet mass"])
    assert advice.topic == "feature not learned"
    assert advice.message.startswith("jet mass, simulated")


def test_a_feature_that_is_far_off_is_a_problem():
    shifted = Batch(
        VALIDATION.target + torch.tensor([3.0, 0.0]), VALIDATION.condition, VALIDATION.weight
    )
    (advice,) = check(validation=shifted)
    assert (advice.severity, advice.topic) == ("problem", "feature not learned")
    assert advice.message.startswith("target 0")


def test_a_model_that_ignores_gen_is_found():
    model = perfect()
    marginal = VALIDATION.target.std(0)

    class Ignorant(torch.nn.Module):
        def forward(self, condition):
            return torch.tensor([0.0, 0.3]).expand(len(condition), 2)

    model.mean = Ignorant()
    with torch.no_grad():
        model.log_width.copy_(marginal.log())
    found = check(model, conditions=["gen pt", "gen eta", "gen phi"])
    assert topics(found) == ["dependence on GEN"] * 2
    assert found[0].message.startswith("target 0 follows gen pt with a rank correlation of 0.0")


def test_samples_that_are_not_finite_are_a_problem():
    model = perfect()
    with torch.no_grad():
        model.log_width[0] = float("inf")
    (advice,) = check(model)
    assert (advice.severity, advice.topic) == ("problem", "simulation")


def test_negative_weights():
    weight = torch.where(torch.arange(4000) % 5 == 0, -1.0, 1.0)
    (advice,) = check(train=Batch(TRAIN.target, TRAIN.condition, weight))
    assert advice.topic == "negative weights"
    assert "20% of the sum" in advice.message
    assert "4,000 training rows are worth 1,440" in advice.message


def test_unequal_weights():
    weight = torch.ones(4000)
    weight[:50] = 1000
    found = check(train=Batch(TRAIN.target, TRAIN.condition, weight))
    assert topics(found) == ["unequal weights"]
    assert "4,000 training rows are worth 58" in found[0].message


def test_findings_are_passed_on_after_what_is_worse():
    model = perfect()
    with torch.no_grad():
        model.log_width[1] += 2
    found = check(model, findings=["mu_eta is a copy of gen_mu.eta in every row"])
    assert topics(found) == ["feature not learned", "data"]
    assert str(found[1]).startswith("note, data: mu_eta is a copy of gen_mu.eta in every row.")


def test_negative_weights_in_validation_are_used():
    """A wrong population cancelled by negative weights does not look like a feature not learned."""
    wrong = toy_rows(2000, seed=5).target + 4
    sides = (VALIDATION.target, wrong, wrong), (VALIDATION.condition,) * 3
    weight = torch.cat([torch.full((2000,), 3.0), torch.ones(2000), -torch.ones(2000)])
    rows = Batch(torch.cat(sides[0]), torch.cat(sides[1]), weight)
    assert check(validation=rows) == []


def test_a_model_without_conditions_can_be_checked():
    shape = type(SHAPE)(targets=2, conditions=1)
    rows = toy_rows(500, shape=shape)
    empty = Batch(rows.target, rows.condition[:, :0], rows.weight)
    model = perfect()
    model.shape = type(SHAPE)(targets=2, conditions=0)

    class Flat(torch.nn.Module):
        def forward(self, condition):
            return torch.zeros(len(condition), 2)

    model.mean = Flat()
    assert "dependence on GEN" not in topics(check(model, train=empty, validation=empty))


@pytest.mark.parametrize("probability", [0.02, 0.16, 0.4])
def test_flags_are_compared_by_their_frequency(probability):
    # At 0.16 the central 68 % of the values may be one flag or the other by a hair.
    model = ClassifierConfig(hidden=(4,)).build(Shape(1, 3, (2,)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.layers[-1].bias[1] = math.log(0.16 / 0.84)
    count = len(VALIDATION.weight)
    uniform = torch.rand(count, 1, generator=torch.Generator().manual_seed(5))
    rows = Batch((uniform < probability).float(), VALIDATION.condition, VALIDATION.weight)
    found = check(model, train=rows, validation=rows, targets=["btag"])
    assert topics(found) == ([] if probability == 0.16 else ["feature not learned"])
    if found:
        assert found[0].severity == ("problem" if probability == 0.4 else "warning")
        assert found[0].message.startswith("btag, simulated on the validation rows, takes its")
