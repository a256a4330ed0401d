import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.validation.resplits import bootstrap, resplit, thin

EVENT = np.repeat(np.arange(100), 3)


def test_sides_are_disjoint_equal_and_keep_events_whole():
    sides = resplit(EVENT, 40, 30, np.random.default_rng(1))
    assert sides.shape == (30, 300)
    for side in sides:
        labels = side.reshape(100, 3)
        assert np.all(labels == labels[:, :1])
        assert np.sum(labels[:, 0] == 1) == np.sum(labels[:, 0] == -1) == 40
    assert len({side.tobytes() for side in sides}) == 30


def test_too_large_a_split_is_refused():
    with pytest.raises(SampleError, match="100 events into two sets of 51"):
        resplit(EVENT, 51, 1, np.random.default_rng(1))


def test_bootstrap_draws_events():
    counts = bootstrap(EVENT, 50, np.random.default_rng(1)).reshape(50, 100, 3)
    assert np.all(counts == counts[:, :, :1])
    assert np.all(counts[:, :, 0].sum(axis=1) == 100)


def test_thinning_keeps_whole_events():
    kept = thin(EVENT, 30, np.random.default_rng(1)).reshape(100, 3)
    assert kept[:, 0].sum() == 30
    assert np.all(kept == kept[:, :1])
    assert thin(EVENT, 1000, np.random.default_rng(1)).all()
