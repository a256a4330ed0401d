import pytest
from training_toy import settings

from gen2reco.training.schedules import learning_rate

STEPS = 50  # per epoch


def curve(**changes):
    chosen = settings(learning_rate=0.1, epochs=10, **changes)
    return [learning_rate(chosen, step, STEPS) for step in range(10 * STEPS)]


def test_one_cycle_climbs_from_a_small_rate_and_falls_to_nothing():
    rates = curve(schedule="one-cycle")
    top = rates.index(max(rates))
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[top] == pytest.approx(0.1)
    assert top == pytest.approx(0.3 * len(rates), abs=1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 1e-5


def test_cosine_warms_up_briefly_and_halves_at_the_middle_of_its_fall():
    rates = curve(schedule="cosine")
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[24] == pytest.approx(0.1)
    assert rates[25 + (len(rates) - 25) // 2] == pytest.approx(0.05, rel=0.01)
    assert rates[-1] < 1e-5


def test_inverse_epoch_is_that_of_the_paper():
    rates = curve(schedule="inverse-epoch")
    assert rates[:STEPS] == [0.1] * STEPS
    assert rates[STEPS : 2 * STEPS] == [0.05] * STEPS
    assert rates[-1] == pytest.approx(0.01)


def test_constant_is_constant():
    assert set(curve(schedule="constant")) == {0.1}


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "inverse-epoch", "constant"])
def test_a_single_step_has_a_rate(schedule):
    assert learning_rate(settings(epochs=1, schedule=schedule), 0, 1) > 0
