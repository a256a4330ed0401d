import numpy as np
import pytest
from scipy.stats import kstest, norm

from gen2reco.errors import SampleError
from gen2reco.validation import Outcome, Settings
from gen2reco.validation.efficiency import axis_edges, judge_outcome
from gen2reco.validation.object_verdict import region_pull

SETTINGS = Settings(response_bins=6)


def toy(seed=1, events=800, replicas=0, shift=0.0, clustered=False, weights="one"):
    """Four objects per event on average, found with a probability that depends on pt and eta.

    `clustered`: what one object of an event does, the others tend to do as well.
    """
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(events), rng.poisson(4, events))
    rows = len(event)
    pt, eta = 15 + rng.exponential(30, rows), rng.normal(0, 1.5, rows)
    true = 1 / (1 + np.exp(-((pt - 20) / 10 - 0.3 * eta**2)))
    shared = np.sqrt(0.5) * rng.normal(size=events)[event] if clustered else 0.0
    lone = np.sqrt(0.5 if clustered else 1.0) * rng.normal(size=rows)
    found = norm.cdf(shared + lone) < true
    weight = {
        "one": np.ones(rows),
        "wide": rng.exponential(1, events)[event],
        "signed": np.where(rng.random(events) < 0.1, -1.0, 1.0)[event],
    }[weights]
    said = np.clip(true + shift, 0, 1)
    fast = rng.random((rows, replicas)) < said[:, None] if replicas else None
    return Outcome(
        found,
        {"gen_pt": pt, "gen_eta": eta},
        weight,
        event,
        probability=None if replicas else said,
        fast=fast,
        groups={"central": np.abs(eta) < 1, "forward": np.abs(eta) >= 1},
    )


def by_group(found, by="gen_pt"):
    return {c.group: c for c in found.curves if c.by == by}


def test_truth_closes_in_every_curve():
    found = judge_outcome("found", toy(), SETTINGS)
    assert [r.group for r in found.overall] == ["all", "central", "forward"]
    assert {(c.by, c.group) for c in found.curves} == {
        (by, group) for by in ("gen_pt", "gen_eta") for group in ("all", "central", "forward")
    }
    assert min(c.test.p_holm for c in found.curves) > 0.01
    assert found.reliability.test.p_holm > 0.01
    assert found.replicas == 0
    whole = by_group(found)["all"]
    assert sum(whole.rows) == found.overall[0].rows
    assert whole.full[0] < whole.full[-1]


def test_binomial_numbers_by_hand():
    outcome = Outcome(
        np.repeat([True, False], [60, 40]), {}, np.ones(100), np.arange(100),
        probability=np.full(100, 0.5),
    )  # fmt: skip
    rate = judge_outcome("found", outcome, SETTINGS).overall[0]
    assert (rate.full, rate.fast, rate.rows) == (0.6, 0.5, 100)
    assert rate.full_error == pytest.approx(np.sqrt(0.6 * 0.4 / 100))
    # closure counts what the emulator expects, not what was seen
    assert rate.ratio.value == pytest.approx(0.5 / 0.6)
    assert rate.ratio.error == pytest.approx(0.05 / 0.6)
    assert rate.p == pytest.approx(2 * norm.sf(2.0))
    assert rate.fast_error == 0


def test_noise_of_draws_is_counted():
    rng = np.random.default_rng(3)
    full = rng.random(4000) < 0.7
    fast = rng.random((4000, 4)) < 0.7
    outcome = Outcome(full, {}, np.ones(4000), np.arange(4000), fast=fast)
    rate = judge_outcome("found", outcome, SETTINGS).overall[0]
    one = np.sqrt(0.7 * 0.3 / 4000)
    assert rate.fast_error == pytest.approx(one / 2, rel=0.05)
    assert rate.ratio.error * rate.full == pytest.approx(one * np.sqrt(1.25), rel=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clustered": True},
        {"weights": "wide"},
        {"weights": "signed"},
        {"replicas": 1},
        {"replicas": 5},
    ],
)
def test_p_values_and_errors_of_truth(options):
    p_values, reliabilities, pulls = [], [], []
    for seed in range(80):
        outcome = toy(seed, events=400, **options)
        found = judge_outcome("found", outcome, SETTINGS)
        p_values.append(by_group(found)["all"].test.p)
        pulls.append((found.overall[0].ratio.value - 1) / found.overall[0].ratio.error)
        if found.reliability:
            reliabilities.append(found.reliability.test.p)
    assert kstest(p_values, "uniform").pvalue > 0.001
    assert np.std(pulls) == pytest.approx(1, abs=0.25)
    if reliabilities:
        assert kstest(reliabilities, "uniform").pvalue > 0.001


def test_rows_that_go_together_would_look_wrong_if_taken_alone():
    outcome = toy(4, clustered=True)
    alone = Outcome(
        outcome.full, outcome.bins, outcome.weight, np.arange(len(outcome.weight)),
        probability=outcome.probability,
    )  # fmt: skip
    together, apart = (judge_outcome("found", o, SETTINGS).overall[0] for o in (outcome, alone))
    assert together.ratio.value == apart.ratio.value
    assert together.ratio.error > 1.3 * apart.ratio.error


