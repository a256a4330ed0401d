"""`compare`: judge one file of RECO events against another, without an emulator."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward
import numpy as np

from gen2reco.errors import StudyError
from gen2reco.events import open_events
from gen2reco.events.layout import flat_columns
from gen2reco.rng import Keys, hash_fraction
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.sets import WithJets, reco_columns, with_jets
from gen2reco.rows.spaces import RECO
from gen2reco.rows.splits import halves
from gen2reco.rows.table import IDS
from gen2reco.rows.tables import columns_of
from gen2reco.study import Study, as_study
from gen2reco.validation import Rate, Sample, Settings, assess, write_report
from gen2reco.validation.streamed import Streaming
from gen2reco.verbs.compared_columns import (
    common_quantities,
    refuse_one_sided,
    weight_column,
    weights_of,
)
from gen2reco.verbs.inputs import naming, open_sample, refuse_empty, refuse_negative
from gen2reco.verbs.judged import SUBSAMPLE, ranges
from gen2reco.verbs.report_folder import check_free, place_report
from gen2reco.verbs.samples import replica_of
from gen2reco.verbs.spread import check_streamed, in_turn
from gen2reco.verbs.validate import Validated
from gen2reco.workers.cluster import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gen2reco.events import EventSource
    from gen2reco.validation.inputs import Passing

_CHUNK = 50_000
_STREAMED = {"full": (("full_a", 0), ("full_b", 1)), "fast": (("fast", 1),)}
"""Sides that are streamed and the half of the GEN events that they are made of."""


def compare(
    full: Any,
    fast: Any,
    output: str | Path = "comparison",
    *,
    study: Study | str | Path | None = None,
    seed: int = 1,
    quick: bool = False,
    stream: int = 0,
    scheduler: str = "",
    workers: int = 1,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Validated:
    """Compare FastSim with FullSim and write a report; each is one or more files of RECO events.

    Events with the same key in both stem from the same GEN event; FullSim is then its half A and
    FastSim its half B, so that no GEN event is on both sides.

    Args:
        full: the reference.
        fast: what is judged; the columns `weight`, `replica` and `member` of `simulate` are
            understood: replicas all enter the histograms, with errors that know their correlation,
            and the report says what they gain.
        output: folder of the report.
        study: whose quantities, selection and weight are used, and whose tree and units FullSim
            has; None: the columns that both have, leading objects and counts, in GeV, with
            `genWeight` where there is no `weight`. Of a study of sets, the features of jets are
            computed from the constituents on both sides, whatever the files say of them.
        seed: seed of the re-splits.
        quick: fewer repetitions for errors and nulls; the report says so.
        stream: for samples larger than memory: the distributions are those of all events, as
            sketches (`streamed.json`); everything else is about so many of FullSim and the same
            share of FastSim, chosen by their keys. 0: all events, in memory.
        scheduler: address of a Dask scheduler (`tcp://host:8786`) whose workers read what is
            streamed, or `local` for a cluster of `workers` processes here. The figures are those
            without it.
        workers: processes of a local cluster.
        overwrite: replace an existing report.
        say: receives a line at the start of each step.

    Raises:
        OutputExistsError: the report exists and `overwrite` is off.
        EventFileError: a file cannot be read or has no events, the two have nothing in common, or
            the events of one side alone have weights.
        StudyError: an expression of the study does not work on both, or an option is wrong.
        WorkerError: a scheduler was lost.
    """
    output = Path(output)
    refuse_negative(seed)
    check_streamed(scheduler, stream, workers)
    check_free(output, overwrite=overwrite)
    plan = None if study is None else as_study(study)
    sources = [
        open_sample(files, plan) if plan else open_events(files, tree="") for files in (full, fast)
    ]
    for source in sources:
        refuse_empty(source, "compare")
    define = [plan.defined(source.columns) if plan else {} for source in sources]
    quantities = plan.validation.quantities if plan else common_quantities(*sources)
    select = plan.validation.select if plan else ""
    if not quantities:
        raise StudyError(
            f"study {plan.name if plan else ''!r} has no validation.quantities to compare"
        )
    weight = plan.input.weight if plan else "genWeight"
    say("reading both")
    wanted = [select, *quantities.values()]
    share = stream / max(sources[0].entries, 1) if stream else 1.0
    sides = [
        awkward.concatenate(list(_pieces(source, plan, wanted, own, weight, share)))
        for source, own in zip(sources, define, strict=True)
    ]
    refuse_one_sided(sources, sides, weight)
    identities = _identities(*sides)
    half = halves(_keys(sides[0]))
    shared = np.isin(identities[1], identities[0])
    fast_half = np.where(shared, halves(_keys(sides[1])), 1)
    chosen = np.flatnonzero(fast_half == 1)
    full_sample, full_rows = _sample(sides[0], identities[0], quantities, select, define[0], weight)
    fast_sample, _ = _sample(
        sides[1][chosen], identities[1][chosen], quantities, select, define[1], weight
    )
    rate = None
    if select:
        in_a = np.flatnonzero(half == 0)
        rate = Rate.of(
            _passing(sides[0][in_a], identities[0][in_a], select, define[0], weight),
            _passing(sides[1][chosen], identities[1][chosen], select, define[1], weight),
        )
    streamed = None
    if stream:
        say(f"streaming {sources[0].entries} and {sources[1].entries} events")
        streaming = Streaming(labels=plan.validation.labels if plan else None)
        common = Common(plan, tuple(wanted), quantities, select, weight, bool(shared.any()))
        with cluster(scheduler, workers) if scheduler else nullcontext() as made:
            for side, source, own in zip(("full", "fast"), sources, define, strict=True):
                tasks = ((common, side, own, *source.within(*one)) for one in ranges(source))
                parts = in_turn(made, sketched, tasks) if made else starmap(sketched, tasks)
                for part in parts:
                    streaming.take(part)
        streamed = streaming.result(len(sides[0]))
    say("comparing")
    assessment = assess(
        full_sample,
        half[full_rows],
        fast_sample,
        rates={"final selection": rate} if rate else None,
        labels=plan.validation.labels if plan else None,
        not_judged=["Responses and coverage: two files of RECO do not tell them; `validate` does."],
        settings=Settings.for_demo(seed=seed) if quick else Settings(seed=seed),
    )
    provenance = {
        side: ", ".join(f"{file.path.name} ({file.entries} events)" for file in source.files)
        for side, source in zip(("FullSim", "FastSim"), sources, strict=True)
    }
    provenance["event weights"] = ", ".join(
        f"{side}: {weight_column(source.columns, weight) or 'none, every event counts 1'}"
        for side, source in zip(("FullSim", "FastSim"), sources, strict=True)
    )
    title = f"{plan.name}: FullSim and FastSim" if plan else "FullSim and FastSim"

    def write(folder: Path) -> None:
        write_report(assessment, folder, title=title, provenance=provenance, streamed=streamed)
        if streamed:
            streamed.write(folder)

    place_report(output, overwrite, write)
    return Validated(assessment, output, streamed=streamed)


@dataclass(frozen=True)
class Common:
    """What is streamed of both sides; all that a worker must be told beside the side itself."""

    plan: Study | None
    wanted: tuple[str, ...]
    quantities: Mapping[str, str]
    select: str
    weight: str
    shared: bool


def sketched(
    common: Common,
    side: str,
    define: Mapping[str, str],
    source: EventSource,
    start: int,
    stop: int,
) -> Streaming:
    """Sketch a range of entries of one side, here or in a worker.

    Where both stem from the same GEN events (`shared`), half B of FullSim is the null.
    """
    streaming = Streaming()
    plan, wanted, weight = common.plan, common.wanted, common.weight
    for events in _pieces(source, plan, wanted, define, weight, 1.0, start, stop):
        parts = halves(_keys(events)) if common.shared else np.full(len(events), 2)
        for name, part in _STREAMED[side]:
            chosen = events[(parts == part) | (parts == 2)]
            if name == "full_b" and not common.shared:
                continue
            rows, values = _values(chosen, common.quantities, common.select, define)
            member = flat_columns(chosen).get("member")
            nominal = rows if member is None else rows[np.asarray(member)[rows] == 0]
            kept = np.isin(rows, nominal)
            streaming.add(
                name,
                len(chosen),
                weights_of(chosen, weight)[nominal],
                {quantity: numbers[kept] for quantity, numbers in values.items()},
            )
    return streaming


def _pieces(
    source: EventSource,
    plan: Study | None,
    expressions: Sequence[str],
    define: Mapping[str, str],
    weight: str,
    share: float,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[awkward.Array]:
    """Yield a share of the events, chosen by their keys, with the columns that are needed."""
    texts = [text for text in expressions if text]
    available = WithJets.of(plan, source) if plan else source
    with naming(source, "the study does not fit these events"):
        needed = dict.fromkeys(columns_of(texts, define, available))
        made = reco_columns(plan, source) if plan else []
    needed = {name: None for name in (*needed, *made) if name in source.columns}
    known = (*IDS, "weight", "replica", "member", weight)
    needed |= dict.fromkeys(name for name in known if name and name in source.columns)
    for chunk in source.chunks(_CHUNK, list(needed), start, stop):
        events = chunk.events
        if share < 1:
            # Packed, because a selection of lists would hold on to those of the whole chunk.
            chosen = hash_fraction(_keys(events), SUBSAMPLE) < share
            events = awkward.to_packed(events[chosen])
        yield with_jets(plan, events, [RECO]) if plan else events


def _sample(
    events: awkward.Array,
    identity: np.ndarray,
    quantities: Mapping[str, str],
    select: str,
    define: Mapping[str, str],
    weight: str,
) -> tuple[Sample, np.ndarray]:
    rows, values = _values(events, quantities, select, define)
    columns = flat_columns(events)
    member = np.asarray(columns["member"], np.int64)[rows] if "member" in columns else None
    sample = Sample(
        quantities=values,
        responses={},
        gen={},
        weight=weights_of(events, weight)[rows],
        event=identity[rows],
        member=member,
        replica=replica_of(columns, rows),
    )
    return sample, rows


def _values(
    events: awkward.Array, quantities: Mapping[str, str], select: str, define: Mapping[str, str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the events that pass the selection, and their quantities, NaN where there is none."""
    names = Namespace(events, define)
    rows = np.flatnonzero(names.mask(select))
    values = {name: names.evaluate(text).numbers()[rows] for name, text in quantities.items()}
    return rows, values


def _passing(
    events: awkward.Array,
    identity: np.ndarray,
    select: str,
    define: Mapping[str, str],
    weight: str,
) -> Passing:
    """Which events pass the selection, their weights and GEN events; of member 0 alone."""
    member = flat_columns(events).get("member")
    nominal = np.ones(len(events), np.bool_) if member is None else np.asarray(member) == 0
    passed = Namespace(events, define).mask(select)
    return passed[nominal], weights_of(events, weight)[nominal], identity[nominal]


def _keys(events: awkward.Array) -> Keys:
    return Keys.from_columns(flat_columns(events))


def _identities(full: awkward.Array, fast: awkward.Array) -> tuple[np.ndarray, np.ndarray]:
    """Number GEN events so that the same key has the same number on both sides."""
    columns = [flat_columns(events) for events in (full, fast)]
    keys = np.stack(
        [
            np.concatenate([np.asarray(side[name]).astype(np.uint64) for side in columns])
            for name in IDS
        ],
        axis=1,
    )
    _, number = np.unique(keys, axis=0, return_inverse=True)
    number = number.reshape(-1).astype(np.int64)
    return number[: len(full)], number[len(full) :]
