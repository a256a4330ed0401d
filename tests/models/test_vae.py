"""The autoencoders: what their losses are, and which distributions they learn."""

import math

import pytest
import torch
from toy_detector import SHAPE, ToyDetector, learn

from gen2reco.models.nn.posteriors import Carried, Copula, Normal
from gen2reco.models.protocol import Batch, Shape
from gen2reco.models.vae import FIXED_DRAWS, VAEConfig


class Factor:
    """RECO = GEN-dependent centre + one hidden factor common to three quantities + own noise."""

    shape = Shape(targets=3, conditions=1)
    loadings = torch.tensor([1.0, -0.8, 0.5])
    width = 0.3

    @property
    def covariance(self):
        return torch.outer(self.loadings, self.loadings) + self.width**2 * torch.eye(3)

    @property
    def entropy(self):
        return float(0.5 * torch.logdet(2.0 * math.pi * math.e * self.covariance))

    def batch(self, size):
        condition = torch.randn(size, 1)
        common = self.loadings * torch.randn(size, 1)
        target = 0.7 * condition + common + self.width * torch.randn(size, 3)
        return Batch(target, condition, torch.ones(size))


@pytest.fixture(scope="module")
def fitted():
    torch.manual_seed(1)
    model = VAEConfig(latent=2, hidden=(32,)).build(Factor.shape)
    learn(model, Factor(), steps=600, batch=512, learning_rate=1e-2)
    return model


def sample(model, condition, seed=5):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(condition), model.noise.width, generator=generator)
    with torch.no_grad():
        return model.sample(condition, noise)


def test_a_common_factor_becomes_a_correlation(fitted):
    condition = torch.full((40_000, 1), 0.9)
    sampled = sample(fitted, condition)
    torch.testing.assert_close(sampled.mean(0), torch.full((3,), 0.63), rtol=0.0, atol=0.05)
    torch.testing.assert_close(sampled.t().cov(), Factor().covariance, rtol=0.0, atol=0.06)


def test_the_loss_is_a_bound_of_the_entropy_and_tight_for_a_factor(fitted):
    torch.manual_seed(6)
    with torch.no_grad():
        loss = fitted.loss(Factor().batch(20_000)).item()
    # The posterior of a factor model is normal, so that nothing but the fit separates the two.
    assert loss > Factor().entropy - 0.03
    assert loss < Factor().entropy + 0.06


def test_evaluation_averages_over_balanced_draws(fitted):
    draws = fitted.draws
    assert draws.shape == (FIXED_DRAWS, 2)
    torch.testing.assert_close(draws.mean(0), torch.zeros(2), rtol=0.0, atol=1e-6)
    torch.testing.assert_close(draws.square().mean(0), torch.ones(2))
    torch.manual_seed(7)
    batch = Factor().batch(2000)
    with torch.no_grad():
        fixed = fitted.loss(batch).item()
        assert fitted.loss(batch).item() == fixed
        fitted.train()
        drawn = [fitted.loss(batch).item() for _ in range(50)]
        fitted.eval()
    assert len(set(drawn)) == 50
    assert sum(drawn) / 50 == pytest.approx(fixed, abs=0.02)


def test_sample_is_the_decoded_centre_plus_own_noise(fitted):
    condition, noise = torch.randn(9, 1), torch.randn(9, 5)
    with torch.no_grad():
        centre = fitted.decode(noise[:, :2], condition)
        width = torch.exp(fitted.log_width)
        torch.testing.assert_close(
            fitted.sample(condition, noise), centre + width * noise[:, 2:], rtol=0.0, atol=0.01
        )
    # One latent number carries the factor, so the own noise is what the factor leaves.
    torch.testing.assert_close(width, torch.full((3,), 0.3), rtol=0.1, atol=0.0)