def test_a_wrong_probability_is_found():
    found = judge_outcome("found", toy(shift=-0.04, events=4000), SETTINGS)
    assert by_group(found)["all"].test.p_holm < 1e-4
    assert found.reliability.test.p_holm < 1e-4
    assert found.reliability.calibration.value > found.reliability.calibration.null_95
    assert found.overall[0].ratio.value == pytest.approx(0.95, abs=0.01)
    assert by_group(found)["all"].largest.value > 0.02


def test_right_on_average_is_not_right_in_bins():
    outcome = toy(2, events=3000)
    flat = Outcome(
        outcome.full, outcome.bins, outcome.weight, outcome.event,
        probability=np.full(len(outcome.weight), outcome.full.mean()), groups=outcome.groups,
    )  # fmt: skip
    found = judge_outcome("found", flat, SETTINGS)
    assert found.overall[0].p > 0.9
    assert by_group(found)["all"].test.p < 1e-10
    # and calibrated it is
    assert found.reliability.test.p > 0.5


def test_only_bins_with_the_statistics_are_held_to_the_tolerance():
    few, many = (judge_outcome("found", toy(5, events=n), SETTINGS) for n in (60, 40_000))
    assert by_group(few)["all"].judged < by_group(many)["all"].judged
    whole = by_group(many)["all"]
    assert whole.largest.error <= 0.02 / 3
    assert whole.largest.value < 0.02
    ratio, error = np.array(whole.ratio), np.array(whole.ratio_error)
    judged = error <= 0.02 / 3
    assert whole.judged == judged.sum() >= 4
    assert whole.largest.value == pytest.approx(np.max(np.abs(ratio[judged] - 1)))


def test_rare_failures_are_joined_and_all_found_has_an_error():
    rng = np.random.default_rng(6)
    pt = rng.uniform(0, 100, 3000)
    said = np.where(pt < 50, 0.98, 1.0)
    outcome = Outcome(
        rng.random(3000) < said, {"gen_pt": pt}, np.ones(3000), np.arange(3000), probability=said
    )
    curve = judge_outcome("found", outcome, SETTINGS).curves[0]
    # 30 failures are expected below 50: two or three bins of ten, and none of their own above
    assert 1 <= curve.test.ndf <= 3
    assert curve.full[-1] == 1.0
    assert 0 < curve.full_error[-1] < 0.01


def test_nothing_is_tested_where_failures_lack():
    outcome = Outcome(
        np.ones(500, bool), {"gen_pt": np.arange(500.0)}, np.ones(500), np.arange(500),
        probability=np.full(500, 0.999),
    )  # fmt: skip
    found = judge_outcome("found", outcome, SETTINGS)
    assert np.isnan(found.curves[0].test.p)
    assert np.isnan(found.curves[0].test.p_holm)


def test_rows_without_the_bin_quantity_are_in_no_bin():
    outcome = toy(7)
    distance = np.where(
        np.arange(len(outcome.weight)) % 3 == 0, np.inf, 1.0 + outcome.bins["gen_pt"]
    )
    lacking = Outcome(
        outcome.full, {"distance": distance}, outcome.weight, outcome.event,
        probability=outcome.probability,
    )  # fmt: skip
    curve = judge_outcome("found", lacking, SETTINGS).curves[0]
    assert sum(curve.rows) == np.sum(np.isfinite(distance))


def test_bins_of_whole_numbers_stand_between_them():
    assert axis_edges(np.array([0.0, 1, 1, 3]), 8).tolist() == [-0.5, 0.5, 2.0, 3.5]
    edges = axis_edges(np.random.default_rng(1).exponential(30, 5000), 8)
    counts = np.histogram(np.random.default_rng(1).exponential(30, 5000), edges)[0]
    assert counts.sum() == 5000
    assert counts.min() > 450


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": None}, "needs the emulator's probability or its draws"),
        ({"probability": np.full(4, 1.2)}, "between 0 and 1"),
        ({"probability": np.full(3, 0.2)}, "probability has 3 rows"),
        ({"full": np.array([0, 1, 2, 0])}, "must hold true or false"),
        ({"groups": {"b": np.ones(5, bool)}}, "group 'b' has 5 rows"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    parts = {
        "full": np.array([True, False, True, True]), "bins": {}, "weight": np.ones(4),
        "event": np.arange(4), "probability": np.full(4, 0.5),
    }  # fmt: skip
    with pytest.raises(SampleError, match=message):
        Outcome(**{**parts, **change})


@pytest.mark.parametrize("passes", [False, True])
def test_all_against_none_in_a_region_is_told(passes):
    rows = 400
    region = Outcome(
        np.full(rows, passes), {}, np.ones(rows), np.arange(rows),
        fast=np.full((rows, 4), not passes), kind="region",
    )  # fmt: skip
    found = judge_outcome("peak", region, SETTINGS)
    assert found.overall[0].p < 1e-10
    assert abs(region_pull(found)) > 10
