"""From events to the plain columns that validation compares: FullSim, FastSim, GEN as RECO."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator.assemble import Copy, assemble
from gen2reco.emulator.chunk import Made
from gen2reco.events.layout import flat_columns, to_events
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.judging import OBJECTS
from gen2reco.rows.tables import Table, evaluate_output
from gen2reco.validation import Closure, Counted, Coverage, Outcome, Sample, ranks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward

    from gen2reco.emulator import Emulator, TrainedPart
    from gen2reco.study import Study

DRAWS = 99


def emulated(
    emulator: Emulator, events: awkward.Array, *, seed: int, oversample: int = 1, members: int = 1
) -> awkward.Array:
    """Return the events with their RECO collections replaced by emulated ones.

    Every event must give a row.
    """
    made = emulator.simulate_chunk(
        events, seed=seed, oversample=oversample, members=members, policy="error"
    ).events
    assert len(made) == len(events) * oversample * members, "judged events must not be dropped"
    return replaced(events, made, oversample * members)


def identity(emulator: Emulator, events: awkward.Array, table: Table) -> awkward.Array | None:
    """Return the events, one per row, GEN taken as RECO.

    None where a target has no GEN value, or where one part does not make the whole event.
    """
    part = emulator.parts[0].part
    table = replace(table, entry=np.arange(len(table)))
    alone = len(emulator.parts) == 1 and part.rows.kind == "event"
    if not alone or any(name not in table.relative_to for name in table.target):
        return None
    output = evaluate_output(emulator.study, part, events, table, table.relative_to)
    everything = np.arange(len(events))
    made = assemble(
        events,
        everything,
        [
            Copy(
                0, 0, [Made(part, table.entry, output, alone=True)], np.zeros(len(events), np.int32)
            )
        ],
        layout=emulator.layout,
        weight=emulator.study.input.weight,
        keep=(),
        with_member=False,
    )
    return replaced(events, made, 1)


def to_sample(
    study: Study,
    events: awkward.Array,
    origin: np.ndarray,
    condition: Mapping[str, np.ndarray],
    *,
    identity: awkward.Array | None = None,
) -> Sample:
    """Evaluate the validation block on events and keep those that pass the final selection.

    Args:
        study: its `define` and `validation` blocks.
        events: events with GEN, RECO and, for emulated ones, `weight` and `member`.
        origin: number of the GEN event that each one comes from.
        condition: GEN conditions per GEN event, by name.
        identity: the same events with GEN taken as RECO, row by row.
    """
    passing, weight, quantities, relative_to_gen = judged_columns(study, events)
    columns = flat_columns(events)
    gen_quantities = {}
    if identity is not None:
        taken = names_of(study, identity)
        gen_quantities = {
            name: taken.evaluate(text).numbers()[passing]
            for name, text in study.validation.quantities.items()
        }
    return Sample(
        quantities=quantities,
        responses=relative_to_gen,
        gen={name: values[origin[passing]] for name, values in condition.items()},
        weight=weight,
        event=origin[passing],
        gen_quantities=gen_quantities,
        member=np.asarray(columns["member"], np.int64)[passing] if "member" in columns else None,
        replica=replica_of(columns, passing),
    )


def names_of(study: Study, events: awkward.Array) -> Namespace:
    """Return the namespace of events of the file, or of emulated ones with what was made."""
    columns = flat_columns(events)
    return Namespace(columns, study.defined(columns))


def judged_columns(
    study: Study, events: awkward.Array
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the events that pass the final selection, their weights, quantities and responses."""
    names = names_of(study, events)
    passing = np.flatnonzero(names.mask(study.validation.select))
    columns = flat_columns(events)
    weight = columns.get("weight", columns.get(study.input.weight) if study.input.weight else None)
    return (
        passing,
        np.ones(len(passing)) if weight is None else np.asarray(weight, np.float64)[passing],
        {
            name: names.evaluate(text).numbers()[passing]
            for name, text in study.validation.quantities.items()
        },
        {name: values[passing] for name, values in responses(study, names).items()},
    )


def replica_of(columns: Mapping[str, Any], rows: np.ndarray) -> np.ndarray | None:
    """Return the replica of each of some rows; None where every GEN event has a single one."""
    if "replica" not in columns:
        return None
    replica = np.asarray(columns["replica"], np.int64)
    return replica[rows] if len(replica) and replica.max() > 0 else None


def responses(study: Study, names: Namespace) -> dict[str, np.ndarray]:
    """RECO relative to GEN for every event, NaN where one of them is missing."""
    return {
        name: relative(
            names.evaluate(response.reco).numbers(),
            names.evaluate(response.gen).numbers(),
            response.kind,
        )
        for name, response in study.validation.responses.items()
    }


