"""The toy detector's events follow the densities it states."""

import awkward as ak
import numpy as np
import pytest
from scipy import stats

from gen2reco.events import synthetic
from gen2reco.events.layout import flat_columns

SAMPLE = synthetic.generate(40_000, seed=3)


def repeated(pt, eta, n=1):
    return {
        "pt": np.full(n, pt),
        "eta": np.full(n, eta),
        "phi": np.zeros(n),
        "mass": np.full(n, 0.1 * pt),
    }


def test_events_have_nanoaod_shape():
    events = SAMPLE.events()
    assert set(events.fields) == {"run", "luminosityBlock", "event", "GenJet", "Jet"}
    assert ak.all(ak.num(events.GenJet) == 1)
    assert ak.to_list(ak.num(events.Jet)) == SAMPLE.found.astype(int).tolist()
    columns = flat_columns(events)
    np.testing.assert_array_equal(columns["Jet_pt"].content, SAMPLE.reco["pt"][SAMPLE.found])
    assert columns["Jet_nConstituents"].content.dtype.kind == "i"
    assert len(np.unique(columns["event"])) == len(events)


def test_same_seed_same_events_other_seed_other_events():
    again, other = synthetic.generate(500, seed=8), synthetic.generate(500, seed=9)
    assert ak.array_equal(again.events(), synthetic.generate(500, seed=8).events())
    assert not np.array_equal(again.response, other.response)
    assert again.events().run[0] != other.events().run[0]


def test_response_follows_scipys_multivariate_t():
    response = SAMPLE.response[:5]
    gen = {name: values[:5] for name, values in SAMPLE.gen.items()}
    stated = synthetic.log_prob(response, gen)
    for i in range(5):
        factor = synthetic._factor(gen)[i]
        law = stats.multivariate_t(synthetic._centre(gen)[i], factor @ factor.T, df=synthetic.TAIL)
        assert stated[i] == pytest.approx(law.logpdf(response[i]), abs=1e-10)


def test_drawn_responses_match_their_density():
    # The mean of -log p over draws is the entropy, which for this family is the t's own plus the
    # log volume.
    gen = SAMPLE.gen
    volume = np.log(np.einsum("nii->ni", synthetic._factor(gen))).sum(1)
    entropy = stats.multivariate_t(np.zeros(4), np.eye(4), df=synthetic.TAIL).entropy()
    excess = -synthetic.log_prob(SAMPLE.response, gen) - volume - entropy
    assert abs(excess.mean()) < 4.0 * excess.std() / np.sqrt(len(excess))
    # One pull per quantity, given those before it, is a t of its own: look at the first.
    pull = (SAMPLE.response[:, 0] - synthetic._centre(gen)[:, 0]) / synthetic._factor(gen)[:, 0, 0]
    assert stats.kstest(pull, stats.t(synthetic.TAIL).cdf).pvalue > 1e-3


def test_tails_are_heavy_and_quantities_correlated():
    pull = (SAMPLE.response - synthetic._centre(SAMPLE.gen)) / np.einsum(
        "nii->ni", synthetic._factor(SAMPLE.gen)
    )
    assert (np.abs(pull[:, 0]) > 4.0).mean() > 50 * stats.norm.sf(4.0) * 2
    hard = SAMPLE.gen["pt"] > 60.0
    assert stats.spearmanr(SAMPLE.response[hard, 0], SAMPLE.response[hard, 3]).statistic > 0.4


def test_efficiency_and_point_mass_have_the_stated_rates():
    for happens, probability in (
        (SAMPLE.found, synthetic.efficiency(SAMPLE.gen)),
        (SAMPLE.neutral == 0.0, synthetic.zero_probability(SAMPLE.gen)),
    ):
        for low, high in ((20.0, 24.0), (24.0, 35.0), (35.0, 1e9)):
            bin_ = (SAMPLE.gen["pt"] >= low) & (SAMPLE.gen["pt"] < high)
            expected, variance = (
                probability[bin_].sum(),
                (probability * (1.0 - probability))[bin_].sum(),
            )
            assert abs(happens[bin_].sum() - expected) < 4.0 * np.sqrt(variance)


def test_fraction_is_normalised_over_zero_and_the_rest():
    gen = repeated(40.0, 0.7)
    response = np.array([[-0.3, 0.0, 0.0, 0.0]])
    fraction = np.linspace(0.0, 1.0, 200_001)[1:-1]
    many = {name: np.broadcast_to(values, fraction.shape) for name, values in gen.items()}
    density = np.exp(
        synthetic.log_prob_neutral(fraction, np.repeat(response, len(fraction), 0), many)
    )
    at_zero = np.exp(synthetic.log_prob_neutral(np.zeros(1), response, gen))[0]
    assert at_zero == pytest.approx(synthetic.zero_probability(gen)[0])
    assert at_zero + np.trapezoid(density, fraction) == pytest.approx(1.0, abs=1e-6)


def test_constituents_are_poisson():
    log_prob = synthetic.log_prob_constituents(SAMPLE.constituents, SAMPLE.response, SAMPLE.gen)
    mean = synthetic.expected_constituents(SAMPLE.response, SAMPLE.gen)
    np.testing.assert_allclose(log_prob, stats.poisson(mean).logpmf(SAMPLE.constituents), atol=1e-9)
    pull = (SAMPLE.constituents - mean) / np.sqrt(mean)
    assert abs(pull.mean()) < 4.0 / np.sqrt(len(pull))
    assert pull.std() == pytest.approx(1.0, abs=0.02)
