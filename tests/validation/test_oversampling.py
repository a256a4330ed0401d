from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from gen2reco.validation import Sample, assess, histogram
from gen2reco.validation.binned import oversampling_gain

EDGES = np.linspace(-2, 2, 9)
SMEAR = 0.5


def oversampled(rng, events, replicas, smear=SMEAR, per_event=1):
    """GEN values, and RECO smeared anew in each replica: the correlation is known.

    Rows are in the order of events, replicas, objects of an event.
    """
    gen = rng.normal(size=(events, 1, per_event))
    reco = gen + smear * rng.normal(size=(events, replicas, per_event))
    shape = reco.shape
    event = np.broadcast_to(np.arange(events)[:, None, None], shape).ravel()
    replica = np.broadcast_to(np.arange(replicas)[None, :, None], shape).ravel()
    return gen.ravel(), reco.ravel(), event, replica


def test_error_is_what_repeated_experiments_scatter_by():
    rng = np.random.default_rng(1)
    contents, variances, naive = [], [], []
    for _ in range(400):
        _, reco, event, _ = oversampled(rng, rng.poisson(300), 5)
        content, variance = histogram(reco, np.full(len(reco), 0.2), event, EDGES)
        contents.append(content)
        variances.append(variance)
        naive.append(histogram(reco, np.full(len(reco), 0.2), None, EDGES)[1])
    scatter = np.var(contents, axis=0)
    np.testing.assert_allclose(np.mean(variances, axis=0) / scatter, 1, atol=0.25)
    assert np.mean(variances) == pytest.approx(np.mean(scatter), rel=0.08)
    assert np.mean(naive) < 0.7 * np.mean(scatter)


def test_gain_is_that_of_the_known_correlation():
    rng = np.random.default_rng(2)
    replicas, events = 10, 40_000
    gen, reco, event, replica = oversampled(rng, events, replicas)
    gain = oversampling_gain(reco, np.full(len(reco), 0.1), event, replica, EDGES)
    # an event falls into a bin with probability p(gen): sum p over sum (p (1 - p) / R + p^2)
    p = np.diff(norm.cdf((EDGES[:, None] - gen) / SMEAR), axis=0)
    expected = p.sum(axis=1) / (p * (1 - p) / replicas + p**2).sum(axis=1)
    np.testing.assert_allclose(gain, expected, rtol=0.03)
    assert 1 < gain.min() < gain.max() < replicas


def test_gain_with_several_objects_per_event():
    rng = np.random.default_rng(3)
    weight = np.full(5000 * 4 * 3, 0.25)
    _, reco, event, replica = oversampled(rng, 5000, 4, smear=0.0, per_event=3)
    stuck = oversampling_gain(reco, weight, event, replica, EDGES)
    np.testing.assert_allclose(stuck, 1.0)
    _, reco, event, replica = oversampled(rng, 5000, 4, smear=50.0, per_event=3)
    edges = np.linspace(-100, 100, 41)
    free = oversampling_gain(reco, weight, event, replica, edges)
    # three independent objects per replica: counts are binomial, replicas share nothing but p
    p = np.diff(norm.cdf(edges / 50))
    expected = (3 * p * (1 - p) + 9 * p**2) / (3 * p * (1 - p) / 4 + 9 * p**2)
    np.testing.assert_allclose(free, expected, rtol=0.08)


@pytest.fixture(scope="module")
def judged(toys):
    """A toy whose FastSim has four replicas, and the same with the first one only."""
    toy = toys.make(rows=1600)
    copies, count = [], len(toy.fast)
    for number in range(4):
        rng = np.random.default_rng([7, number])
        gen = toy.fast.gen
        reco = {**toy.fast.quantities, "pt": gen["gen_pt"] * rng.normal(1.0, 0.1, count)}
        if number == 0:
            reco = dict(toy.fast.quantities)
        copies.append({**reco, "ratio": reco["pt"] / gen["gen_pt"]})
    tile = lambda values: np.tile(values, 4)  # noqa: E731
    whole = Sample(
        {name: np.concatenate([c[name] for c in copies]) for name in toy.fast.quantities},
        {
            "pt": np.concatenate([c["ratio"] for c in copies]),
            "eta": tile(toy.fast.responses["eta"]),
        },
        {name: tile(values) for name, values in toy.fast.gen.items()},
        np.full(4 * count, 0.25),
        tile(toy.fast.event),
        {name: tile(values) for name, values in toy.fast.gen_quantities.items()},
        replica=np.repeat(np.arange(4), count),
    )
    settings = replace(toys.settings, classifier_seeds=3)
    many = assess(toy.full, toy.half, whole, settings=settings)
    once = assess(toy.full, toy.half, toy.fast, settings=settings)
    return whole, many, once


def test_distances_take_the_first_replica(judged):
    _, many, once = judged
    for a, b in zip(many.quantities, once.quantities, strict=True):
        if a.floor_ratio:
            assert a.floor_ratio.value == pytest.approx(b.floor_ratio.value)
    assert many.rows == once.rows
    assert any("4 replicas of each GEN event" in note for note in many.notes)
    assert not any("floor ratios come out too low" in note for note in many.notes)


def test_each_replica_is_a_noise_seed_of_the_classifier(judged):
    _, many, once = judged
    assert len(many.classifier.auc) == 3
    assert len(once.classifier.auc) == 1


def test_histograms_hold_all_replicas_with_the_right_error(judged):
    whole, many, once = judged
    shape = next(d for d in many.distributions if d.name == "pt")
    single = next(d for d in once.distributions if d.name == "pt")
    content, variance = histogram(
        whole.quantities["pt"], whole.weight, whole.event, np.array(shape.edges)
    )
    scale = np.array(shape.fast)[content > 0] / content[content > 0]
    np.testing.assert_allclose(scale, scale[0])
    np.testing.assert_allclose(shape.fast_variance, variance * scale[0] ** 2)
    assert sum(shape.fast_variance) < 0.8 * sum(single.fast_variance)


def test_gain_is_reported_per_distribution(judged):
    _, many, once = judged
    found = {g.name: g for g in many.gains}
    assert set(found) == {"pt", "eta", "mass", "tag", "jets"}
    assert once.gains == ()
    assert found["eta"].mean == pytest.approx(1.0)
    assert 1.3 < found["pt"].mean < 4
    assert found["pt"].replicas == 4
