from dataclasses import replace

import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.validation import Rate, Sample, assess, write_report
from gen2reco.validation.assess import IDENTITY
from gen2reco.validation.report import to_plain


@pytest.fixture(scope="module")
def good(toys):
    toy = toys.make()
    return assess(
        toy.full,
        toy.half,
        [toys.members(toy.fast)],
        coverage=toy.coverage,
        closure=toy.closure,
        rates={"all": Rate((90, 100), (91, 100))},
        not_judged=["Something the caller knows."],
        settings=toys.settings,
    )


@pytest.fixture(scope="module")
def bad(toys):
    toy = toys.make(seed=1, scale=1.03, width=0.13)
    return assess(
        toy.full,
        toy.half,
        toy.fast,
        coverage=toy.coverage,
        closure=toy.closure,
        settings=toys.settings,
    )


def by_name(assessment):
    return {(q.group, q.name): q for q in assessment.quantities}


def test_truth_cannot_be_told(good):
    assert good.agrees, good.headline
    assert all(q.agrees for q in good.quantities)
    assert good.median_floor_ratio.value < 2
    assert abs(good.classifier.excess.value) < 4 * good.classifier.excess.error
    assert good.events[0] == good.events[1] == good.events[2]
    assert good.members == 3
    assert "Something the caller knows." in good.not_judged


def test_kinds_are_found(good):
    kinds = {key: q.kind for key, q in by_name(good).items()}
    assert kinds["quantity", "pt"] == "continuous"
    assert kinds["quantity", "tag"] == kinds["quantity", "jets"] == "discrete"
    assert kinds["response", "eta"] == "copy"
    copy = by_name(good)["response", "eta"]
    assert copy.equal == (1.0, 1.0)
    assert copy.w1 is None
    assert by_name(good)["quantity", "tag"].categories.values == (0.0, 1.0)


def test_a_wrong_response_is_told_by_every_test(bad):
    assert not bad.agrees
    failed = {check.name for check in bad.checks if not check.agrees}
    expected = {"W1 of all quantities", "KS of all quantities", "C2ST excess", "coverage"}
    assert expected | {"response scale and resolution (chi2/ndf)"} <= failed
    assert by_name(bad)["response", "pt"].word == "differs"
    assert not next(t for t in bad.targets if t.name == "C2ST excess").met


def test_the_identity_stands_beside_every_metric(good):
    pt = by_name(good)["quantity", "pt"]
    assert set(pt.references) == {"FullSim, other half", IDENTITY}
    assert pt.references["FullSim, other half"].floor_ratio < 3
    assert by_name(good)["response", "pt"].references[IDENTITY].floor_ratio > 10
    assert good.classifier.references[IDENTITY] > 0.9


def test_every_metric_has_error_and_null(good):
    for q in good.quantities:
        if q.kind == "continuous":
            assert q.w1.error > 0
            assert 0 < q.w1.null < q.w1.null_95
            assert q.floor_ratio.value == pytest.approx(q.w1.value / q.w1.null)
            assert q.relative_w1.value == pytest.approx(q.w1.value / q.width)
            assert q.ks.null > 0
            assert q.chi2.ndf > 5
            assert q.separation.null > 0


def test_ensemble_gives_a_band(good):
    shape = next(d for d in good.distributions if d.name == "pt")
    assert max(shape.band) > 0
    assert sum(shape.fast) == pytest.approx(sum(shape.full), rel=0.02)
    assert len(shape.gen) == len(shape.full) == len(shape.edges) - 1


def test_pictures_pair_the_same_events(good):
    assert {p.name for p in good.pictures} == {"pt", "eta"}
    picture = next(p for p in good.pictures if p.name == "eta")
    assert picture.correlation == pytest.approx((1.0, 1.0))  # a copy
    pt = next(p for p in good.pictures if p.name == "pt")
    assert pt.correlation[0] < pt.correlation[1] < 1  # two fluctuations against one


def test_same_samples_same_numbers(good, toys):
    toy = toys.make()
    again = assess(
        toy.full,
        toy.half,
        [toys.members(toy.fast)],
        coverage=toy.coverage,
        closure=toy.closure,
        rates={"all": Rate((90, 100), (91, 100))},
        not_judged=["Something the caller knows."],
        settings=toys.settings,
    )
    # as JSON: a number that does not exist does not equal itself
    assert to_plain(again) == to_plain(good)


