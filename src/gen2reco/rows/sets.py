"""Rows of kind set: one jet (or event) with its constituents, padded with NaN to a fixed width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.events.layout import flat_columns, to_events
from gen2reco.rng import Keys
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.spaces import GEN, RECO
from gen2reco.rows.store import Store
from gen2reco.rows.substructure import jet_features
from gen2reco.rows.table import ABSURD, IDS, Table, identifier
from gen2reco.study import CONSTITUENT, OF_GEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import awkward as ak

    from gen2reco.rows.segments import Array, Flags, Index, Numbers
    from gen2reco.rows.store import Available
    from gen2reco.study import Condition, Part, Study, Target

OF_GEN_JETS = "Gen"
"""Before the name of the jets of a part: those that its GEN constituents make."""
JET = "jet_"
"""In the output of a part: before the features of the jet that the constituents make."""


def build_set_table(study: Study, part: Part, names: Namespace, *, targets: bool) -> Table:
    """Build the table of a part with rows of kind set; see `tables.build_table`.

    The columns of its condition and target are [rows, size] and hold NaN beyond the last
    constituent. Rows without a constituent are left out: in GEN always, in RECO with targets.
    """
    sides: dict[str, dict[str, Numbers]] = {"condition": _side(part, names, GEN), "target": {}}
    if targets:
        sides["target"] = _side(part, names, RECO)
    choice = _Choice(np.ones(names.size, np.bool_))
    if targets:
        choice.drop("not selected", ~names.mask(study.select, "select"))
    for side, label in (("condition", "GEN"), ("target", "RECO")):
        if sides[side]:
            choice.look_at(sides[side], side, label)
    weights = np.ones(names.size)
    if study.input.weight:
        weights = np.asarray(names.evaluate(study.input.weight, "input.weight").values, np.float64)
        choice.suspect("input.weight", ~np.isfinite(weights))
    if targets:
        choice.drop_offenders()
    entry = np.flatnonzero(choice.keep)
    number = np.zeros(names.size, np.int64)
    if part.rows.number:
        number = names.evaluate(part.rows.number, f"part {part.name}, rows.number").values
    identity = {name: identifier(names, name)[entry] for name in IDS}
    return Table(
        part=part.name,
        keys=Keys.from_columns(identity | {"object": np.asarray(number, np.int64)[entry]}),
        weight=weights[entry],
        entry=entry,
        condition={name: values[entry] for name, values in sides["condition"].items()},
        target={name: values[entry] for name, values in sides["target"].items()},
        relative_to={},
        given={},
        dropped=choice.dropped,
        left_out=choice.left_out,
        offenders={k: bad[entry] for k, bad in choice.offenders.items() if bad[entry].any()},
    )


@dataclass
class _Choice:
    """Which rows are still in, and why others are not."""

    keep: Flags
    dropped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, Index] = field(default_factory=dict)
    offenders: dict[str, Flags] = field(default_factory=dict)

    def drop(self, reason: str, rows: Flags) -> None:
        """Leave out rows, counting those that were still in."""
        lost = np.flatnonzero(rows & self.keep)
        if len(lost):
            self.dropped[reason], self.left_out[reason] = len(lost), lost
        self.keep[rows] = False

    def suspect(self, label: str, bad: Flags) -> None:
        """Mark rows that are not finite somewhere."""
        if bad.any():
            self.offenders[label] = bad

    def look_at(self, columns: Mapping[str, Numbers], side: str, label: str) -> None:
        """Leave out rows without a constituent and mark those with absurd numbers."""
        there = _there(columns)
        self.drop(f"no {label} constituent", np.asarray(~there.any(axis=1)))
        for name, values in columns.items():
            with np.errstate(invalid="ignore"):
                absurd = there & ~(np.abs(values) <= ABSURD)
            self.suspect(f"{side} {name}", np.asarray(absurd.any(axis=1)))

    def drop_offenders(self) -> None:
        """Leave out the rows that are marked."""
        for name, bad in self.offenders.items():
            self.drop(f"{name} is not finite", bad)
        self.offenders = {}


def evaluate_set_output(
    part: Part, names: Namespace, table: Table, generated: Mapping[str, Array]
) -> list[tuple[Index, dict[str, dict[str, Array]], bool]]:
    """Return what a part with rows of kind set writes.

    Args:
        part: the part.
        names: namespace of the events.
        table: the rows.
        generated: target -> [rows, size], NaN beyond the last constituent.

    Returns:
        For the constituents (the collection `rows.reco`) and for the jets (all others): event of
        each row, collection -> field -> numbers per row, and whether there is one per event. The
        expressions of jets know the features of `substructure`, with `jet_` before their names.
    """
    there = _there(generated)
    row, _ = np.nonzero(there)
    particles = {name: values[there] for name, values in generated.items()}
    for name in ("pdgId", "charge"):
        particles[name] = np.rint(particles[name]).astype(np.int64)
    jets = jet_features(generated["pt"], generated["eta"], generated["phi"])
    jets = {f"{JET}{name}": values for name, values in jets.items()}
    made = []
    for entry, known, alone in ((table.entry[row], particles, False), (table.entry, jets, True)):
        here = names.rows(entry, dict(known))
        output = {
            collection: {
                name: here.evaluate(
                    str(text), f"part {part.name}, output {collection}.{name}"
                ).values
                for name, text in fields.items()
            }
            for collection, fields in part.output.items()
            if (collection == part.rows.reco) != alone
        }
        if output:
            made.append((entry, output, alone))
    return made


def with_jets(study: Study, events: ak.Array, sides: Sequence[str] = (RECO, GEN)) -> ak.Array:
    """Return events of a study of sets with the jets of its output, made from the constituents.

    `FatJet` is made from RECO constituents, `GenFatJet` from GEN ones, with the same expressions,
    so that FullSim, FastSim and GEN are compared in the same quantities; what the files have of
    these collections is replaced. Events of other studies stay as they are.

    Args:
        study: the study.
        events: with the constituents of the sides.
        sides: `reco`, `gen` or both.
    """
    parts = [part for part in study.parts if part.rows.kind == "set"]
    if not parts or not len(events):
        return events
    part = parts[0]
    columns = flat_columns(events)
    names = Namespace(columns, study.define)
    entry = np.arange(len(events))
    nobody = Keys.from_columns(dict.fromkeys(IDS, np.zeros(len(entry), np.int64)))
    table = Table(part.name, nobody, np.ones(len(entry)), entry, {}, {}, {}, {})
    jets: dict[str, Any] = {}
    for side in sides:
        prefix = OF_GEN_JETS if side == GEN else ""
        found = constituents(part, names, side)
        for _, output, alone in evaluate_set_output(part, names, table, found):
            for collection, fields in output.items() if alone else ():
                jets |= {f"{prefix}{collection}_{n}": values for n, values in fields.items()}
    replaced = {name.partition("_")[0] for name in jets}
    kept = {k: v for k, v in columns.items() if k.partition("_")[0] not in replaced}
    return to_events(kept | jets)


def constituents(part: Part, names: Namespace, side: str) -> dict[str, Numbers]:
    """Return the constituents of a side, `gen` or `reco`, under the same names, as in a table."""
    found = _side(part, names, side)
    return {name.removeprefix(OF_GEN): values for name, values in found.items()}


@dataclass(frozen=True)
class WithJets:
    """What files have, and the jets that `with_jets` adds."""

    columns: Sequence[str]
    is_list: Mapping[str, bool]
    unfit: Mapping[str, str]

    @classmethod
    def of(cls, study: Study, source: Available) -> WithJets:
        """Add the jets of a study of sets; of others nothing."""
        jets = {
            f"{prefix}{collection}_{name}": False
            for part in study.parts
            if part.rows.kind == "set"
            for collection, fields in part.output.items()
            if collection != part.rows.reco
            for name in fields
            for prefix in ("", OF_GEN_JETS)
        }
        unfit = {name: why for name, why in source.unfit.items() if name not in jets}
        return cls([*dict.fromkeys([*source.columns, *jets])], {**source.is_list, **jets}, unfit)


def reco_columns(study: Study, source: Available) -> list[str]:
    """Return the flat columns of RECO constituents in a study of sets; of others none.

    Raises:
        StudyError: a file lacks one.
    """
    names = Namespace(Store.empty(source), study.define)
    for part in study.parts:
        if part.rows.kind == "set":
            _side(part, names, RECO)
    return names.columns_used


def check_set(part: Part, names: Namespace, *, targets: bool, output: bool = False) -> None:
    """Evaluate every expression of a part with rows of kind set, on a namespace without events."""
    conditions = _side(part, names, GEN)
    if part.rows.number:
        names.evaluate(part.rows.number, f"part {part.name}, rows.number")
    if targets:
        _side(part, names, RECO)
    if output:
        nothing = {name: conditions[f"{OF_GEN}{name}"] for name in CONSTITUENT}
        empty = Keys.from_columns(dict.fromkeys(IDS, np.zeros(0, np.int64)))
        zero = np.zeros(0)
        table = Table(part.name, empty, zero, np.zeros(0, np.int64), {}, {}, {}, {})
        evaluate_set_output(part, names, table, nothing)


def _side(part: Part, names: Namespace, side: str) -> dict[str, Numbers]:
    """Return the constituents of a side, name -> float64 [events, size], NaN beyond the last."""
    chosen = part.rows.gen if side == GEN else part.rows.reco
    items: Iterable[Condition | Target] = part.condition if side == GEN else part.target
    collection = names.collection(chosen, f"part {part.name}, rows.{side}")
    rows = names.rows(collection.frame.event, {side: (collection, collection.positions)})
    columns: dict[str, Any] = {}
    for item in items:
        name = item.name if isinstance(item.name, str) else item.name[0]
        text = item.value if isinstance(item.value, str) else item.value[0]
        columns[name] = rows.evaluate(text, f"part {part.name}, {name}").values
    offsets = np.asarray(collection.frame.offsets)
    event, counts = np.asarray(collection.frame.event), np.diff(offsets)
    pt = next(iter(columns.values())).astype(np.float64)
    order = np.lexsort((-np.nan_to_num(pt, nan=np.inf), event))  # stable: equal pt as in the file
    slot = np.arange(len(event)) - np.repeat(offsets[:-1] - offsets[0], counts)
    kept = slot < part.rows.size
    padded = {}
    for name, values in columns.items():
        wide = np.full((names.size, part.rows.size), np.nan)
        wide[event[kept], slot[kept]] = values[order][kept]
        padded[name] = wide
    return padded


def _there(columns: Mapping[str, Array]) -> Flags:
    """Return which slots hold a constituent: something of it is a number."""
    there = np.zeros(next(iter(columns.values())).shape, np.bool_)
    for values in columns.values():
        there |= ~np.isnan(values)
    return there
