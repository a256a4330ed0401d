"""Reference rows of an exported part, and the comparison with Python that each export must pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator import Emulator
from gen2reco.emulator.blocks import sample_rows
from gen2reco.emulator.reference import SEED
from gen2reco.errors import EmulatorError
from gen2reco.portable.chain import PartChain
from gen2reco.rng import noise
from gen2reco.rows.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import awkward as ak

    from gen2reco.emulator import TrainedPart
    from gen2reco.portable.chain import Precision

    Rows = np.ndarray

ALLOWED = 1e-5
"""Largest difference from Python of any value in any row, in 68 % widths of its feature."""
NUDGE = 1e-6
"""Rows whose answer jumps if their noise moves by this are at the edge of a category or a count:
which side they fall on is decided by the last bit of float32."""
JUMP = 1e-3
"""... where a jump is a change by more than this share of the width."""
MOST_AT_EDGES = 0.01
REPLICAS = 8


@dataclass(frozen=True)
class Agreement:
    """How far an exported part agrees with Python.

    Attributes:
        rows: reference rows compared.
        at_edges: rows left out because the last bit of their noise decides about a category; none
            in float64.
        beyond: rows that differ by more than `ALLOWED`.
        largest: largest difference of any row, in 68 % widths of the feature.
        feature: where `largest` is.
        precision: of the networks compared.
    """

    rows: int
    at_edges: int
    beyond: int
    largest: float
    feature: str
    precision: Precision = "float32"

    @property
    def passed(self) -> bool:
        """Whether every value of every row agrees, and edges are as rare as they should be."""
        return not self.beyond and self.at_edges <= MOST_AT_EDGES * (self.rows + self.at_edges)


@dataclass(frozen=True)
class References:
    """Rows of one part with the answers of Python, float32.

    Attributes:
        gen: GEN features [rows, inputs].
        noise: random numbers [rows, width].
        reco: RECO features [rows, outputs], as Python makes them of these.
        edge: rows at the edge of a category, bool [rows].
        precision: of the network in Python.
    """

    gen: Rows
    noise: Rows
    reco: Rows
    edge: Rows
    precision: Precision = "float32"

    def agreement(self, found: Rows, names: tuple[str, ...]) -> Agreement:
        """Compare what an exported network gave for these rows."""
        inside = ~self.edge
        wanted, got = (values[inside].astype(np.float64) for values in (self.reco, found))
        apart = np.abs(got - wanted)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        width = widths(self.reco)
        largest = (apart / width).max(axis=0, initial=0.0)
        worst = int(np.argmax(largest))
        return Agreement(
            rows=int(inside.sum()),
            at_edges=int(self.edge.sum()),
            beyond=int((apart > ALLOWED * width).any(axis=1).sum()),
            largest=float(largest[worst]),
            feature=names[worst],
            precision=self.precision,
        )


def widths(values: Rows) -> Rows:
    """Return the central 68 % width of each column; the deviation, or 1, where there is none."""
    wide = values.astype(np.float64)
    low, high = np.quantile(wide, [0.16, 0.84], axis=0)
    width = np.where(high > low, high - low, wide.std(axis=0))
    return np.where(width > 0, width, 1.0)


def drawn_rows(
    emulator: Emulator, gen: ak.Array, *, replicas: int, member: int = 0
) -> dict[str, list[tuple[Table, dict[str, Rows]]]]:
    """Simulate GEN events and return the rows of each part and what was drawn, once per replica."""
    seen: dict[str, list[tuple[Table, dict[str, Rows]]]] = {}

    class Watched(Emulator):
        def draw(
            self, trained: TrainedPart, table: Table, encoded: Rows, **which: Any
        ) -> dict[str, Rows]:
            made = super().draw(trained, table, encoded, **which | {"member": member})
            seen.setdefault(trained.part.name, []).append((table, made))
            return made

    fields = (emulator.study, emulator.parts, emulator.layout, emulator.provenance, emulator.digest)
    Watched(*fields).simulate(gen, seed=SEED, oversample=replicas, policy="flag")
    return seen


def tables_of(emulator: Emulator, gen: ak.Array, *, replicas: int = REPLICAS) -> dict[str, Table]:
    """Simulate GEN events and return the rows that each part has met, by the part's name.

    The tables of parts that depend on others differ from replica to replica; those of the others
    are repeated, with other random numbers.
    """
    seen = drawn_rows(emulator, gen, replicas=replicas)
    return {name: Table.concatenate([table for table, _ in found]) for name, found in seen.items()}


def references(trained: TrainedPart, chain: PartChain, table: Table) -> References:
    """Return reference rows of a part, with the answers of the Python that `simulate` runs.

    The table's numbers are rounded to float32 first, since that is what an exported network gets.
    The network runs in the precision of the chain: float32 is what `simulate` has.
    """
    table = _rounded(table)
    model = chain.model
    numbers = noise(
        table.keys,
        seed=SEED,
        part=trained.part.name,
        normal=model.noise.normal,
        uniform=model.noise.uniform,
        replica=np.arange(len(table)) % 2**16,  # the same rows come again and again
    )
    encoded = trained.features.encode_condition(table)

    def made(with_noise: Rows) -> Rows:
        sampled = sample_rows(model, encoded, with_noise)
        decoded = trained.features.decode_target(sampled, table)
        return np.stack([decoded[name] for name in chain.outputs], 1)

    reco = made(numbers)
    jump = JUMP * widths(reco)
    edge = np.zeros(len(table), np.bool_)
    for sign in (1, -1) if chain.precision == "float32" else ():
        moved = np.clip(numbers + np.float32(sign * NUDGE), _lowest(model.noise, numbers), None)
        edge |= (np.abs(made(moved.astype(np.float32)) - reco) > jump).any(axis=1)
    gen = chain.gen(table).numpy()
    return References(gen, numbers, reco.astype(np.float32), edge, chain.precision)


def rounding(trained: TrainedPart, table: Table, member: int) -> Agreement:
    """Return how far Python's float32 network, which `simulate` runs, is from a float64 one."""
    wide, plain = PartChain(trained, member, "float64"), PartChain(trained, member)
    found = references(trained, plain, table).reco
    agreement = references(trained, wide, table).agreement(found, plain.outputs)
    return replace(agreement, precision="float32")


def compare(chain: PartChain, rows: References, run: Callable[[Rows, Rows], Rows]) -> Agreement:
    """Run an exported network on reference rows and compare.

    Raises:
        EmulatorError: it does not do what Python does.
    """
    agreement = rows.agreement(run(rows.gen, rows.noise), chain.outputs)
    if not agreement.passed:
        raise EmulatorError(
            f"the exported network differs from Python: by {agreement.largest:.2g} of a 68 % width"
            f" in {agreement.feature}, by more than {ALLOWED:g} in {agreement.beyond} of"
            f" {agreement.rows} rows, and {agreement.at_edges} more are at the edge of a category"
            f" ({agreement.precision})"
        )
    return agreement


def _rounded(table: Table) -> Table:
    def columns(side: Mapping[str, Rows]) -> dict[str, Rows]:
        return {name: values.astype(np.float32).astype(np.float64) for name, values in side.items()}

    return replace(
        table,
        condition=columns(table.condition),
        relative_to=columns(table.relative_to),
        given=columns(table.given),
    )


def _lowest(kinds: Any, numbers: Rows) -> Rows:
    """Return the least value of each column: uniform numbers stay above 0."""
    lowest = np.full(numbers.shape[1], -np.inf, np.float32)
    lowest[kinds.normal :] = 1e-7
    return lowest