def test_two_files_without_gen(toys):
    toy = toys.make(rows=1200)

    def bare(sample):
        return Sample(sample.quantities, {}, {}, sample.weight, sample.event)

    settings = replace(toys.settings, classifier_resplits=0)
    found = assess(bare(toy.full), toy.half, bare(toy.fast), settings=settings)
    assert found.agrees, found.headline
    assert found.classifier is None
    assert found.responses == found.coverage == found.pictures == ()
    assert len(found.not_judged) == 4


def test_response_in_bins_of_gen_without_a_closure_sample(toys):
    toy = toys.make(rows=1200)
    settings = replace(toys.settings, classifier_resplits=0)
    found = assess(toy.full, toy.half, toy.fast, response_bins=["gen_pt"], settings=settings)
    assert [(r.name, r.by, r.same_rows) for r in found.responses] == [("pt", "gen_pt", False)]
    with pytest.raises(SampleError, match="which is not a GEN column"):
        assess(toy.full, toy.half, toy.fast, response_bins=["gen_ptt"], settings=settings)


def test_gen_events_on_both_sides_are_refused(toys):
    toy = toys.make(rows=400)
    with pytest.raises(SampleError, match="also in half A of FullSim, which hides differences"):
        assess(toy.full, 1 - toy.half, toy.fast, settings=toys.settings)


def test_missing_columns_are_named(toys):
    toy = toys.make(rows=400)
    lacking = replace(toy.fast, quantities={"pT": toy.fast.quantities["pt"]}, gen_quantities={})
    with pytest.raises(SampleError, match=r"lacks 'pt' among its quantities\. Did you mean 'pT'"):
        assess(toy.full, toy.half, lacking, settings=toys.settings)


def test_unequal_sizes_are_cut_and_said(toys):
    toy = toys.make(rows=2000)
    few = toy.fast.take(np.arange(len(toy.fast)) < 300)
    settings = replace(toys.settings, classifier_resplits=0)
    found = assess(toy.full, toy.half, few, settings=settings)
    assert found.events == (300, 300, 300)
    assert any("cut to 300" in note for note in found.notes)
    ratios = [q.floor_ratio.value for q in found.quantities if q.floor_ratio]
    assert 0.3 < np.median(ratios) < 2


def test_negative_weights_go_through_and_are_said(toys):
    toy = toys.make(rows=2000)
    rng = np.random.default_rng(9)
    signed = [
        replace(s, weight=np.where(rng.random(len(s)) < 0.1, -1.0, 1.0))
        for s in (toy.full, toy.fast)
    ]
    settings = replace(toys.settings, w2=True)
    found = assess(signed[0], toy.half, signed[1], settings=settings)
    assert found.agrees, found.headline
    assert any("of the FullSim weights are negative" in note for note in found.notes)
    assert by_name(found)["quantity", "pt"].w2 is None
    plain = assess(toy.full, toy.half, toy.fast, settings=replace(settings, classifier_resplits=0))
    assert by_name(plain)["quantity", "pt"].w2.null > 0


def test_weights_are_repeated_rows(toys):
    toy = toys.make(rows=1500)
    settings = replace(toys.settings, classifier_resplits=0)
    doubled = [s.take(np.repeat(np.arange(len(s)), 2)) for s in (toy.full, toy.fast)]
    weighted = [replace(s, weight=2 * s.weight) for s in (toy.full, toy.fast)]
    one = assess(doubled[0], np.repeat(toy.half, 2), doubled[1], settings=settings)
    two = assess(weighted[0], toy.half, weighted[1], settings=settings)
    for a, b in zip(one.quantities, two.quantities, strict=True):
        if a.w1:
            assert a.w1.value == pytest.approx(b.w1.value, rel=1e-9)
            assert a.w1.null == pytest.approx(b.w1.null, rel=1e-9)
            assert a.ks.p == pytest.approx(b.ks.p, rel=1e-9)
            assert a.chi2.value == pytest.approx(b.chi2.value, rel=1e-9)


