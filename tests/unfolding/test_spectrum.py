import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.unfolding import Spectrum, spectrum


def test_contents_and_covariance():
    values = np.array([0.5, 1.5, 1.6, 9.0])
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    replicas = np.stack([weight, 2 * weight, 3 * weight])
    found = spectrum(values, weight, replicas, np.array([0.0, 1.0, 2.0]))
    assert found.content.tolist() == [1, 5]
    assert np.allclose(found.covariance, [[1, 5], [5, 25]])
    assert np.allclose(found.error, [1, 5])
    with pytest.raises(SampleError, match="two replicas"):
        spectrum(values, weight, replicas[:1], np.array([0.0, 1.0]))


def test_chi2_has_its_mean_with_few_replicas_too():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(4, 4))
    edges = np.arange(5.0)
    values = []
    for _ in range(400):
        copies = rng.normal(size=(15, 4)) @ mixing
        content = rng.normal(size=4) @ mixing
        value, ndf, p = Spectrum(edges, content, np.cov(copies.T), 15).chi2(np.zeros(4))
        assert ndf == 4
        assert 0 <= p <= 1
        values.append(value)
    assert np.mean(values) == pytest.approx(4, rel=0.2)


def test_too_few_replicas_for_chi2():
    with pytest.raises(SampleError, match="a covariance of 4 bins needs 7 replicas"):
        Spectrum(np.arange(5.0), np.ones(4), np.eye(4), 6).chi2(np.zeros(4))
