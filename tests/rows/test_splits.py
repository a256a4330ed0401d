import numpy as np
import pytest

from gen2reco.rng import Keys
from gen2reco.rows.splits import TEST, TRAIN, VALIDATION, folds, halves, split
from gen2reco.study import Split


@pytest.fixture(scope="module")
def keys():
    n = 60_000
    return Keys(np.ones(n, int), 1 + np.arange(n) // 1000, np.arange(n), np.zeros(n, np.uint16))


def test_shares(keys):
    shares = np.bincount(split(keys, Split()), minlength=3) / len(keys)
    # Three standard deviations of a binomial share of 60 000.
    for part, share in {TRAIN: 0.7, VALIDATION: 0.1, TEST: 0.2}.items():
        assert shares[part] == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 60_000))
    assert np.mean(halves(keys)) == pytest.approx(0.5, abs=0.007)
    assert np.bincount(folds(keys, 5)) / len(keys) == pytest.approx(np.full(5, 0.2), abs=0.006)


def test_depends_on_the_event_alone(keys):
    order = np.random.default_rng(1).permutation(len(keys))[:1000]
    jets = keys.take(order)
    jets = Keys(jets.run, jets.luminosityBlock, jets.event, np.arange(1000))
    assert (split(jets, Split()) == split(keys, Split())[order]).all()
    assert (halves(jets) == halves(keys)[order]).all()
    assert (folds(jets, 5) == folds(keys, 5)[order]).all()


def test_splits_are_independent(keys):
    test = split(keys, Split()) == TEST
    assert np.mean(halves(keys)[test]) == pytest.approx(0.5, abs=0.015)
    table = np.histogram2d(halves(keys), folds(keys, 2), bins=2)[0] / len(keys)
    assert table == pytest.approx(np.full((2, 2), 0.25), abs=0.007)
    assert np.mean(folds(keys, 2) == folds(keys, 2, "other")) == pytest.approx(0.5, abs=0.007)


def test_values_never_move():
    """An emulator of today must find its test events again in every later version."""
    keys = Keys([1, 1, 2, 300, 1, 5], [1, 2, 1, 7, 1, 1], [1, 2, 3, 2**40, 9, 8], [0] * 6)
    assert split(keys, Split()).tolist() == [2, 0, 0, 0, 0, 1]
    assert halves(keys).tolist() == [1, 1, 0, 0, 1, 1]
    assert folds(keys, 5).tolist() == [0, 0, 1, 1, 4, 3]


def test_columns_serve_as_keys(keys):
    columns = {"run": keys.run, "luminosityBlock": keys.luminosityBlock, "event": keys.event}
    assert (split(columns, Split()) == split(keys, Split())).all()


def test_number_of_folds(keys):
    with pytest.raises(ValueError, match="2 to 127 folds"):
        folds(keys, 1)


def test_every_event_is_in_the_test_part_of_one_fold(keys):
    tests = np.stack([split(keys, Split(fold=fold)) == TEST for fold in range(5)])
    assert (tests.sum(axis=0) == 1).all()
    parts = split(keys, Split(fold=3))
    assert np.bincount(parts) / len(keys) == pytest.approx([0.7, 0.1, 0.2], abs=0.006)


def test_shares_of_the_study(keys):
    parts = split(keys, Split(train=0.5, validation=0.1))
    assert np.bincount(parts) / len(keys) == pytest.approx([0.5, 0.1, 0.4], abs=0.007)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": 0.8, "validation": 0.2}, "leave no events for the test"),
        ({"fold": 5}, "folds are 0 to 4"),
        ({"train": 0.5, "fold": 2}, "folds are 0 to 1"),
    ],
)
def test_impossible_shares_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Split(**wrong)
