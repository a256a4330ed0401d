"""What a comparison of jets as sets of particles finds, as plain records."""

from __future__ import annotations

from dataclasses import dataclass

from gen2reco.validation.records import Matrix, Metric, Real, Row  # noqa: TC001 - for pydantic
from gen2reco.validation.results import Distribution  # noqa: TC001 - for pydantic


@dataclass(frozen=True)
class Constituent:
    """One quantity of particles: of all of a jet, or of the leading ones.

    Attributes:
        name: what it is.
        label: axis label.
        w1: Wasserstein distance, in the unit of the quantity.
        floor_ratio: the same over its median between FullSim and FullSim.
        shape: histogram contents.
    """

    name: str
    label: str
    w1: Metric
    floor_ratio: Metric
    shape: Distribution


@dataclass(frozen=True)
class FeatureDistance:
    """A distance in several features of jets at once.

    Attributes:
        name: FPD or KPD.
        value: FullSim against FastSim, beside FullSim against FullSim.
        features: of jets, in units of FullSim's standard deviations.
    """

    name: str
    value: Metric
    features: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """(RECO - GEN) / GEN of one feature, on the same jets in FullSim and FastSim.

    Attributes:
        name: the feature.
        full: median and half of the central 68 % in FullSim.
        fast: the same in FastSim.
        shift: difference of the medians over FullSim's width.
        width_ratio: FastSim's width over FullSim's.
    """

    name: str
    full: tuple[Real, Real]
    fast: tuple[Real, Real]
    shift: Metric
    width_ratio: Metric


@dataclass(frozen=True)
class JetImage:
    """Mean pt per jet in bins of eta and phi relative to the jet's axis, GeV."""

    edges: Row
    full: Matrix
    fast: Matrix


@dataclass(frozen=True)
class Display:
    """One jet: pt, eta, phi relative to the GEN axis, and type of the particles of each side."""

    gen: Matrix
    full: Matrix
    fast: Matrix


@dataclass(frozen=True)
class SetComparison:
    """Jets as sets of particles.

    Attributes:
        jets: number of FullSim and of FastSim jets, of different GEN events.
        constituents: quantities of particles.
        distances: FPD and KPD.
        scores: RECO relative to GEN.
        image: average jets.
        displays: single jets.
    """

    jets: tuple[int, int]
    constituents: tuple[Constituent, ...]
    distances: tuple[FeatureDistance, ...]
    scores: tuple[Score, ...]
    image: JetImage
    displays: tuple[Display, ...]
