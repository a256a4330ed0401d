"""How well a score tells signal from background, and what a cut on it does to another quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from gen2reco.validation.classifier import area, known_columns, stack
from gen2reco.validation.distances import kolmogorov

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.validation.columns import Integers, Reals

BACKGROUNDS = (0.01, 0.1)
"""Shares of the background at which the efficiency for signal is told."""
BOOTSTRAPS = 100


@dataclass(frozen=True)
class Discrimination:
    """One score on background and signal.

    Attributes:
        name: of the score.
        auc: how often a signal event scores higher than one of background; error by bootstrap.
        auc_error: its error.
        efficiency: share of the background -> share of the signal above the same cut.
        efficiency_error: binomial error of each, the cut's own error included.
        sculpting: KS distance of the quantity of background events above the cut at a tenth of the
            background from that of all of them; nan without a quantity.
        sculpting_null: what a cut at random gives, 95 % quantile.
    """

    name: str
    auc: float
    auc_error: float
    efficiency: dict[str, float]
    efficiency_error: dict[str, float]
    sculpting: float
    sculpting_null: float

    def __str__(self) -> str:
        shares = ", ".join(
            f"{value:.3f} +- {self.efficiency_error[at]:.3f} at {at}"
            for at, value in self.efficiency.items()
        )
        return f"{self.name:16s} AUC {self.auc:.3f} +- {self.auc_error:.3f}; signal {shares}"


def discriminate(
    name: str,
    background: Reals,
    signal: Reals,
    *,
    quantity: Reals | None = None,
    seed: int = 1,
) -> Discrimination:
    """Measure one score.

    Args:
        name: of the score.
        background: scores of background events [n].
        signal: scores of signal events [m]; larger is more like signal.
        quantity: of the background events [n], whose sculpting by a cut is told; nan where an
            event has none.
        seed: of the bootstrap.
    """
    random = np.random.default_rng(seed)
    areas, shares = [], []
    for _ in range(BOOTSTRAPS):
        b = background[random.integers(0, len(background), len(background))]
        s = signal[random.integers(0, len(signal), len(signal))]
        areas.append(_area(b, s))
        shares.append([_efficiency(b, s, at) for at in BACKGROUNDS])
    errors = np.std(shares, axis=0, ddof=1)
    labels = [f"{at:.0%} background" for at in BACKGROUNDS]
    sculpting = null = float("nan")
    if quantity is not None:
        known = np.isfinite(quantity)
        above = (background > np.quantile(background, 1 - BACKGROUNDS[-1]))[known]
        values = quantity[known]
        if above.any():
            sculpting = kolmogorov(values[above], values)[0]
            chance = [
                kolmogorov(random.permutation(values)[: above.sum()], values)[0] for _ in range(50)
            ]
            null = float(np.quantile(chance, 0.95))
    return Discrimination(
        name,
        _area(background, signal),
        float(np.std(areas, ddof=1)),
        dict(zip(labels, (_efficiency(background, signal, at) for at in BACKGROUNDS), strict=True)),
        dict(zip(labels, errors.tolist(), strict=True)),
        sculpting,
        null,
    )


def supervised(
    background: Mapping[str, Reals], signal: Mapping[str, Reals], folds: Sequence[Integers]
) -> tuple[Reals, Reals]:
    """Return cross-fitted scores of a classifier that knows signal: what any score can reach.

    Args:
        background: features [n] by name.
        signal: the same features [m].
        folds: fold of every background and of every signal event, from 0.

    Returns:
        Scores of background [n] and signal [m], each by a classifier that has not seen the fold; 0
        where no feature has a value.
    """
    tables = [stack(background), stack(signal)]
    scores = [np.zeros(len(table)) for table in tables]
    for fold in np.unique(folds[0]):
        kept = [of != fold for of in folds]
        learned = np.concatenate([table[rows] for table, rows in zip(tables, kept, strict=True)])
        labels = np.repeat([0, 1], [rows.sum() for rows in kept])
        known = known_columns(learned)
        if not known.any():
            continue
        trees = HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.06, min_samples_leaf=50, class_weight="balanced",
            random_state=1,
        ).fit(learned[:, known], labels)  # fmt: skip
        for score, table, rows in zip(scores, tables, kept, strict=True):
            score[~rows] = trees.decision_function(table[np.ix_(~rows, known)])
    return scores[0], scores[1]


def _area(background: Reals, signal: Reals) -> float:
    score = np.concatenate([background, signal])
    second = np.repeat([False, True], [len(background), len(signal)])
    return float(area(score, second, np.ones(len(score))))


def _efficiency(background: Reals, signal: Reals, at: float) -> float:
    return float(np.mean(signal > np.quantile(background, 1 - at)))
