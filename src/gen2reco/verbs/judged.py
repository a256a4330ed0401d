"""The events that an emulator is judged on, and the rows of every part in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import awkward
import numpy as np

from gen2reco.emulator.assemble import Copy, assemble
from gen2reco.emulator.chunk import Chunk
from gen2reco.errors import EventFileError
from gen2reco.events.layout import flat_columns
from gen2reco.rng import hash_fraction
from gen2reco.rows.chain import parts_before
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.judging import judging_columns
from gen2reco.rows.sets import WithJets, with_jets
from gen2reco.rows.splits import TEST, halves, split
from gen2reco.rows.tables import Table, build_table, columns_needed, columns_of, typed, with_part
from gen2reco.study import column_name
from gen2reco.validation.streamed import Streaming
from gen2reco.verbs.event_samples import with_quantities
from gen2reco.verbs.inputs import refuse_empty
from gen2reco.verbs.samples import replaced
from gen2reco.verbs.streamed import origins_of, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gen2reco.emulator import Emulator
    from gen2reco.events import EventSource
    from gen2reco.study import Part, Study


@dataclass(frozen=True, eq=False)
class Judged:
    """Events with GEN and RECO, each of which can be simulated.

    Attributes:
        study: the study of the emulator.
        source: the files.
        events: the events, all columns that judging needs.
        tables: stage -> its rows with the RECO of the file; `entry` is the position in `events`.
            Conditions on earlier parts are on the RECO objects of the file, as in training.
        names: stage -> the namespace that its table was made from.
        dropped: reason -> events that are not here.
    """

    study: Study
    source: EventSource
    events: awkward.Array
    tables: Mapping[str, Table]
    names: Mapping[str, Namespace]
    dropped: Mapping[str, int]

    @cached_property
    def half(self) -> np.ndarray:
        """Half of each event: 0 (FullSim) or 1 (FastSim), int8 [events]."""
        return halves(flat_columns(self.events))

    @cached_property
    def weight(self) -> np.ndarray:
        """Weight of each event, float64 [events]."""
        column = self.study.input.weight
        columns = flat_columns(self.events)
        return np.asarray(columns[column], np.float64) if column else np.ones(len(self.events))

    def names_with(self, columns: Mapping[str, object], part: Part) -> Namespace:
        """Return the namespace of a part on other columns, the same parts made before it."""
        names = Namespace(columns, self.study.define)
        for stage in parts_before(self.study, part):
            table = self.tables[stage.name]
            names = with_part(names, stage, table, typed(stage, table.target))
        return names


SUBSAMPLE = "validation sample"
"""Salt of the hash that says which events are in a subsample."""
_CHUNK = 50_000
RANGE = 10 * _CHUNK
"""Events that are read together, here or by a worker; sketches of ranges are added up in order, so
that all figures are the same to the last bit, wherever they were read."""


@dataclass(frozen=True, eq=False)
class Piece:
    """What a range of entries gives.

    Attributes:
        events: those that are kept.
        dropped: reason -> events that cannot be judged.
        streaming: sketches of all that can.
    """

    events: awkward.Array
    dropped: Counter[str]
    streaming: Streaming


@dataclass(frozen=True)
class Reading:
    """How the events of a validation are read; all that a worker must be told.

    Attributes:
        columns: to read.
        test_only: whether only the test part is read.
        share: of the events that are kept, chosen by their keys.
        seed: of the FastSim that is streamed.
        streamed: the study whose quantities are streamed, if they are.
    """

    columns: tuple[str, ...]
    test_only: bool
    share: float
    seed: int
    streamed: Study | None

    def piece(self, emulator: Emulator, source: EventSource, start: int, stop: int) -> Piece:
        """Read a range of entries."""
        study = emulator.study
        dropped: Counter[str] = Counter()
        streaming = Streaming(origins_of(study))
        watch = watching(self.streamed, streaming) if self.streamed else None
        pieces = []
        for chunk in source.chunks(_CHUNK, self.columns, start, stop):
            events = chunk.events
            if self.test_only:
                events = events[split(flat_columns(events), study.split) == TEST]
            events = with_jets(study, events)
            _, tables = _rows(study, events, chunk.file)
            usable = Namespace(events, study.define).mask(study.select, "select")
            per_event = [tables[stage.name] for stage in study.stages if stage.rows.per_event]
            reasons = per_event[0].dropped if per_event else {"not selected": int(np.sum(~usable))}
            for table in per_event:
                usable &= np.isin(np.arange(len(events)), table.entry)
            dropped.update(reasons)
            kept = events[usable]
            alive, fast = _simulated(emulator, kept, self.seed)
            dropped.update({"GEN cannot be simulated": int(np.count_nonzero(~alive))})
            kept = kept[alive]
            if watch is not None:
                watch(kept, fast)
            if self.share < 1:
                # Packed, because a selection of lists would hold on to those of the whole chunk.
                chosen = hash_fraction(flat_columns(kept), SUBSAMPLE) < self.share
                kept = awkward.to_packed(kept[chosen])
            pieces.append(kept)
        return Piece(awkward.concatenate(pieces), dropped, streaming)


def read_judged(
    emulator: Emulator,
    source: EventSource,
    *,
    test_only: bool,
    share: float = 1.0,
    streaming: Streaming | None = None,
    seed: int = 1,
    there: Callable[[Reading, EventSource], Iterator[Piece]] | None = None,
) -> Judged:
    """Read the events an emulator is judged on.

    These pass the study's `select`, have a row in GEN and RECO of every part with one row per
    event, and GEN that can be simulated.

    Args:
        emulator: what is judged.
        source: files with GEN and RECO.
        test_only: read the test part only, as for the files of training.
        share: of the events that are kept, chosen by their keys alone.
        streaming: takes all events that can be judged, FullSim and FastSim; they need not fit into
            memory together.
        seed: of that FastSim.
        there: reads all ranges elsewhere, in order; None: here.

    Raises:
        EventFileError: no event is left.
    """
    study = emulator.study
    refuse_empty(source, "judge")
    streamed = with_quantities(study, source) if streaming is not None else None
    reading = Reading(tuple(_columns(emulator, source)), test_only, share, seed, streamed)
    found = (
        there(reading, source)
        if there is not None
        else (reading.piece(emulator, source, *one) for one in ranges(source))
    )
    pieces: list[awkward.Array] = []
    dropped: Counter[str] = Counter()
    for piece in found:
        pieces.append(piece.events)
        dropped.update(piece.dropped)
        if streaming is not None:
            streaming.take(piece.streaming)
    if not sum(len(piece) for piece in pieces):
        left_out = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
        raise EventFileError(
            f"no event of {', '.join(file.path.name for file in source.files)} can be judged"
            f" (left out: {left_out or 'all, by the split'})"
        )
    events = awkward.concatenate(pieces)
    names, tables = _rows(study, events, "")
    return Judged(study, source, events, tables, names, dict(+dropped))


def ranges(source: EventSource) -> list[tuple[int, int]]:
    """Cut all entries into the ranges that are read together."""
    total = source.entries
    return [(start, min(start + RANGE, total)) for start in range(0, total, RANGE)]


def validation_expressions(study: Study) -> list[str]:
    """Every expression of the study's validation block."""
    block = study.validation
    texts = [block.select, *block.quantities.values(), *block.response_bins.values()]
    texts += [*block.gen.values(), *block.regions.values()]
    for response in block.responses.values():
        texts += [response.reco, response.gen]
    return [text for text in texts if text]