def test_beta_weighs_the_divergence():
    torch.manual_seed(8)
    batch, losses = Factor().batch(500), {}
    for beta in (0.0, 1.0, 3.0):
        torch.manual_seed(9)
        model = VAEConfig(beta=beta).build(Factor.shape).eval()
        with torch.no_grad():
            losses[beta] = model.loss(batch).item()
            centre, log_variance = model.encode(batch.target, batch.condition)
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(
        normal(centre, torch.exp(0.5 * log_variance)), normal(0.0, 1.0)
    )
    expected = divergence.sum(1).mean().item()
    assert losses[1.0] - losses[0.0] == pytest.approx(expected, rel=1e-4)
    assert losses[3.0] - losses[0.0] == pytest.approx(3.0 * expected, rel=1e-4)


def test_learns_two_peaks_whose_places_depend_on_gen():
    class Peaks:
        def batch(self, size):
            condition = torch.rand(size, 1) + 0.5
            side = torch.where(torch.rand(size, 1) < 0.3, 1.0, -1.0)
            target = side * condition + 0.1 * torch.randn(size, 1)
            return Batch(target, condition, torch.ones(size))

    torch.manual_seed(2)
    model = VAEConfig(latent=2, hidden=(48, 48)).build(Shape(1, 1))
    learn(model, Peaks(), steps=1000, batch=512, learning_rate=5e-3)
    for place in (0.7, 1.3):
        sampled = sample(model, torch.full((20_000, 1), place))[:, 0]
        assert (sampled > 0.0).float().mean().item() == pytest.approx(0.3, abs=0.08)
        # A continuous map of latent numbers leaves a bridge between the peaks; one normal
        # distribution of the same mean and width would have a quarter near them.
        near = (sampled.abs() - place).abs() < 0.3
        assert near.float().mean().item() > 0.7
        assert (sampled.abs() < 0.3 * place).float().mean().item() < 0.09


def test_the_copula_posterior_is_a_normal_of_full_covariance_made_uniform():
    torch.manual_seed(3)
    copula = Copula(3)
    # Small enough that the cut of the uniform numbers at their ends does not show.
    encoded = 0.3 * torch.randn(2, copula.numbers)
    latent, divergence = copula.draw(encoded, torch.randn(200_000, 1, 3))
    assert latent.min() > 0.0
    assert latent.max() < 1.0
    normal = torch.special.ndtri(latent.double())
    for row in range(2):
        own = torch.distributions.MultivariateNormal(
            encoded[row, :3].double(), normal[:, row].t().cov()
        )
        torch.testing.assert_close(normal[:, row].mean(0), own.mean, rtol=0.0, atol=0.02)
        variance = torch.exp(encoded[row, 3:6]).double()
        torch.testing.assert_close(own.covariance_matrix.diagonal(), variance, rtol=0.02, atol=0.0)
        assert own.covariance_matrix.tril(-1).abs().max() > 0.1
        standard = torch.distributions.MultivariateNormal(
            torch.zeros(3).double(), torch.eye(3).double()
        )
        expected = torch.distributions.kl_divergence(own, standard).item()
        assert divergence[0, row].item() == pytest.approx(expected, abs=0.03)


def test_uniform_latent_numbers_reach_the_decoder_with_variance_one():
    model = VAEConfig(latent=4, posterior="copula").build(Shape(3, 0))
    assert (model.noise.normal, model.noise.uniform) == (3, 4)
    read = model.posterior.decoded(torch.rand(100_000, 4))
    torch.testing.assert_close(read.mean(0), torch.zeros(4), rtol=0.0, atol=0.02)
    torch.testing.assert_close(read.var(0), torch.ones(4), rtol=0.02, atol=0.0)
    # The uniform numbers are the latent ones, not the targets' own noise.
    noise = torch.cat([torch.zeros(5, 3), torch.rand(5, 4)], 1)
    with torch.no_grad():
        torch.testing.assert_close(
            model.sample(torch.zeros(5, 0), noise), model.decode(noise[:, 3:], torch.zeros(5, 0))
        )


