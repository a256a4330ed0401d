"""OmniFold: unfolding by weights (Andreassen et al., arXiv:1911.09107), unbinned and iterative.

Each iteration pulls the difference between measurement and simulation at RECO back to GEN, and
averages it there:

1. r(x): density of the measurement over that of the simulation with its present weights, at RECO;
2. w(z): mean of (present weight) x r over the simulated events with truth z, at GEN.

Only w(z), a function of the truth, goes on. So an event that was not reconstructed has the weight
of its truth: the efficiency at given truth is that of the simulation. Fakes have no truth: their
share of the measurement at each point of RECO is that of the simulation, from the first iteration
on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import SampleError
from gen2reco.unfolding.ratio import Ratio, Trees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from gen2reco.unfolding.samples import Measured, Pairs, Reals


FEWEST_FOLDS = 3
"""Differences of K folds are multiplied by -K / (K - 1)^2 in each iteration: -2 for two."""


@dataclass(frozen=True)
class OmniFold:
    """Settings of `omnifold`.

    Attributes:
        iterations: more of them depend less on the prior and scatter more.
        trees: how the trees of both steps grow.
    """

    iterations: int = 5
    trees: Trees = field(default_factory=Trees)

    def with_seed(self, seed: int) -> OmniFold:
        """Return the same settings with other folds."""
        return replace(self, trees=replace(self.trees, seed=seed))


@dataclass(frozen=True)
class Iteration:
    """How one iteration went.

    Attributes:
        number: from 1.
        at_reco: mean of abs(r - 1) over the simulation at RECO, before the iteration: what is still
            to be unfolded, and the scatter of r.
        change: mean of abs(w - w of the iteration before), over their mean.
        effective: effective number of truth events, (sum w)^2 / sum w^2.
        largest: largest final weight over the mean one.
    """

    number: int
    at_reco: float
    change: float
    effective: float
    largest: float

    def as_dict(self) -> dict[str, float]:
        """Return a JSON-able copy."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Reweighted:
    """The unfolded truth: the simulated events with new weights.

    Attributes:
        weight: the final weight of each simulated event, float64 [events]: prior weight included,
            nothing is to be multiplied. 0 without truth. Sums over truth, with and without RECO,
            are yields of the measurement, corrected for efficiency and fakes.
        by_iteration: the same after each iteration, float32 [iterations, events].
        history: how each iteration went.
        fakes: share of the measurement that was taken for fakes.
        counts: what -> events: used, without RECO, without truth, not finite, left out.
    """

    weight: Reals
    by_iteration: NDArray[np.float32]
    history: tuple[Iteration, ...]
    fakes: float
    counts: Mapping[str, int]

    @property
    def effective(self) -> float:
        """Effective number of events."""
        return self.history[-1].effective

    def __str__(self) -> str:
        lines = [f"{name}: {count}" for name, count in self.counts.items()]
        lines.append(f"share of fakes: {self.fakes:.4f}")
        lines.append("iteration   still at RECO   change   effective events   largest weight")
        lines += [
            f"{one.number:>9}{one.at_reco:>16.4f}{one.change:>9.4f}{one.effective:>19.0f}"
            f"{one.largest:>17.2f}"
            for one in self.history
        ]
        return "\n".join(lines)


def omnifold(
    data: Measured,
    simulation: Pairs,
    settings: OmniFold | None = None,
    *,
    prior: Reals | None = None,
    progress: Callable[[Iteration], None] | None = None,
) -> Reweighted:
    """Unfold a measurement by weights on the truth of a simulation.

    Args:
        data: the measurement.
        simulation: simulated events, with the same RECO quantities.
        settings: iterations and trees; None: the defaults.
        prior: factor on the truth of each simulated event to start from, [events]; another one
            than 1 shows how far the result depends on it.
        progress: receives each iteration.

    Raises:
        SampleError: the samples have other numbers of RECO quantities, or the prior does not fit.
    """
    settings = settings or OmniFold()
    if settings.trees.folds < FEWEST_FOLDS:
        raise SampleError(
            f"{settings.trees.folds} folds are too few to iterate: the scatter of one comes back"
            f" larger from the other; take {FEWEST_FOLDS} or more"
        )
    if data.reco.shape[1] != simulation.reco.shape[1]:
        raise SampleError(
            f"the measurement has {data.reco.shape[1]} RECO quantities, the simulation has"
            f" {simulation.reco.shape[1]}"
        )
    fitted = _Fit(data, simulation, settings.trees)
    push = fitted.start(prior)
    fakes: Reals | None = None
    kept = np.empty((settings.iterations, len(simulation)), np.float32)
    history = []
    for number in range(1, settings.iterations + 1):
        before = push
        push, fakes, at_reco = fitted.iterate(push, fakes)
        final = np.where(simulation.has_gen, simulation.weight * push, 0.0)
        kept[number - 1] = final
        history.append(
            Iteration(
                number,
                at_reco,
                _mean(np.abs(push - before), fitted.truth) / _mean(push, fitted.truth),
                float(final.sum() ** 2 / np.sum(final**2)),
                float(final.max() / final[simulation.has_gen].mean()),
            )
        )
        if progress is not None:
            progress(history[-1])
    share = 0.0 if fakes is None else float(fakes.sum() / data.weight.sum())
    return Reweighted(final, kept, tuple(history), share, _counts(data, simulation))


