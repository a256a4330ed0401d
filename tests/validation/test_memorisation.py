import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.validation import memorisation

RNG = np.random.default_rng(1)
TRAIN, TEST, FAST = (RNG.normal(size=(n, 3)) * [1, 10, 0.1] for n in (3000, 1500, 1200))


def test_one_where_nothing_is_remembered():
    found = memorisation(FAST, TRAIN, TEST)
    assert abs(found.value - 1) < 4 * found.error
    assert 0.003 < found.error < 0.1


def test_small_where_training_events_come_back():
    handed_back = TRAIN[:1000] + 1e-3 * RNG.normal(size=(1000, 3))
    assert memorisation(handed_back, TRAIN[:1500], TEST).value < 0.3


def test_columns_must_agree():
    with pytest.raises(SampleError, match="columns differ"):
        memorisation(FAST[:, :2], TRAIN, TEST)
    with pytest.raises(SampleError, match="at least two rows"):
        memorisation(FAST[:1], TRAIN, TEST)
