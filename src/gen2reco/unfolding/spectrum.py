"""Spectra of unfolded events: contents of bins with their covariance, and chi2 between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2 as chi2_law

from gen2reco.errors import SampleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.unfolding.samples import Reals


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Contents of bins and their covariance.

    Attributes:
        edges: [bins + 1].
        content: sums of weights, [bins].
        covariance: [bins, bins], from replicas.
        replicas: how many it rests on.
    """

    edges: Reals
    content: Reals
    covariance: Reals
    replicas: int

    @property
    def error(self) -> Reals:
        """Square roots of the diagonal, [bins]."""
        return np.sqrt(np.diag(self.covariance))

    def chi2(self, expected: Reals) -> tuple[float, int, float]:
        """Return chi2, degrees of freedom and p-value against contents without own error.

        The inverse of a covariance from few replicas is too large on average; Hartlap's factor
        (arXiv:astro-ph/0608064) corrects that.

        Raises:
            SampleError: too few replicas for so many bins.
        """
        bins = len(self.content)
        if self.replicas < bins + 3:
            raise SampleError(
                f"a covariance of {bins} bins needs {bins + 3} replicas at least, not"
                f" {self.replicas}"
            )
        difference = self.content - expected
        hartlap = (self.replicas - bins - 2) / (self.replicas - 1)
        value = hartlap * float(difference @ np.linalg.solve(self.covariance, difference))
        return value, bins, float(chi2_law.sf(value, bins))


def spectrum(
    values: Reals, weight: Reals, replicas: NDArray[np.floating], edges: Reals
) -> Spectrum:
    """Fill a quantity of the truth with final weights and with those of every replica.

    Args:
        values: the quantity, [events]; what lies outside the edges is left out.
        weight: final weights, [events].
        replicas: final weights of the bootstrap replicas, [replicas, events].
        edges: rising, [bins + 1].

    Raises:
        SampleError: fewer than two replicas.
    """
    if len(replicas) < 2:
        raise SampleError("a covariance needs two replicas at least")
    bins = np.asarray(edges, np.float64)
    copies = np.stack([np.histogram(values, bins, weights=one)[0] for one in replicas])
    return Spectrum(
        bins,
        np.histogram(values, bins, weights=weight)[0],
        np.atleast_2d(np.cov(copies.T)),
        len(replicas),
    )
