"""One part of an emulator as a single network: GEN features in physics units to RECO features.

Transforms run in float64 and networks in float32, as in `Emulator.simulate`, or in float64 too;
what goes in and comes out is float32, which is what frameworks hand over. Random numbers are an
input.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from gen2reco.errors import EmulatorError
from gen2reco.features.pipeline import PartFeatures
from gen2reco.features.transforms import GEN
from gen2reco.rows.tables import ABSURD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.emulator import TrainedPart
    from gen2reco.features.domain import Range
    from gen2reco.features.targets import TargetBlock
    from gen2reco.rows.tables import Table

Precision = Literal["float32", "float64"]
"""Of the arithmetic of a network."""

Column = tuple[str, str]
"""Side of a table (`condition`, `relative_to`, `given`) and name of the column."""


@dataclass(frozen=True)
class Input:
    """One GEN feature that goes in.

    Attributes:
        name: a name for it, one word.
        expression: what it is, in the study's language; GeV and radians.
        columns: the columns of the part's table that hold it.
    """

    name: str
    expression: str
    columns: tuple[Column, ...]


def row_features(trained: TrainedPart) -> PartFeatures:
    """Return the features of a part whose rows are rows of numbers.

    Raises:
        EmulatorError: they are sets, which have no exchange format here.
    """
    if not isinstance(trained.features, PartFeatures):
        raise EmulatorError(
            f"part {trained.part.name!r} has rows of kind {trained.part.rows.kind!r}, which cannot"
            " be exported: families of sets make particles one by one and not by a network alone;"
            " simulate in Python instead"
        )
    return trained.features


def inputs_of(trained: TrainedPart) -> tuple[tuple[Input, ...], dict[Column, float]]:
    """Return the GEN features that a part reads, each once, and those that are plain numbers."""
    part, features = trained.part, row_features(trained)
    wanted: list[tuple[Column, str, str]] = [
        (("condition", item.name), str(item.value), item.name) for item in part.condition
    ]
    relative = {
        name: str(expression)
        for target in part.target
        for name, expression in zip(target.name, target.relative_to, strict=False)
    }
    wanted += [
        (("relative_to", name), relative[name], f"{name}_gen")
        for block in features.blocks
        if block.needs_gen
        for name in block.names
    ]
    reads = [column.chain.reads for column in features.conditions]
    reads += [block.chain.reads for block in features.blocks]
    given = dict.fromkeys(name for names in reads for name in names)
    wanted += [(("given", text), text, f"given_{i}") for i, text in enumerate(given)]
    found: dict[str, tuple[str, list[Column]]] = {}
    constants: dict[Column, float] = {}
    for column, expression, name in wanted:
        try:
            constants[column] = float(expression)
        except ValueError:
            found.setdefault(expression, (name, []))[1].append(column)
    return (
        tuple(Input(name, text, tuple(columns)) for text, (name, columns) in found.items()),
        constants,
    )


class PartChain(nn.Module):
    """GEN features [rows, inputs] and noise [rows, width], float32, to RECO features, float32.

    Args:
        trained: the part.
        member: of its ensemble.
        precision: of the network; float64 makes a copy of it.

    Attributes:
        inputs: what goes in, in order.
        outputs: names of what comes out, in order.
    """

    def __init__(
        self, trained: TrainedPart, member: int = 0, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        self.precision: Precision = precision
        network = trained.members[member]
        self.model = deepcopy(network).double() if precision == "float64" else network
        self._features = row_features(trained)
        self.inputs, self._constants = inputs_of(trained)
        self.outputs = tuple(name for block in self._features.blocks for name in block.names)
        self._place = {column: i for i, given in enumerate(self.inputs) for column in given.columns}

    def gen(self, table: Table) -> Tensor:
        """Return the inputs of a table's rows, float32 [rows, inputs]."""
        wide = np.empty((len(table), len(self.inputs)), np.float32)
        for place, ((side, name), *_) in enumerate(self._sources()):
            wide[:, place] = getattr(table, side)[name]
        return torch.from_numpy(wide)

    def forward(self, gen: Tensor, noise: Tensor) -> Tensor:
        """Return RECO features, float32 [rows, outputs]; copies and constants included."""
        wide = gen.double()
        features = self._features
        given = {
            name: self._column(wide, ("given", name))
            for column in features.conditions
            for name in column.chain.reads
        }
        encoded = [
            column.encode(self._column(wide, ("condition", column.name)), given)
            for column in features.conditions
        ]
        condition = torch.stack(encoded, 1).float() if encoded else gen.new_zeros(gen.shape[0], 0)
        if self.precision == "float64":
            condition, noise = condition.double(), noise.double()
        drawn = self.model.sample(condition, noise).double()
        made = [
            self._decoded(block, wide, drawn[:, numbers], drawn[:, ranks])
            for block, (ranks, numbers) in zip(features.blocks, features.places(), strict=True)
        ]
        return torch.cat(made, 1).float()

    def _decoded(self, block: TargetBlock, wide: Tensor, numbers: Tensor, ranks: Tensor) -> Tensor:
        columns = {name: self._column(wide, ("given", name)) for name in block.chain.reads}
        if block.needs_gen:
            relative = [self._column(wide, ("relative_to", name)) for name in block.names]
            columns[GEN] = torch.stack(relative, 1)
        if not block.restored:
            return cast("Tensor", block.decode(numbers, columns, ranks))
        if block.restored == "constant" and block.relative is None:
            return torch.full_like(wide[:, :1], block.constant).expand(-1, len(block.names))
        return cast("Tensor", block.restore(columns, 1))

    def _column(self, wide: Tensor, column: Column) -> Tensor:
        """Return one GEN column, [rows], with the median where it is not finite or absurd."""
        if column in self._constants:
            return torch.full_like(wide[:, 0], self._constants[column])
        values = wide[:, self._place[column]]
        ranges: Mapping[Column, Range] = self._features.ranges
        return torch.where(values.abs() <= ABSURD, values, ranges[column].median)

    def _sources(self) -> list[tuple[Column, ...]]:
        return [given.columns for given in self.inputs]
