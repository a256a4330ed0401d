"""The features of one part: tables in physics units to the columns that a model sees, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import EmulatorError, StudyError
from gen2reco.features.conditions import ConditionColumn, fit_condition
from gen2reco.features.domain import Range
from gen2reco.features.findings import Finding
from gen2reco.features.fitting import fit_block, wanted_blocks
from gen2reco.features.targets import TargetBlock
from gen2reco.features.transforms import EDGE, GEN, NOISE, SUPPLIED, parse
from gen2reco.rng import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gen2reco.rows.tables import Table
    from gen2reco.study import Part

    Numbers = NDArray[np.float64]

STREAM = 1
"""Stream of random numbers that spreads counts and point masses; simulation uses stream 0."""

_TILE = 4096  # rows per pass, so that intermediate columns stay in the second-level cache


@dataclass(frozen=True)
class PartFeatures:
    """The fitted features of one part, a function of each row alone in both directions.

    Attributes:
        part: name of the part.
        conditions: encoding of each GEN quantity.
        blocks: encoding of each RECO quantity, or of the components that a transform mixes.
        ranges: training distribution of every GEN column that is read, by (block, name).
        findings: what the fit noticed.
        standardize: whether the model's GEN columns have zero mean and unit deviation; RECO ones
            do unless the family takes them plain, discrete ones apart.
        levels: whether discrete targets and point masses are discrete columns for the model.
        combinations: the values of the discrete columns that occur together in training.
        shares: share of the training rows with each combination.
    """

    part: str
    conditions: tuple[ConditionColumn, ...]
    blocks: tuple[TargetBlock, ...]
    ranges: Mapping[tuple[str, str], Range]
    findings: tuple[Finding, ...]
    standardize: bool
    levels: bool = False
    combinations: tuple[tuple[int, ...], ...] = ()
    shares: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        part: Part,
        table: Table,
        seed: int,
        *,
        plain: Collection[str] = (),
        levels: bool = False,
        gather: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    ) -> PartFeatures:
        """Fit conditions and targets of a part.

        Args:
            part: the part of the study.
            table: its training rows, with targets; weights play no role.
            seed: of the noise that spreads counts and point masses.
            plain: `condition`, `target`: sides whose columns stay in the units of the study, for a
                family that normalises inside its network.
            levels: True for a family that has discrete columns: flags and categories become their
                ranks, point masses levels; else noise makes numbers of both.
            gather: where several processes have some of the rows each: joins a column of all of
                them, in every one. Columns are joined when they are looked at and not kept, and
                the outcome is that of one process with all rows.

        Raises:
            StudyError: the table is empty, or a transform is wrong or cannot take the values.
        """
        check_transforms(part)
        joined = gather or (lambda column: column)
        rows = len(joined(table.entry))
        if not rows:
            raise StudyError(f"part {part.name}: there are no rows to fit its features to")
        ranges = {
            (side, name): Range.fit(joined(column))
            for side in ("condition", "relative_to", "given")
            for name, column in getattr(table, side).items()
        }

        def sound(side: str, name: str) -> Numbers:
            return ranges[side, name].mend(joined(getattr(table, side)[name]))

        given = {name: sound("given", name) for name in table.given}
        conditions, blocks, findings = [], [], []
        for item in part.condition:
            where = f"part {part.name}, condition {item.name}"
            values = sound("condition", item.name)
            column, found = fit_condition(
                item, values, given, where, standardize="condition" not in plain
            )
            conditions.append(column)
            findings += found
        wanted = list(wanted_blocks(part, levels=levels))
        lanes = _noise(table, part.name, seed, sum(len(one.names) for one in wanted))
        lane = 0
        ranks = []
        for one in wanted:
            own = [joined(column) for column in lanes[lane : lane + len(one.names)]]
            columns = {**given, NOISE: _stack(own)}
            lane += len(one.names)
            if one.relative:
                columns[GEN] = _stack([sound("relative_to", name) for name in one.names])
            reco = _stack([joined(table.target[name]) for name in one.names])
            block, found = fit_block(one, reco, columns, standardize="target" not in plain)
            blocks.append(block)
            findings += found
            if block.discrete:
                ranks.append(block.ranks(reco, columns))
        together = np.concatenate(ranks, axis=1) if ranks else np.empty((0, 0))
        seen, counts = np.unique(together.astype(int), axis=0, return_counts=True)
        return cls(
            part=part.name,
            conditions=tuple(conditions),
            blocks=tuple(blocks),
            ranges=ranges,
            findings=tuple(findings),
            standardize="condition" not in plain,
            levels=levels,
            combinations=tuple(map(tuple, seen.tolist())),
            shares=tuple((counts / rows).tolist()),
        )

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Encoded GEN columns, in the order of the model's input."""
        return tuple(column.name for column in self.conditions)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Encoded RECO columns, in the order of the model's output: discrete ones first."""
        discrete = [name for block in self.blocks for name, _ in block.discrete]
        return (*discrete, *(name for block in self.blocks for name in block.encoded))

    @property
    def shape(
        self,
    ) -> tuple[int, int, tuple[int, ...], tuple[tuple[int, ...], ...], tuple[float, ...]]:
        """What `models.protocol.Shape` is made of.

        Numbers of encoded RECO and GEN columns, how many values each discrete column takes, which
        of these occur together, and in which share of the rows.
        """
        levels = tuple(count for block in self.blocks for _, count in block.discrete)
        sizes = len(self.target_names), len(self.condition_names)
        return *sizes, levels, self.combinations, self.shares

    def encode_condition(self, table: Table) -> NDArray[np.float32]:
        """Return GEN as the model sees it, float32 [n, conditions], always finite."""
        values = {name: self._sound(table, "condition", name) for name in self.condition_names}
        given = self._given(table, [name for c in self.conditions for name in c.chain.reads])
        encoded = np.empty((len(table), len(values)), np.float32)
        with np.errstate(divide="ignore"):
            for tile in _tiles(len(table)):
                here = {name: column[tile] for name, column in given.items()}
                for j, column in enumerate(self.conditions):
                    encoded[tile, j] = column.encode(values[column.name][tile], here)
        return encoded

    def encode_target(self, table: Table, noise_seed: int) -> NDArray[np.float32]:
        """Return RECO as the model sees it, float32 [n, targets], always finite.

        Args:
            table: rows with targets.
            noise_seed: of the numbers that spread counts and point masses, functions of each row.

        Raises:
            StudyError: a transform makes no number of a value.
        """
        encoded = np.empty((len(table), self.shape[0]), np.float32)
        with np.errstate(all="ignore"):
            for tile, (ranks, numbers), block, reco, columns in self._learned(table, noise_seed):
                if block.discrete:
                    encoded[tile, ranks] = block.ranks(reco, columns)
                values = block.encode(reco, columns)
                if not np.isfinite(values).all():
                    values = self._bounded(block, reco, values)
                encoded[tile, numbers] = values
        return encoded

    def decode_target(self, encoded: NDArray[Any], table: Table) -> dict[str, Numbers]:
        """Return RECO in physics units, {target component: float64 [n]}, always finite.

        Copies and constants are restored, point masses become exact values. Encoded
        values count at most `finishing.CLAMP` standard deviations beyond those of training.

        Args:
            encoded: what a model gave, [n, targets].
            table: the rows' GEN side.

        Raises:
            EmulatorError: a model gave NaN.
        """
        rows = len(table)
        if encoded.shape != (rows, self.shape[0]):
            raise ValueError(f"encoded is {encoded.shape}, expected {(rows, self.shape[0])}")
        sources, places = self._sources(table), self.places()
        decoded: dict[str, Numbers] = {}
        for block in self.blocks:
            if block.restored:
                fixed = block.restore(_columns(block, sources, slice(None)), rows)
                decoded |= {name: fixed[:, j] for j, name in enumerate(block.names)}
            else:
                decoded |= {name: np.empty(rows) for name in block.names}
        for tile in _tiles(rows):
            wide = np.array(encoded[tile].T, np.float64, order="C")
            if np.isnan(wide).any():
                name = self.target_names[int(np.argmax(np.isnan(wide).any(axis=1)))]
                raise EmulatorError(f"the model of part {self.part} gave NaN for {name}")
            for block, (ranks, numbers) in zip(self.blocks, places, strict=True):
                if not block.restored:
                    columns = _columns(block, sources, tile)
                    values = block.decode(wide[numbers].T, columns, wide[ranks].T)
                    for j, name in enumerate(block.names):
                        decoded[name][tile] = values[:, j]
        return decoded

    def log_det(self, table: Table, noise_seed: int) -> Numbers:
        """Return log |d encoded / d RECO| of each row, [n], units as in the study.

        Added to a model's log density of the encoded row it gives the log density in physics units
        (per GeV for each quantity in GeV); point masses and whole numbers contribute probabilities.
        """
        total = np.zeros(len(table))
        with np.errstate(all="ignore"):
            for tile, _, block, reco, columns in self._learned(table, noise_seed):
                total[tile] += block.log_det(reco, columns)
        return total

    def outside_domain(self, table: Table) -> NDArray[np.bool_]:
        """Return which rows have a GEN condition outside the range of training, bool [n]."""
        outside = np.zeros(len(table), np.bool_)
        for name in self.condition_names:
            missed = self.ranges["condition", name].misses(table.condition[name])
            if missed is not None:
                outside |= missed
        return outside

    def describe(self) -> list[dict[str, str]]:
        """Return a table for people: one row per condition and target component."""
        rows = [_row("GEN", c.name, "", c.chain.kinds, "learned") for c in self.conditions]
        for block in self.blocks:
            relative = block.relative.kind if block.relative else ""
            for j, name in enumerate(block.names):
                how: str = block.restored or "learned"
                if block.ranked:
                    how = f"learned, {block.discrete[0][1]} values"
                elif masses := block.point_masses(j):
                    values = ", ".join(f"{mass.value:g}" for mass in masses)
                    how = f"learned, point mass at {values}"
                rows.append(_row("RECO", name, relative, block.chain.kinds, how))
        return rows

    def state(self) -> dict[str, Any]:
        """Return everything that was fitted, as JSON holds it to the last bit."""
        return {
            "part": self.part,
            "standardize": self.standardize,
            "conditions": [column.state() for column in self.conditions],
            "targets": [block.state() for block in self.blocks],
            "ranges": [
                {"side": side, "name": name, **found.state()}
                for (side, name), found in self.ranges.items()
            ],
            "findings": [finding.state() for finding in self.findings],
            "levels": self.levels,
            "combinations": [list(seen) for seen in self.combinations],
            "shares": list(self.shares),
        }

    @classmethod
    def from_state(cls, part: Part, state: Mapping[str, Any]) -> PartFeatures:
        """Return the features that gave `state`; EmulatorError where they are of another part."""
        features = cls(
            part=state["part"],
            conditions=tuple(ConditionColumn.from_state(item) for item in state["conditions"]),
            blocks=tuple(TargetBlock.from_state(item) for item in state["targets"]),
            ranges={
                (item["side"], item["name"]): Range.from_state(item) for item in state["ranges"]
            },
            findings=tuple(Finding.from_state(item) for item in state["findings"]),
            standardize=state["standardize"],
            levels=state.get("levels", False),
            combinations=tuple(map(tuple, state.get("combinations", ()))),
            shares=tuple(state.get("shares", ())),
        )
        names = tuple(name for block in features.blocks for name in block.names)
        wanted = tuple(name for target in part.target for name in target.name)
        conditions = tuple(item.name for item in part.condition)
        if (names, features.condition_names) != (wanted, conditions):
            raise EmulatorError(
                f"the saved features of part {state['part']} are not those of part {part.name}: "
                f"{', '.join((*features.condition_names, *names))}"
            )
        return features

    def _learned(
        self, table: Table, seed: int
    ) -> Iterator[tuple[slice, tuple[slice, slice], TargetBlock, Numbers, dict[str, Any]]]:
        """Yield tile, model columns, block, RECO values and the columns it reads."""
        sources, places = self._sources(table), self.places()
        lanes = None
        if any(block.needs_noise for block in self.blocks if not block.restored):
            lanes = _noise(table, self.part, seed, sum(len(block.names) for block in self.blocks))
        for tile in _tiles(len(table)):
            lane = 0
            for block, place in zip(self.blocks, places, strict=True):
                width = len(block.names)
                if not block.restored:
                    columns = _columns(block, sources, tile)
                    if lanes is not None:
                        columns[NOISE] = lanes[lane : lane + width, tile].T
                    reco = _stack([table.target[name][tile] for name in block.names])
                    yield tile, place, block, reco, columns
                lane += width

    def places(self) -> list[tuple[slice, slice]]:
        """Return the discrete and the continuous columns of each block among those of the model."""
        places = []
        rank, number = 0, sum(len(block.discrete) for block in self.blocks)
        for block in self.blocks:
            ends = rank + len(block.discrete), number + len(block.encoded)
            places.append((slice(rank, ends[0]), slice(number, ends[1])))
            rank, number = ends
        return places

    def _sources(self, table: Table) -> dict[tuple[str, str], Numbers]:
        """Return the GEN columns that targets are encoded and decoded with, mended."""
        sources = {}
        for block in self.blocks:
            for name in block.names if block.needs_gen else ():
                sources["relative_to", name] = self._sound(table, "relative_to", name)
            for name in block.chain.reads:
                sources["given", name] = self._sound(table, "given", name)
        return sources

    def _given(self, table: Table, names: Sequence[str]) -> dict[str, Numbers]:
        return {name: self._sound(table, "given", name) for name in names}

    def _sound(self, table: Table, side: str, name: str) -> Numbers:
        return self.ranges[side, name].mend(getattr(table, side)[name])

    def _bounded(self, block: TargetBlock, reco: Numbers, values: Numbers) -> Numbers:
        """Return encoded values with the bounds of training in place of infinite ones."""
        wrong = np.isnan(values).any(axis=1)
        if wrong.any():
            raise StudyError(
                f"part {self.part}: the transforms of {', '.join(block.names)} make no number of "
                f"{reco[np.argmax(wrong)].tolist()}"
            )
        return np.where(np.isfinite(values), values, np.clip(values, block.low, block.high))


