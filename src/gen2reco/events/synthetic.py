"""A toy detector whose p(RECO | GEN) is known in closed form: the truth to hold a model against.

One GEN jet per event, and a RECO jet if it is found. What makes real detectors hard is all there,
and exact:

- an efficiency with a turn-on in pt and a dip at the end of the barrel;
- a response of four quantities (log pt ratio, difference in eta and in phi, log mass ratio) that is
  shifted and widens with GEN pt and eta, correlated, and Student-t distributed with `TAIL` degrees
  of freedom, so with heavy tails;
- a point mass: the neutral hadronic energy fraction is exactly zero in part of the jets, and
  otherwise correlated with the pt response;
- an integer: a Poisson number of constituents that depends on RECO pt.

p(RECO | GEN) = p(found) p(response) p(fraction | response) p(constituents | response), each a
function below.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log, pi
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.events.layout import to_events

if TYPE_CHECKING:
    import awkward as ak

RESPONSE = ("log_pt_ratio", "delta_eta", "delta_phi", "log_mass_ratio")
"""The four continuous quantities of RECO relative to GEN, in the order of every response array."""

TAIL = 5.0
"""Degrees of freedom of the response: its kurtosis is 9, a normal distribution's 3."""

_FRACTION_SPREAD = 0.9


@dataclass(frozen=True)
class ToySample:
    """GEN and RECO of toy events, as plain arrays and as NanoAOD-like records.

    Attributes:
        gen: pt, eta, phi, mass of the GEN jet, float64 [events]; GeV and radians.
        found: whether there is a RECO jet, bool [events].
        response: the `RESPONSE` quantities, float64 [events, 4], drawn for every event, found or
            not.
        neutral: neutral hadronic energy fraction, float64 [events], exactly 0 in part of them.
        constituents: number of constituents, int64 [events].
        seed: of the sample; it is the run number too, so that samples of other seeds are other
            events.
    """

    gen: dict[str, np.ndarray]
    found: np.ndarray
    response: np.ndarray
    neutral: np.ndarray
    constituents: np.ndarray
    seed: int

    @property
    def reco(self) -> dict[str, np.ndarray]:
        """Pt, eta, phi, mass of the RECO jet, found or not, float64 [events]; GeV and radians."""
        ratio, eta, phi, mass = self.response.T
        return {
            "pt": self.gen["pt"] * np.exp(ratio),
            "eta": self.gen["eta"] + eta,
            "phi": (self.gen["phi"] + phi + pi) % (2.0 * pi) - pi,
            "mass": self.gen["mass"] * np.exp(mass),
        }

    def events(self) -> ak.Array:
        """Return records with `GenJet` (one each) and `Jet` (one where found)."""
        n = len(self.found)
        one, offsets = np.arange(n + 1), np.concatenate([[0], np.cumsum(self.found)])
        columns: dict[str, np.ndarray | tuple[np.ndarray, np.ndarray]] = {
            "run": np.full(n, self.seed + 1, dtype=np.uint32),
            "luminosityBlock": np.ones(n, dtype=np.uint32),
            "event": np.arange(1, n + 1, dtype=np.uint64),
        }
        columns |= {f"GenJet_{name}": (one, values) for name, values in self.gen.items()}
        reco = self.reco | {"neHEF": self.neutral, "nConstituents": self.constituents}
        columns |= {f"Jet_{name}": (offsets, values[self.found]) for name, values in reco.items()}
        return to_events(columns)


def generate(n: int, seed: int) -> ToySample:
    """Draw `n` toy events; the same seed gives the same events.

    GEN pt falls exponentially from 20 GeV, eta is uniform within 2.5, mass is about a tenth of pt.
    """
    draw = np.random.default_rng(seed)
    pt = 20.0 + draw.exponential(25.0, n)
    eta = draw.uniform(-2.5, 2.5, n)
    phi = draw.uniform(-pi, pi, n)
    mass = 0.1 * pt * np.exp(0.3 * draw.standard_normal(n))
    gen = {"pt": pt, "eta": eta, "phi": phi, "mass": mass}
    centre, factor = _centre(gen), _factor(gen)
    stretch = np.sqrt(TAIL / draw.chisquare(TAIL, n))
    response = (
        centre + np.einsum("nij,nj->ni", factor, draw.standard_normal((n, 4))) * stretch[:, None]
    )
    found = draw.random(n) < efficiency(gen)
    logit = _fraction_centre(response, gen) + _FRACTION_SPREAD * draw.standard_normal(n)
    neutral = np.where(draw.random(n) < zero_probability(gen), 0.0, 1.0 / (1.0 + np.exp(-logit)))
    constituents = draw.poisson(expected_constituents(response, gen))
    return ToySample(gen, found, response, neutral, constituents, seed)