def response_values(
    study: Study, events: awkward.Array
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """GEN and RECO value behind each response, by name, of events after the final selection."""
    names = names_of(study, events)
    passing = np.flatnonzero(names.mask(study.validation.select))
    return {
        name: (_values(names, response.gen)[passing], _values(names, response.reco)[passing])
        for name, response in study.validation.responses.items()
    }


def relative(reco: np.ndarray, gen: np.ndarray, kind: str) -> np.ndarray:
    """Return RECO relative to GEN: a `ratio`, a `difference`, or the wrapped one of an `angle`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "ratio":
            return np.asarray(reco / gen)
        return _wrapped(reco - gen) if kind == "angle" else reco - gen


def gen_quantities(study: Study, events: awkward.Array) -> dict[str, np.ndarray]:
    """GEN quantities of every event that the classifier sees, by name."""
    names = names_of(study, events)
    return {name: names.evaluate(text).numbers() for name, text in study.validation.gen.items()}


def regions(
    study: Study, events: awkward.Array, replicas: Sequence[awkward.Array], weight: np.ndarray
) -> dict[str, Outcome]:
    """Which of the same GEN events pass the selections of an analysis, FullSim and replicas."""
    full = names_of(study, events)
    fast = [names_of(study, replica) for replica in replicas]
    return {
        name: Outcome(
            full=full.mask(text, f"validation.regions.{name}"),
            bins={},
            weight=weight,
            event=np.arange(len(events)),
            fast=np.stack([one.mask(text) for one in fast], axis=1),
            kind="region",
        )
        for name, text in study.validation.regions.items()
    }


def numbers_of_objects(
    study: Study, events: awkward.Array, replicas: Sequence[awkward.Array], weight: np.ndarray
) -> dict[str, Counted]:
    """Objects per event of every collection that parts with rows per object write."""
    written = {
        collection: f"count({collection})"
        for part in study.parts
        if part.rows.kind in OBJECTS
        for collection in part.output
    }
    full = Namespace(events)
    fast = [Namespace(replica) for replica in replicas]
    return {
        f"n_{collection}": Counted(
            full.evaluate(text).values,
            np.stack([one.evaluate(text).values for one in fast], axis=1),
            weight,
            np.arange(len(events)),
        )
        for collection, text in written.items()
    }


def closure(
    study: Study, events: awkward.Array, replicas: Sequence[awkward.Array], weight: np.ndarray
) -> Closure:
    """Responses of FullSim and of several emulated replicas on the same GEN rows.

    Taken after the final selection.
    """
    names = names_of(study, events)
    bins = {
        name: names.evaluate(text).numbers()
        for name, text in study.validation.response_bins.items()
    }
    full = _selected(study, names)
    fast = [_selected(study, names_of(study, replica)) for replica in replicas]
    return Closure(
        bins=bins,
        full=full,
        fast={name: np.stack([one[name] for one in fast], axis=1) for name in full},
        weight=weight,
        event=np.arange(len(events)),
    )


def coverage(
    emulator: Emulator, trained: TrainedPart, table: Table, *, seed: int, draws: int = DRAWS
) -> Coverage:
    """Ranks of the true targets of a part among draws for the same GEN row, for every row.

    Taken before the final selection.
    """
    encoded = trained.features.encode_condition(table)
    angles = {
        name for target in trained.part.target if target.kind == "angle" for name in target.name
    }
    drawn: dict[str, np.ndarray] = {
        name: np.empty((len(table), draws), np.float32) for name in table.target
    }
    truth = dict(table.target)
    origin = {name: table.relative_to.get(name, np.zeros(len(table))) for name in table.target}
    for replica in range(draws):
        for name, values in emulator.draw(
            trained, table, encoded, seed=seed, replica=replica, member=0
        ).items():
            # Relative to GEN, so that the branch cut of an angle and the precision of float32 do
            # not matter.
            drawn[name][:, replica] = _relative(values, origin[name], name in angles)
    return Coverage(
        ranks={
            name: ranks(
                _relative(truth[name], origin[name], name in angles).astype(np.float32),
                drawn[name],
                seed,
            )
            for name in drawn
        },
        weight=table.weight,
        event=table.entry,
        draws=draws,
    )


def _relative(values: np.ndarray, origin: np.ndarray, angle: bool) -> np.ndarray:
    return _wrapped(values - origin) if angle else values - origin


def _selected(study: Study, names: Namespace) -> dict[str, np.ndarray]:
    passing = names.mask(study.validation.select)
    return {
        name: np.where(passing, values, np.nan) for name, values in responses(study, names).items()
    }


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return np.mod(angle + np.pi, 2 * np.pi) - np.pi


def replaced(events: awkward.Array, made: awkward.Array, copies: int) -> awkward.Array:
    """GEN columns of `events`, each event `copies` times, with the RECO columns of `made`."""
    given = flat_columns(
        events if copies == 1 else events[np.repeat(np.arange(len(events)), copies)]
    )
    new = flat_columns(made)
    collections = {name.partition("_")[0] for name in new if "_" in name}
    kept = {
        name: values for name, values in given.items() if name.partition("_")[0] not in collections
    }
    return to_events(kept | new)
