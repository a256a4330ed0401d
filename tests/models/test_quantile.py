"""Centre and quantile regression: what it computes inside, and what it learns."""

import numpy as np
import pytest
import torch

from gen2reco.models.protocol import Batch, Shape
from gen2reco.models.quantile import Quantile, QuantileConfig, wjet_quantities


def events(n=500):
    rng = np.random.default_rng(1)
    mu, jet, met = (rng.normal(0.0, 40.0, (n, 3)) for _ in range(3))
    mass = rng.uniform(2.0, 20.0, n)
    return mu, jet, met, mass, np.column_stack([mu, jet, np.log(mass), met[:, :2]])


def test_derived_quantities_are_the_usual_ones():
    mu, jet, met, mass, condition = events()
    found = wjet_quantities(torch.from_numpy(condition)).numpy().T
    for p, (pt, eta, phi) in ((mu, found[:3]), (jet, found[3:6])):
        np.testing.assert_allclose(pt, np.hypot(p[:, 0], p[:, 1]))
        np.testing.assert_allclose(np.sinh(eta) * pt, p[:, 2], atol=1e-9)
        np.testing.assert_allclose(pt * np.exp(1j * phi), p[:, 0] + 1j * p[:, 1])
    met_pt, met_phi, m_t, s_t, jet_mass, between = found[6:]
    np.testing.assert_allclose(met_pt * np.exp(1j * met_phi), met[:, 0] + 1j * met[:, 1])
    # The transverse mass of two massless momenta, from their sum.
    energy, sums = found[0] + met_pt, mu[:, :2] + met[:, :2]
    np.testing.assert_allclose(m_t**2, energy**2 - (sums**2).sum(1), atol=1e-8 * energy.max() ** 2)
    np.testing.assert_allclose(s_t, found[0] + found[3] + met_pt)
    np.testing.assert_allclose(jet_mass, mass)
    np.testing.assert_allclose(np.cos(between), np.cos(found[2] - met_phi), atol=1e-9)
    assert np.abs(between).max() <= np.pi


def test_derived_quantities_are_finite_at_zero_momentum():
    assert torch.isfinite(wjet_quantities(torch.zeros(3, 9))).all()


def test_network_reads_the_derived_quantities():
    torch.manual_seed(1)
    model = QuantileConfig().build(Shape(9, 9)).eval()
    assert model.normalize.num_features == 21
    first = model.trunk[0]
    assert first.in_features == 21
    assert model.trunk[-2].out_features == 100
    assert model.trunk[1].negative_slope == 0.05


def test_sample_is_centre_plus_width_times_noise():
    torch.manual_seed(1)
    model = QuantileConfig(derived="none").build(Shape(2, 3)).eval()
    condition = torch.randn(10, 3)
    with torch.no_grad():
        centre, upper = model._heads(condition)
        for size in (-1.0, 0.0, 2.0):
            sampled = model.sample(condition, torch.full((10, 2), size))
            torch.testing.assert_close(sampled, centre + size * (upper - centre).abs())


def test_learns_median_and_upper_quantile_where_the_width_depends_on_gen():
    # RECO = x + width(x) * exponential: median ln 2, 84.1 % quantile -ln 0.159 widths above x.
    torch.manual_seed(2)
    n = 20_000
    condition = torch.rand(n, 1) * 2.0 - 1.0
    width = 0.2 * torch.exp(condition)
    target = condition + width * torch.distributions.Exponential(1.0).sample((n, 1))
    model: Quantile = QuantileConfig(derived="none", hidden=(32,), latent=16, head=()).build(
        Shape(1, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1.0 - step / 400)
        chosen = torch.randint(n, (512,))
        optimizer.zero_grad()
        model.loss(Batch(target[chosen], condition[chosen], torch.ones(512))).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        centre, upper = model._heads(condition)
    for head, level in ((centre, 0.5), (upper, 0.841)):
        for low, high in ((-1.0, -0.3), (-0.3, 0.3), (0.3, 1.0)):
            bin_ = (condition > low) & (condition < high)
            below = (target[bin_] < head[bin_]).float().mean().item()
            assert below == pytest.approx(level, abs=0.03)
