"""What a map between GEN and RECO does, beside its distributions: plans, distances of momenta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.validation.records import Matrix, Real, Row  # noqa: TC001 - pydantic reads them
from gen2reco.validation.shapes import picture_edges, plane
from gen2reco.validation.sliced import Sliced  # noqa: TC001 - as above

if TYPE_CHECKING:
    from gen2reco.validation.columns import Reals


@dataclass(frozen=True)
class Plan:
    """Where a map carries a GEN value: RECO against GEN in FullSim and in FastSim.

    Attributes:
        name: of the response.
        label: axis label of its quantity.
        edges: bin edges of both axes.
        full: events [gen, reco] of FullSim.
        fast: the same of FastSim, from the same GEN events.
        correlation: Spearman's coefficient of GEN and RECO, FullSim and FastSim.
        events: shown, FullSim and FastSim.
    """

    name: str
    label: str
    edges: Row
    full: Matrix
    fast: Matrix
    correlation: tuple[Real, Real]
    events: tuple[int, int]


@dataclass(frozen=True)
class Transport:
    """What a report says of a map that was learned without pairs.

    Attributes:
        sliced: distances of all momenta: simulated, unfolded, unfolded and simulated again.
        plans: of each response.
    """

    sliced: tuple[Sliced, ...]
    plans: tuple[Plan, ...] = ()


def transport_plan(
    name: str, label: str, full: tuple[Reals, Reals], fast: tuple[Reals, Reals]
) -> Plan | None:
    """Fill the plan of one response; None where a side has no event.

    Args:
        name: of the response.
        label: axis label of its quantity.
        full: GEN and RECO values of FullSim, [n] each; not finite: not there.
        fast: the same of FastSim, [m] each.
    """
    there = [np.isfinite(gen) & np.isfinite(reco) for gen, reco in (full, fast)]
    sides = [(gen[mask], reco[mask]) for (gen, reco), mask in zip((full, fast), there, strict=True)]
    if min(len(gen) for gen, _ in sides) < 2:
        return None
    edges = picture_edges(sides[0][0], np.ones(len(sides[0][0])))
    (in_full, rho_full), (in_fast, rho_fast) = (
        plane(gen, reco, np.ones(len(gen)), edges) for gen, reco in sides
    )
    return Plan(
        name=name,
        label=label,
        edges=tuple(float(edge) for edge in edges),
        full=in_full,
        fast=in_fast,
        correlation=(rho_full, rho_fast),
        events=(len(sides[0][0]), len(sides[1][0])),
    )