def _columns(emulator: Emulator, source: EventSource) -> list[str]:
    """Columns that judging reads: GEN and RECO of all parts, and those of expressions."""
    study = emulator.study
    needed: dict[str, None] = {}
    for stage in study.stages:
        needed |= dict.fromkeys(columns_needed(study, stage, source, targets=True))
    for part in study.parts:
        if part.rows.kind != "set":
            needed |= dict.fromkeys(judging_columns(study, part, source))
        written = [column_name(*which) for which in part.written]
        needed |= dict.fromkeys(name for name in written if name in source.columns)
    needed |= dict.fromkeys(emulator.columns_needed(source))
    known = WithJets.of(study, source)
    expressions = validation_expressions(study)
    needed |= dict.fromkeys(columns_of(expressions, study.define, known))
    return [name for name in needed if name in source.columns]


def _rows(
    study: Study, events: awkward.Array, where: str
) -> tuple[dict[str, Namespace], dict[str, Table]]:
    names, tables = {}, {}
    here = Namespace(events, study.define)
    for stage in study.stages:
        names[stage.name] = here
        tables[stage.name] = build_table(study, stage, here, targets=True, where=where)
        if stage is not study.stages[-1]:
            table = tables[stage.name]
            here = with_part(here, stage, table, typed(stage, table.target))
    return names, tables


def _simulated(
    emulator: Emulator, events: awkward.Array, seed: int
) -> tuple[np.ndarray, Callable[[], awkward.Array]]:
    """Which events the emulator can simulate, bool [events], and what gives them with FastSim."""
    if not len(events):
        return np.ones(0, np.bool_), lambda: events
    chunk = Chunk(emulator, events, seed=seed, policy="drop", where="", first=0)
    made, flags = chunk.simulate(0, 0)

    def fast() -> awkward.Array:
        reco = assemble(
            events,
            np.flatnonzero(chunk.alive),
            [Copy(0, 0, made, flags)],
            layout=emulator.layout,
            weight=emulator.study.input.weight,
            keep=(),
            with_member=False,
        )
        return replaced(events[chunk.alive], reco, 1)

    return chunk.alive, fast
