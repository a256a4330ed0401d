"""From events to the plain columns that validation compares: FullSim, FastSim, GEN as RECO."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import awkward
import numpy as np

from gen2reco.emulator.assemble import Copy, assemble
from gen2reco.emulator.chunk import Made
from gen2reco.events.layout import flat_columns, to_events
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, split
from gen2reco.rows.tables import Table, build_table, columns_needed, columns_of, evaluate_output
from gen2reco.validation import Closure, Coverage, Sample, ranks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.emulator import Emulator
    from gen2reco.events import EventSource
    from gen2reco.study import Study

DRAWS = 99


def read_judged(
    emulator: Emulator, source: EventSource, *, test_only: bool
) -> tuple[awkward.Array, Table, dict[str, int]]:
    """Read the events an emulator is judged on: those with a row in GEN and in RECO.

    Args:
        emulator: what is judged.
        source: files with GEN and RECO.
        test_only: read the test part only, as for the files of training.

    Returns:
        The events (all columns that judging needs), the table of the first part, one row per event,
        and reason -> events left out.
    """
    study = emulator.study
    part = emulator.parts[0].part
    needed = dict.fromkeys(columns_needed(study, part, source, targets=True))
    needed |= dict.fromkeys(emulator.columns_needed(source))
    needed |= dict.fromkeys(columns_of(validation_expressions(study), study.define, source))
    pieces: list[awkward.Array] = []
    tables: list[Table] = []
    for chunk in source.chunks(columns=list(needed)):
        events = chunk.events
        if test_only:
            columns = flat_columns(events)
            events = events[split(columns) == TEST]
        table = build_table(study, part, events, targets=True, where=chunk.file)
        pieces.append(events[table.entry])
        tables.append(table)
    table = Table.concatenate(tables)
    return awkward.concatenate(pieces), table, dict(table.dropped)


def validation_expressions(study: Study) -> list[str]:
    """Every expression of the validation block."""
    block = study.validation
    texts = [block.select, *block.quantities.values(), *block.response_bins.values()]
    for response in block.responses.values():
        texts += [response.reco, response.gen]
    return [text for text in texts if text]


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
    return _replaced(events, made, oversample * members)


def identity(emulator: Emulator, events: awkward.Array, table: Table) -> awkward.Array | None:
    """Return the events, one per row, GEN taken as RECO; None where a target has no GEN value."""
    part = emulator.parts[0].part
    table = replace(table, entry=np.arange(len(table)))
    if part.rows.kind != "event" or any(name not in table.relative_to for name in table.target):
        return None
    output = evaluate_output(emulator.study, part, events, table, table.relative_to)
    everything = np.arange(len(events))
    made = assemble(
        events,
        everything,
        [Copy(0, 0, [Made(part, table.entry, output)], np.zeros(len(events), np.int32))],
        layout=emulator.layout,
        weight=emulator.study.input.weight,
        keep=(),
        with_member=False,
    )
    return _replaced(events, made, 1)


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
    names = Namespace(events, study.define)
    passing = np.flatnonzero(names.mask(study.validation.select))
    quantities = {
        name: _values(names, text)[passing] for name, text in study.validation.quantities.items()
    }
    columns = flat_columns(events)
    weight = columns.get("weight", columns.get(study.input.weight) if study.input.weight else None)
    gen_quantities = {}
    if identity is not None:
        taken = Namespace(identity, study.define)
        gen_quantities = {
            name: _values(taken, text)[passing]
            for name, text in study.validation.quantities.items()
        }
    return Sample(
        quantities=quantities,
        responses={name: values[passing] for name, values in responses(study, names).items()},
        gen={name: values[origin[passing]] for name, values in condition.items()},
        weight=np.ones(len(passing)) if weight is None else np.asarray(weight, np.float64)[passing],
        event=origin[passing],
        gen_quantities=gen_quantities,
        member=np.asarray(columns["member"], np.int64)[passing] if "member" in columns else None,
    )


def responses(study: Study, names: Namespace) -> dict[str, np.ndarray]:
    """RECO relative to GEN for every event, NaN where one of them is missing."""
    relative = {}
    for name, response in study.validation.responses.items():
        reco, gen = _values(names, response.reco), _values(names, response.gen)
        with np.errstate(divide="ignore", invalid="ignore"):
            if response.kind == "ratio":
                relative[name] = reco / gen
            else:
                relative[name] = reco - gen
        if response.kind == "angle":
            relative[name] = np.mod(relative[name] + np.pi, 2 * np.pi) - np.pi
    return relative


def closure(
    study: Study, events: awkward.Array, replicas: Sequence[awkward.Array], weight: np.ndarray
) -> Closure:
    """Responses of FullSim and of several emulated replicas on the same GEN rows.

    Taken after the final selection.
    """
    names = Namespace(events, study.define)
    bins = {name: _values(names, text) for name, text in study.validation.response_bins.items()}
    full = _selected(study, names)
    fast = [_selected(study, Namespace(replica, study.define)) for replica in replicas]
    return Closure(
        bins=bins,
        full=full,
        fast={name: np.stack([one[name] for one in fast], axis=1) for name in full},
        weight=weight,
        event=np.arange(len(events)),
    )


def coverage(emulator: Emulator, table: Table, *, seed: int, draws: int = DRAWS) -> Coverage:
    """Ranks of the true targets among draws for the same GEN row, for every row.

    Taken before the final selection.
    """
    trained = emulator.parts[0]
    angles = {
        name for target in trained.part.target if target.kind == "angle" for name in target.name
    }
    drawn: dict[str, np.ndarray] = {
        name: np.empty((len(table), draws), np.float32) for name in table.target
    }
    truth = dict(table.target)
    origin = {name: table.relative_to.get(name, np.zeros(len(table))) for name in table.target}
    for replica in range(draws):
        for name, values in emulator.sample_targets(
            trained, table, seed=seed, replica=replica
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
        event=np.arange(len(table)),
        draws=draws,
    )


def _relative(values: np.ndarray, origin: np.ndarray, angle: bool) -> np.ndarray:
    return _wrapped(values - origin) if angle else values - origin


def _selected(study: Study, names: Namespace) -> dict[str, np.ndarray]:
    passing = names.mask(study.validation.select)
    return {
        name: np.where(passing, values, np.nan) for name, values in responses(study, names).items()
    }


def _values(names: Namespace, text: str) -> np.ndarray:
    column = names.evaluate(text)
    return np.where(column.valid, column.values, np.nan)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return np.mod(angle + np.pi, 2 * np.pi) - np.pi


def _replaced(events: awkward.Array, made: awkward.Array, copies: int) -> awkward.Array:
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
