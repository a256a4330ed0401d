"""From the rows of one part to what validation compares: FullSim, FastSim, presence, matching.

Every factor p(part | GEN, parts before it) is judged by itself: the parts before it are the RECO
objects of the file, on both sides. What the chain of parts does together is for whole events.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.events.layout import Jagged, flat_columns
from gen2reco.features import PartFeatures
from gen2reco.models.classifier import Classifier
from gen2reco.rows.judging import (
    OBJECTS,
    JudgedRows,
    drawn_rows,
    full_rows,
    gen_rows,
    judged_bins,
    judged_quantities,
    written_collection,
)
from gen2reco.rows.spaces import match_collections
from gen2reco.rows.tables import evaluate_output
from gen2reco.study import NUMBER, OF_EVENT, PRESENCE, column_name
from gen2reco.validation import (
    Closure,
    Counted,
    Objects,
    Outcome,
    Sample,
    describe_matching,
)
from gen2reco.verbs.samples import relative

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.emulator import Emulator, TrainedPart
    from gen2reco.rows.expressions import Namespace
    from gen2reco.rows.tables import Table
    from gen2reco.study import Part
    from gen2reco.validation import Matching
    from gen2reco.verbs.judged import Judged


@dataclass(frozen=True, eq=False)
class Compared:
    """The numbers of one side, per row: quantities, responses, flags."""

    quantities: dict[str, np.ndarray]
    responses: dict[str, np.ndarray]
    flags: dict[str, np.ndarray]


class PartSamples:
    """What one part is judged by.

    Attributes:
        emulator: whose part.
        judged: the events.
        part: the part.
        replicas: FastSim draws of every row.
        seed: of the draws.
    """

    def __init__(
        self, emulator: Emulator, judged: Judged, part: Part, *, replicas: int, seed: int
    ) -> None:
        self.emulator, self.judged, self.part = emulator, judged, part
        self.replicas, self.seed = replicas, seed
        self.trained = emulator.part(part.name)
        self.table = judged.tables[part.name]
        self.names = judged.names[part.name]
        self.quantities = judged_quantities(part, self.names, judged.source)
        self.bins = judged_bins(part, self.names)

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each response: ratio, difference or angle."""
        block = self.part.validation.responses
        if block:
            return {name: response.kind for name, response in block.items()}
        kinds = {"positive": "ratio", "angle": "angle"}
        return {
            name: kinds.get(target.kind, "difference")
            for target in self.part.target
            for name in target.name
            if target.relative_to
        }

    @cached_property
    def rows(self) -> JudgedRows:
        """The rows with the RECO objects of the file."""
        return full_rows(self.part, self.names, self.table)

    @cached_property
    def full(self) -> Compared:
        """FullSim."""
        return self._compared(self.rows, self.table.target)

    @cached_property
    def drawn(self) -> list[Compared]:
        """FastSim of the nominal member, once per replica."""
        return [self._drawn(number, 0) for number in range(self.replicas)]

    def samples(self) -> tuple[Sample, np.ndarray, list[Sample]]:
        """Return all FullSim rows, the half of each, and FastSim of half B per noise seed."""
        half = self.judged.half[self.table.entry]
        same = self._gen_quantities()
        every = np.arange(len(self.table))
        full = self._sample(self.full, every, same)
        b = np.flatnonzero(half == 1)
        fast = [self._sample(one, b, same) for one in self.drawn]
        for member in range(1, self.emulator.members):
            other = self._sample(self._drawn(0, member), b, same)
            numbered = replace(other, member=np.full(len(b), member))
            fast[0] = Sample.concatenate([fast[0], numbered])
        return full, half, fast

    def closure(self) -> Closure | None:
        """Responses of FullSim and all replicas on the same rows; None where nothing is binned."""
        if not (self.bins and self.full.responses):
            return None
        return Closure(
            bins={name: self.rows.numbers(text) for name, text in self.bins.items()},
            full=self.full.responses,
            fast={
                name: np.stack([one.responses[name] for one in self.drawn], axis=1)
                for name in self.full.responses
            },
            weight=self.table.weight,
            event=self.table.entry,
        )

    def outcomes(self) -> dict[str, Outcome]:
        """Presence of the GEN objects, and the flags of those that were found."""
        found: dict[str, Outcome] = {}
        if self.part.rows.kind == "object" and self.number is not None:
            number = self.number
            rows = full_rows(number.trained.part, number.names, number.table)
            probability = number.probability
            found["found"] = Outcome(
                full=number.table.target[NUMBER] > 0.5,
                bins={name: rows.numbers(text) for name, text in self.bins.items()},
                weight=number.table.weight,
                event=number.table.entry,
                probability=probability,
                fast=number.draws(self.replicas, self.seed) > 0.5 if probability is None else None,
                groups=self._groups(rows),
            )
        for name in self.part.validation.flags:
            found[name] = Outcome(
                full=self.full.flags[name],
                bins={name: self.rows.numbers(text) for name, text in self.bins.items()},
                weight=self.table.weight,
                event=self.table.entry,
                fast=np.stack([one.flags[name] for one in self.drawn], axis=1),
                groups=self._groups(self.rows),
                kind="flag",
            )
        return found

    def counts(self) -> dict[str, Counted]:
        """Objects of the part per event, as its presence gives them."""
        if self.number is None:
            return {}
        table = self.number.table
        truth = np.rint(table.target[NUMBER])
        drawn = np.rint(self.number.draws(self.replicas, self.seed))
        events, index = np.unique(table.entry, return_inverse=True)
        columns = [np.bincount(index, column, len(events)) for column in (truth, *drawn.T)]
        counts = np.stack(columns, axis=1).astype(np.int64)
        weight = self.judged.weight[events]
        return {f"n_{self.part.name}": Counted(counts[:, 0], counts[:, 1:], weight, events)}

    def matching(self) -> Matching | None:
        """How the objects of the file were paired; None where rows are no objects."""
        rows = self.part.rows
        if rows.kind != "object":
            return None
        sides = [self.names.collection(text) for text in (rows.gen, rows.reco)]
        objects = [
            Objects(
                *(
                    Jagged(side.frame.offsets, column)
                    for column in self.names.fields(side, "pt", "eta", "phi")
                )
            )
            for side in sides
        ]
        if min(len(one.pt.content) for one in objects) == 0:
            return None
        reach = rows.match.max_delta_r if rows.match.by == "delta_r" else float("nan")
        found = match_collections(rows, self.names, *sides)
        return describe_matching(found, *objects, reach=reach, weight=self.judged.weight)

    def outside(self) -> dict[str, float]:
        """Share of the rows outside the range of training, as a whole and by condition."""
        stages = [self.trained] + ([self.number.trained] if self.number else [])
        found = {}
        for trained in stages:
            table = self.judged.tables[trained.part.name]
            where = "presence, " if trained.part.rows.counts else ""
            found[f"{where}any condition"] = float(np.mean(trained.features.outside_domain(table)))
            features = trained.features
            assert isinstance(features, PartFeatures), "sets have no conditions one by one"
            for name in features.condition_names:
                missed = features.ranges["condition", name].misses(table.condition[name])
                if missed is not None:
                    found[f"{where}{name}"] = float(np.mean(missed))
        return found

    @cached_property
    def number(self) -> _Number | None:
        """The presence of the part; None where it has none."""
        name = f"{self.part.name}{PRESENCE}"
        if name not in self.judged.tables:
            return None
        table, names = self.judged.tables[name], self.judged.names[name]
        return _Number(self.emulator, self.emulator.part(name), table, names)

    def _drawn(self, number: int, member: int) -> Compared:
        """Draw the part for every row once."""
        study = self.emulator.study
        drawn = self.emulator.draw(
            self.trained, self.table, self._encoded, seed=self.seed, replica=number, member=member
        )
        output = evaluate_output(study, self.part, self.names, self.table, drawn)
        return self._compared(self._rows_of(output), drawn)

    @cached_property
    def _encoded(self) -> np.ndarray:
        return self.trained.features.encode_condition(self.table)

    def _rows_of(self, output: Mapping[str, Mapping[str, np.ndarray]]) -> JudgedRows:
        """Return the rows with what was drawn in the place of RECO."""
        cast = self.emulator.layout.cast
        made = {
            collection: {name: cast(collection, name, values) for name, values in fields.items()}
            for collection, fields in output.items()
        }
        if self.part.rows.kind in OBJECTS:
            fields = made[written_collection(self.part, self.names)]
            return drawn_rows(self.part, self.names, self.table, fields)
        given = flat_columns(self.judged.events)
        columns: dict[str, Any] = {
            name: column for name, column in given.items() if name.partition("_")[0] not in made
        }
        one_each = np.arange(len(self.table) + 1)
        for collection, fields in made.items():
            alone = collection in {*self.emulator.layout.singletons, OF_EVENT}
            for name, values in fields.items():
                columns[column_name(collection, name)] = (
                    values if alone else Jagged(one_each, values)
                )
        return JudgedRows(self.judged.names_with(columns, self.part), self.table.entry)

    def _compared(self, rows: JudgedRows, targets: Mapping[str, np.ndarray]) -> Compared:
        block = self.part.validation
        where = f"part {self.part.name}, validation"
        quantities = {
            name: rows.numbers(text, f"{where}.quantities.{name}")
            for name, text in self.quantities.items()
        }
        if block.responses:
            responses = {
                name: relative(
                    rows.numbers(response.reco), rows.numbers(response.gen), response.kind
                )
                for name, response in block.responses.items()
            }
        else:
            responses = {
                name: relative(targets[name], self.table.relative_to[name], kind)
                for name, kind in self.kinds.items()
            }
        flags = {name: rows.truth(text) for name, text in block.flags.items()}
        return Compared(quantities, responses, flags)

    def _gen_quantities(self) -> dict[str, np.ndarray]:
        """The same quantities of the GEN objects, where these have the fields."""
        if self.part.rows.kind != "object":
            return {}
        rows = gen_rows(self.part, self.names, self.table)
        found = {name: rows.numbers_if_there(text) for name, text in self.quantities.items()}
        return {name: values for name, values in found.items() if values is not None}

    def _sample(self, side: Compared, rows: np.ndarray, same: Mapping[str, np.ndarray]) -> Sample:
        def picked(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: values[rows] for name, values in columns.items()}

        return Sample(
            quantities=picked(side.quantities),
            responses=picked(side.responses),
            gen=picked(self.table.condition),
            weight=self.table.weight[rows],
            event=self.table.entry[rows],
            gen_quantities=picked(same),
            row=self.table.places[rows] if self.part.rows.kind == "object" else None,
        )

    def _groups(self, rows: JudgedRows) -> dict[str, np.ndarray]:
        return {name: rows.truth(text) for name, text in self.part.validation.groups.items()}