def bootstrap(
    data: Measured,
    simulation: Pairs,
    replicas: int,
    settings: OmniFold | None = None,
    *,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Unfold again with every event counted as often as a Poisson number of mean one says.

    Covers the statistics of measurement and simulation, through the trees too. `spectrum` makes
    covariances of it for any quantity.

    Returns:
        Final weights, float32 [replicas, events]; an event that a replica lacks has weight 0.
    """
    settings = settings or OmniFold()
    weights = np.empty((replicas, len(simulation)), np.float32)
    for replica in range(replicas):
        counts = replica_counts((len(data.weight), len(simulation)), replica, seed)
        seen = replace(data, weight=data.weight * counts[0])
        made = replace(simulation, weight=simulation.weight * counts[1])
        again = settings.with_seed(settings.trees.seed + 1000 * (replica + 1))
        weights[replica] = omnifold(seen, made, again).weight
        if progress is not None:
            progress(replica + 1)
    return weights


def replica_counts(
    events: tuple[int, int], replica: int, seed: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each event of the measurement and of the simulation counts in one replica."""
    rng = np.random.default_rng([seed, replica])
    return rng.poisson(1.0, events[0]), rng.poisson(1.0, events[1])


class _Fit:
    """Both density ratios, and the sides that they see."""

    def __init__(self, data: Measured, simulation: Pairs, trees: Trees) -> None:
        self._weight = simulation.weight
        self._has_gen, self._has_reco = simulation.has_gen, simulation.has_reco
        self._seen = data.weight
        events = len(simulation)
        fold = trees.deal(events, 0)
        measured = trees.deal(len(data.weight), 1)
        reco = np.concatenate([data.reco, simulation.reco[self._has_reco]])
        self._at_reco = Ratio(reco, np.concatenate([measured, fold[self._has_reco]]), trees)
        self._at_gen = Ratio(simulation.gen[self._has_gen], fold[self._has_gen], trees)
        self.truth = np.where(self._has_gen, self._weight, 0.0)

    def start(self, prior: Reals | None) -> Reals:
        """Return the factors to begin with, scaled so that the simulation has the data's yield."""
        factor = np.ones(len(self._weight)) if prior is None else np.asarray(prior, np.float64)
        if factor.shape != self._weight.shape or not np.all(np.isfinite(factor) & (factor > 0)):
            raise SampleError("the prior must be a positive number for each simulated event")
        expected = self._weight[self._has_reco] * factor[self._has_reco]
        return np.asarray(factor * (self._seen.sum() / expected.sum()))

    def iterate(self, push: Reals, fakes: Reals | None) -> tuple[Reals, Reals, float]:
        """Return the new factors on the truth, the weights of fakes, and how far RECO was off."""
        present = self._weight * push
        if fakes is not None:
            present = np.where(self._has_gen, present, fakes)
        below = present[self._has_reco]
        measured = len(self._seen)
        ratio = self._at_reco.of_samples(
            np.concatenate([self._seen, np.zeros(len(below))]),
            np.concatenate([np.zeros(measured), below]),
        )[measured:]
        # The yield is known better than trees can tell.
        ratio *= self._seen.sum() / np.sum(below * ratio)
        pull = np.zeros(len(present))
        pull[self._has_reco] = below * ratio
        if fakes is None:
            fakes = np.where(self._has_gen, 0.0, pull)
        new = np.ones(len(present))
        new[self._has_gen] = self._at_gen.of_weights(
            pull[self._has_gen],
            np.where(self._has_reco, self._weight, 0.0)[self._has_gen],
        )
        return new, fakes, _mean(np.abs(ratio - 1), below)


def _mean(values: Reals, weight: Reals) -> float:
    return float(np.sum(values * weight) / weight.sum())


def _counts(data: Measured, simulation: Pairs) -> dict[str, int]:
    gen, reco = simulation.has_gen, simulation.has_reco
    return {
        "measured events": len(data.weight),
        "measured events left out, not finite": data.left_out,
        "simulated events with GEN and RECO": int(np.count_nonzero(gen & reco)),
        "simulated events without RECO": int(np.count_nonzero(gen & ~reco)),
        "simulated events without GEN (fakes)": int(np.count_nonzero(~gen & reco)),
        "simulated events left out": int(np.count_nonzero(~gen & ~reco)),
        **{f"simulated {name} not finite": n for name, n in simulation.nonfinite.items()},
    }
