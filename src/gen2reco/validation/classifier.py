"""C2ST: can a classifier tell FullSim from FastSim, given GEN and RECO relative to GEN?

Gradient-boosted trees, cross-fitted in folds that keep the rows of an event together. The excess is
the AUC above that of FullSim against FullSim. FullSim and FastSim must come from disjoint
GEN events: with the same ones in both classes the AUC drops below 0.5 and differences hide.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from gen2reco.errors import SampleError
from gen2reco.validation.binned import quantile_bins
from gen2reco.validation.records import Metric
from gen2reco.validation.resplits import resplit
from gen2reco.validation.results import Classifier
from gen2reco.validation.weighted import effective_entries, event_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.validation.columns import Flags, Integers, Reals
    from gen2reco.validation.settings import Settings

log = logging.getLogger(__name__)

AXIS: Reals = np.linspace(0.0, 1.0, 101)
WORTH_PROCESSES = 6000
"""Fewer rows than this are fitted before other processes have started."""


@dataclass(frozen=True)
class Rows:
    """One side as the classifier sees it: features [n, k], weight [n], event [n]."""

    features: npt.NDArray[np.float32]
    weight: Reals
    event: Integers

    def take(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows under a mask."""
        return Rows(self.features[mask], self.weight[mask], self.event[mask])


@dataclass(frozen=True)
class Columns:
    """One side as named features, [n] each, with weight and event."""

    features: Mapping[str, Reals]
    weight: Reals
    event: Integers

    def rows(self, names: tuple[str, ...]) -> Rows:
        """Stack the named features."""
        table = stack({name: self.features[name] for name in names})
        return Rows(table, self.weight, self.event)


def stack(columns: Mapping[str, Reals]) -> npt.NDArray[np.float32]:
    """Features [n, k] in the order of the mapping; what is not finite becomes missing (nan)."""
    features = np.stack([np.asarray(c, dtype=np.float64) for c in columns.values()], axis=1)
    features[~np.isfinite(features)] = np.nan
    return features.astype(np.float32)


def known_columns(features: npt.NDArray[np.float32]) -> Flags:
    """Which columns of [n, k] have a value in some row, [k]; trees refuse others."""
    return np.asarray(np.isfinite(features).any(axis=0))


def area(score: Reals, second: npt.NDArray[np.bool_], weight: Reals) -> float:
    """Area under the ROC curve: how often the second side scores higher; ties count half.

    Args:
        score: [n].
        second: [n], True where the row is of the second side.
        weight: [n], of either sign; each side must sum to more than zero.
    """
    order = np.argsort(score, kind="stable")
    score, second, weight = score[order], second[order], weight[order]
    below = np.cumsum(np.where(second, 0.0, weight))
    ends = np.flatnonzero(np.concatenate([np.diff(score) > 0, [True]]))
    group = np.concatenate([[0], ends[:-1] + 1])
    upper = below[ends]
    lower = np.concatenate([[0.0], upper[:-1]])
    gained = np.add.reduceat(np.where(second, weight, 0.0), group)
    return float(np.sum(gained * 0.5 * (upper + lower)) / (below[-1] * gained.sum()))


def cross_fit(
    pairs: Sequence[tuple[Rows, Rows]], settings: Settings, seed: int
) -> tuple[list[float], list[Reals]]:
    """Cross-fit a classifier on each pair of samples.

    The folds of all pairs are spread over processes, each of them growing its trees alone: some ten
    thousand rows gain nothing from sharing one tree, and threads wait for the interpreter.

    Args:
        pairs: FullSim and what stands against it.
        settings: folds, threads, seed.
        seed: tells groups of pairs apart.

    Returns:
        Per pair the AUC and the ROC curve, both means over folds; the curve is the true-positive
        rate [101] at false-positive rates from 0 to 1.
    """
    tables = [
        _Table.of(first, second, settings, seed + i) for i, (first, second) in enumerate(pairs)
    ]
    jobs = [
        (table, fold, settings, 100 * (seed + i) + fold)
        for i, table in enumerate(tables)
        for fold in range(settings.folds)
    ]
    workers = min(settings.threads or cores(), len(jobs))
    if len(tables[0].fold) < WORTH_PROCESSES:
        workers = 1
    found = Parallel(n_jobs=workers)(delayed(_fit)(*job) for job in jobs)
    areas, curves = [], []
    for i in range(len(pairs)):
        part = found[i * settings.folds : (i + 1) * settings.folds]
        areas.append(float(np.mean([value for value, _ in part])))
        curves.append(np.mean([curve for _, curve in part], axis=0))
    return areas, curves


