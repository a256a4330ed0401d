import numpy as np
import pytest
from scipy.stats import kstest, norm

from gen2reco.errors import SampleError
from gen2reco.validation import Counted, Tally
from gen2reco.validation.counts import compare_counts, compare_counts_of_the_same_events


def tally(rng, mean, events=2000, first=0, replicas=1):
    event = np.repeat(np.arange(first, first + events), replicas)
    rate = np.repeat(rng.gamma(4, mean / 4, events), replicas)  # an event's own
    return Tally(rng.poisson(rate), np.full(len(event), 1 / replicas), event)


def test_numbers_by_hand():
    full = Tally(np.array([0, 0, 1, 5]), np.ones(4), np.arange(4))
    fast = Tally(np.array([0, 1, 2, 3]), np.ones(4), np.arange(4, 8))
    found = compare_counts("spurious", full, fast)
    assert found.values == (0, 1, 2, 3)
    assert found.full == (0.5, 0.25, 0.0, 0.25)
    assert found.fast == (0.25, 0.25, 0.25, 0.25)
    assert found.full_error[0] == pytest.approx(0.25)
    assert found.mean_full.value == found.mean_fast.value == 1.5
    assert found.mean_full.error == pytest.approx(np.std([0, 0, 1, 5]) / 2)
    assert found.mean_ratio.value == 1
    assert found.mean_p == 1
    assert found.events == (4, 4)


def test_p_values_of_truth_are_even():
    rng = np.random.default_rng(1)
    found = [compare_counts("x", tally(rng, 0.8), tally(rng, 0.8, first=9000)) for _ in range(120)]
    assert kstest([c.test.p for c in found], "uniform").pvalue > 0.001
    assert kstest([c.mean_p for c in found], "uniform").pvalue > 0.001
    pulls = [(c.mean_ratio.value - 1) / c.mean_ratio.error for c in found]
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_a_wrong_mean_is_found():
    rng = np.random.default_rng(2)
    found = compare_counts("x", tally(rng, 0.8, 8000), tally(rng, 1.0, 8000, first=9000))
    assert found.test.p < 1e-6
    assert found.mean_p < 1e-6
    assert found.mean_ratio.value == pytest.approx(1.25, abs=4 * found.mean_ratio.error)
    spread = np.hypot(found.mean_full.error, found.mean_fast.error)
    pull = (found.mean_fast.value - found.mean_full.value) / spread
    assert found.mean_p == pytest.approx(2 * norm.sf(pull))


def test_replicas_sharpen_less_than_events_would():
    rng = np.random.default_rng(3)
    single, many = tally(rng, 2.0, 4000, 9000), tally(rng, 2.0, 4000, 9000, replicas=10)
    full = tally(rng, 2.0, 4000)
    one, ten = (compare_counts("x", full, fast).mean_fast.error for fast in (single, many))
    # mean 2 from a gamma law of shape 4: variance 1 between events, 2 within
    assert one == pytest.approx(np.sqrt(3 / 4000), rel=0.1)
    assert ten == pytest.approx(np.sqrt((1 + 0.2) / 4000), rel=0.1)


def test_busy_events_have_more_numbers():
    rng = np.random.default_rng(4)
    found = compare_counts("jets", tally(rng, 6.0), tally(rng, 6.0, first=9000))
    assert found.values[-1] >= 9
    assert found.test.ndf >= 8
    assert sum(found.full) == pytest.approx(1)


def test_nothing_to_count_is_no_error():
    none = Tally(np.zeros(30, int), np.ones(30), np.arange(30))
    found = compare_counts("x", none, Tally(none.count, none.weight, none.event + 100))
    assert found.full == (1.0, 0.0)
    assert np.isnan(found.mean_ratio.value)
    assert found.test.p == 1


def test_the_same_events_on_both_sides_are_refused():
    one = Tally(np.ones(5, int), np.ones(5), np.arange(5))
    with pytest.raises(SampleError, match="5 GEN events of 'x' are in FullSim and in FastSim"):
        compare_counts("x", one, one)


def test_counts_are_whole_numbers():
    with pytest.raises(SampleError, match="whole numbers"):
        Tally(np.array([0.5]), np.ones(1), np.arange(1))
    with pytest.raises(SampleError, match="none of them negative"):
        Tally(np.array([-1]), np.ones(1), np.arange(1))


def same_events(rng, mean, events=1500, replicas=5, scale=1.0):
    rate = rng.gamma(2, mean / 2, events)
    fast = rng.poisson(scale * rate[:, None], (events, replicas))
    return Counted(rng.poisson(rate), fast, np.ones(events), np.arange(events))


@pytest.mark.parametrize(("mean", "replicas"), [(0.3, 5), (0.9, 1), (6.0, 5)])
def test_p_values_of_truth_on_the_same_events(mean, replicas):
    rng = np.random.default_rng(5)
    found = [
        compare_counts_of_the_same_events("x", same_events(rng, mean, 600, replicas))
        for _ in range(120)
    ]
    assert kstest([c.test.p for c in found], "uniform").pvalue > 0.001
    assert kstest([c.mean_p for c in found], "uniform").pvalue > 0.001
    pulls = [(c.mean_ratio.value - 1) / c.mean_ratio.error for c in found]
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_the_same_events_show_smaller_differences():
    rng = np.random.default_rng(6)
    counted = same_events(rng, 6.0, scale=1.05)
    found = compare_counts_of_the_same_events("x", counted)
    half = counted.event % 2 == 0
    apart = compare_counts(
        "x",
        Tally(counted.full[half], counted.weight[half], counted.event[half]),
        Tally(counted.fast[~half, 0], counted.weight[~half], counted.event[~half]),
    )
    assert found.mean_ratio.error < 0.5 * apart.mean_ratio.error
    assert found.mean_p < 1e-4
    assert found.replicas == 5
    assert apart.replicas == 0


def test_numbers_that_all_events_have_and_that_differ_are_told():
    events = np.arange(500)
    two, one = (Tally(np.full(500, n), np.ones(500), events + 1000 * n) for n in (2, 1))
    apart = compare_counts("jets", two, one)
    assert apart.test.p < 1e-10
    assert apart.mean_p < 1e-10
    # one more event could have one more jet
    assert apart.mean_full.error == pytest.approx(np.sqrt(501 / 502 * 1 / 502 / 500))
    same = Counted(np.full(500, 2), np.ones((500, 3), int), np.ones(500), events)
    found = compare_counts_of_the_same_events("jets", same)
    assert found.test.p < 1e-10
    assert found.mean_p < 1e-10
    assert abs(found.mean_ratio.value - 1) > 5 * found.mean_ratio.error > 0
    equal = compare_counts("jets", two, Tally(two.count, two.weight, two.event + 5000))
    assert equal.test.p == equal.mean_p == 1