@dataclass(frozen=True, eq=False)
class _Number:
    """The presence of a part: how many objects each of its rows has."""

    emulator: Emulator
    trained: TrainedPart
    table: Table
    names: Namespace
    _kept: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @cached_property
    def encoded(self) -> np.ndarray:
        return self.trained.features.encode_condition(self.table)

    @cached_property
    def probability(self) -> np.ndarray | None:
        """Probability of at least one object per row; None where the family gives none."""
        model = self.trained.members[0]
        if not isinstance(model, Classifier):
            return None
        with torch.no_grad():
            shares = model.probabilities(torch.from_numpy(self.encoded)).double().numpy()
        # Which number a combination stands for does not depend on the row.
        some = self.table.take(np.zeros(len(model.combinations), np.int64))
        numbers = self.trained.features.decode_target(model.combinations.numpy(), some)[NUMBER]
        found: np.ndarray = np.clip(shares[:, numbers > 0.5].sum(axis=1), 0.0, 1.0)
        return found

    def draws(self, replicas: int, seed: int) -> np.ndarray:
        """How many objects each row has in every replica, [rows, replicas]."""
        key = (replicas, seed)
        if key not in self._kept:
            drawn = [
                self.emulator.draw(
                    self.trained, self.table, self.encoded, seed=seed, replica=number, member=0
                )[NUMBER]
                for number in range(replicas)
            ]
            self._kept[key] = np.stack(drawn, axis=1)
        return self._kept[key]
