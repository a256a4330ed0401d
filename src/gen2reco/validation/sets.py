"""Compare jets as sets of particles: constituents, FPD and KPD, RECO over GEN, images, displays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.validation.binned import distribution_edges
from gen2reco.validation.frechet import fpd, in_units_of, kpd
from gen2reco.validation.records import Metric
from gen2reco.validation.resplits import Trials, bootstrap, resplit
from gen2reco.validation.samples import Sample
from gen2reco.validation.set_records import (
    Constituent,
    Display,
    FeatureDistance,
    JetImage,
    Score,
    SetComparison,
)
from gen2reco.validation.shapes import distribution
from gen2reco.validation.weighted import half_width

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from gen2reco.validation.columns import Integers, Reals
    from gen2reco.validation.settings import Settings

FEATURES = ("pt", "mass", "multiplicity", "tau21", "tau32", "ptD", "width")
"""Jet features in FPD and KPD."""
FEWEST = 100
"""Jets on either side that must have a constituent of some rank before its pt is compared."""
LEADING = 5
DISPLAYS = 4
IMAGE = np.linspace(-1.0, 1.0, 41)
RESPLITS = 100
"""Re-splits of FullSim that make the null of constituents; they have many rows."""
DISTANCE_RESPLITS = 20
"""Re-splits that make the null of FPD and KPD."""

LABELS = {
    "pt": "constituent $p_T$ [GeV]",
    "eta": r"constituent $\eta - \eta_{jet}$",
    "phi": r"constituent $\phi - \phi_{jet}$",
}


@dataclass(frozen=True, eq=False)
class Jets:
    """Jets of one side with their constituents, by falling pt.

    Attributes:
        pt: GeV, [jets, slots]; NaN beyond the last constituent.
        eta: [jets, slots].
        phi: radians, [jets, slots].
        kind: type of each constituent, 0 to 4, [jets, slots].
        features: of the jets by name, [jets] each.
        event: identity of each jet's event, [jets].
        weight: of each jet, [jets].
    """

    pt: Reals
    eta: Reals
    phi: Reals
    kind: Integers
    features: Mapping[str, Reals]
    event: npt.NDArray[np.int64]
    weight: Reals

    def __len__(self) -> int:
        return len(self.pt)

    def take(self, index: npt.NDArray[np.bool_] | Integers) -> Jets:
        """Return the jets that a mask or an index array picks."""
        return Jets(
            self.pt[index],
            self.eta[index],
            self.phi[index],
            self.kind[index],
            {name: values[index] for name, values in self.features.items()},
            self.event[index],
            self.weight[index],
        )

    def relative(self, axis: Jets | None = None) -> tuple[Reals, Reals]:
        """Return eta and phi relative to the axes of these jets, or of others, [jets, slots]."""
        features = (axis or self).features
        phi = self.phi - features["phi"][:, None]
        turned = np.mod(phi + np.pi, 2.0 * np.pi) - np.pi
        return self.eta - features["eta"][:, None], turned


def compare_sets(
    full: Jets, half: Integers, fast: Jets, gen: Jets, settings: Settings
) -> SetComparison:
    """Compare FullSim with FastSim, jet by jet made from the same GEN.

    Distances compare FullSim of half A with FastSim of half B; what is relative to GEN, and the
    displays, compare the same jets.

    Args:
        full: FullSim jets.
        half: 0 or 1 per jet: half A or B of the GEN events.
        fast: FastSim jets of the same GEN jets.
        gen: the GEN jets.
        settings: seed and numbers of repetitions.
    """
    rng = np.random.default_rng([settings.seed, 11])
    a, b = full.take(half == 0), fast.take(half == 1)
    return SetComparison(
        jets=(len(a), len(b)),
        constituents=tuple(_constituents(full, a, b, settings, rng)),
        distances=tuple(_distances(full, half, b, rng)),
        scores=tuple(_scores(full, fast, gen, settings, rng)),
        image=JetImage(
            tuple(IMAGE.tolist()),
            *(tuple(map(tuple, _image(side).tolist())) for side in (a, b)),
        ),
        displays=tuple(_displays(full, fast, gen)),
    )


def _constituents(
    full: Jets, a: Jets, b: Jets, settings: Settings, rng: np.random.Generator
) -> list[Constituent]:
    sides = {id(side): side.relative() for side in (full, a, b)}
    found = []
    events = min(len(np.unique(side.event)) for side in (a, b))
    null = resplit(full.event, min(events, len(np.unique(full.event)) // 2), RESPLITS, rng)
    boots = [bootstrap(side.event, max(settings.bootstraps // 5, 10), rng) for side in (a, b)]

    def judged(name: str, label: str, which: str, rank: int | None) -> Constituent:
        columns = []
        for side in (full, a, b):
            wide = {"pt": side.pt, "eta": sides[id(side)][0], "phi": sides[id(side)][1]}[which]
            jet, slot = np.nonzero(np.isfinite(side.pt))
            if rank is not None:
                jet, slot = jet[slot == rank], slot[slot == rank]
            columns.append((wide[jet, slot], jet))
        (values, jet), *pair = columns
        trials = Trials.of_sides(null[:, jet], full.weight[jet])
        nulls, _ = trials.differences(values)
        one, two = (side[jets] for side, (_, jets) in zip((a.weight, b.weight), pair, strict=True))
        both = np.concatenate([pair[0][0], pair[1][0]])
        weight = np.concatenate([one, two])
        mine, other = np.zeros((1, len(both)), np.int8), np.zeros((1, len(both)), np.int8)
        mine[:, : len(one)], other[:, len(one) :] = 1, 1
        w1 = float(Trials(mine, other, weight).differences(both)[0][0])
        first, second = (draws[:, jets] for draws, (_, jets) in zip(boots, pair, strict=True))
        scatter = Trials(
            np.concatenate([first, np.zeros((len(first), len(two)), np.int8)], axis=1),
            np.concatenate([np.zeros((len(second), len(one)), np.int8), second], axis=1),
            weight,
        ).differences(both)[0]
        floor, limit = float(np.median(nulls)), float(np.quantile(nulls, 0.95))
        error = float(np.std(scatter, ddof=1))
        left, right = (
            Sample({name: values}, {}, {}, side.weight[jets], side.event[jets])
            for side, (values, jets) in zip((a, b), pair, strict=True)
        )
        edges = distribution_edges(left.quantities[name], left.weight, settings.bins)
        shape = distribution(
            name, label, (left.quantities[name], left), (right.quantities[name], right), edges,
            log=which != "pt" or None,
        )  # fmt: skip
        return Constituent(
            name, label, Metric(w1, error, floor, limit),
            Metric(w1 / floor, error / floor, 1.0, limit / floor), shape,
        )  # fmt: skip

    for which, label in LABELS.items():
        found.append(judged(f"constituent_{which}", label, which, None))
    there = [np.isfinite(side.pt).sum(axis=1) for side in (a, b)]
    for rank in range(LEADING):
        if min(np.count_nonzero(number > rank) for number in there) < FEWEST:
            break
        label = f"$p_T$ of constituent {rank + 1} [GeV]"
        found.append(judged(f"pt_{rank + 1}", label, "pt", rank))
    return found


def _distances(
    full: Jets, half: Integers, b: Jets, rng: np.random.Generator
) -> list[FeatureDistance]:
    """FPD and KPD in equal numbers of jets, and their null."""
    whole, second = (
        np.stack([side.features[name] for name in FEATURES], axis=1) for side in (full, b)
    )
    whole, second = in_units_of(whole, whole, second)
    first = whole[half == 0]
    events = len(np.unique(full.event))
    sides = resplit(full.event, events // 2, DISTANCE_RESPLITS, rng)
    found = []
    for name, distance in (("FPD", fpd), ("KPD", kpd)):
        value, error = distance(first, second, rng)
        null = [distance(whole[one == 1], whole[one == -1], rng)[0] for one in sides]
        metric = Metric(value, error, float(np.median(null)), float(np.quantile(null, 0.95)))
        found.append(FeatureDistance(name, metric, FEATURES))
    return found


def _scores(
    full: Jets, fast: Jets, gen: Jets, settings: Settings, rng: np.random.Generator
) -> list[Score]:
    """Return (RECO - GEN) / GEN of the features, with errors from bootstraps over events."""
    draws = bootstrap(full.event, max(settings.bootstraps // 2, 20), rng)
    found = []
    for name in FEATURES:
        truth = gen.features[name]
        there = np.flatnonzero(truth > 0)
        ratios = [side.features[name][there] / truth[there] - 1.0 for side in (full, fast)]

        def measured(
            rows: Integers, ratios: list[Reals] = ratios
        ) -> tuple[list[tuple[float, float]], float, float]:
            ones = np.ones(len(rows))
            both = [(float(np.median(side[rows])), half_width(side[rows], ones)) for side in ratios]
            (centre, width), (other, wide) = both
            return both, (other - centre) / width, wide / width

        sides, shift, ratio = measured(np.arange(len(there)))
        scatter = np.array(
            [measured(np.repeat(np.arange(len(there)), draw[there]))[1:] for draw in draws]
        ).std(axis=0, ddof=1)
        found.append(
            Score(
                name, sides[0], sides[1],
                Metric(shift, float(scatter[0])), Metric(ratio, float(scatter[1])),
            )
        )  # fmt: skip
    return found


def _image(jets: Jets) -> Reals:
    eta, phi = jets.relative()
    there = np.isfinite(jets.pt)
    weight = jets.pt[there] * np.broadcast_to(jets.weight[:, None], jets.pt.shape)[there]
    image, _, _ = np.histogram2d(eta[there], phi[there], (IMAGE, IMAGE), weights=weight)
    return np.asarray(image / jets.weight.sum())


def _displays(full: Jets, fast: Jets, gen: Jets) -> list[Display]:
    """Return the first jets; which ones no one chose."""
    shown = []
    for jet in range(min(DISPLAYS, len(gen))):
        sides = []
        for side in (gen, full, fast):
            one = side.take(np.array([jet]))
            eta, phi = one.relative(gen.take(np.array([jet])))
            there = np.isfinite(one.pt[0])
            table = np.stack([one.pt[0], eta[0], phi[0], one.kind[0]], axis=1)[there]
            sides.append(tuple(map(tuple, table.tolist())))
        shown.append(Display(*sides))
    return shown