def check_transforms(part: Part) -> None:
    """Check every transform of a part before any event is read; StudyError says what is wrong."""
    for item in part.condition:
        for number, spec in enumerate(item.transform, 1):
            where = f"part {part.name}, condition {item.name}, transform {number}"
            kind, _ = parse(spec, 1, where)
            if set(SUPPLIED) & set(kind.roles):
                raise StudyError(f"{where}: a condition needs no {kind.kind}; leave it out")
    for _ in wanted_blocks(part):
        pass


def _columns(
    block: TargetBlock, sources: Mapping[tuple[str, str], Numbers], tile: slice
) -> dict[str, Any]:
    columns = {name: sources["given", name][tile] for name in block.chain.reads}
    if block.needs_gen:
        columns[GEN] = _stack([sources["relative_to", name][tile] for name in block.names])
    return columns


def _stack(columns: Sequence[Numbers]) -> Numbers:
    """Return columns [n] as [n, k], each contiguous in memory."""
    return columns[0][:, None] if len(columns) == 1 else np.stack(columns).T


def _noise(table: Table, part: str, seed: int, lanes: int) -> Numbers:
    """Return uniform numbers [lanes, n] inside (0, 1), a function of each row."""
    numbers = noise(table.keys, seed=seed, part=part, normal=0, uniform=lanes, stream=STREAM)
    return np.ascontiguousarray(numbers.T, np.float64) * (1 - 2 * EDGE) + EDGE


def _tiles(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _TILE):
        yield slice(start, min(start + _TILE, rows))


def _row(side: str, name: str, relative: str, kinds: Sequence[str], how: str) -> dict[str, str]:
    transforms = ", ".join(kinds)
    return {
        "side": side,
        "column": name,
        "relative": relative,
        "transforms": transforms,
        "how": how,
    }