def cores() -> int:
    """Cores this process may use; not every system can say, then all."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


@dataclass(frozen=True)
class _Table:
    """Both sides of a pair together: binned features, side, weight, fold, [n]."""

    features: npt.NDArray[np.float32]
    is_second: npt.NDArray[np.bool_]
    weight: Reals
    fold: Integers

    @classmethod
    def of(cls, first: Rows, second: Rows, settings: Settings, seed: int) -> _Table:
        shares = [rows.weight / rows.weight.sum() * len(rows.weight) for rows in (first, second)]
        rng = np.random.default_rng([settings.seed, seed])
        return cls(
            quantile_bins(np.concatenate([first.features, second.features])),
            np.repeat([False, True], [len(first.weight), len(second.weight)]),
            np.concatenate(shares),
            event_folds(first.event, second.event, settings.folds, rng),
        )


def _fit(table: _Table, fold: int, settings: Settings, seed: int) -> tuple[float, Reals]:
    """Train on all folds but one, judge on that one: AUC and ROC curve."""
    train, judge = table.fold != fold, table.fold == fold
    trees = HistGradientBoostingClassifier(
        max_iter=200,
        learning_rate=0.06,
        max_leaf_nodes=31,
        min_samples_leaf=50,
        early_stopping=settings.early_stopping,
        random_state=(settings.seed + seed) % 2**32,  # larger ones are not taken
    )
    # signed weights cannot steer the trees; any score is a fair one as long as both sides are
    # judged with their true weights, which is what the AUC does
    steering = None if np.ptp(table.weight) < 1e-9 else np.abs(table.weight[train])
    known = known_columns(table.features[train])
    score = np.zeros(np.count_nonzero(judge))
    if known.any():
        with threadpool_limits(1, user_api="openmp"):
            grown = table.features[np.ix_(train, known)]
            trees.fit(grown, table.is_second[train], sample_weight=steering)
            score = trees.decision_function(table.features[np.ix_(judge, known)])
    side, weight = table.is_second[judge], table.weight[judge]
    return area(score, side, weight), _curve(score, side, weight)


def c2st(
    full: Columns,
    half: npt.NDArray[np.bool_],
    fast: Sequence[Columns],
    settings: Settings,
    references: Mapping[str, Columns] | None = None,
) -> Classifier:
    """Classifier two-sample test of FullSim against FastSim, with its null.

    Args:
        full: all FullSim rows.
        half: True for the half that stands against FastSim [n].
        fast: FastSim per noise seed, from other GEN events.
        settings: seeds, re-splits, folds, threads.
        references: other things to put in FastSim's place, by name; those with fewer features are
            compared in the features that they have.

    Raises:
        SampleError: no feature has a value in FullSim; features of which that holds are left out.
    """
    names = tuple(name for name, values in full.features.items() if np.isfinite(values).any())
    if not names:
        raise SampleError("no quantity has a value in any row of FullSim; nothing can be compared")
    everything = full.rows(names)
    first = everything.take(half)
    seconds = [sample.rows(names) for sample in fast[: settings.classifier_seeds]]
    size = min(len(np.unique(rows.event)) for rows in (first, seconds[0]))
    values, curves = cross_fit([(first, rows) for rows in seconds], settings, 1000)
    log.info("C2ST: AUC %s", ", ".join(f"{value:.4f}" for value in values))
    sides = resplit(
        full.event,
        min(size, len(np.unique(full.event)) // 2),
        settings.classifier_resplits,
        np.random.default_rng([settings.seed, 7]),
    )
    pairs = [(everything.take(side == 1), everything.take(side == -1)) for side in sides]
    nulls, null_curves = cross_fit(pairs, settings, 2000)
    log.info("C2ST: null %s", ", ".join(f"{value:.4f}" for value in nulls))
    others = {}
    for name, sample in (references or {}).items():
        shared = [i for i, feature in enumerate(names) if feature in sample.features]
        cut = Rows(first.features[:, shared], first.weight, first.event)
        rows = sample.rows(tuple(names[i] for i in shared))
        others[name] = cross_fit([(cut, rows)], settings, 3000)[0][0]
    excess, p = mean_excess(values, nulls, first, seconds[0])
    return Classifier(
        auc=tuple(values),
        null=tuple(nulls),
        excess=excess,
        p=p,
        references=others,
        features=names,
        events=(len(np.unique(first.event)), len(np.unique(seconds[0].event))),
        false_positive=tuple(AXIS.tolist()),
        true_positive=tuple(np.mean(curves, axis=0).tolist()),
        null_true_positive=tuple(np.mean(null_curves, axis=0).tolist()),
        null_spread=tuple(_spread(null_curves).tolist()),
        note=_note(settings, full.weight),
    )


def mean_excess(
    values: Sequence[float], nulls: Sequence[float], first: Rows, second: Rows
) -> tuple[Metric, float]:
    """Excess of the mean AUC with an error from both spreads.

    Noise seeds share their GEN events and the FullSim half, so only the part of the scatter that
    differs between seeds averages out; the rest is what one AUC scatters by in the null. A side of
    n effective rows gives an AUC of 0.5 a variance of 1 / 12 n. Few re-splits and seeds measure
    scatter badly: that of the null is not taken below the sum of both sides, and what seeds have in
    common not below that of the FullSim half, which they all share.
    """
    alone = [
        1 / (12 * effective_entries(rows.weight, np.arange(len(rows.weight))))
        for rows in (first, second)
    ]
    least = float(np.sqrt(sum(alone)))
    null_spread = max(least, float(np.std(nulls, ddof=1)) if len(nulls) > 1 else 0.0)
    seed_spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    common = max(null_spread**2 - seed_spread**2, alone[0])
    variance = common + seed_spread**2 / len(values) + null_spread**2 / len(nulls)
    excess, error = float(np.mean(values) - np.mean(nulls)), float(np.sqrt(variance))
    metric = Metric(excess, error, 0.0, float(norm.isf(0.05) * error))
    return metric, float(norm.sf(excess / error))


def event_folds(
    first: Integers, second: Integers, count: int, rng: np.random.Generator
) -> Integers:
    """Fold of each row; an event's rows share one, and the folds of a side are of equal size."""
    (index_a, index_b), events = event_index(first, second)
    fold = np.empty(events, dtype=np.int64)
    only_b = np.ones(events, dtype=bool)
    only_b[index_a] = False
    for group in (np.flatnonzero(~only_b), np.flatnonzero(only_b)):
        fold[rng.permutation(group)] = np.arange(len(group)) % count
    return np.concatenate([fold[index_a], fold[index_b]])


def _curve(score: Reals, second: npt.NDArray[np.bool_], weight: Reals) -> Reals:
    order = np.argsort(-score, kind="stable")
    second, weight = second[order], weight[order]
    true = np.cumsum(np.where(second, weight, 0.0))
    false = np.cumsum(np.where(second, 0.0, weight))
    x = np.concatenate([[0.0], np.maximum.accumulate(false / false[-1])])
    return np.asarray(np.interp(AXIS, x, np.concatenate([[0.0], true / true[-1]])))


def _spread(curves: Sequence[Reals]) -> Reals:
    return np.asarray(np.std(curves, axis=0, ddof=1) if len(curves) > 1 else 0 * AXIS)


def _note(settings: Settings, weight: Reals) -> str:
    parts = [f"gradient-boosted trees, {settings.folds} cross-fitted folds by event"]
    if settings.early_stopping:
        parts.append("stopped early")
    if np.any(weight < 0):
        parts.append("trained on absolute weights, judged with signed weights")
    return "; ".join(parts)
