"""Coverage: the truth must rank evenly among draws of the emulator for the same GEN row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2 as chi2_law

from gen2reco.errors import SampleError
from gen2reco.validation.binned import bin_index, histogram
from gen2reco.validation.multiple import holm
from gen2reco.validation.records import Metric, Statistic
from gen2reco.validation.results import Pit
from gen2reco.validation.weighted import design_effect

if TYPE_CHECKING:
    from collections.abc import Callable

    from gen2reco.validation.columns import Integers, Reals
    from gen2reco.validation.inputs import Coverage

NULL_TRIALS = 2000


def ranks(truth: Reals, draws: Reals, seed: int = 1) -> Integers:
    """Rank of the truth among draws, from 0 to the number of draws, ties broken at random.

    Where the truth equals some of the draws (point masses, integers, copies) its rank is drawn
    evenly among the places it could take, so that a right emulator covers there as well.

    Args:
        truth: [n].
        draws: [n, draws] of the same GEN rows.
        seed: of the random ties.

    Raises:
        SampleError: the shapes do not fit.
    """
    if draws.ndim != 2 or len(draws) != len(truth):
        raise SampleError(f"draws must be [{len(truth)}, draws], not {list(draws.shape)}")
    below = np.sum(draws < truth[:, None], axis=1)
    ties = np.sum(draws == truth[:, None], axis=1)
    place = np.floor(np.random.default_rng(seed).random(len(truth)) * (ties + 1))
    return np.asarray(below + place, dtype=np.int64)


def judge_coverage(
    coverage: Coverage, label: Callable[[str], str] = str, seed: int = 1
) -> tuple[Pit, ...]:
    """Decile shares of the ranks with chi2 p-values, Holm over quantities.

    Args:
        coverage: ranks of the truth, before the final selection.
        label: axis label of a name.
        seed: of the null of the largest deviation.

    Raises:
        SampleError: the number of possible ranks is not a multiple of ten.
    """
    if (coverage.draws + 1) % 10:
        raise SampleError(
            f"deciles need draws + 1 to be a multiple of 10, not {coverage.draws} draws; use 99"
        )
    edges = np.arange(11) * (coverage.draws + 1) / 10 - 0.5
    found = [
        _judge((name, label(name)), np.asarray(values), coverage, edges, seed)
        for name, values in coverage.ranks.items()
    ]
    corrected = holm([pit.test.p for pit in found])
    return tuple(
        replace(pit, test=replace(pit.test, p_holm=p))
        for pit, p in zip(found, corrected, strict=True)
    )


def _judge(
    names: tuple[str, str],
    values: npt.NDArray[np.integer],
    coverage: Coverage,
    edges: Reals,
    seed: int,
) -> Pit:
    content, _ = histogram(values.astype(np.float64), coverage.weight, coverage.event, edges)
    total = coverage.weight.sum()
    share = content / total
    # a row lands in a decile with probability 0.1: (sum w)^2 / (sum w^2) rows, fewer where the
    # ranks of one event go together
    deciles = bin_index(values.astype(np.float64), edges)
    residual = (deciles[:, None] == np.arange(10)) - 0.1
    together = design_effect(residual * coverage.weight[:, None], coverage.event)
    entries = total**2 / float(np.sum(coverage.weight**2)) / together
    value = float(np.sum((share - 0.1) ** 2) * 10 * entries)
    rng = np.random.default_rng([seed, 13])
    null = rng.multinomial(max(1, round(entries)), [0.1] * 10, NULL_TRIALS) / entries
    largest = np.max(np.abs(null - 0.1), axis=1)
    error = float(np.sqrt(0.09 / entries))
    return Pit(
        name=names[0],
        label=names[1],
        deciles=tuple(share.tolist()),
        error=error,
        deviation=Metric(
            float(np.max(np.abs(share - 0.1))),
            error,
            float(np.median(largest)),
            float(np.quantile(largest, 0.95)),
        ),
        test=Statistic(value, float(chi2_law.sf(value, 9)), ndf=9),
        rows=len(values),
    )
