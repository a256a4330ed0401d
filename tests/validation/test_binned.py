import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen2reco.validation import binned

EDGES = np.linspace(0, 1, 5)


def test_variance_of_replicas_counts_events():
    rng = np.random.default_rng(1)
    values = rng.random(400)
    content, variance = binned.histogram(values, np.ones(400), np.arange(400), EDGES)
    np.testing.assert_array_equal(content, variance)
    # ten replicas that fall where the first did: ten times the rows, no new information
    same = binned.histogram(
        np.repeat(values, 10), np.full(4000, 0.1), np.repeat(np.arange(400), 10), EDGES
    )
    np.testing.assert_allclose(same[0], content)
    np.testing.assert_allclose(same[1], variance)
    # ten replicas that fall anywhere: p (1 - p) / 10 + p^2 of an event, p = 1/4
    free = binned.histogram(
        rng.random(4000), np.full(4000, 0.1), np.repeat(np.arange(400), 10), EDGES
    )
    assert free[1].mean() == pytest.approx(400 * (0.25 * 0.75 / 10 + 0.0625), rel=0.05)


def test_by_hand():
    values, weight = np.array([0.1, 0.1, 0.6, 2.0, np.nan, 1.0]), np.array([1.0, 2, 3, 4, 5, 6])
    content, variance = binned.histogram(values, weight, np.array([0, 0, 0, 1, 1, 2]), EDGES)
    assert content.tolist() == [3, 0, 3, 6]
    assert variance.tolist() == [9, 0, 9, 36]
    assert binned.histogram(values, weight, None, EDGES)[1].tolist() == [5, 0, 9, 36]


def test_gain_of_oversampling_lies_between_one_and_the_replicas():
    rng = np.random.default_rng(2)
    event = np.repeat(np.arange(5000), 8)
    weight, fine = np.full(40_000, 1 / 8), np.linspace(0, 1, 101)
    replica = np.tile(np.arange(8), 5000)
    stuck = binned.oversampling_gain(np.repeat(rng.random(5000), 8), weight, event, replica, EDGES)
    np.testing.assert_allclose(stuck, 1.0)
    free = binned.oversampling_gain(rng.random(40_000), weight, event, replica, fine)
    assert np.mean(free) == pytest.approx(8 / (1 + 7 * 0.01), rel=0.03)


def test_chi2_of_the_null_is_its_degrees_of_freedom():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        pair = []
        for size in (2000, 2000):
            content, variance = binned.histogram(rng.random(size), np.ones(size), None, EDGES)
            pair.append((content, variance))
        value, ndf, p = binned.chi2_test(*pair)
        assert ndf == 3
        found.append((value, p))
    values, p = np.array(found).T
    assert values.mean() == pytest.approx(3, abs=0.5)
    assert np.mean(p < 0.1) == pytest.approx(0.1, abs=0.06)


def test_merged_bins_have_five_entries_on_each_side():
    rng = np.random.default_rng(4)
    edges = np.linspace(0, 10, 60)
    one, two = (
        binned.histogram(rng.exponential(1, n), np.ones(n), None, edges) for n in (300, 500)
    )
    groups = binned.merge_bins(one, two)
    assert np.all(np.diff(groups) >= 0)
    for side in (one, two):
        assert binned.merged(side[0], groups).min() >= 5
        assert binned.merged(side[0], groups).sum() == side[0].sum()


def test_separation_of_equal_and_of_apart():
    a = np.array([1.0, 3, 0, 0])
    assert binned.separation(a, 5 * a) == 0
    assert binned.separation(a, a[::-1]) == 1
    assert binned.separation(np.array([1.0, 1]), np.array([1.0, 3])) == pytest.approx(
        0.5 * (0.25**2 / 0.75 + 0.25**2 / 1.25)
    )


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.integers(5, 80))
def test_edges_hold_the_range(low, span, bins):
    edges = binned.regular_edges(low, low + span, bins)
    tolerance = 1e-6 * (abs(low) + span)
    assert edges[0] <= low + tolerance
    assert edges[-1] >= low + span - tolerance
    assert len(edges) - 1 <= bins + 2


def test_edges_meet_thresholds_and_turns():
    rng = np.random.default_rng(5)
    pt = 30 + rng.exponential(40, 5000)
    assert binned.distribution_edges(pt, np.ones(5000), 50)[0] == 30
    phi = rng.uniform(-np.pi, np.pi, 5000)
    assert binned.distribution_edges(phi, np.ones(5000), 50)[-1] == pytest.approx(np.pi)


def test_whole_numbers_lie_in_the_middle_of_bins():
    values = np.random.default_rng(1).poisson(4, 5000).astype(float)
    edges = binned.distribution_edges(values, np.ones(5000), 50)
    np.testing.assert_allclose(np.diff(edges), 1)
    assert np.all(edges % 1 == 0.5)
    wide = binned.distribution_edges(np.round(50 * values), np.ones(5000), 50)
    assert len(set(np.diff(wide))) == 1
    assert wide[1] - wide[0] in (10, 20)
    core = binned.core_edges(values - 4, np.ones(5000), 50)
    assert np.all(core % 1 == 0.5)
    assert core[0] < -3


def test_quantile_bins_are_of_equal_population_and_keep_what_is_missing():
    rng = np.random.default_rng(3)
    features = np.stack([rng.normal(size=2550), np.repeat([0.0, 7.0], 1275), rng.random(2550)], 1)
    features[::10, 2] = np.nan
    bins = binned.quantile_bins(features)
    assert np.ptp(np.unique(bins[:, 0], return_counts=True)[1]) <= 2
    assert len(np.unique(bins[:, 0])) == binned.TREE_BINS
    assert np.array_equal(bins[:, 1] > bins[0, 1], features[:, 1] > 0)
    assert np.array_equal(np.isnan(bins), np.isnan(features))
    assert binned.quantile_bins(features.astype(np.float32)).dtype == np.float32
    assert np.isnan(binned.quantile_bins(np.full((5, 1), np.nan))).all()
