import numpy as np
import pytest

from gen2reco.validation import Settings
from gen2reco.validation.response import Side, profile

SETTINGS = Settings(response_bins=4, response_resplits=10)


def sides(rows=4000, seed=1, scale=1.0, width=0.1, replicas=3):
    rng = np.random.default_rng(seed)
    axis, event = rng.uniform(20, 100, rows), np.arange(rows)
    full = Side(axis, rng.normal(1, 0.1, rows), np.ones(rows), event)
    fast = Side(
        np.repeat(axis, replicas),
        rng.normal(scale, width, rows * replicas),
        np.ones(rows * replicas),
        np.repeat(event, replicas),
    )
    return full, fast


def made(full, fast):
    return profile(full, fast, SETTINGS, name="pt", by="gen_pt", same_rows=True)


def test_truth_closes():
    found = made(*sides())
    assert len(found.median_full) == 4
    assert found.rows == pytest.approx([1000] * 4, abs=60)
    assert found.width_full == pytest.approx([0.1] * 4, rel=0.1)
    assert found.scale.p > 0.001
    assert found.resolution.p > 0.001
    assert found.largest_closure.value < 2 * found.largest_closure.null_95


def test_a_shift_and_a_width_are_measured():
    found = made(*sides(scale=1.02, width=0.12))
    assert np.mean(found.closure) == pytest.approx(0.2, abs=0.06)
    assert np.mean(found.width_ratio) == pytest.approx(1.2, abs=0.05)
    assert found.scale.p < 1e-6
    assert found.resolution.p < 1e-6


def test_errors_are_what_repeated_experiments_scatter_by():
    pulls, ratios = [], []
    for seed in range(60):
        found = made(*sides(1000, seed))
        difference = np.array(found.median_fast) - np.array(found.median_full)
        pulls += list(difference / (np.array(found.closure_error) * np.array(found.width_full)))
        ratios += list((np.array(found.width_ratio) - 1) / np.array(found.width_ratio_error))
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert np.std(ratios) == pytest.approx(1, abs=0.2)


def test_replicas_that_only_repeat_add_nothing():
    full, fast = sides(replicas=1)
    repeated = Side(
        *(np.repeat(column, 5) for column in (fast.axis, fast.response, fast.weight, fast.event))
    )
    once, often = made(full, fast), made(full, repeated)
    assert often.median_fast_error == pytest.approx(once.median_fast_error, rel=1e-9)


def test_the_same_rows_on_both_sides_differ_by_nothing():
    full, _ = sides()
    found = made(full, full)
    assert max(found.closure) == 0
    assert max(found.closure_error) == 0
    assert max(found.width_ratio_error) == pytest.approx(0, abs=1e-12)


def test_rows_that_are_not_there_are_left_out():
    full, fast = sides()
    response = full.response.copy()
    response[::2] = np.nan
    found = made(Side(full.axis, response, full.weight, full.event), fast)
    assert sum(found.rows) == 2000


def test_too_few_rows_and_copies_have_no_profile():
    full, fast = sides(60)
    assert made(full, fast) is None or np.isfinite(made(full, fast).scale.p)
    copy = Side(full.axis, np.zeros(60), full.weight, full.event)
    assert made(copy, copy) is None
    full, fast = sides()
    whole = Side(full.axis, np.round(10 * full.response), full.weight, full.event)
    assert made(whole, fast) is None
    assert made(*sides(40)) is None
