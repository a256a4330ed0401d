import numpy as np
import pytest
from scipy.stats import kstest

from gen2reco.errors import SampleError
from gen2reco.validation import Coverage, ranks
from gen2reco.validation.coverage import judge_coverage


def draw(rows, seed, width=1.0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 3, rows)
    return centre + rng.normal(size=rows), centre[:, None] + width * rng.normal(size=(rows, 99))


def judged(rows=4000, seed=1, width=1.0, **options):
    found = Coverage(
        {"x": ranks(*draw(rows, seed, width))}, np.ones(rows), np.arange(rows), **options
    )
    return judge_coverage(found)[0]


def test_truth_covers_itself():
    pit = judged()
    assert pit.test.p > 0.001
    assert pit.deviation.value < 2 * pit.deviation.null_95
    assert sum(pit.deciles) == pytest.approx(1)
    assert pit.error == pytest.approx(np.sqrt(0.09 / 4000))


def test_p_values_of_truth_are_even():
    assert kstest([judged(500, seed).test.p for seed in range(60)], "uniform").pvalue > 0.001


def test_a_narrow_emulator_does_not_cover():
    pit = judged(width=0.8)
    assert pit.test.p < 1e-6
    assert pit.deciles[0] > 0.11
    assert pit.deciles[-1] > 0.11


def test_ties_are_broken_evenly():
    rank = ranks(np.zeros(20_000), np.zeros((20_000, 99)))
    assert (rank.min(), rank.max()) == (0, 99)
    assert np.bincount(rank // 10) / 20_000 == pytest.approx(0.1, abs=0.01)
    # half of the draws equal the truth, half lie below
    mixed = ranks(np.ones(5000), np.tile(np.arange(99) % 2, (5000, 1)).astype(float))
    assert mixed.min() == 50
    assert mixed.max() == 99


def test_integers_cover_as_well():
    rng = np.random.default_rng(3)
    rate = rng.uniform(0.5, 4, 5000)
    found = ranks(
        rng.poisson(rate).astype(float), rng.poisson(rate[:, None], (5000, 99)).astype(float)
    )
    pit = judge_coverage(Coverage({"jets": found}, np.ones(5000), np.arange(5000)))[0]
    assert pit.test.p > 0.001


def test_rows_of_one_event_are_one_measurement():
    truth, draws = draw(1000, 4)
    rank = np.repeat(ranks(truth, draws), 4)
    single = judge_coverage(Coverage({"x": rank[::4]}, np.ones(1000), np.arange(1000)))[0]
    copied = judge_coverage(Coverage({"x": rank}, np.ones(4000), np.repeat(np.arange(1000), 4)))[0]
    assert copied.test.p == pytest.approx(single.test.p)


def test_holm_over_quantities():
    truth = {f"x{i}": ranks(*draw(1000, i)) for i in range(5)}
    found = judge_coverage(Coverage(truth, np.ones(1000), np.arange(1000)))
    smallest = min(found, key=lambda pit: pit.test.p)
    assert smallest.test.p_holm == pytest.approx(min(1, 5 * smallest.test.p))


def test_deciles_need_a_multiple_of_ten():
    with pytest.raises(SampleError, match="use 99"):
        judge_coverage(Coverage({"x": np.zeros(10)}, np.ones(10), np.arange(10), draws=50))


def test_draws_must_fit_the_truth():
    with pytest.raises(SampleError, match=r"\[3, draws\]"):
        ranks(np.zeros(3), np.zeros((4, 99)))