def efficiency(gen: dict[str, np.ndarray]) -> np.ndarray:
    """Return the probability that the jet is found, [events]."""
    turn_on = 1.0 / (1.0 + np.exp(-(gen["pt"] - 24.0) / 4.0))
    dip = 0.15 * np.exp(-0.5 * ((np.abs(gen["eta"]) - 1.5) / 0.15) ** 2)
    return np.asarray(0.98 * turn_on * (1.0 - dip))


def zero_probability(gen: dict[str, np.ndarray]) -> np.ndarray:
    """Return the probability that the neutral hadronic fraction is exactly zero, [events]."""
    return 0.15 + 0.35 * np.exp(-gen["pt"] / 40.0)


def expected_constituents(response: np.ndarray, gen: dict[str, np.ndarray]) -> np.ndarray:
    """Return the mean of the Poisson number of constituents, [events]."""
    return np.asarray(2.0 + 1.2 * np.sqrt(gen["pt"] * np.exp(np.clip(response[:, 0], -5.0, 5.0))))


def log_prob(response: np.ndarray, gen: dict[str, np.ndarray]) -> np.ndarray:
    """Return log p(response | GEN) of the four continuous quantities in nats, [events].

    The difference in phi is not wrapped here: its width is at most 0.06, so 1e-7 of it lies beyond
    pi.
    """
    factor = _factor(gen)
    pull = np.linalg.solve(factor, (response - _centre(gen))[:, :, None])[:, :, 0]
    log_volume = np.log(np.einsum("nii->ni", factor)).sum(1)
    constant = lgamma((TAIL + 4.0) / 2.0) - lgamma(TAIL / 2.0) - 2.0 * log(TAIL * pi)
    return np.asarray(
        constant - log_volume - 0.5 * (TAIL + 4.0) * np.log1p((pull**2).sum(1) / TAIL)
    )


def log_prob_neutral(
    neutral: np.ndarray, response: np.ndarray, gen: dict[str, np.ndarray]
) -> np.ndarray:
    """Return log p(fraction | response, GEN), [events]: at zero a probability, else a density."""
    inside = np.where(neutral > 0.0, neutral, 0.5)
    logit = np.log(inside) - np.log1p(-inside)
    pull = (logit - _fraction_centre(response, gen)) / _FRACTION_SPREAD
    density = (
        -0.5 * pull**2
        - log(_FRACTION_SPREAD)
        - 0.5 * log(2.0 * pi)
        - np.log(inside * (1.0 - inside))
    )
    zero = zero_probability(gen)
    return np.asarray(np.where(neutral > 0.0, np.log1p(-zero) + density, np.log(zero)))


def log_prob_constituents(
    constituents: np.ndarray, response: np.ndarray, gen: dict[str, np.ndarray]
) -> np.ndarray:
    """Return log p(number of constituents | response, GEN), [events]."""
    mean = expected_constituents(response, gen)
    log_factorial = np.concatenate(
        [[0.0], np.cumsum(np.log(np.arange(1, constituents.max(initial=0) + 1)))]
    )
    return np.asarray(constituents * np.log(mean) - mean - log_factorial[constituents])


def _centre(gen: dict[str, np.ndarray]) -> np.ndarray:
    """Most probable response, [events, 4]: jets lose energy, more so at low pt and forward."""
    loss = -0.08 - 1.2 / gen["pt"] - 0.02 * np.abs(gen["eta"])
    none = np.zeros_like(loss)
    return np.stack(
        [loss, 0.004 * np.sign(gen["eta"]) * gen["eta"] ** 2, none, loss - 0.05], axis=1
    )


def _factor(gen: dict[str, np.ndarray]) -> np.ndarray:
    """Lower triangular factor of the scale matrix, [events, 4, 4]: widths times correlations."""
    pt, eta = gen["pt"], gen["eta"]
    widen = 1.0 + 0.1 * eta**2
    energy = np.sqrt((0.8 / np.sqrt(pt)) ** 2 + 0.05**2) * widen
    angle = np.sqrt((0.5 / pt) ** 2 + 0.01**2) * widen
    mass = np.sqrt((1.0 / np.sqrt(pt)) ** 2 + 0.1**2)
    with_mass = 0.3 + 0.4 * np.tanh((pt - 40.0) / 30.0)
    with_eta = 0.25 * np.tanh(eta)
    factor = np.zeros((len(pt), 4, 4))
    factor[:, 0, 0] = energy
    factor[:, 1, 0], factor[:, 1, 1] = angle * with_eta, angle * np.sqrt(1.0 - with_eta**2)
    factor[:, 2, 2] = angle
    factor[:, 3, 0], factor[:, 3, 3] = mass * with_mass, mass * np.sqrt(1.0 - with_mass**2)
    return factor


def _fraction_centre(response: np.ndarray, gen: dict[str, np.ndarray]) -> np.ndarray:
    """Centre of the neutral fraction's logit, [events]: jets that lose energy have more of it."""
    return np.asarray(-1.8 - 1.5 * np.tanh(response[:, 0] - _centre(gen)[:, 0]) + 0.2 * gen["eta"])
