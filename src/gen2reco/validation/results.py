"""What a comparison returns: small frozen records of plain numbers that JSON can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

# pydantic reads the annotations
from gen2reco.validation.object_records import (  # noqa: TC001
    Counts,
    Efficiency,
    Gain,
    Matching,
)
from gen2reco.validation.records import Matrix, Metric, Real, Row, Statistic  # noqa: TC001
from gen2reco.validation.settings import Settings  # noqa: TC001


@dataclass(frozen=True)
class Reference:
    """The same comparison with something else than FastSim in its place.

    Attributes:
        w1: W1 to FullSim, in the unit of the quantity.
        floor_ratio: W1 over the null's median.
        ks: Kolmogorov-Smirnov statistic.
    """

    w1: Real
    floor_ratio: Real
    ks: Real


@dataclass(frozen=True)
class Categories:
    """Shares of a flag, an integer or a category, FullSim against FastSim.

    Attributes:
        values: the categories.
        full: share of FullSim in each.
        fast: share of FastSim in each.
        pulls: difference in standard errors.
        test: chi2 over the categories.
    """

    values: Row
    full: Row
    fast: Row
    pulls: Row
    test: Statistic


@dataclass(frozen=True)
class Quantity:
    """The verdict on one quantity or response.

    Attributes:
        name: name in the study.
        group: a RECO quantity, or RECO relative to GEN.
        kind: `continuous`; `discrete` (flags, counts, categories: judged by their shares); `copy`
            (equals GEN or a constant in FullSim: checked for equality).
        label: axis label with the unit in brackets.
        rows: rows of FullSim and of FastSim that have it.
        missing: share of rows that lack it, FullSim and FastSim.
        missing_pull: their difference in standard errors.
        width: half the central 68 % of FullSim.
        w1: W1 in the unit of the quantity.
        relative_w1: W1 over `width`.
        floor_ratio: W1 over the median of W1 between re-splits of FullSim; 1 is perfect.
        w1_p: share of re-splits with a larger W1.
        ks: Kolmogorov-Smirnov statistic with p-value.
        chi2: chi2 over merged bins, with p-value.
        separation: 0.5 sum (a-b)^2/(a+b) of the bin shares.
        w2: W2^2, where asked for.
        equal: share of rows that equal the copied value, FullSim and FastSim; for copies.
        categories: for discrete quantities.
        references: other things in FastSim's place: FullSim's other half, GEN taken as RECO.
        agrees: not told from FullSim at the family-wise level.
        word: the verdict in a word or two.
    """

    name: str
    group: Literal["quantity", "response"]
    kind: Literal["continuous", "discrete", "copy"]
    label: str
    rows: tuple[int, int]
    missing: tuple[Real, Real]
    missing_pull: Real
    width: Real
    w1: Metric | None = None
    relative_w1: Metric | None = None
    floor_ratio: Metric | None = None
    w1_p: Real = math.nan
    ks: Statistic | None = None
    chi2: Statistic | None = None
    separation: Metric | None = None
    w2: Metric | None = None
    equal: tuple[Real, Real] | None = None
    categories: Categories | None = None
    references: dict[str, Reference] = field(default_factory=dict)
    agrees: bool = True
    word: str = ""


@dataclass(frozen=True)
class Distribution:
    """Histogram contents of one quantity; FastSim and GEN are scaled to FullSim's sum of weights.

    Attributes:
        name: key of the quantity; a response carries the prefix `response:`.
        label: axis label.
        edges: bin edges.
        full: FullSim per bin.
        full_variance: variance of it.
        fast: FastSim per bin.
        fast_variance: statistical variance, sums over each event squared.
        band: root mean square over the ensemble's members of their difference to the nominal.
        gen: GEN per bin; empty where GEN lacks the quantity.
        outside: share of FullSim and FastSim outside the edges.
        log: draw with a logarithmic axis.
    """

    name: str
    label: str
    edges: Row
    full: Row
    full_variance: Row
    fast: Row
    fast_variance: Row
    band: Row
    gen: Row
    outside: tuple[Real, Real]
    log: bool


@dataclass(frozen=True)
class Picture2D:
    """Two histograms over the same plane: FastSim against RECO, and GEN against RECO.

    Attributes:
        name: name of the quantity.
        label: axis label.
        edges: bin edges of both axes.
        fast: weight [reco, fast] of events that both sides have.
        gen: weight [reco, gen] of the same events; empty where GEN lacks the quantity.
        correlation: Spearman's coefficient of FastSim and of GEN with RECO.
        events: number of events shown.
    """

    name: str
    label: str
    edges: Row
    fast: Matrix
    gen: Matrix
    correlation: tuple[Real, Real]
    events: int


@dataclass(frozen=True)
class CorrelationMatrix:
    """One correlation coefficient between all quantities and responses.

    Attributes:
        kind: which coefficient.
        names: rows and columns.
        full: matrix of FullSim.
        fast: matrix of FastSim.
        frobenius: Frobenius norm of the difference (each pair counted twice, as the norm does).
        largest: largest absolute element of the difference.
        pair: names of the pair with the largest difference.
        p: share of re-splits that are as far off, in norm or in the largest element.
    """

    kind: Literal["spearman", "pearson"]
    names: tuple[str, ...]
    full: Matrix
    fast: Matrix
    frobenius: Metric
    largest: Metric
    pair: tuple[str, str]
    p: Real


@dataclass(frozen=True)
class Classifier:
    """Can a classifier tell FullSim from FastSim?

    Attributes:
        auc: AUC per noise seed.
        null: AUC per re-split of FullSim.
        excess: mean AUC above the mean null, with error; its null is 0.
        p: probability of an excess at least so large for a perfect emulator.
        references: AUC with something else in FastSim's place.
        features: names of the features.
        events: events on each side.
        false_positive: common axis of the ROC curves.
        true_positive: mean ROC curve.
        null_true_positive: mean ROC curve of the null.
        null_spread: standard deviation of the null's curves.
        note: what to know about how it was made.
    """

    auc: Row
    null: Row
    excess: Metric
    p: Real
    references: dict[str, Real]
    features: tuple[str, ...]
    events: tuple[int, int]
    false_positive: Row
    true_positive: Row
    null_true_positive: Row
    null_spread: Row
    note: str = ""


@dataclass(frozen=True)
class ResponseProfile:
    """Scale and resolution of one response in bins of a GEN quantity.

    Attributes:
        name: the response.
        label: its axis label.
        by: the GEN quantity.
        by_label: its axis label.
        edges: bin edges.
        rows: FullSim rows per bin.
        median_full: median per bin, FullSim, with errors.
        width_full: half 68 % width per bin.
        closure: |difference of medians| / width, per bin, with errors.
        width_ratio: FastSim over FullSim width, per bin, with errors.
        largest_closure: the worst bin, with the null's 95 % from re-splits.
        largest_width: the width ratio farthest from 1, as its distance to 1.
        scale: chi2 of the differences of medians.
        resolution: chi2 of the width ratios.
        same_rows: both sides come from the same GEN rows.
    """

    name: str
    label: str
    by: str
    by_label: str
    edges: Row
    rows: tuple[int, ...]
    median_full: Row
    median_full_error: Row
    median_fast: Row
    median_fast_error: Row
    width_full: Row
    width_full_error: Row
    width_fast: Row
    width_fast_error: Row
    closure: Row
    closure_error: Row
    width_ratio: Row
    width_ratio_error: Row
    largest_closure: Metric
    largest_width: Metric
    scale: Statistic
    resolution: Statistic
    same_rows: bool


@dataclass(frozen=True)
class Pit:
    """Coverage of one quantity: where the truth ranks among draws for the same GEN row.

    Attributes:
        name: the quantity.
        label: its axis label.
        deciles: share of rows per decile of the rank; 0.1 each if covered.
        error: standard error of a share.
        deviation: largest distance of a share from 0.1, absolute.
        test: chi2 of the ten shares.
        rows: number of rows.
    """

    name: str
    label: str
    deciles: Row
    error: Real
    deviation: Metric
    test: Statistic
    rows: int


@dataclass(frozen=True)
class RateResult:
    """A share that passes something, FullSim against FastSim.

    Attributes:
        name: what is passed.
        full: share of FullSim.
        full_error: its standard error.
        fast: share of FastSim.
        fast_error: its standard error.
        pull: difference in standard errors.
        p: two-sided p-value.
    """

    name: str
    full: Real
    full_error: Real
    fast: Real
    fast_error: Real
    pull: Real
    p: Real


@dataclass(frozen=True)
class Check:
    """One member of the family that the headline judges.

    Attributes:
        name: what is tested.
        value: its figure, with error and null.
        p: p-value.
        p_holm: after Holm's correction over the family.
        agrees: not told from FullSim at the family-wise level.
        worst: what is farthest off.
    """

    name: str
    value: Metric
    p: Real
    p_holm: Real
    agrees: bool
    worst: str = ""


@dataclass(frozen=True)
class Target:
    """A figure that was asked for, and what was reached."""

    name: str
    value: Real
    limit: Real
    met: bool


@dataclass(frozen=True)
class Assessment:
    """Everything a comparison found.

    Attributes:
        headline: the verdict in one sentence.
        agrees: FastSim cannot be told from FullSim at the family-wise level.
        checks: the family of tests behind the headline.
        targets: what was asked of the emulator.
        quantities: verdict per quantity and response.
        family_limit: largest floor ratio of 95 % of the re-splits, over all quantities.
        median_floor_ratio: median over quantities, with the null's.
        rates: shares such as the final selection's.
        distributions: histogram contents.
        pictures: two-dimensional histograms.
        correlations: matrices.
        classifier: C2ST.
        responses: scale and resolution.
        coverage: PIT.
        rows: rows of FullSim (half A), FastSim and FullSim's other half.
        events: distinct GEN events of the same.
        members: ensemble members beyond the nominal one.
        notes: what a reader must know about how the numbers were made.
        not_judged: what this comparison says nothing about.
        settings: sizes and seeds.
        efficiencies: outcomes of GEN rows: found or not, tagged or not.
        counts: objects per event.
        matching: how FullSim's objects were paired.
        gains: what oversampling brings, where FastSim has replicas.
    """

    headline: str
    agrees: bool
    checks: tuple[Check, ...]
    targets: tuple[Target, ...]
    quantities: tuple[Quantity, ...]
    family_limit: Real
    median_floor_ratio: Metric
    rates: tuple[RateResult, ...]
    distributions: tuple[Distribution, ...]
    pictures: tuple[Picture2D, ...]
    correlations: tuple[CorrelationMatrix, ...]
    classifier: Classifier | None
    responses: tuple[ResponseProfile, ...]
    coverage: tuple[Pit, ...]
    rows: tuple[int, int, int]
    events: tuple[int, int, int]
    members: int
    notes: tuple[str, ...]
    not_judged: tuple[str, ...]
    settings: Settings
    efficiencies: tuple[Efficiency, ...] = ()
    counts: tuple[Counts, ...] = ()
    matching: Matching | None = None
    gains: tuple[Gain, ...] = ()
