import numpy as np
import pytest
from scipy.stats import kstest

from gen2reco.validation.shares import binned_share, shares_by_event, shares_test


def drawn(rng, events, clustered):
    """Categories 0, 1, 2 of three rows per event; clustered: mostly the same in all three."""
    first = rng.choice(3, events, p=[0.6, 0.3, 0.1])
    same = rng.random((events, 3)) < (0.7 if clustered else 0.0)
    lone = rng.choice(3, (events, 3), p=[0.6, 0.3, 0.1])
    return np.where(same, first[:, None], lone).ravel(), np.repeat(np.arange(events), 3)


def test_one_row_per_event_is_the_multinomial_law():
    category = np.repeat([0, 1, 2], [50, 30, 20])
    found = shares_by_event(category, np.ones(100), np.arange(100), 3)
    assert found.share.tolist() == [0.5, 0.3, 0.2]
    p = found.share
    np.testing.assert_allclose(found.covariance, (np.diag(p) - np.outer(p, p)) / 100)
    assert found.entries.tolist() == [50, 30, 20]


def test_copies_of_a_row_bring_nothing():
    category = np.repeat([0, 1], [70, 30])
    once = shares_by_event(category, np.ones(100), np.arange(100), 2)
    often = shares_by_event(
        np.repeat(category, 4), np.full(400, 0.25), np.repeat(np.arange(100), 4), 2
    )
    np.testing.assert_allclose(often.covariance, once.covariance)


def test_an_event_with_the_same_mix_each_time_has_no_error():
    found = shares_by_event(np.tile([0, 1], 50), np.ones(100), np.repeat(np.arange(50), 2), 2)
    np.testing.assert_allclose(found.error, 0, atol=1e-12)


@pytest.mark.parametrize("clustered", [False, True])
def test_p_values_and_pulls_of_equal_shares(clustered):
    rng = np.random.default_rng(1)
    p_values, pulls = [], []
    for _ in range(150):
        one, two = (
            shares_by_event(c, np.ones(len(c)), e, 3)
            for c, e in (drawn(rng, 200, clustered) for _ in range(2))
        )
        p_values.append(shares_test(one, two)[2])
        pulls.append(one.pulls(two)[0])
    assert kstest(p_values, "uniform").pvalue > 0.001
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_different_shares_are_told():
    rng = np.random.default_rng(2)
    one = shares_by_event(rng.choice(3, 3000, p=[0.6, 0.3, 0.1]), np.ones(3000), np.arange(3000), 3)
    two = shares_by_event(rng.choice(3, 3000, p=[0.6, 0.2, 0.2]), np.ones(3000), np.arange(3000), 3)
    value, ndf, p = shares_test(one, two)
    assert ndf == 2
    assert p < 1e-10
    assert value == pytest.approx(one.pulls(two)[2] ** 2, rel=0.6)


def test_thin_categories_are_joined():
    one = shares_by_event(np.repeat([0, 1, 2], [90, 9, 1]), np.ones(100), np.arange(100), 3)
    assert shares_test(one, one)[1] == 1
    lone = shares_by_event(np.zeros(50, int), np.ones(50), np.arange(50), 3)
    assert shares_test(lone, lone) == (0.0, 0, 1.0)


def test_binned_shares_by_hand():
    outcome, bins = np.array([1.0, 0, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 1, -1])
    found = binned_share(outcome, np.ones(6), np.arange(6), bins, 3)
    assert found.total[:2].tolist() == [3, 2]
    assert found.share[0] == pytest.approx(2 / 3)
    assert found.error[0] == pytest.approx(np.sqrt(2 / 3 * 1 / 3 / 3))
    # all of two: as if one more of either kind had been seen
    assert found.error[1] == pytest.approx(np.sqrt(0.75 * 0.25 / 2))
    assert np.isnan(found.share[2])
    assert np.isnan(found.error[2])


@pytest.mark.parametrize("weight", [1.0, 0.1, 300.0])
def test_constants_that_differ_are_told_and_equal_ones_agree(weight):
    events = np.arange(400)
    off, on = (shares_by_event(np.full(400, k), np.full(400, weight), events, 2) for k in (0, 1))
    # all of 400: as if one more of either kind had been seen
    error = np.sqrt(401 / 402 * 1 / 402 / 400)
    assert off.error == pytest.approx([error, error])
    assert off.pulls(on) == pytest.approx([-1 / (np.sqrt(2) * error), 1 / (np.sqrt(2) * error)])
    assert off.pulls(off).tolist() == [0, 0]
    assert shares_test(off, on)[2] < 1e-10
    assert shares_test(on, on)[2] == 1


def test_mixes_that_are_the_same_in_every_event_but_differ_are_told():
    event = np.repeat(np.arange(100), 4)
    half, quarter = (
        shares_by_event(np.tile(mix, 100), np.ones(400), event, 2)
        for mix in ([0, 0, 1, 1], [0, 1, 1, 1])
    )
    assert half.pulls(quarter)[1] > 5
    assert half.pulls(half).tolist() == [0, 0]


def test_a_category_of_one_side_only_is_not_hidden_by_joining():
    rows = np.ones(200), np.arange(200)
    one = shares_by_event(np.repeat([0, 1], 100), *rows, 3)
    two = shares_by_event(np.repeat([0, 2], 100), *rows, 3)
    assert shares_test(one, two)[2] < 1e-10
    few = shares_by_event(np.repeat([0, 2], [199, 1]), *rows, 3)
    none = shares_by_event(np.zeros(200, int), *rows, 3)
    assert shares_test(none, few)[2] == 1


def test_none_of_few_rows_says_little_against_some_of_many():
    few = shares_by_event(np.zeros(100, int), np.ones(100), np.arange(100), 3)
    many = shares_by_event(np.repeat([0, 2], [9900, 100]), np.ones(10_000), np.arange(10_000), 3)
    assert abs(few.pulls(many)[2]) < 1.1
    assert shares_test(few, many)[2] > 0.5
