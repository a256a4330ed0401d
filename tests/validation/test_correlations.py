import numpy as np
import pytest
from scipy.stats import spearmanr

from gen2reco.errors import SampleError
from gen2reco.validation.correlations import compare_correlations, correlation_matrix
from gen2reco.validation.resplits import resplit


def table(rows, seed, rho=0.6):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    b = rho * a + np.sqrt(1 - rho**2) * rng.normal(size=rows)
    return {"a": a, "b": np.exp(b), "c": np.round(rng.normal(size=rows), 1), "copy": np.zeros(rows)}


def compare(kind="spearman", **options):
    full, fast = table(3000, 11), table(1500, 12, **options)
    half = np.arange(3000) % 2 == 0
    sides = resplit(np.arange(3000), 1500, 100, np.random.default_rng(1))
    return compare_correlations((full, np.ones(3000)), half, (fast, np.ones(1500)), sides, kind)


def test_coefficients_are_those_of_scipy_and_numpy():
    columns = np.stack(list(table(500, 3).values())[:3], axis=1)
    expected = spearmanr(columns).statistic
    np.testing.assert_allclose(
        correlation_matrix(columns, np.ones(500), "spearman"), expected, atol=1e-12
    )
    pearson = correlation_matrix(columns, np.ones(500), "pearson")
    np.testing.assert_allclose(pearson, np.corrcoef(columns.T), atol=1e-12)


@pytest.mark.parametrize("kind", ["spearman", "pearson"])
def test_a_weight_is_a_repeated_row(kind):
    columns = np.stack(list(table(300, 4).values())[:3], axis=1)
    weight = np.random.default_rng(5).integers(1, 4, 300)
    repeated = np.repeat(columns, weight, axis=0)
    np.testing.assert_allclose(
        correlation_matrix(columns, weight.astype(float), kind),
        correlation_matrix(repeated, np.ones(len(repeated)), kind),
        atol=1e-12,
    )


@pytest.mark.parametrize("kind", ["spearman", "pearson"])
def test_equal_correlations_agree_and_copies_are_left_out(kind):
    found = compare(kind)
    assert found.names == ("a", "b", "c")
    assert found.p > 0.02
    assert found.frobenius.value < 2 * found.frobenius.null_95
    assert 0 < found.largest.null < found.largest.null_95


def test_another_correlation_is_found_and_named():
    found = compare(rho=0.4)
    assert found.p == pytest.approx(1 / 101)
    assert set(found.pair) == {"a", "b"}
    assert found.largest.value == pytest.approx(0.2, abs=0.06)


def test_negative_weights_are_used_and_their_limit_is_named():
    columns = np.stack(list(table(500, 3).values())[:3], axis=1)
    extra = columns[:50] + 1
    weight = np.concatenate([np.ones(500), np.ones(50), -np.ones(50)])
    both = np.concatenate([columns, extra, extra])
    np.testing.assert_allclose(
        correlation_matrix(both, weight, "pearson"),
        correlation_matrix(columns, np.ones(500), "pearson"),
        atol=1e-9,
    )
    with pytest.raises(SampleError, match="no positive variance"):
        correlation_matrix(np.array([[0.0], [5.0], [0.1]]), np.array([1.0, -0.5, 1.0]), "pearson")


def test_one_column_has_no_correlation():
    one = {"a": np.arange(40.0)}
    sides = resplit(np.arange(40), 20, 5, np.random.default_rng(1))
    half = np.arange(40) < 20
    assert (
        compare_correlations((one, np.ones(40)), half, (one, np.ones(40)), sides, "pearson") is None
    )