def test_rows_without_a_quantity_are_compared_as_a_share(toys):
    toy = toys.make(rows=2000)
    settings = replace(toys.settings, classifier_resplits=0)
    gaps = dict(toy.fast.quantities)
    gaps["mass"] = np.where(np.arange(len(toy.fast)) % 5 == 0, -np.inf, gaps["mass"])
    found = assess(toy.full, toy.half, replace(toy.fast, quantities=gaps), settings=settings)
    mass = by_name(found)["quantity", "mass"]
    assert mass.missing == pytest.approx((0.0, 0.2), abs=0.01)
    assert mass.missing_pull > 5
    shares = next(check for check in found.checks if check.name.startswith("shares"))
    assert shares.worst == "rows without mass"
    assert not shares.agrees


@pytest.mark.parametrize("side", ["full", "fast", "both"])
@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_a_quantity_without_any_value(toys, side, nothing, tmp_path):
    toy = toys.make(rows=1200)

    def wiped(sample):
        none = np.full(len(sample), nothing)
        return replace(sample, quantities={**sample.quantities, "mass": none}, gen_quantities={})

    full = toy.full if side == "fast" else wiped(toy.full)
    fast = toy.fast if side == "full" else wiped(toy.fast)
    settings = replace(toys.settings, resplits=200)
    found = assess(full, toy.half, fast, settings=settings)
    mass = by_name(found)["quantity", "mass"]
    shares = next(check for check in found.checks if check.name.startswith("shares"))
    if side == "both":
        assert found.agrees, found.headline
        assert any("distribution of mass" in one for one in found.not_judged)
    else:
        assert mass.word == "only on one side"
        assert shares.worst == "rows without mass"
        assert not shares.agrees
        assert not found.agrees
    # trees see what FullSim has: a gap of FastSim, but nothing that FullSim lacks everywhere
    assert ("mass" in found.classifier.features) == (side == "fast")
    assert (found.classifier.excess.value > 0.4) == (side == "fast")
    assert write_report(found, tmp_path, png=False).exists()


def test_a_quantity_of_few_events_is_left_out_by_name(toys):
    toy = toys.make(rows=3000)

    def rare(sample):
        known = sample.event % 250 == 0
        mass = np.where(known, sample.quantities["mass"], np.nan)
        return replace(sample, quantities={**sample.quantities, "mass": mass})

    settings = replace(toys.settings, resplits=200)
    found = assess(rare(toy.full), toy.half, rare(toy.fast), settings=settings)
    assert found.agrees, found.headline
    assert by_name(found)["quantity", "mass"].word == "too few values"
    assert any("distribution of mass" in one for one in found.not_judged)
    assert "mass" not in found.correlations[0].names
    assert len(found.correlations[0].names) >= 4


def test_what_cannot_be_resplit_is_named(toys):
    toy = toys.make(rows=1200)
    weight = np.ones(len(toy.full))
    known = toy.full.event % 10 == 0
    weight[np.flatnonzero(known)[::2]] = -1.0
    mass = np.where(known, toy.full.quantities["mass"], np.nan)
    full = replace(toy.full, quantities={**toy.full.quantities, "mass": mass}, weight=weight)
    with pytest.raises(SampleError, match=r"^mass: "):
        assess(full, toy.half, toy.fast, settings=replace(toys.settings, classifier_resplits=0))


def test_a_copy_that_is_smeared_is_not_equal(toys):
    toy = toys.make(rows=800)
    settings = replace(toys.settings, classifier_resplits=0)
    wrong = dict(toy.fast.responses)
    wrong["eta"] = np.random.default_rng(1).normal(0, 0.01, len(toy.fast))
    found = assess(toy.full, toy.half, replace(toy.fast, responses=wrong), settings=settings)
    eta = by_name(found)["response", "eta"]
    assert eta.word == "not equal"
    assert eta.equal[1] < 0.1
    assert not found.agrees


@pytest.mark.slow
def test_floor_ratios_of_thirty_quantities_take_seconds(toys):
    import time

    rng = np.random.default_rng(1)
    rows = 19_000
    columns = {f"x{i}": rng.normal(size=rows) for i in range(30)}
    full = Sample(columns, {}, {}, np.ones(rows), np.arange(rows))
    half = np.arange(rows) % 2
    settings = replace(toys.settings, resplits=200, bootstraps=100, classifier_resplits=0)
    start = time.process_time()
    found = assess(full, half, full.take(half == 1), settings=settings)
    assert time.process_time() - start < 60
    assert found.median_floor_ratio.value == pytest.approx(1, abs=0.35)
