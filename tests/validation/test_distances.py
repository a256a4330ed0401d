import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from gen2reco.errors import SampleError
from gen2reco.validation.distances import kolmogorov, w2_squared, wasserstein
from gen2reco.validation.resplits import Trials, resplit

RNG = np.random.default_rng(7)
FIRST, SECOND = RNG.normal(0, 1, 900), RNG.normal(0.2, 1.3, 700)
WEIGHT, OTHER = RNG.integers(1, 4, 900).astype(float), RNG.integers(1, 4, 700).astype(float)


def test_shifted_gaussians():
    big, shifted = RNG.normal(0, 1, 40_000), RNG.normal(0.5, 1, 40_000)
    assert wasserstein(big, shifted) == pytest.approx(0.5, abs=0.03)
    # the same sample shifted: exact, whatever its shape
    assert wasserstein(FIRST, FIRST + 0.37) == pytest.approx(0.37, rel=1e-12)
    assert w2_squared(FIRST, FIRST + 0.37) == pytest.approx(0.37**2, rel=1e-12)


def test_gaussians_of_other_width():
    # between N(0, 1) and N(0, s) quantiles differ by (s - 1) z: W1 = (s - 1) sqrt(2 / pi)
    z = RNG.normal(size=200_000)
    assert wasserstein(z, 1.5 * z) == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.01)
    assert w2_squared(z, 1.5 * z) == pytest.approx(0.25, rel=0.01)


def test_w1_is_that_of_scipy():
    expected = wasserstein_distance(FIRST, SECOND, WEIGHT, OTHER)
    assert wasserstein(FIRST, SECOND, WEIGHT, OTHER) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("rounded", [False, True])
def test_ks_is_that_of_scipy(rounded):
    first, second = (np.round(x, 1) if rounded else x for x in (FIRST, SECOND))
    expected = ks_2samp(first, second, method="asymp")
    statistic, p = kolmogorov(first, second)
    assert statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert p == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("distance", [wasserstein, w2_squared, lambda *a: kolmogorov(*a)[0]])
def test_a_weight_is_a_repeated_row(distance):
    repeated = np.repeat(FIRST, WEIGHT.astype(int)), np.repeat(SECOND, OTHER.astype(int))
    assert distance(FIRST, SECOND, WEIGHT, OTHER) == pytest.approx(
        distance(*repeated, None, None), rel=1e-9
    )


@pytest.mark.parametrize("distance", [wasserstein, lambda *a: kolmogorov(*a)[0]])
def test_negative_weights_take_events_away(distance):
    extra = RNG.normal(4, 1, 200)
    first = np.concatenate([FIRST, extra, extra])
    weight = np.concatenate([np.ones(900), np.full(200, 0.7), np.full(200, -0.7)])
    plain = distance(FIRST, SECOND, np.ones(900), np.ones(700))
    assert distance(first, SECOND, weight, np.ones(700)) == pytest.approx(plain, abs=1e-9)


def test_w2_refuses_negative_weights_and_says_why():
    weight = np.where(np.arange(900) < 10, -1.0, 1.0)
    with pytest.raises(SampleError, match="not defined for negative weights"):
        w2_squared(FIRST, SECOND, weight, np.ones(700))


def test_a_distance_to_nothing_is_refused():
    with pytest.raises(SampleError, match="events on both sides"):
        wasserstein(FIRST, SECOND[:0])


def test_many_trials_are_single_trials():
    values = np.concatenate([FIRST, np.round(SECOND, 1), [np.nan]])
    weight = np.concatenate([WEIGHT, OTHER, [3.0]])
    sides = resplit(np.arange(len(values)), 800, 20, np.random.default_rng(1))
    integral, largest = Trials.of_sides(sides, weight).differences(values)
    there = np.isfinite(values)
    for trial, side in enumerate(sides):
        a, b = (side == 1) & there, (side == -1) & there
        pair = values[a], values[b], weight[a], weight[b]
        assert integral[trial] == pytest.approx(wasserstein(*pair), rel=1e-9)
        assert largest[trial] == pytest.approx(kolmogorov(*pair)[0], rel=1e-9)


def test_a_null_that_cannot_be_made_says_why():
    weight = np.full(40, -1.0)
    weight[:2] = 100.0
    sides = resplit(np.arange(40), 20, 50, np.random.default_rng(1))
    with pytest.raises(SampleError, match="too many negative weights"):
        Trials.of_sides(sides, weight).differences(np.arange(40.0))
