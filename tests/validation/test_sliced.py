"""Sliced W2^2: known values, its null, and what it must see."""

import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.validation.settings import Settings
from gen2reco.validation.sliced import compare_sliced, directions, sliced_w2

SETTINGS = Settings(resplits=50, bootstraps=20)


def momenta(rng, rows, components=6):
    return rng.normal(size=(rows, components)) * 20


def test_a_shift_is_shared_by_all_directions():
    """W2^2 along a direction is the square of the shift along it: |shift|^2 / components."""
    rng = np.random.default_rng(1)
    along = directions(6, 4000, rng)
    assert np.allclose(np.linalg.norm(along, axis=0), 1)
    sample = momenta(rng, 500)
    shift = np.array([3.0, 0, 0, 4.0, 0, 0])
    moved = rng.permutation(sample) + shift
    assert sliced_w2(sample, moved, along) == pytest.approx(25 / 6, rel=0.05)
    assert sliced_w2(sample, rng.permutation(sample), along) == 0


def test_two_samples_of_one_distribution_are_at_the_null():
    rng = np.random.default_rng(2)
    found = []
    for seed in range(12):
        full, fast = momenta(rng, 800, 3), momenta(rng, 500, 3)
        in_first = np.arange(800) < 400
        found.append(compare_sliced("x", full, in_first, fast, Settings(seed, 0.05, 40, 20)))
    assert {one.events for one in found} == {400}
    ratios = [one.value.value / one.value.null for one in found]
    assert 0.85 < np.median(ratios) < 1.15
    assert sum(one.p < 0.1 for one in found) <= 4
    assert all(0 < one.value.error < 2 * one.value.null for one in found)


def test_a_correlation_between_components_is_seen():
    """Every component by itself is as in FullSim."""
    rng = np.random.default_rng(3)
    full = momenta(rng, 2000, 3)
    fast = momenta(rng, 1000, 3)
    fast[:, 1] = 0.8 * fast[:, 0] + 0.6 * fast[:, 1]
    found = compare_sliced("x", full, np.arange(2000) % 2 == 0, fast, SETTINGS)
    assert found.value.value > 3 * found.value.null_95
    assert found.p == pytest.approx(1 / 51)
    assert found.value.error < 0.3 * found.value.value


def test_sizes_are_checked():
    rng = np.random.default_rng(4)
    along = directions(6, 5, rng)
    with pytest.raises(SampleError, match="10 and 11 rows"):
        sliced_w2(momenta(rng, 10), momenta(rng, 11), along)
    with pytest.raises(SampleError, match="a side has 1 events"):
        compare_sliced("x", momenta(rng, 10), np.arange(10) < 1, momenta(rng, 10), SETTINGS)
