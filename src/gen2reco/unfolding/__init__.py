"""Unfolding: numbers in, weights and spectra out. No files and no torch here."""

from gen2reco.unfolding.omnifold import (
    Iteration,
    OmniFold,
    Reweighted,
    bootstrap,
    omnifold,
    replica_counts,
)
from gen2reco.unfolding.ratio import Ratio, Trees
from gen2reco.unfolding.samples import Measured, Pairs
from gen2reco.unfolding.spectrum import Spectrum, spectrum

__all__ = [
    "Iteration",
    "Measured",
    "OmniFold",
    "Pairs",
    "Ratio",
    "Reweighted",
    "Spectrum",
    "Trees",
    "bootstrap",
    "omnifold",
    "replica_counts",
    "spectrum",
]
