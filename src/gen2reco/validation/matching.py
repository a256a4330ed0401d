"""Was FullSim matched well? Distances and momenta of the pairs, and what is left without partner.

Wrong matching is what goes wrong first: too narrow a reach calls found objects lost and spurious,
too wide a one pairs strangers, whose responses the emulator then learns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import SampleError
from gen2reco.rows.segments import compiled, delta_r2
from gen2reco.validation.binned import bin_index, quantile_edges, sums
from gen2reco.validation.object_records import Matching
from gen2reco.validation.records import Metric, to_row
from gen2reco.validation.shares import BinnedShare, binned_share
from gen2reco.validation.weighted import HALF_68, quantile

if TYPE_CHECKING:
    from gen2reco.events.layout import Jagged
    from gen2reco.rows.matching import MatchResult
    from gen2reco.validation.columns import Flags, Integers, Reals

DELTA_R_EDGES: Reals = np.logspace(-4, 1, 51)
RATIO_REACHES = (0.05, 0.1, 0.2, 0.5, 1.0, 1.5)
"""How far from 1 the pt ratio is shown: muons are measured better than jets."""
RATIO_BINS = 50
PT_BINS = 10
NEAR = 0.8
"""Share of the reach beyond which a pair counts as near its end."""


@dataclass(frozen=True)
class Objects:
    """Objects of one side, a list per event: pt in GeV, eta, phi in radians."""

    pt: Jagged
    eta: Jagged
    phi: Jagged


def describe_matching(
    found: MatchResult,
    gen: Objects,
    reco: Objects,
    *,
    reach: float = float("nan"),
    weight: Reals | None = None,
) -> Matching:
    """Describe pairs of GEN and RECO objects, and the objects that have no partner.

    Args:
        found: what `gen2reco.rows.matching` returned for these objects.
        gen: the GEN objects.
        reco: the RECO objects.
        reach: largest distance that was allowed; nan where a file's index was followed.
        weight: of the events; None: one each.

    Raises:
        SampleError: the pairs are not of these objects, or there are no objects on a side.
    """
    pt = np.asarray(gen.pt.content, np.float64)
    reco_pt = np.asarray(reco.pt.content, np.float64)
    if len(pt) != len(found.reco_of_gen) or len(reco_pt) != len(found.gen_of_reco):
        raise SampleError(
            f"pairs of {len(found.reco_of_gen)} GEN and {len(found.gen_of_reco)} RECO objects do "
            f"not belong to {len(pt)} and {len(reco_pt)} objects"
        )
    if min(len(pt), len(reco_pt)) == 0:
        raise SampleError("there are no GEN objects or no RECO objects, so nothing was matched")
    weights = np.ones(len(gen.pt)) if weight is None else np.asarray(weight, np.float64)
    events = [np.repeat(np.arange(len(side.pt)), side.pt.counts) for side in (gen, reco)]
    matched = found.reco_of_gen >= 0
    of_gen, of_reco = (weights[event] for event in events)
    neighbour = np.sqrt(_next_nearest(_arrays(gen), _arrays(reco), found.reco_of_gen))
    around = np.isfinite(neighbour)
    distance, of_pair = found.delta_r[matched], of_gen[matched]
    ratio = reco_pt[found.reco_of_gen[matched]] / pt[matched]
    ratio_edges = _ratio_edges(ratio)
    efficiency = _by_pt(matched, pt, of_gen, events[0])
    spurious = _by_pt(found.gen_of_reco < 0, reco_pt, of_reco, events[1])
    return Matching(
        gen=len(pt),
        reco=len(reco_pt),
        pairs=int(matched.sum()),
        efficiency=_overall(matched, of_gen, events[0]),
        spurious=_overall(found.gen_of_reco < 0, of_reco, events[1]),
        reach=reach,
        near_reach=_share(distance > NEAR * reach, of_pair) if np.isfinite(reach) else float("nan"),
        crowded=_share(neighbour[matched] <= reach, of_pair)
        if np.isfinite(reach)
        else float("nan"),
        delta_r_edges=to_row(DELTA_R_EDGES),
        delta_r=_filled(distance, of_pair, DELTA_R_EDGES),
        neighbour=_filled(neighbour[around], of_gen[around], DELTA_R_EDGES),
        delta_r_quantiles=(quantile(distance, of_pair, 0.5), quantile(distance, of_pair, 0.95)),
        ratio_edges=to_row(ratio_edges),
        ratio=_filled(ratio, of_pair, ratio_edges),
        ratio_quantiles=(
            quantile(ratio, of_pair, HALF_68[0]),
            quantile(ratio, of_pair, 0.5),
            quantile(ratio, of_pair, HALF_68[1]),
        ),
        gen_pt_edges=to_row(efficiency[0]),
        efficiency_by_pt=to_row(efficiency[1].share),
        efficiency_error=to_row(efficiency[1].error),
        reco_pt_edges=to_row(spurious[0]),
        spurious_by_pt=to_row(spurious[1].share),
        spurious_error=to_row(spurious[1].error),
    )


@compiled
def _next_nearest(gen: Any, reco: Any, partner: Any) -> Any:
    """Squared distance of each GEN object to the nearest RECO object that is not its partner."""
    gen_offsets, gen_eta, gen_phi = gen
    reco_offsets, reco_eta, reco_phi = reco
    nearest = np.full(len(gen_eta), np.inf)
    for event in range(len(gen_offsets) - 1):
        for i in range(gen_offsets[event], gen_offsets[event + 1]):
            for j in range(reco_offsets[event], reco_offsets[event + 1]):
                if partner[i] != j:
                    d2 = delta_r2(reco_eta[j], reco_phi[j], gen_eta[i], gen_phi[i])
                    nearest[i] = min(nearest[i], d2)
    return nearest


def _ratio_edges(ratio: Reals) -> Reals:
    """Bins around 1 that hold nine pairs in ten with room to spare."""
    typical = float(np.quantile(np.abs(ratio - 1), 0.9)) if len(ratio) else 0.0
    reach = next((r for r in RATIO_REACHES if r >= 2 * typical), RATIO_REACHES[-1])
    return np.linspace(max(0.0, 1 - reach), 1 + reach, RATIO_BINS + 1)


def _arrays(side: Objects) -> tuple[Integers, Reals, Reals]:
    eta, phi = (np.asarray(column.content, np.float64) for column in (side.eta, side.phi))
    return np.asarray(side.eta.offsets, np.int64), eta, phi


def _by_pt(outcome: Flags, pt: Reals, weight: Reals, event: Integers) -> tuple[Reals, BinnedShare]:
    there = np.isfinite(pt)
    edges = quantile_edges(pt[there], PT_BINS)
    if len(edges) < 2:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    bins = bin_index(pt, edges)
    return edges, binned_share(outcome.astype(float), weight, event, bins, len(edges) - 1)


def _overall(outcome: Flags, weight: Reals, event: Integers) -> Metric:
    bins = np.zeros(len(outcome), np.int64)
    share = binned_share(outcome.astype(float), weight, event, bins, 1)
    return Metric(float(share.share[0]), float(share.error[0]))


def _share(chosen: Flags, weight: Reals) -> float:
    return float(weight[chosen].sum() / weight.sum()) if len(weight) else float("nan")


def _filled(values: Reals, weight: Reals, edges: Reals) -> tuple[float, ...]:
    """Contents of bins; what lies outside the edges is in the outermost ones."""
    inside = np.clip(values, edges[0], edges[-1])
    return to_row(sums(bin_index(inside, edges), weight, len(edges) - 1))
