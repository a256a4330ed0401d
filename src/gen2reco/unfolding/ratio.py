"""Ratios of two densities from gradient-boosted trees, each row judged by trees it did not grow.

Trees that judge their own rows take the scatter of the sample for a difference; over iterations
that adds up. So rows are dealt into folds, and each fold is judged by the trees of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from gen2reco.validation.binned import quantile_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gen2reco.unfolding.samples import Reals

    Bins = NDArray[np.uint8]

LARGEST_LOG = 10.0
"""Log-ratios are kept within this: where one side is empty the trees say anything."""


@dataclass(frozen=True)
class Trees:
    """How the trees grow; small ones, since ratios near one are what there is to learn.

    Attributes:
        trees: number of them.
        learning_rate: shrinkage of each.
        leaves: leaves of a tree, at most.
        leaf_rows: rows of a leaf, at least.
        folds: parts of the rows that are judged by the trees of the other parts, at least 3 where
            ratios are iterated.
        seed: of the folds.
    """

    trees: int = 60
    learning_rate: float = 0.1
    leaves: int = 6
    leaf_rows: int = 400
    folds: int = 5
    seed: int = 1

    def deal(self, rows: int, salt: int) -> NDArray[np.int64]:
        """Return the fold of each row, int64 [rows]."""
        return np.random.default_rng([self.seed, salt]).integers(0, self.folds, rows)

    @property
    def options(self) -> dict[str, float | bool]:
        """As scikit-learn takes them."""
        return {
            "max_iter": self.trees,
            "learning_rate": self.learning_rate,
            "max_leaf_nodes": self.leaves,
            "min_samples_leaf": self.leaf_rows,
            "early_stopping": False,
        }


class Ratio:
    """Density ratios over one set of features, binned once for all the fits.

    Args:
        features: float64 [rows, features] of all rows that will be fitted or judged.
        fold: int64 [rows], see `Trees.deal`.
        trees: how they grow.
    """

    def __init__(self, features: Reals, fold: NDArray[np.int64], trees: Trees) -> None:
        self._bins: Bins = quantile_bins(features).astype(np.uint8)
        self._fold = fold
        self._trees = trees

    def of_samples(self, above: Reals, below: Reals) -> Reals:
        """Return density of the rows with weights `above` over that of those with `below`.

        Densities are those of the sums of weights, not of unit area. A row may have either weight,
        or none (judged only).

        Args:
            above: float64 [rows], 0 for rows of the other sample.
            below: float64 [rows], 0 for rows of the other sample.

        Returns:
            float64 [rows], for every row.
        """
        rows = np.concatenate([np.flatnonzero(above > 0), np.flatnonzero(below > 0)])
        side = np.repeat([True, False], [np.count_nonzero(above > 0), np.count_nonzero(below > 0)])
        weight = np.where(side, above[rows], below[rows])
        # Both sides count as many as they have rows together: the ratio of the sums comes later.
        sums = np.array([weight[side].sum(), weight[~side].sum()])
        balanced = weight * (0.5 * len(rows) / np.where(side, sums[0], sums[1]))
        logs = np.empty(len(self._bins))
        for fold in range(self._trees.folds):
            learn, judge = self._fold[rows] != fold, self._fold == fold
            trees = HistGradientBoostingClassifier(**self._trees.options)
            with threadpool_limits(1, user_api="openmp"):
                trees.fit(self._bins[rows[learn]], side[learn], sample_weight=balanced[learn])
                logs[judge] = trees.decision_function(self._bins[judge])
        ratio: Reals = sums[0] / sums[1] * np.exp(np.clip(logs, -LARGEST_LOG, LARGEST_LOG))
        return ratio

    def of_weights(self, above: Reals, below: Reals) -> Reals:
        """Return the ratio of two weightings of the same rows: the mean of above / below there.

        The same as `of_samples` with each row in both samples, at half the price: trees with
        Poisson loss learn the mean.

        Args:
            above: float64 [rows].
            below: float64 [rows], 0 for rows that are judged only.

        Returns:
            float64 [rows], for every row.
        """
        rows = np.flatnonzero(below > 0)
        weight = below[rows] * (len(rows) / below[rows].sum())
        value = above[rows] / below[rows]
        scale = float(np.average(value, weights=weight))
        ratio = np.empty(len(self._bins))
        for fold in range(self._trees.folds):
            learn, judge = self._fold[rows] != fold, self._fold == fold
            trees = HistGradientBoostingRegressor(loss="poisson", **self._trees.options)
            with threadpool_limits(1, user_api="openmp"):
                trees.fit(
                    self._bins[rows[learn]], value[learn] / scale, sample_weight=weight[learn]
                )
                ratio[judge] = trees.predict(self._bins[judge])
        return scale * ratio
