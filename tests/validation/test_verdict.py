import numpy as np
import pytest
from scipy.stats import norm

from gen2reco.validation import Rate, Settings, Tally, Targets
from gen2reco.validation.counts import compare_counts
from gen2reco.validation.multiple import holm
from gen2reco.validation.records import Metric, Statistic
from gen2reco.validation.results import Categories, Quantity
from gen2reco.validation.verdict import (
    FAMILY,
    checks,
    enough_resplits,
    floor_ratios,
    headline,
    rate_result,
    targets,
)


def quantity(name, ratio=1.0, ks_p=0.5, **changes):
    parts = {
        "name": name,
        "group": "quantity",
        "kind": "continuous",
        "label": name,
        "rows": (100, 100),
        "missing": (0.0, 0.0),
        "missing_pull": 0.0,
        "width": 1.0,
        "floor_ratio": Metric(ratio, 0.3, 1.0, 1.7),
        "ks": Statistic(0.02, ks_p, min(1.0, 2 * ks_p)),
    }
    return Quantity(**{**parts, **changes})


def family(quantities, **parts):
    null = np.random.default_rng(1).gamma(8, 1 / 8, (len(quantities), 200))
    ratios = floor_ratios(quantities, null)
    empty = {"classifier": None, "correlations": [], "responses": [], "coverage": []}
    return ratios, checks(
        quantities, ratios, parts.pop("rates", []), **{**empty, **parts}, level=0.05
    )


def test_the_worst_quantity_is_held_against_the_worst_of_every_resplit():
    null = np.array([[1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 3.0, 1.0]])
    found = floor_ratios([quantity("a", 1.5), quantity("b", 2.5)], null)
    assert found.worst == "b"
    assert found.largest.value == 2.5
    assert found.largest.null == pytest.approx(1.5)  # worst per re-split: 1, 2, 3, 1
    assert found.largest_p == pytest.approx(2 / 5)
    assert found.median.value == pytest.approx(2.0)
    assert floor_ratios([], null) is None


def test_all_agree():
    _, found = family([quantity("a"), quantity("b", 1.2)])
    assert [check.name for check in found] == ["W1 of all quantities", "KS of all quantities"]
    sentence, agrees = headline(found, [quantity("a")], (100, 101), 0.05)
    assert agrees
    assert sentence.startswith("FastSim cannot be told from FullSim: none of 2 tests fails")
    assert "100 + 101 events, family-wise level 5%" in sentence


def test_what_fails_is_named_with_its_worst_quantity():
    quantities = [quantity("a"), quantity("b", 9.0, 1e-9, group="response")]
    _, found = family(quantities)
    sentence, agrees = headline(found, quantities, (100, 100), 0.05)
    assert not agrees
    assert "2 of 2 tests fail" in sentence
    assert "b response 9 ± 0.3" in sentence


def test_p_values_are_corrected_over_the_family():
    _, found = family([quantity("a", ks_p=0.02), quantity("b")])
    ks = next(check for check in found if check.name.startswith("KS"))
    assert ks.p == pytest.approx(0.04)  # over quantities
    assert ks.p_holm == pytest.approx(0.08)  # and over tests
    assert ks.agrees


@pytest.mark.parametrize("outcomes", [0, 3, 12, 40])
def test_a_p_value_from_resplits_can_fail_alone(outcomes):
    null = np.random.default_rng(2).gamma(8, 1 / 8, (1, enough_resplits(outcomes, 0.05)))
    smallest = floor_ratios([quantity("a", 99.0)], null).largest_p
    assert holm([smallest, *[1.0] * (FAMILY + outcomes - 1)])[0] < 0.05


def test_a_broken_copy_fails_without_a_p_value():
    broken = quantity(
        "eta", kind="copy", floor_ratio=None, ks=None, equal=(1.0, 0.99), agrees=False
    )
    _, found = family([quantity("a"), broken])
    copy = next(check for check in found if check.name == "copies of GEN")
    assert not copy.agrees
    assert copy.value.value == 0.99


def test_shares_of_flags_missing_rows_and_selections_are_one_family():
    test = Statistic(9.0, 0.003, ndf=1)
    flag = quantity(
        "tag", kind="discrete", floor_ratio=None, ks=None,
        categories=Categories((0.0, 1.0), (0.6, 0.4), (0.5, 0.5), (-3.0, 3.0), test),
    )  # fmt: skip
    gap = quantity("mass", missing=(0.01, 0.05), missing_pull=6.0)
    rate = rate_result("selection", Rate((50, 100), (52, 100)))
    _, found = family([flag, gap], rates=[rate])
    share = next(check for check in found if check.name.startswith("shares"))
    assert share.worst == "rows without mass"
    assert share.p == pytest.approx(3 * 2 * norm.sf(6.0))
    assert not share.agrees


def test_binomial_errors_of_a_rate():
    found = rate_result("x", Rate((30, 100), (60, 100)))
    assert found.full == 0.3
    assert found.full_error == pytest.approx(np.sqrt(0.3 * 0.7 / 100))
    assert found.pull == pytest.approx(0.3 / np.sqrt((0.21 + 0.24) / 100))
    # weight 2 each: as many events, twice the sum
    doubled = rate_result("x", Rate((60, 200), (60, 100), full_squared=(120, 400)))
    assert doubled.full_error == pytest.approx(found.full_error)


@pytest.mark.parametrize("of", [lambda full, fast: Rate((full, 100), (fast, 100)), None])
def test_all_against_none_is_told(of):
    def rate(full, fast):
        side = [np.arange(100) < n for n in (full, fast)]
        return Rate.of(*((passed, np.full(100, 0.3), np.arange(100)) for passed in side))

    of = of or rate
    told = rate_result("x", of(100, 0))
    assert told.p < 1e-10
    assert told.full_error == pytest.approx(np.sqrt(101 / 102 * 1 / 102 / 100))
    assert rate_result("x", of(100, 100)).p == pytest.approx(1)


def test_objects_that_fullsim_never_has_are_told():
    none, some = (Tally(np.full(300, n), np.ones(300), np.arange(300) + 1000 * n) for n in (0, 1))
    counts = compare_counts("ghosts", none, some)
    _, found = family([quantity("a")], counts=[counts])
    share = next(check for check in found if check.name.startswith("shares"))
    assert share.worst.endswith("of ghosts")
    assert not share.agrees
    assert np.isfinite(share.value.value)


def test_targets_are_met_or_missed():
    ratios, _ = family([quantity("a", 1.1), quantity("b", 4.0)])
    found = {t.name: t for t in targets(Targets(), ratios, None, [])}
    assert not found["largest floor ratio"].met
    assert found["median floor ratio"].value == pytest.approx(2.55)
    assert Settings().targets.excess == 0.006
