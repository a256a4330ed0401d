"""Sketches of distributions: within their stated error, and the same however the sample is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco.errors import SampleError
from gen2reco.validation.distances import kolmogorov, wasserstein
from gen2reco.validation.sketch import BITS, Sketch, Sketching, distance, expected_w1
from gen2reco.validation.streamed import Streaming

numbers = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60).map(np.array)


@settings(max_examples=200, deadline=None)
@given(numbers, st.integers(0, 60), st.floats(0.01, 0.99))
def test_pieces_do_not_matter_and_quantiles_are_close(values, cut, share):
    whole = Sketch.of(values)
    pieces = Sketch.merged([Sketch.of(values[cut:]), Sketch.of(values[:cut])])
    assert np.array_equal(whole.cells, pieces.cells)
    assert np.array_equal(whole.weight, pieces.weight)
    exact = np.sort(values)[max(int(np.ceil(share * len(values) - 1e-9)) - 1, 0)]
    assert whole.quantile(share) == pytest.approx(exact, rel=2.0**-BITS, abs=1e-38)


@settings(max_examples=200, deadline=None)
@given(numbers, numbers)
def test_distances_are_within_the_stated_error(first, second):
    found = distance(Sketch.of(first), Sketch.of(second))
    assert abs(found.w1 - wasserstein(first, second)) <= found.w1_error * (1 + 1e-9) + 1e-9
    exact = kolmogorov(first, second)[0]
    assert found.ks - 1e-12 <= exact <= found.ks + found.ks_error + 1e-12


def test_large_samples_are_sketched_well():
    draw = np.random.default_rng(1)
    first, second = draw.normal(50, 10, 200_000), draw.normal(50.1, 10, 200_000)
    found = distance(Sketch.of(first), Sketch.of(second))
    assert found.w1_error < 0.03
    assert found.w1 == pytest.approx(wasserstein(first, second), abs=2e-3)
    sketch = Sketch.of(first)
    edges = np.linspace(0, 100, 51)
    counts = np.histogram(first, edges)[0]
    assert np.abs(sketch.histogram(edges) - counts).max() < 0.02 * counts.max()


def test_the_null_is_that_of_equal_distributions():
    draw = np.random.default_rng(2)
    found = [wasserstein(draw.exponential(3, 4000), draw.exponential(3, 6000)) for _ in range(200)]
    large = Sketch.of(draw.exponential(3, 4000)), Sketch.of(draw.exponential(3, 6000))
    assert expected_w1(*large) == pytest.approx(np.mean(found), rel=0.08)


def test_weights_of_both_signs_and_numbers_that_are_none():
    values = np.array([1.0, 2.0, np.nan, 2.0, np.inf, -0.0, 0.0])
    weight = np.array([1.0, 2.0, 5.0, -0.5, 5.0, 0.25, 0.25])
    sketch = Sketch.of(values, weight)
    assert (sketch.entries, sketch.lost) == (5, 2)
    assert sketch.sum == 3.0
    assert len(sketch.cells) == 3
    assert sketch.effective == pytest.approx(9 / (1 + 4 + 0.25 + 0.125))
    with pytest.raises(SampleError, match="positive"):
        Sketch.of(values, -weight).shares()


def test_memory_of_a_sketch_does_not_grow():
    draw = np.random.default_rng(3)
    making = Sketching()
    held = []
    for _ in range(120):
        making.add(draw.normal(0, 1, 20_000))
        held.append(sum(len(one.cells) for one in making._pending))
    assert max(held[60:]) < 1.3 * max(held[:60])
    assert making.result().entries == 2_400_000


def test_streamed_comparisons_do_not_depend_on_the_pieces(tmp_path):
    draw = np.random.default_rng(4)
    sides = {name: draw.normal(50, 10, 5000) for name in ("full_a", "full_b", "fast")}
    results = []
    for pieces in (1, 7, 6000):
        streaming = Streaming()
        for name, values in sides.items():
            for piece in np.array_split(values, pieces)[:: 1 if pieces == 7 else -1]:
                shifted = piece + 1 if name == "fast" else piece
                streaming.add(
                    name, len(piece), np.ones(len(piece)), {"pt": shifted}, {"pt": piece / 2}
                )
        results.append(streaming.result(100))
    assert results[0] == results[1] == results[2]
    pt, response = results[0].quantities
    assert pt.w1 == pytest.approx(1.0, abs=0.4)
    assert pt.floor_ratio > 3
    assert response.floor_ratio < 3
    assert pt.null_observed < 1
    results[0].write(tmp_path)
    assert "floor_ratio" in (tmp_path / "streamed.json").read_text()
    assert "pt response" in str(results[0])


def test_ratios_are_sketched_finely_around_one():
    draw = np.random.default_rng(5)
    first, second = 1 + 0.01 * draw.normal(size=20_000), 1 + 0.01 * draw.normal(size=20_000)
    found = []
    for origins in ({}, {"pt": 1.0}):
        streaming = Streaming(origins)
        for side, values in (("full_a", first), ("fast", second)):
            streaming.add(side, 20_000, np.ones(20_000), {}, {"pt": values})
        found += streaming.result(1).quantities
    coarse, fine = found
    assert fine.w1_error < 0.02 * coarse.w1_error
    assert fine.w1 == pytest.approx(wasserstein(first, second), abs=fine.w1_error)
    assert fine.medians == pytest.approx((1, 1), abs=1e-3)
