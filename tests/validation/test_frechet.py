"""FPD and KPD against closed forms."""

from math import comb

import numpy as np
import pytest

from gen2reco.validation.frechet import DEGREE, fpd, frechet, in_units_of, kpd, mmd


def test_gaussians_of_known_moments():
    rng = np.random.default_rng(1)
    first = rng.normal(size=(200_000, 2))
    second = rng.normal(size=(200_000, 2)) * [2.0, 1.0] + [0.0, 3.0]
    # (shift of the means)^2 + (difference of the widths)^2
    assert frechet(first, second) == pytest.approx(9.0 + 1.0, rel=0.01)


def test_correlated_gaussians():
    rng = np.random.default_rng(2)
    rho = 0.6
    root = np.linalg.cholesky([[1.0, rho], [rho, 1.0]])
    first, second = rng.normal(size=(2, 300_000, 2))
    # Tr(1 + C - 2 sqrt(C)) with the eigenvalues of C
    wanted = sum((np.sqrt(value) - 1.0) ** 2 for value in (1 - rho, 1 + rho))
    assert frechet(first, second @ root.T) == pytest.approx(wanted, rel=0.05)


def test_extrapolation_takes_the_bias_away():
    rng = np.random.default_rng(3)
    plain, extrapolated = [], []
    for _ in range(12):
        first, second = rng.normal(size=(2, 800, 6))
        plain.append(frechet(first, second))
        extrapolated.append(fpd(first, second, rng)[0])
    spread = np.std(extrapolated) / np.sqrt(len(extrapolated))
    assert abs(np.mean(extrapolated)) < max(4 * spread, 2e-3)
    assert np.mean(plain) > 3 * abs(np.mean(extrapolated))


def test_extrapolated_distance_of_shifted_gaussians():
    rng = np.random.default_rng(4)
    first = rng.normal(size=(4000, 3))
    second = rng.normal([0.5, 0.0, 0.0], 1.0, size=(4000, 3))
    value, error = fpd(first, second, rng)
    assert value == pytest.approx(0.25, abs=0.06)
    assert 0 < error < 0.02


def test_kernel_distance_in_moments():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1)) + 0.3
    # (x y + 1)^4 is a product of moments: the distance is the squared difference of each.
    moments = [[np.mean(side**k) for k in range(DEGREE + 1)] for side in (first, second)]
    wanted = sum(
        comb(DEGREE, k) * (one - two) ** 2
        for k, (one, two) in enumerate(zip(*moments, strict=True))
    )
    assert mmd(first, second) == pytest.approx(wanted, rel=0.05)


def test_kernel_distance_of_equals_is_unbiased():
    rng = np.random.default_rng(6)
    found = [mmd(*rng.normal(size=(2, 300, 4))) for _ in range(60)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


def test_kernel_distance_grows_with_the_shift():
    rng = np.random.default_rng(7)
    first = rng.normal(size=(1000, 2))
    values = [kpd(first, rng.normal(size=(1000, 2)) + s, rng)[0] for s in (0.0, 0.3, 0.8)]
    assert values[0] < values[1] < values[2]


def test_units_are_those_of_the_reference():
    reference = np.random.default_rng(8).normal(5.0, 3.0, size=(1000, 2))
    reference[:, 1] = 2.0
    (scaled,) = in_units_of(reference, reference)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), [1.0, 0.0], atol=1e-9)
