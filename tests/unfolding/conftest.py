"""A detector whose truth is known: one quantity, smeared, with losses and fakes."""

import numpy as np
import pytest


def events(rng, count, mean, spread=1.0):
    """Truth, RECO, and which events are reconstructed."""
    z = rng.normal(mean, spread, count)
    x = z + rng.normal(0, 0.4, count)
    found = rng.random(count) < 1 / (1 + np.exp(-(z + 1.5)))
    return z, x, found


@pytest.fixture(scope="session")
def toy():
    return events
