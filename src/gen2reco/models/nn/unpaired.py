"""Settings of what learns without pairs: its maps, the distances of samples, the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gen2reco.models.nn import slices
from gen2reco.models.nn.momenta import (
    Particle,
    System,
    four_vectors,
    quantities,
)
from gen2reco.models.nn.responses import Direct, Residual, Responses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Width = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MapConfig(_Settings):
    """Settings of a map between the two levels."""

    form: Literal["responses", "residual", "direct"] = Field(
        default="responses",
        description="responses: each particle scaled by its own response; residual: momenta plus a"
        " change; direct: momenta from nothing (OTUS)",
    )
    hidden: tuple[Width, ...] = Field(default=(64, 64), description="widths of the hidden layers")
    noise: int = Field(
        default=3,
        ge=0,
        description="normal numbers: per particle for responses, per row else; 0: a map",
    )
    local: bool = Field(
        default=True,
        description="a response depends on its own particle alone, not on the whole event",
    )
    turns: bool = Field(default=False, description="responses change directions too")
    radiated: int = Field(
        default=0,
        ge=0,
        description="further candidates for the `ordered` RECO particles, from recoil and noise",
    )
    width: Weight = Field(default=0.02, description="deviation of the log response at the start")

    def build(
        self,
        first: Sequence[Particle],
        second: Sequence[Particle],
        starts: Sequence[int],
        systems: Sequence[System],
    ) -> Direct | Residual | Responses:
        """Return a fresh map from the first particles to the second."""
        if self.form == "direct":
            return Direct(first, second, hidden=self.hidden, lanes=self.noise)
        if self.form == "residual":
            return Residual(first, second, starts, hidden=self.hidden, lanes=self.noise)
        return Responses(
            first,
            second,
            starts,
            systems=systems,
            hidden=self.hidden,
            lanes=self.noise,
            local=self.local,
            turns=self.turns,
            radiated=self.radiated,
            width=self.width,
        )


class DistanceConfig(_Settings):
    """How two samples are compared."""

    slices: int = Field(default=64, ge=0, description="random directions per step; 0: none")
    unit: Literal["deviation", "GeV"] = Field(
        default="deviation",
        description="along the directions; deviation: of the data in each component",
    )
    widest: bool = Field(default=False, description="take the worst direction, not the mean")
    quantities: Literal["ranks", "deviation", "none"] = Field(
        default="ranks",
        description="masses, pts, energies, components one by one: in ranks of the data, in units"
        " of their deviation, or not at all",
    )
    pieces: int = Field(default=100, ge=2, description="quantiles between which ranks are linear")
    emphasis: Weight = Field(
        default=0.0,
        description="quantities count with their distance to this power: the worst count most",
    )

    def between(self, simulated: Compared, data: Compared, along: Tensor) -> Tensor:
        """Return the distance of two samples of equally many rows."""
        found = simulated.vectors.new_zeros(())
        if self.slices:
            first, second = simulated.vectors, data.vectors
            if self.unit == "deviation":
                width = second.std(0) + 1e-6
                first, second = first / width, second / width
            distance = slices.widest_direction if self.widest else slices.sliced_distance
            found = found + distance(first, second, along)
        if self.quantities == "ranks":
            apart = slices.rank_distances(simulated.axes, data.axes, self.pieces)
            found = found + self._mean(apart)
        elif self.quantities == "deviation":
            width = data.axes.std(0) + 1e-6
            apart = slices.axis_distances(simulated.axes / width, data.axes / width)
            found = found + self._mean(apart)
        return found

    def _mean(self, apart: Tensor) -> Tensor:
        """Return the mean of the quantities' distances, weighted as `emphasis` says."""
        share = (apart.detach() + 1e-12) ** self.emphasis
        return (share * apart).sum() / share.sum()


class Terms(_Settings):
    """Weights of the terms of the loss during one stage; names of OTUS in brackets."""

    steps: int = Field(default=0, ge=0, description="optimiser steps of this stage; 0: to the end")
    rate: float = Field(default=1.0, gt=0, description="factor on the learning rate")
    reconstruction: Weight = Field(default=1.0, description="of x -> z -> x [beta]")
    unfolded: Weight = Field(default=1.0, description="distance of E(x) to z [lambda]")
    simulated: Weight = Field(default=1.0, description="distance of D(z) to x [tau]")
    anchor_encoder: Weight = Field(
        default=0.0, description="first particle keeps its direction [nu_e]"
    )
    anchor_decoder: Weight = Field(
        default=0.0, description="first particle keeps its direction [nu_d]"
    )
    thresholds: Weight = Field(default=0.0, description="D(z) beyond the thresholds of RECO [rho]")
    response: Weight = Field(default=0.0, description="mean squared log response of D")
    present: Weight = Field(
        default=1.0, description="squared differences of the shares of `present_above`"
    )
    pairs: Weight = Field(
        default=1.0,
        description="score of D(z) against x and of E(x) against z on the known pairs, if any",
    )


class Compared:
    """A sample as distances see it: four-vectors for directions, and physics quantities."""

    def __init__(self, momenta: Tensor, systems: Sequence[System]) -> None:
        self.momenta = momenta
        self.vectors = four_vectors(momenta)
        self.axes = quantities(momenta, systems)
