"""Cells of a calorimeter in eta and phi, and where a particle of a magnetic field enters them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gen2reco.models.nn.decays import DIGITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Index = NDArray[np.int64]

CURVATURE = 0.299792458
"""Transverse momentum in GeV of a unit charge over field (T) times radius of its helix (m)."""


class Ring(BaseModel):
    """Cells of one size in phi: all those between the first and the last edge in eta."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    phi: int = Field(ge=1, description="cells around the beam")
    edges: Annotated[tuple[float, ...], Field(min_length=2)] = Field(
        description="edges in eta, rising; `steps` divides each interval evenly"
    )
    steps: int = Field(default=1, ge=1, description="cells of each interval")

    @model_validator(mode="after")
    def _edges_rise(self) -> Ring:
        if any(high <= low for low, high in itertools.pairwise(self.edges)):
            raise ValueError("edges in eta must rise")
        return self

    @property
    def all_edges(self) -> list[float]:
        """Edges of every cell in eta."""
        parts = [
            np.linspace(low, high, self.steps + 1)[:-1]
            for low, high in itertools.pairwise(self.edges)
        ]
        return [*np.concatenate(parts).tolist(), self.edges[-1]]


class Tracker(BaseModel):
    """A solenoid in front of the calorimeter."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    field: float = Field(default=3.8, ge=0, description="magnetic field along the beam, T")
    radius: float = Field(default=1.29, gt=0, description="radius of the calorimeter, m")
    half_length: float = Field(default=3.0, gt=0, description="distance of its endcaps, m")

    def entrance(
        self, pt: Numbers, eta: Numbers, phi: Numbers, charge: Numbers
    ) -> tuple[Numbers, Numbers]:
        """Return eta and phi of the points where particles from the centre enter.

        A charged particle turns by twice the angle by which its point of entrance is off. One that
        curls up within the solenoid goes on to the endcap.
        """
        curl = CURVATURE * self.field * np.abs(charge)
        rise = np.maximum(np.abs(np.sinh(eta)), 1e-9)
        with np.errstate(divide="ignore", invalid="ignore"):
            radius = np.where(curl > 0, pt / np.where(curl > 0, curl, 1.0), np.inf)
            share = self.radius / (2.0 * radius)
            barrel = np.where(share < 1, np.arcsin(np.minimum(share, 1.0)), np.inf)
            half = np.minimum(barrel, self.half_length / (2.0 * radius * rise))
        # Beyond a full turn the point of entrance says nothing any more.
        half = np.minimum(half, 0.999 * np.pi)
        longer = np.where(half > 1e-6, half / np.maximum(np.sin(half), 1e-6), 1.0)
        return np.arcsinh(np.sinh(eta) * longer), phi - np.sign(charge) * half


class Grid:
    """The cells of all rings, with one number each."""

    def __init__(self, rings: tuple[Ring, ...]) -> None:
        spans = [
            (low, high, ring.phi)
            for ring in rings
            for low, high in itertools.pairwise(ring.all_edges)
        ]
        spans.sort()
        self._low = np.array([low for low, _, _ in spans])
        self._high = np.array([high for _, high, _ in spans])
        self._number = np.array([phi for _, _, phi in spans], np.int64)
        self._first = np.concatenate([[0], np.cumsum(self._number)])
        self.cells = int(self._first[-1])

    def find(self, eta: Numbers, phi: Numbers) -> Index:
        """Return the number of the cell that holds each direction, -1 outside all rings."""
        ring = np.searchsorted(self._low, eta, side="right") - 1
        inside = (ring >= 0) & (eta < self._high[ring])
        turn = np.mod(phi + np.pi, 2.0 * np.pi) / (2.0 * np.pi)
        number = self._number[ring]
        place = np.minimum((turn * number).astype(np.int64), number - 1)
        return np.where(inside, self._first[ring] + place, -1)

    def direction(self, cell: Index, along: Numbers, around: Numbers) -> tuple[Numbers, Numbers]:
        """Return eta and phi of points in cells, `along` and `around` from 0 to 1 across them."""
        ring = np.searchsorted(self._first, cell, side="right") - 1
        eta = self._low[ring] + (self._high[ring] - self._low[ring]) * along
        place = cell - self._first[ring] + around
        return eta, place / self._number[ring] * 2.0 * np.pi - np.pi


@dataclass(frozen=True, eq=False)
class Detector:
    """What a family of sets is told about the detector.

    Attributes:
        grids: cells that photons and electrons enter, and cells that hadrons enter.
        tracker: the solenoid in front of them.
        together: whether particles of one decay know of each other.
        digits: binary digits with which momenta before the detector are stored.
        radius: of the anti-kT jets that rows are; None where they are none.
    """

    grids: tuple[Grid, Grid]
    tracker: Tracker
    together: bool = True
    digits: int = DIGITS
    radius: float | None = None
