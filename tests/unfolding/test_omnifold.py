import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.unfolding import (
    Measured,
    OmniFold,
    Pairs,
    Trees,
    bootstrap,
    omnifold,
    replica_counts,
    spectrum,
)

COUNT = 12_000
FAKES = 150
QUICK = OmniFold(iterations=4, trees=Trees(trees=40, leaf_rows=200))
EDGES = np.linspace(-1.5, 2.0, 8)


@pytest.fixture(scope="module")
def unfolded(toy):
    """A measurement with another truth than the simulation, losses and fakes on both sides."""
    rng = np.random.default_rng(1)
    z, x, found = toy(rng, COUNT, 0.3)
    fakes = rng.uniform(-3, 3, FAKES)
    data = Measured.of({"x": np.concatenate([x[found], fakes])})
    gen, reco, seen = toy(rng, COUNT, 0.0)
    pairs = Pairs.of(
        {"z": np.concatenate([gen, np.zeros(FAKES)])},
        {"x": np.concatenate([reco, rng.uniform(-3, 3, FAKES)])},
        has_gen=np.arange(COUNT + FAKES) < COUNT,
        has_reco=np.concatenate([seen, np.ones(FAKES, bool)]),
    )
    return z, data, pairs, omnifold(data, pairs, QUICK)


def test_the_truth_comes_out_with_its_yield(unfolded):
    z, _, pairs, result = unfolded
    gen = pairs.gen[:, 0]
    assert np.average(gen, weights=result.weight) == pytest.approx(0.3, abs=0.05)
    # losses are in the sum, fakes are not
    assert result.weight.sum() == pytest.approx(len(z), rel=0.03)
    content = np.histogram(gen, EDGES, weights=result.weight)[0]
    truth = np.histogram(z, EDGES)[0]
    prior = np.histogram(gen[pairs.has_gen], EDGES)[0]
    assert np.abs(content - truth).sum() < 0.35 * np.abs(prior - truth).sum()


def test_one_weight_for_the_truth_of_an_event_found_or_lost(unfolded):
    _, _, pairs, result = unfolded
    assert np.all(result.weight[~pairs.has_gen] == 0)
    near = np.abs(pairs.gen[:, 0] + 1) < 0.1
    found = result.weight[near & pairs.has_gen & pairs.has_reco]
    lost = result.weight[near & pairs.has_gen & ~pairs.has_reco]
    assert len(lost) > 100
    assert np.mean(lost) == pytest.approx(np.mean(found), rel=0.05)


def test_history_says_how_it_went(unfolded):
    _, data, pairs, result = unfolded
    history = result.history
    assert [one.number for one in history] == [1, 2, 3, 4]
    assert history[-1].change < 0.3 * history[0].change
    assert history[-1].at_reco < history[0].at_reco
    assert result.effective == pytest.approx(result.weight.sum() ** 2 / np.sum(result.weight**2))
    assert history[-1].largest > 1
    assert np.allclose(result.by_iteration[-1], result.weight, rtol=1e-6)
    assert result.counts["simulated events without RECO"] == np.sum(pairs.has_gen & ~pairs.has_reco)
    assert result.counts["simulated events without GEN (fakes)"] == FAKES
    assert result.fakes == pytest.approx(FAKES / len(data.weight), rel=0.25)


def test_more_iterations_depend_less_on_the_prior(unfolded):
    _, data, pairs, result = unfolded
    tilted = omnifold(data, pairs, QUICK, prior=np.exp(-0.3 * pairs.gen[:, 0]))
    apart = [
        abs(np.average(pairs.gen[:, 0], weights=one) - np.average(pairs.gen[:, 0], weights=two))
        for one, two in zip(result.by_iteration, tilted.by_iteration, strict=True)
    ]
    assert apart[-1] < 0.6 * apart[0]


def test_prior_weights_of_the_simulation_are_used(toy):
    """The weights make the simulation's truth that of the data: nothing is left to unfold."""
    rng = np.random.default_rng(4)
    _, x, found = toy(rng, COUNT, 0.0)
    gen, reco, seen = toy(rng, COUNT, -0.5)
    weight = np.exp(0.5 * gen + 0.125)
    pairs = Pairs.of({"z": gen}, {"x": reco}, weight, has_reco=seen)
    weighted = omnifold(Measured.of({"x": x[found]}), pairs, QUICK)
    factor = weighted.weight / weight
    assert np.average(factor, weights=weight) == pytest.approx(1.0, abs=0.03)
    middle = np.abs(gen) < 1.5
    assert np.std(factor[middle]) < 0.12
    assert np.average(gen, weights=weighted.weight) == pytest.approx(0.0, abs=0.05)


def test_the_same_seed_gives_the_same_weights(unfolded):
    _, data, pairs, result = unfolded
    assert np.array_equal(omnifold(data, pairs, QUICK).weight, result.weight)
    other = omnifold(data, pairs, QUICK.with_seed(2)).weight
    assert not np.array_equal(other, result.weight)


def test_replicas_scatter_as_the_statistics_say(unfolded):
    _, data, pairs, result = unfolded
    copies = bootstrap(data, pairs, 12, OmniFold(iterations=2, trees=QUICK.trees))
    counts = replica_counts((len(data.weight), len(pairs)), 3)[1]
    assert np.all(copies[3][counts == 0] == 0)
    found = spectrum(pairs.gen[:, 0], result.weight, copies, EDGES)
    poisson = np.sqrt(found.content)
    # both samples scatter, and unfolding adds to that
    assert np.all(found.error > 0.6 * poisson)
    assert np.median(found.error / poisson) > 1.0
    assert np.all(found.error < 6 * poisson)


def test_samples_that_do_not_fit_are_refused(unfolded):
    _, data, pairs, _ = unfolded
    two = Measured.of({"x": data.reco[:, 0], "y": data.reco[:, 0]})
    with pytest.raises(SampleError, match="2 RECO quantities, the simulation has 1"):
        omnifold(two, pairs, QUICK)
    with pytest.raises(SampleError, match="prior must be a positive number"):
        omnifold(data, pairs, QUICK, prior=np.zeros(len(pairs)))
    with pytest.raises(SampleError, match="2 folds are too few to iterate"):
        omnifold(data, pairs, OmniFold(trees=Trees(folds=2)))
