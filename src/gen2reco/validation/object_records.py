"""What a comparison returns on objects: found or not, tagged or not, how many, matched how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gen2reco.validation.records import Metric, Real, Row, Statistic  # noqa: TC001 - for pydantic


@dataclass(frozen=True)
class OverallRate:
    """How often an outcome happens in all rows of one group, FullSim against FastSim.

    Attributes:
        group: `all` or a category.
        rows: rows of FullSim.
        full: share in FullSim.
        full_error: its standard error.
        fast: share in FastSim.
        fast_error: its standard error, of the emulator's random numbers alone.
        ratio: FastSim over FullSim; its null is 1.
        p: two-sided p-value of equal shares.
    """

    group: str
    rows: int
    full: Real
    full_error: Real
    fast: Real
    fast_error: Real
    ratio: Metric
    p: Real


@dataclass(frozen=True)
class EfficiencyCurve:
    """How often an outcome happens in bins of one GEN quantity, FullSim against FastSim.

    Attributes:
        by: the GEN quantity.
        by_label: its axis label.
        group: `all` or a category.
        edges: bin edges.
        rows: FullSim rows per bin.
        full: share in FullSim per bin.
        full_error: its standard error.
        fast: share in FastSim per bin.
        fast_error: its standard error, of the emulator's random numbers alone.
        ratio: FastSim over FullSim per bin.
        ratio_error: its standard error.
        test: chi2 of closure over bins that are joined until the outcome and its opposite both
            have the statistics.
        largest: |ratio - 1| of the worst bin that has the statistics; nan where none has.
        judged: number of bins that have the statistics.
    """

    by: str
    by_label: str
    group: str
    edges: Row
    rows: tuple[int, ...]
    full: Row
    full_error: Row
    fast: Row
    fast_error: Row
    ratio: Row
    ratio_error: Row
    test: Statistic
    largest: Metric
    judged: int


@dataclass(frozen=True)
class Reliability:
    """Is an outcome as frequent as the emulator's probability says?

    Attributes:
        edges: edges of the predicted probability.
        rows: rows per bin.
        predicted: mean predicted probability per bin.
        observed: share of FullSim per bin.
        error: standard error of the observed share, if the prediction is right.
        test: chi2 of observed minus predicted.
        calibration: expected calibration error, the mean over rows of |observed - predicted| of
            their bin; its null is what a right prediction would give with as many rows.
    """

    edges: Row
    rows: tuple[int, ...]
    predicted: Row
    observed: Row
    error: Row
    test: Statistic
    calibration: Metric


@dataclass(frozen=True)
class Efficiency:
    """Everything on one outcome of the GEN rows, such as `found` or `btag`.

    Attributes:
        name: the outcome.
        kind: `presence` (has a RECO partner: bins must agree), `flag` (a tag: its shares must) or
            `region` (an analysis selection: the number that passes must).
        overall: shares without bins, per group.
        curves: against GEN quantities, per group.
        reliability: calibration; None where the emulator gives no probability.
        replicas: FastSim draws per row; 0 where probabilities were compared.
    """

    name: str
    kind: Literal["presence", "flag", "region"]
    overall: tuple[OverallRate, ...]
    curves: tuple[EfficiencyCurve, ...]
    reliability: Reliability | None
    replicas: int


@dataclass(frozen=True)
class Counts:
    """How many objects an event has, FullSim against FastSim.

    Attributes:
        name: what is counted.
        label: axis label.
        values: the numbers that are told apart; the last one stands for itself and more.
        full: share of FullSim events with each.
        full_error: standard error.
        fast: share of FastSim events with each.
        fast_error: standard error.
        pulls: difference in standard errors.
        test: chi2 over the numbers.
        mean_full: mean number in FullSim.
        mean_fast: mean number in FastSim.
        mean_ratio: FastSim's mean over FullSim's; its null is 1.
        mean_p: two-sided p-value of equal means.
        events: events on either side.
        replicas: of each GEN event in FastSim; 0: the two sides are of different GEN events.
    """

    name: str
    label: str
    values: Row
    full: Row
    full_error: Row
    fast: Row
    fast_error: Row
    pulls: Row
    test: Statistic
    mean_full: Metric
    mean_fast: Metric
    mean_ratio: Metric
    mean_p: Real
    events: tuple[int, int]
    replicas: int = 0


@dataclass(frozen=True)
class Gain:
    """What oversampling brings to one distribution: replicas of a GEN event are correlated.

    Attributes:
        name: key of the distribution.
        label: axis label.
        replicas: per GEN event.
        edges: bin edges.
        gain: per bin, how many times more events a single replica would need for the same
            relative error; from 1 to `replicas`.
        mean: mean over events of the gain of their bin.
    """

    name: str
    label: str
    replicas: int
    edges: Row
    gain: Row
    mean: Real


@dataclass(frozen=True)
class Matching:
    """How the GEN and RECO objects of FullSim were paired, and what is left over.

    Attributes:
        gen: GEN objects.
        reco: RECO objects.
        pairs: pairs.
        efficiency: share of GEN objects with a partner.
        spurious: share of RECO objects without one.
        reach: largest distance that was allowed; nan where a file's index was followed.
        near_reach: share of pairs beyond 80 % of the reach: many mean that it cuts into pairs.
        crowded: share of pairs whose GEN object has another RECO object within the reach: many mean
            that a wider reach brings wrong pairs.
        delta_r_edges: edges of the distance, evenly spaced in its logarithm; the lowest bin holds
            everything below.
        delta_r: pairs per bin.
        neighbour: per bin, GEN objects by the distance to the nearest RECO object that is not
            their partner.
        delta_r_quantiles: distance that half and 95 % of the pairs stay below.
        ratio_edges: edges of pt RECO / GEN.
        ratio: pairs per bin.
        ratio_quantiles: 16 %, 50 % and 84 % quantiles of pt RECO / GEN.
        gen_pt_edges: edges of the GEN pt.
        efficiency_by_pt: share of GEN objects with a partner per bin, and its error.
        efficiency_error: standard error.
        reco_pt_edges: edges of the RECO pt.
        spurious_by_pt: share of RECO objects without a partner per bin.
        spurious_error: standard error.
    """

    gen: int
    reco: int
    pairs: int
    efficiency: Metric
    spurious: Metric
    reach: Real
    near_reach: Real
    crowded: Real
    delta_r_edges: Row
    delta_r: Row
    neighbour: Row
    delta_r_quantiles: tuple[Real, Real]
    ratio_edges: Row
    ratio: Row
    ratio_quantiles: tuple[Real, Real, Real]
    gen_pt_edges: Row
    efficiency_by_pt: Row
    efficiency_error: Row
    reco_pt_edges: Row
    spurious_by_pt: Row
    spurious_error: Row
