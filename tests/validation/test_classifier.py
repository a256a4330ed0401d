import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gen2reco.errors import SampleError
from gen2reco.validation import Settings
from gen2reco.validation.classifier import Columns, Rows, area, c2st, event_folds, mean_excess
from gen2reco.validation.discrimination import supervised

SETTINGS = Settings(classifier_seeds=2, classifier_resplits=4, folds=3, threads=2)


def columns(rows, seed, shift=0.0, first=0):
    rng = np.random.default_rng(seed)
    gen = rng.normal(size=rows)
    return Columns(
        {"gen": gen, "reco": gen + 0.1 * rng.normal(size=rows) + shift},
        np.ones(rows),
        np.arange(first, first + rows),
    )


def run(rows=1500, shift=0.0, settings=SETTINGS, **options):
    full = columns(2 * rows, 1)
    half = np.arange(2 * rows) < rows
    fast = [columns(rows, 10 + seed, shift, first=10_000) for seed in range(2)]
    return c2st(full, half, fast, settings, **options)


def test_area_is_that_of_sklearn_ties_and_weights_included():
    rng = np.random.default_rng(1)
    score, side = np.round(rng.normal(size=500), 1), rng.random(500) < 0.4
    weight = rng.uniform(0.1, 3, 500)
    expected = roc_auc_score(side, score, sample_weight=weight)
    assert area(score, side, weight) == pytest.approx(expected, rel=1e-12)
    assert area(np.zeros(500), side, weight) == pytest.approx(0.5)


def test_area_with_negative_weights_takes_events_away():
    rng = np.random.default_rng(2)
    score, side = rng.normal(size=300), rng.random(300) < 0.5
    extra = rng.normal(5, 1, 40)
    together = np.concatenate([score, extra, extra])
    sides = np.concatenate([side, np.ones(80, bool)])
    weight = np.concatenate([np.ones(300), np.ones(40), -np.ones(40)])
    assert area(together, sides, weight) == pytest.approx(area(score, side, np.ones(300)))


def test_null_has_no_excess():
    found = run()
    assert abs(found.excess.value) < 3 * found.excess.error
    assert 0.005 < found.excess.error < 0.03
    assert found.p > 0.001
    assert len(found.auc) == 2
    assert len(found.null) == 4
    assert found.events == (1500, 1500)


def test_a_small_shift_of_the_response_is_found_where_marginals_hide_it():
    # half the resolution: RECO alone moves by 5 % of its width
    found = run(shift=0.05)
    assert found.excess.value > 4 * found.excess.error
    assert found.p < 1e-4
    assert max(found.true_positive) == pytest.approx(1)


def test_the_error_of_the_excess_is_that_of_toys():
    # what trees on the same FullSim half and GEN events do, in units of that half's own scatter
    rng, rows, toys = np.random.default_rng(5), 1000, 4000
    alone = np.sqrt(1 / (12 * rows))
    common, each = 1.2 * alone, 1.6 * alone
    side = Rows(np.zeros((rows, 1), np.float32), np.ones(rows), np.arange(rows))
    found = [
        mean_excess(
            rng.normal(0.5, common) + each * rng.normal(size=5),
            rng.normal(0.5, np.hypot(common, each), 10),
            side,
            side,
        )
        for _ in range(toys)
    ]
    errors = np.array([excess.error for excess, _ in found])
    assert errors.min() > alone  # seeds that happen to lie far apart do not make it smaller
    assert 0.9 < np.std([excess.value / excess.error for excess, _ in found]) < 1.02
    p_values = np.array([p for _, p in found])
    assert 0.02 < np.mean(p_values < 0.05) < 0.05
    assert 0.003 < np.mean(p_values < 0.01) < 0.012


def test_same_seed_same_numbers_for_any_number_of_threads():
    one = run(600, settings=Settings(classifier_seeds=1, classifier_resplits=1, folds=2, threads=1))
    two = run(600, settings=Settings(classifier_seeds=1, classifier_resplits=1, folds=2, threads=2))
    assert one == two


def test_seeds_beyond_those_of_the_trees_are_taken():
    run(600, settings=Settings(2**32, classifier_seeds=1, classifier_resplits=1, folds=2))


def test_rows_of_an_event_share_a_fold():
    first, second = np.repeat(np.arange(50), 3), np.repeat(np.arange(40, 90), 2)
    folds = event_folds(first, second, 5, np.random.default_rng(1))
    for event in range(90):
        rows = np.concatenate([first, second]) == event
        assert len(set(folds[rows])) == 1
    assert np.bincount(folds[:150]).min() >= 27


def test_weights_of_both_signs_are_judged_and_said():
    rng = np.random.default_rng(3)
    full = columns(1200, 1)
    full = Columns(full.features, np.where(rng.random(1200) < 0.1, -1.0, 1.0), full.event)
    fast = columns(600, 2, first=5000)
    settings = Settings(classifier_seeds=1, classifier_resplits=2, folds=2, threads=2)
    found = c2st(full, np.arange(1200) < 600, [fast], settings)
    assert abs(found.excess.value) < 4 * found.excess.error
    assert "signed weights" in found.note


def test_a_reference_with_fewer_features_is_judged_in_those():
    identity = columns(1500, 20, first=20_000)
    identity = Columns({"reco": identity.features["gen"] + 3}, identity.weight, identity.event)
    settings = Settings(classifier_seeds=1, classifier_resplits=1, folds=2, threads=2)
    assert run(settings=settings, references={"identity": identity}).references["identity"] > 0.9


def test_features_that_a_fold_has_no_value_of_are_left_out():
    rng = np.random.default_rng(4)
    nowhere, once = np.full(400, np.nan), np.where(np.arange(400) == 7, 1.0, np.nan)
    side = {"x": rng.normal(size=400), "nowhere": nowhere, "once": once}
    full = Columns(side, np.ones(400), np.arange(400))
    fast = Columns({**side, "x": rng.normal(size=400)}, np.ones(400), np.arange(400, 800))
    settings = Settings(classifier_seeds=1, classifier_resplits=2, folds=2, threads=1)
    found = c2st(full, np.arange(400) < 200, [fast], settings)
    assert found.features == ("x", "once")
    assert abs(found.excess.value) < 4 * found.excess.error
    empty = Columns({"nowhere": nowhere}, np.ones(400), np.arange(400))
    with pytest.raises(SampleError, match="no quantity has a value"):
        c2st(empty, np.arange(400) < 200, [fast], settings)


def test_a_classifier_that_knows_signal_does_without_features_that_have_no_value():
    rng = np.random.default_rng(6)
    gap = np.full(400, np.nan)
    background, signal = ({"x": rng.normal(at, 1, 400), "gap": gap} for at in (0, 2))
    folds = [np.arange(400) % 2] * 2
    scores = supervised(background, signal, folds)
    assert np.mean(scores[1]) > np.mean(scores[0]) + 1
    assert not np.any(supervised({"gap": gap}, {"gap": gap}, folds))
