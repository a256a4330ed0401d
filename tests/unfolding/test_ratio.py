import numpy as np

from gen2reco.unfolding import Ratio, Trees


def test_ratio_of_two_gaussians():
    rng = np.random.default_rng(1)
    one, two = rng.normal(0.5, 1, 10_000), rng.normal(0, 1, 10_000)
    x = np.concatenate([one, two])
    trees = Trees()
    ratio = Ratio(x[:, None], trees.deal(len(x), 0), trees)
    first = np.repeat([1.0, 0.0], 10_000)
    found = ratio.of_samples(3 * first, 1 - first)
    inside = np.abs(x) < 1.5
    exact = 3 * np.exp(0.5 * x - 0.125)
    assert np.std(np.log(found / exact)[inside]) < 0.12
    assert abs(np.mean(np.log(found / exact)[inside])) < 0.03


def test_ratio_of_two_weightings_is_their_mean_there_and_says_it_for_other_rows():
    rng = np.random.default_rng(2)
    z = rng.uniform(-1, 1, 9000)
    above = (1 + 0.5 * z) * rng.exponential(1.0, len(z))
    below = np.where(rng.random(len(z)) < 0.7, 1.0, 0.0)
    trees = Trees(folds=2)
    found = Ratio(z[:, None], trees.deal(len(z), 0), trees).of_weights(above * below, below)
    for rows in (below > 0, below == 0):
        assert np.std(found[rows] - (1 + 0.5 * z[rows])) < 0.12
        assert abs(np.mean(found[rows] - (1 + 0.5 * z[rows]))) < 0.05


def test_no_row_is_judged_by_trees_it_grew():
    """Pure noise in high dimension: trees that knew their rows would tell the samples apart."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 6))
    first = rng.random(3000) < 0.5
    trees = Trees(trees=40, leaves=12, leaf_rows=20)
    ratio = Ratio(x, trees.deal(3000, 0), trees)
    log = np.log(ratio.of_samples(first * 1.0, ~first * 1.0))
    apart = log[first].mean() - log[~first].mean()
    assert abs(apart) < 4 * np.std(log) * np.sqrt(4 / 3000)
