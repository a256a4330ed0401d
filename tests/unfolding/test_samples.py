import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.unfolding import Measured, Pairs

X = np.array([1.0, 2.0, 3.0, 4.0])


def test_what_is_not_finite_is_left_out_of_the_measurement_and_counted():
    data = Measured.of({"x": np.array([1.0, np.nan, 3.0, np.inf])}, np.array([1.0, 1.0, np.nan, 1]))
    assert data.reco.tolist() == [[1.0]]
    assert data.left_out == 3


def test_a_side_that_is_not_finite_counts_as_missing():
    pairs = Pairs.of(
        {"z": np.array([1.0, np.nan, 3.0, 4.0])},
        {"x": np.array([np.inf, 2.0, 3.0, np.nan])},
        has_reco=np.array([True, True, True, False]),
    )
    assert pairs.has_gen.tolist() == [True, False, True, True]
    assert pairs.has_reco.tolist() == [False, True, True, False]
    assert pairs.nonfinite == {"GEN": 1, "RECO": 1}
    assert np.isfinite(pairs.gen).all()
    assert np.isfinite(pairs.reco).all()


def test_an_event_with_an_unusable_weight_has_neither_side():
    pairs = Pairs.of({"z": X}, {"x": X}, np.array([1.0, np.nan, 1.0, 1.0]))
    assert pairs.has_gen.tolist() == pairs.has_reco.tolist() == [True, False, True, True]
    assert pairs.weight.tolist() == [1, 0, 1, 1]
    assert pairs.nonfinite == {"weight": 1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Measured.of({"x": X}, np.array([1.0, -1.0, 1.0, 1.0])), "1 of 4 weights are neg"),
        (lambda: Measured.of({"x": X}, np.ones(3)), r"\(3,\) weights for 4 events"),
        (lambda: Measured.of({}), "no quantity"),
        (lambda: Measured.of({"x": X * np.nan}), "no usable event among 4"),
        (lambda: Measured.of({"x": X, "y": X[:2]}), "different lengths"),
        (lambda: Pairs.of({"z": X}, {"x": X[:3]}), "gen has 4 events and reco has 3"),
        (lambda: Pairs.of({"z": X}, {"x": X}, has_gen=np.ones(3, bool)), "has_gen has 3 entries"),
        (lambda: Pairs.of({"z": X}, {"x": X}, has_gen=X < 3, has_reco=X > 2), "GEN and RECO, of 4"),
    ],
)
def test_samples_that_do_not_fit_are_refused(call, message):
    with pytest.raises(SampleError, match=message):
        call()
