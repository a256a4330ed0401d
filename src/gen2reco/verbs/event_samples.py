"""From whole events to what validation compares: FullSim, FastSim, regions, counts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.emulator.chunk import OUTSIDE_DOMAIN
from gen2reco.events.layout import flat_columns
from gen2reco.rows.judging import OBJECTS
from gen2reco.study import OF_EVENT, Validation
from gen2reco.validation import Rate, Sample
from gen2reco.verbs.samples import (
    closure,
    emulated,
    gen_quantities,
    identity,
    numbers_of_objects,
    regions,
    to_sample,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import awkward as ak

    from gen2reco.emulator import Emulator
    from gen2reco.events import EventSource
    from gen2reco.study import Study
    from gen2reco.validation import Closure, Counted, Outcome
    from gen2reco.verbs.judged import Judged

SHOWN = ("pt", "eta", "phi", "mass")
"""Fields of leading objects that are compared where a study names no quantities."""


class EventSamples:
    """What the whole events of an emulator are judged by.

    Attributes:
        full: FullSim after the final selection.
        half: half of each of its rows.
        fast: FastSim of half B, one sample per noise seed, or one with all replicas.
    """

    def __init__(
        self,
        emulator: Emulator,
        judged: Judged,
        *,
        seed: int,
        oversample: int,
        replicas: int,
        seeds: int,
    ) -> None:
        self._emulator, self._judged, self._seed = emulator, judged, seed
        self._study = with_quantities(emulator.study, judged.source)
        self._oversample, self._number, self._seeds = oversample, replicas, seeds
        self._everything = np.arange(len(judged.events))
        self._b = np.flatnonzero(judged.half == 1)
        alone = judged.tables[emulator.parts[0].part.name]
        single = len(emulator.parts) == 1 and emulator.parts[0].part.rows.kind == "event"
        self._table = alone if single else None
        self._gen = gen_quantities(self._study, judged.events) or (
            alone.condition if single else {}
        )
        self.full = to_sample(
            self._study,
            judged.events,
            self._everything,
            self._gen,
            identity=self._identity(self._everything),
        )
        self.half = judged.half[self.full.event]

    @cached_property
    def fast(self) -> list[Sample]:
        """FastSim of half B."""
        members = self._emulator.members
        if self._oversample == 1:
            return [
                self._sample(self._seed + number, members if number == 0 else 1)
                for number in range(self._seeds)
            ]
        chosen = np.repeat(self._judged.half == 1, self._oversample)
        whole = self._of(self._oversampled[chosen], self._oversample)
        if members > 1:
            others = self._sample(self._seed, members)
            assert others.member is not None
            whole = Sample.concatenate([whole, others.take(others.member > 0)])
        return [whole]

    @cached_property
    def replicas(self) -> list[ak.Array]:
        """Every event, emulated several times."""
        if self._oversample > 1:
            return [self._oversampled[k :: self._oversample] for k in range(self._oversample)]
        return [
            emulated(self._emulator, self._judged.events, seed=self._seed + 1000 + number)
            for number in range(self._number)
        ]

    @cached_property
    def _oversampled(self) -> ak.Array:
        return emulated(
            self._emulator, self._judged.events, seed=self._seed, oversample=self._oversample
        )

    def rate(self) -> Rate:
        """Share that passes the final selection, FullSim of half A and FastSim of half B."""
        weight, half = self._judged.weight, self._judged.half
        in_a = half == 0
        passed = np.isin(self._everything, self.full.event)
        nominal = self.fast[0].nominal()
        # what fails the selection is not in the sample: one row of its weight per event
        lost = weight[self._b] - np.bincount(nominal.event, nominal.weight, len(weight))[self._b]
        return Rate.of(
            (passed[in_a], weight[in_a], self._everything[in_a]),
            (
                np.repeat([True, False], [len(nominal), len(self._b)]),
                np.concatenate([nominal.weight, lost]),
                np.concatenate([nominal.event, self._b]),
            ),
        )

    def closure(self) -> Closure:
        """Responses on the same GEN events."""
        return closure(self._study, self._judged.events, self.replicas, self._judged.weight)

    def regions(self) -> dict[str, Outcome]:
        """Analysis selections on the same GEN events."""
        return regions(self._study, self._judged.events, self.replicas, self._judged.weight)

    def counts(self) -> dict[str, Counted]:
        """Objects per event on the same GEN events."""
        return numbers_of_objects(
            self._study, self._judged.events, self.replicas, self._judged.weight
        )

    def outside(self) -> float:
        """Share of the events with a GEN value outside the range of training."""
        return outside_domain(self.replicas[0])

    def _sample(self, seed: int, members: int) -> Sample:
        made = emulated(self._emulator, self._judged.events[self._b], seed=seed, members=members)
        return self._of(made, members)

    def _of(self, made: ak.Array, copies: int) -> Sample:
        origin = np.repeat(self._b, copies)
        return to_sample(self._study, made, origin, self._gen, identity=self._identity(origin))

    def _identity(self, events: np.ndarray) -> ak.Array | None:
        """GEN taken as RECO of some events, where one part makes them."""
        if self._same is None:
            return None
        return self._same[events]

    @cached_property
    def _same(self) -> ak.Array | None:
        if self._table is None:
            return None
        return identity(self._emulator, self._judged.events, self._table)


def outside_domain(events: ak.Array) -> float:
    """Share of emulated events with a GEN value outside the range of training."""
    flags = np.asarray(flat_columns(events)["gen2reco_flags"])
    return float(np.mean((flags & OUTSIDE_DOMAIN) > 0))


def with_quantities(study: Study, source: EventSource) -> Study:
    """Return the study; where it names no quantities of whole events, with those that are written.

    These are the numbers of objects, the leading ones, and what stands alone in an event.
    """
    if study.validation.quantities:
        return study
    found: dict[str, str] = {}
    for part in study.parts:
        for collection, fields in part.output.items():
            if collection == OF_EVENT:
                found |= {name: name for name in fields}
                continue
            stored = [n for n in fields if f"{collection}_{n}" in source.columns]
            listed = any(source.is_list[f"{collection}_{n}"] for n in stored)
            one = f"leading({collection})" if listed else collection
            if part.rows.kind in OBJECTS:
                found[f"n_{collection}"] = f"count({collection})"
            for name in stored:
                if name in SHOWN:
                    found[f"{'leading_' if listed else ''}{collection}_{name}"] = f"{one}.{name}"
    block: Mapping[str, object] = study.validation.model_dump() | {"quantities": found}
    return study.model_copy(update={"validation": Validation.model_validate(block)})
