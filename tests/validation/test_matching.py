import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.events import Jagged
from gen2reco.rows.matching import match
from gen2reco.validation.matching import Objects, describe_matching
from gen2reco.validation.object_plots import matching_plot
from gen2reco.validation.pictures import svg_bytes


def jagged(*lists):
    counts = np.cumsum([0, *map(len, lists)])
    return Jagged(counts, np.array([x for part in lists for x in part], float))


def described(gen, reco, **options):
    sides = [Objects(*(jagged(*column) for column in side)) for side in (gen, reco)]
    pairs = match(sides[0].eta, sides[0].phi, sides[1].eta, sides[1].phi, max_delta_r=0.4)
    return describe_matching(pairs, *sides, reach=0.4, **options)


@pytest.fixture(scope="module")
def small():
    """Event 0: two pairs and a spurious object near the first; event 1: one object not found."""
    gen = ([[50.0, 40.0], [10.0]], [[0.0, 2.0], [1.0]], [[0.0, 1.0], [1.0]])
    reco = ([[55.0, 20.0, 44.0], []], [[0.01, 0.3, 2.0], []], [[0.0, 0.0, 1.35], []])
    return gen, reco


def test_pairs_by_hand(small):
    found = described(*small)
    assert (found.gen, found.reco, found.pairs) == (3, 3, 2)
    assert found.efficiency.value == pytest.approx(2 / 3)
    assert found.spurious.value == pytest.approx(1 / 3)
    assert found.near_reach == pytest.approx(0.5)  # 0.35 lies beyond 0.32
    assert found.crowded == pytest.approx(0.5)  # only the first has another one within 0.4
    assert found.delta_r_quantiles == pytest.approx((0.01, 0.35))
    assert found.ratio_quantiles[1] == pytest.approx(1.1)
    assert sum(found.delta_r) == sum(found.ratio) == 2
    # the lost one is alone in its event, and has no next RECO object
    assert sum(found.neighbour) == 2


def test_the_pt_ratio_is_shown_as_far_as_it_is_measured(small):
    gen, _ = small
    exact = ([[50.5, 39.8], [10.0]], gen[1], gen[2])
    found = described(gen, exact)
    assert (found.ratio_edges[0], found.ratio_edges[-1]) == pytest.approx((0.95, 1.05))
    assert sum(found.ratio) == 3


def test_weights_are_those_of_the_events(small):
    found = described(*small, weight=np.array([1.0, 3.0]))
    assert found.efficiency.value == pytest.approx(2 / 5)
    assert found.spurious.value == pytest.approx(1 / 3)


def test_without_a_reach_nothing_is_near_it(small):
    gen, reco = (Objects(*(jagged(*column) for column in side)) for side in small)
    pairs = match(gen.eta, gen.phi, reco.eta, reco.phi)
    found = describe_matching(pairs, gen, reco)
    assert np.isnan(found.near_reach)
    assert np.isnan(found.crowded)
    assert svg_bytes(matching_plot(found))


def toy(rng, events=4000):
    """GEN objects that are found above a threshold, and noise of low pt."""
    gen, reco = ([], [], []), ([], [], [])
    for _ in range(events):
        n, noise = rng.poisson(2), rng.poisson(0.5)
        pt, eta, phi = 10 + rng.exponential(30, n), rng.uniform(-3, 3, n), rng.uniform(-3, 3, n)
        found = rng.random(n) < np.where(pt < 20, 0.5, 0.95)
        extra = (
            10 + rng.exponential(3, noise),
            rng.uniform(-3, 3, noise),
            rng.uniform(-3, 3, noise),
        )
        near = (
            pt[found] * rng.normal(1, 0.1, found.sum()),
            eta[found] + rng.normal(0, 0.02, found.sum()),
            phi[found] + rng.normal(0, 0.02, found.sum()),
        )
        for side, columns in ((gen, (pt, eta, phi)), (reco, zip(near, extra, strict=True))):
            for column, values in zip(side, columns, strict=True):
                column.append(np.concatenate(values) if side is reco else values)
    return gen, reco


def test_a_toy_detector_is_described_as_it_is():
    found = described(*toy(np.random.default_rng(1)))
    low = np.array(found.gen_pt_edges)[1:] <= 20
    high = np.array(found.gen_pt_edges)[:-1] >= 20
    efficiency, error = np.array(found.efficiency_by_pt), np.array(found.efficiency_error)
    # chance pairs with noise lift the first a little
    assert np.all(np.abs(efficiency[low] - 0.5) < 4 * error[low] + 0.04)
    assert np.all(np.abs(efficiency[high] - 0.95) < 4 * error[high] + 0.01)
    assert found.spurious_by_pt[0] > 0.5
    assert found.spurious_by_pt[-1] < 0.05
    assert found.ratio_quantiles == pytest.approx((0.9, 1.0, 1.1), abs=0.03)
    # 0.02 in both directions: Rayleigh
    assert found.delta_r_quantiles[0] == pytest.approx(0.02 * np.sqrt(2 * np.log(2)), rel=0.1)
    assert found.near_reach < 0.02


def test_pairs_of_other_objects_are_refused(small):
    gen, reco = (Objects(*(jagged(*column) for column in side)) for side in small)
    pairs = match(reco.eta, reco.phi, reco.eta, reco.phi)
    with pytest.raises(SampleError, match="do not belong to 3 and 2 objects"):
        describe_matching(pairs, gen, Objects(*[jagged([1.0], [2.0])] * 3))
    none = Objects(*[jagged([], [])] * 3)
    pairs = match(gen.eta, gen.phi, none.eta, none.phi)
    with pytest.raises(SampleError, match="no RECO objects"):
        describe_matching(pairs, gen, none)
