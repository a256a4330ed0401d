"""Histogram contents for the plots: distributions with their bands, and planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.validation.binned import core_edges, distribution_edges, histogram, regular_edges
from gen2reco.validation.records import to_row
from gen2reco.validation.results import Distribution, Picture2D
from gen2reco.validation.weighted import mid_ranks, quantile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.validation.columns import Integers, Reals
    from gen2reco.validation.labels import Labels
    from gen2reco.validation.samples import Sample

PICTURE_BINS = 40


def distribution(
    name: str,
    label: str,
    full: tuple[Reals, Sample],
    fast: tuple[Reals, Sample],
    edges: Reals,
    *,
    members: tuple[Reals, Sample] | None = None,
    gen: Reals | None = None,
    log: bool | None = None,
) -> Distribution:
    """Fill one distribution of FullSim and FastSim.

    Args:
        name: key of the quantity.
        label: axis label.
        full: values and sample of FullSim.
        fast: values and sample of FastSim, nominal member.
        edges: bin edges.
        members: values and sample of FastSim with all ensemble members.
        gen: the quantity taken from GEN for FullSim's rows.
        log: logarithmic axis; None: where the contents span more than a factor of 300.
    """
    a, va = histogram(full[0], full[1].weight, full[1].event, edges)
    b, vb = histogram(fast[0], fast[1].weight, fast[1].event, edges)
    # outside the edges the sum is kept, so that shapes and not the drawn range are compared
    scale = _scale(_total(*full), *fast)
    band = np.zeros(len(a))
    if members is not None:
        band = _band(members, edges, b * scale, _total(*full))
    truth: Reals = np.empty(0)
    if gen is not None and np.isfinite(gen).any():
        truth = histogram(gen, full[1].weight, None, edges)[0]
        truth *= _total(*full) / _total(gen, full[1])
    if log is None:
        filled = a[a > 0]
        log = len(filled) > 3 and filled.max() / np.quantile(filled, 0.1) > 300
    return Distribution(
        name=name,
        label=label,
        edges=to_row(edges),
        full=to_row(a),
        full_variance=to_row(va),
        fast=to_row(b * scale),
        fast_variance=to_row(vb * scale**2),
        band=to_row(band),
        gen=to_row(truth),
        outside=(_outside(a, *full), _outside(b, *fast)),
        log=bool(log),
    )


@dataclass(frozen=True)
class Sides:
    """What a distribution shows: FullSim, nominal FastSim, and FastSim with all its members."""

    full: Sample
    fast: Sample
    members: Sample


def quantity_distribution(name: str, label: str, sides: Sides, bins: int) -> Distribution:
    """Distribution of a RECO quantity, with GEN where it exists."""
    full, fast, members = sides.full, sides.fast, sides.members
    values = full.quantities[name]
    return distribution(
        name,
        label,
        (values, full),
        (fast.quantities[name], fast),
        distribution_edges(values, full.weight, bins),
        members=(members.quantities[name], members) if members.member is not None else None,
        gen=full.gen_quantities.get(name),
    )


def residual_distributions(
    name: str, labels: Labels, sides: Sides, bins: int
) -> list[Distribution]:
    """Residual of a response: its core, and all of it on a logarithmic axis."""
    full, fast, members = sides.full, sides.fast, sides.members
    label = labels.residual(name)
    shift = 1.0 if labels.is_ratio(name) else 0.0  # RECO / GEN - 1 = (RECO - GEN) / GEN
    a, b = full.responses[name] - shift, fast.responses[name] - shift
    band = None
    if members.member is not None:
        band = (members.responses[name] - shift, members)
    there = np.isfinite(a)
    both = np.concatenate([a[there], b[np.isfinite(b)]])
    reach = quantile(both, np.ones(len(both)), 0.0005), quantile(both, np.ones(len(both)), 0.9995)
    core = core_edges(a, full.weight, bins)
    found = [
        distribution(f"response:{name}", label, (a, full), (b, fast), core, members=band, log=False)
    ]
    wide = regular_edges(*reach, bins)
    if wide[-1] - wide[0] > 1.3 * (core[-1] - core[0]):
        found.append(
            distribution(
                f"response:{name}:tails", label, (a, full), (b, fast), wide, members=band, log=True
            )
        )
    return found


def picture(name: str, label: str, full: Sample, fast: Sample, edges: Reals) -> Picture2D | None:
    """FastSim against RECO and GEN against RECO, over the events that both sides have.

    Rows are paired by `Sample.row`; without it, events with several rows are left out, since their
    rows cannot be paired without more knowledge. None where no row is shared.
    """
    rows_full, rows_fast = _paired(*(s.event if s.row is None else s.row for s in (full, fast)))
    if len(rows_full) < 2:
        return None
    weight = full.weight[rows_full]
    reco, emulated = full.quantities[name][rows_full], fast.quantities[name][rows_fast]
    table, rho = plane(reco, emulated, weight, edges)
    gen_table: tuple[tuple[float, ...], ...] = ()
    gen_rho = float("nan")
    if name in full.gen_quantities:
        gen_table, gen_rho = plane(reco, full.gen_quantities[name][rows_full], weight, edges)
    return Picture2D(
        name=name,
        label=label,
        edges=to_row(edges),
        fast=table,
        gen=gen_table,
        correlation=(rho, gen_rho),
        events=len(rows_full),
    )


def picture_edges(values: Reals, weight: Reals) -> Reals:
    """Bin edges of both axes of a picture."""
    return distribution_edges(values, weight, PICTURE_BINS)


def _paired(first: Integers, second: Integers) -> tuple[Integers, Integers]:
    one, rows_one, count_one = np.unique(first, return_index=True, return_counts=True)
    two, rows_two, count_two = np.unique(second, return_index=True, return_counts=True)
    one, rows_one = one[count_one == 1], rows_one[count_one == 1]
    two, rows_two = two[count_two == 1], rows_two[count_two == 1]
    _, i, j = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    return rows_one[i], rows_two[j]


def plane(
    x: Reals, y: Reals, weight: Reals, edges: Reals
) -> tuple[tuple[tuple[float, ...], ...], float]:
    """Weight in bins [x, y] and Spearman's coefficient, over the rows where both are finite."""
    there = np.isfinite(x) & np.isfinite(y)
    x, y, weight = x[there], y[there], weight[there]
    table = np.histogram2d(x, y, [edges, edges], weights=weight)[0]
    rho = float("nan")
    if len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0:
        a, b = mid_ranks(x, weight), mid_ranks(y, weight)
        share = weight / weight.sum()
        a, b = a - share @ a, b - share @ b
        rho = float((share * a) @ b / np.sqrt(abs(((share * a) @ a) * ((share * b) @ b))))
    return tuple(to_row(row) for row in table), rho