@pytest.mark.parametrize("kind", ["coupling", "planar"])
def test_steps_of_the_posterior_stretch_as_they_say(kind):
    torch.manual_seed(4)
    carried = Carried(3, kind, 3, 8).double()
    for step in carried.steps:
        for parameter in step.parameters():
            parameter.data.add_(0.5 * torch.randn_like(parameter))
        start = torch.randn(3).double()
        _, stretched = step(start)
        jacobian = torch.autograd.functional.jacobian(lambda z, step=step: step(z)[0], start)
        assert stretched.item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item())


def test_a_flow_that_does_nothing_estimates_the_normal_divergence():
    torch.manual_seed(5)
    carried, normal = Carried(2, "coupling", 2, 8), Normal(2)
    for parameter in carried.parameters():
        parameter.data.zero_()
    encoded = torch.randn(4, 4)
    draws = torch.randn(100_000, 1, 2)
    estimated = carried.draw(encoded, draws)[1].mean(0)
    torch.testing.assert_close(estimated, normal.draw(encoded, draws)[1][0], rtol=0.02, atol=0.02)


def test_each_network_has_a_loss_of_its_own_beside_a_discriminator():
    torch.manual_seed(6)
    model = VAEConfig(latent=2, hidden=(16,), discriminator=(8,)).build(Factor.shape)
    batch = Factor().batch(400)
    assert list(model.objectives()) == ["encoder", "decoder", "discriminator"]
    with torch.no_grad():
        model.eval()
        alone = model.loss(batch, "loss").item()
        assert model.loss(batch, "encoder").item() > alone
    torch.manual_seed(7)
    first = model.measures(batch)
    optimizer = torch.optim.Adam(model.objectives()["discriminator"], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        model.loss(batch, "discriminator").backward()
        optimizer.step()
    torch.manual_seed(7)
    assert sum(model.measures(batch).values()) < 0.8 * sum(first.values())
    # What the discriminator has learned moves the decoder.
    weight = {
        alpha: VAEConfig(latent=2, hidden=(16,), discriminator=(8,), alpha=alpha)
        for alpha in (0.0, 1.0)
    }
    losses = {}
    for alpha, config in weight.items():
        model.config = config
        losses[alpha] = model.loss(batch, "decoder").item()
    assert losses[1.0] > losses[0.0] + 0.3


def test_scores_grow_with_strangeness():
    for settings in ({}, {"posterior": "copula", "discriminator": (16,)}):
        torch.manual_seed(8)
        model = VAEConfig(latent=2, hidden=(32,), **settings).build(Factor.shape)
        learn(model, Factor(), steps=300, batch=512, learning_rate=1e-2)
        batch = Factor().batch(500)
        with torch.no_grad():
            usual = model.score(batch.target, batch.condition)
            # Against the correlation of the common factor.
            strange = model.score(batch.target + torch.tensor([3.0, 3.0, 3.0]), batch.condition)
        assert set(usual) >= {"reconstruction", "latent", "bound"}
        assert ("copula" in usual) == ("discriminator" in usual) == bool(settings)
        for name in ("reconstruction", "bound"):
            assert strange[name].median() > 2.0 * usual[name].median()


@pytest.mark.slow
def test_learns_the_toy_detectors_distributions():
    toy = ToyDetector(140_000, held=30_000)
    torch.manual_seed(1)
    model = VAEConfig(latent=8, hidden=(64, 64)).build(SHAPE)
    learn(model, toy, steps=3000, batch=1024, learning_rate=3e-3)
    truth, made = toy.held.target, sample(model, toy.held.condition)
    levels = torch.linspace(0.01, 0.99, 99)
    quantiles = [torch.quantile(columns, levels, dim=0) for columns in (truth, made)]
    assert (quantiles[0] - quantiles[1]).abs().mean(0).max() < 0.1
    torch.testing.assert_close(made.t().corrcoef(), truth.t().corrcoef(), rtol=0.0, atol=0.08)
    # An encoder that ignored its targets would leave all of a target to its own noise.
    assert (torch.exp(model.log_width) < 0.9).sum() >= 3
