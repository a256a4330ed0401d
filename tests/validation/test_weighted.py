import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from gen2reco.validation.weighted import (
    Ordered,
    effective_entries,
    event_index,
    half_width,
    mid_ranks,
    quantile,
    quantile_influence,
)


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 4)), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
)
def test_a_weight_is_a_repeated_row(rows, probability):
    values = np.array([float(value) for value, _ in rows])
    counts = np.array([count for _, count in rows])
    repeated = np.repeat(values, counts)
    weighted = quantile(values, counts.astype(float), probability)
    assert weighted == quantile(repeated, np.ones(len(repeated)), probability)


def test_half_width_of_a_gaussian_is_its_sigma():
    values = np.random.default_rng(1).normal(3.0, 2.0, 200_000)
    assert half_width(values, np.ones(len(values))) == pytest.approx(2.0, rel=0.01)


def test_events_that_cancel_leave_quantiles_alone():
    rng = np.random.default_rng(2)
    values, extra = rng.normal(size=5000), rng.normal(5, 0.1, 400)
    together = np.concatenate([values, extra, extra])
    weight = np.concatenate([np.ones(5000), np.ones(400), -np.ones(400)])
    for probability in (0.16, 0.5, 0.84):
        plain = quantile(values, np.ones(5000), probability)
        assert quantile(together, weight, probability) == pytest.approx(plain, abs=1e-9)


def test_quantile_of_nothing_does_not_exist():
    assert np.isnan(quantile(np.array([np.nan]), np.ones(1), 0.5))


def test_ranks_are_those_of_scipy_ties_included():
    values = np.random.default_rng(3).integers(0, 10, 100).astype(float)
    expected = (rankdata(values) - 0.5) / 100
    np.testing.assert_allclose(mid_ranks(values, np.ones(100)), expected)


def test_effective_entries_count_events_not_rows():
    assert effective_entries(np.ones(6), np.arange(6)) == 6
    assert effective_entries(np.ones(6), np.array([0, 0, 1, 1, 2, 2])) == 3
    assert effective_entries(np.array([2.0, 0, 0]), np.arange(3)) == 1


def test_events_are_numbered_over_samples_together():
    (a, b), count = event_index(np.array([9, 4]), np.array([4, 7]))
    assert count == 3
    assert a[1] == b[0]


def test_influence_gives_the_error_of_a_median():
    rng = np.random.default_rng(4)
    values, weight = rng.normal(size=4000), np.ones(4000)
    moved = quantile_influence(values, weight, Ordered.of(values, weight), 0.5, 4000)
    # the median of n Gaussian values scatters by sqrt(pi / 2n)
    assert np.sqrt(np.sum(moved**2)) == pytest.approx(np.sqrt(np.pi / 2 / 4000), rel=0.1)


def test_a_point_mass_does_not_move():
    values = np.zeros(100)
    moved = quantile_influence(values, np.ones(100), Ordered.of(values, np.ones(100)), 0.5, 100)
    assert not moved.any()