def _band(members: tuple[Reals, Sample], edges: Reals, nominal: Reals, total: float) -> Reals:
    """Root mean square difference of the members to the nominal one, which is on all events."""
    values, sample = members
    assert sample.member is not None
    squares = []
    for member in np.unique(sample.member[sample.member != 0]):
        rows = sample.member == member
        content = np.histogram(values[rows], edges, weights=sample.weight[rows])[0]
        scale = _scale(total, values[rows], sample.take(rows))
        squares.append((content * scale - nominal) ** 2)
    return np.sqrt(np.mean(squares, axis=0)) if squares else np.zeros(len(nominal))


def _total(values: Reals, sample: Sample) -> float:
    return float(sample.weight[np.isfinite(values)].sum())


def _scale(total: float, values: Reals, sample: Sample) -> float:
    """What brings the sum of a sample to a total; 1 where it has no value."""
    own = _total(values, sample)
    return total / own if own else 1.0


def _outside(content: Reals, values: Reals, sample: Sample) -> float:
    total = _total(values, sample)
    return 1 - float(content.sum()) / total if total else float("nan")


def kinds_of(responses: Mapping[str, Reals], stated: Mapping[str, str]) -> dict[str, str]:
    """Kind of each response: as stated, else a ratio where it is positive around 1."""
    kinds = {}
    for name, values in responses.items():
        there = values[np.isfinite(values)]
        ratio = len(there) > 0 and there.min() > 0 and 0.2 < np.median(there) < 5
        kinds[name] = stated.get(name, "ratio" if ratio else "difference")
    return kinds
