"""Does the emulator hand back its training events?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from gen2reco.errors import SampleError
from gen2reco.validation.records import Metric
from gen2reco.validation.weighted import half_width

if TYPE_CHECKING:
    from gen2reco.validation.columns import Reals

HALVES = 10


def memorisation(
    fast: Reals, train: Reals, test: Reals, *, seed: int = 1, bootstraps: int = 100
) -> Metric:
    """Nearest-neighbour distance of FastSim to the training part over that to the test part.

    A distance falls with the number of points, so the larger part is thinned to the smaller one.
    Columns are divided by their half 68 % width in the test part.

    Args:
        fast: FastSim, [n, k] columns of RECO and GEN.
        train: FullSim of the training part [m, k].
        test: FullSim of the test part, from other GEN events than FastSim, [l, k].
        seed: of the thinning and the bootstrap.
        bootstraps: bootstrap samples over FastSim rows; the error also counts the scatter of the
            two parts.

    Returns:
        Ratio of the median distances: 1 within its error, smaller where events were memorised.
        Its null is 1.

    Raises:
        SampleError: the columns differ or a part is empty.
    """
    if not (fast.shape[1:] == train.shape[1:] == test.shape[1:]):
        raise SampleError(
            f"columns differ: {fast.shape[1:]} in FastSim, {train.shape[1:]} in the training part, "
            f"{test.shape[1:]} in the test part"
        )
    if min(len(fast), len(train), len(test)) < 2:
        raise SampleError("memorisation needs at least two rows in each part")
    rng = np.random.default_rng([seed, 17])
    widths = np.array([half_width(column, np.ones(len(test))) for column in test.T])
    widths[widths <= 0] = 1.0
    size = min(len(train), len(test))
    parts = [part[rng.permutation(len(part))[:size]] / widths for part in (train, test)]
    points = fast / widths
    to_train, to_test = (_nearest(points, part) for part in parts)
    rows = [rng.integers(0, len(fast), len(fast)) for _ in range(bootstraps)]
    by_rows = np.std([_ratio(to_train[r], to_test[r]) for r in rows], ddof=1)
    # the points that distances are measured to are a sample as well: random halves of a set, drawn
    # without replacement, scatter as much as whole sets do
    halves = [[part[rng.permutation(size)[: size // 2]] for part in parts] for _ in range(HALVES)]
    by_points = np.std([_ratio(*(_nearest(points, h) for h in pair)) for pair in halves], ddof=1)
    return Metric(_ratio(to_train, to_test), float(np.hypot(by_rows, by_points)), 1.0)


def _nearest(points: Reals, among: Reals) -> Reals:
    return np.asarray(cKDTree(among).query(points)[0], dtype=np.float64)


def _ratio(train: Reals, test: Reals) -> float:
    return float(np.median(train) / max(float(np.median(test)), 1e-300))
