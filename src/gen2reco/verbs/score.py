"""`score`: how unlike its training events each event is, and how well that finds a signal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.emulator import Emulator, as_emulator
from gen2reco.emulator.scoring import latent_places, score_rows, scored_part
from gen2reco.errors import EventFileError, StudyError, nearest
from gen2reco.events import EventWriter, open_events
from gen2reco.events.layout import flat_columns, to_events
from gen2reco.events.publish import refuse_existing
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, folds, split
from gen2reco.rows.table import IDS
from gen2reco.rows.tables import Table, build_table, columns_needed, columns_of
from gen2reco.validation.discrimination import Discrimination, discriminate, supervised
from gen2reco.verbs.inputs import naming, refuse_empty, refuse_input_as_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gen2reco.events import EventSource

SPLITS = ("auto", "test", "all")
FOLDS = 5
FEWEST = 50
"""Fewer events than this on a side tell nothing about a score."""


@dataclass(frozen=True)
class Scored:
    """Outcome of `score`.

    Attributes:
        path: file of scores, one row per event.
        events: events scored.
        dropped: reason -> events without a row.
        medians: score -> median over the events.
        found: of each score, and of supervised classifiers, how well signal is found; empty without
            signal.
    """

    path: Path
    events: int
    dropped: Mapping[str, int]
    medians: Mapping[str, float]
    found: Sequence[Discrimination] = field(default=())

    def __str__(self) -> str:
        lines = [f"{self.path}: scores of {self.events} events"]
        lines += [
            f"  left out, {reason}: {count}" for reason, count in sorted(self.dropped.items())
        ]
        lines += [f"  {name}: median {value:.3g}" for name, value in self.medians.items()]
        lines += [f"  {one}" for one in self.found]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def score(
    model: Emulator | str | Path,
    files: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    signal: Sequence[str | Path] | str | Path = (),
    sculpted: str = "",
    ceiling: bool = True,
    pictures: str | Path | None = None,
    split_of: str = "auto",
    seed: int = 1,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Scored:
    """Score events by how unlike the training events they are; larger is stranger.

    A family gives what it can: a VAE `reconstruction`, `latent`, `bound`, `copula` and
    `discriminator` (see `gen2reco.models.vae`), a flow `density` (-log p). With a signal sample,
    each score is measured as a discriminant, beside classifiers that were shown the signal
    (`supervised`: all quantities of the study; `supervised without NAME`: without the sculpted one
    and ratios to it).

    Args:
        model: an emulator of one part with a row per event, or its path.
        files: files or globs of events with the columns that training read.
        output: file to write: ids and a column `score_NAME` for each score.
        signal: files or globs with signal events.
        sculpted: name of a quantity under `validation`, usually a mass: what a cut on each score
            does to its distribution in the background.
        ceiling: train the classifiers that are shown the signal.
        pictures: folder for ROC curves, the latent space and the sculpted quantity.
        split_of: `auto` takes the test part of files that the emulator was trained on, else all
            events; `test` and `all` force one of them. Signal counts as a whole.
        seed: of the noise that spreads counts.
        overwrite: replace what is there.
        say: receives a line at the start of each step.

    Raises:
        EmulatorError: the emulator cannot be loaded or its family gives no scores.
        EventFileError: a file cannot be read, lacks a column, or too few events have a row.
        StudyError: an unknown split or quantity, or what needs a signal without one.
        OutputExistsError: the output exists and `overwrite` is off.
    """
    if split_of not in SPLITS:
        raise StudyError(
            f"split must be one of {', '.join(SPLITS)}, not {split_of!r}."
            f"{nearest(split_of, SPLITS)}"
        )
    if not signal and (sculpted or pictures is not None):
        option = "sculpted" if sculpted else "pictures"
        raise StudyError(f"{option} is about a signal: name files of it with --signal (signal=...)")
    if not overwrite:
        refuse_existing(Path(output))
    emulator = as_emulator(model)
    known = emulator.study.validation.quantities
    if sculpted and sculpted not in known:
        raise StudyError(
            f"study {emulator.study.name!r} has no validation.quantities.{sculpted}."
            f"{nearest(sculpted, known)}"
        )
    if sculpted and ceiling and len(known) > 1 and not without(known, sculpted):
        raise StudyError(
            f"all validation.quantities have the words of {sculpted!r} in their names, so that none"
            " is left for the classifier that does without it; rename them"
        )
    scoring = _Scoring(emulator, seed)
    inputs = emulator.study.input
    source = open_events(files, tree=inputs.tree, units=inputs.units)
    unlike = open_events(signal, tree=inputs.tree, units=inputs.units) if signal else None
    for given in (source,) if unlike is None else (source, unlike):
        refuse_empty(given, "score")
        refuse_input_as_output(given.paths, output)
    learned = {file["sha256"] for file in emulator.provenance.get("files", [])}
    test_only = split_of == "test" or (
        split_of == "auto" and any(file.digest() in learned for file in source.files)
    )
    say(f"scoring {'the test part of ' if test_only else ''}{source.entries} events")
    background = scoring.of(source, test_only=test_only)
    found: list[Discrimination] = []
    if unlike is not None:
        say("scoring signal")
        strange = scoring.of(unlike, test_only=False)
        say("measuring; training classifiers")
        found = list(_found(background, strange, sculpted, ceiling=ceiling))
        if pictures is not None:
            from gen2reco.validation.score_plots import draw_scores  # noqa: PLC0415

            draw_scores(
                Path(pictures),
                (background.scores, strange.scores),
                (background.places, strange.places),
                background.quantities.get(sculpted),
                sculpted,
            )
    made = {name: background.table_ids[name] for name in IDS} | {
        f"score_{name}": values.astype(np.float32) for name, values in background.scores.items()
    }
    with EventWriter(
        output,
        overwrite=overwrite,
        sidecar={"model": emulator.digest, "study": emulator.study.name, "seed": seed},
        descriptions={name: "larger is stranger" for name in made if name.startswith("score_")},
    ) as writer:
        writer.append(to_events(made))
    return Scored(
        Path(output),
        len(background),
        dict(background.dropped),
        {name: float(np.median(values)) for name, values in background.scores.items()},
        found,
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """Events of one sample, scored."""

    table_ids: Mapping[str, np.ndarray]
    scores: dict[str, np.ndarray]
    quantities: Mapping[str, np.ndarray]
    places: np.ndarray | None
    fold: np.ndarray
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.fold)


class _Scoring:
    """An emulator at work on samples."""

    def __init__(self, emulator: Emulator, seed: int) -> None:
        self.emulator, self.seed = emulator, seed
        self.trained = scored_part(emulator)

    def of(self, source: EventSource, *, test_only: bool) -> _Side:
        """Return the scores and quantities of all events that have a row."""
        tables: list[Table] = []
        pieces: dict[str, list[np.ndarray]] = {}
        ids: dict[str, list[np.ndarray]] = {name: [] for name in IDS}
        dropped: Counter[str] = Counter()
        for table, chosen, columns in self._rows(source, test_only=test_only):
            tables.append(table)
            dropped.update(table.dropped)
            for name, values in chosen.items():
                pieces.setdefault(name, []).append(values)
            for name in IDS:
                ids[name].append(np.asarray(columns[name])[table.entry])
        whole = Table.concatenate(tables)
        if not len(whole):
            raise EventFileError(
                "no event has a row, so that none can be scored", file=source.label
            )
        return _Side(
            {name: np.concatenate(values) for name, values in ids.items()},
            score_rows(self.trained, whole, seed=self.seed),
            {name: np.concatenate(values) for name, values in pieces.items()},
            latent_places(self.trained, whole, seed=self.seed),
            folds(whole.keys, FOLDS),
            dropped,
        )

    def _rows(
        self, source: EventSource, *, test_only: bool
    ) -> Iterator[tuple[Table, dict[str, np.ndarray], Mapping[str, object]]]:
        study, part = self.emulator.study, self.trained.part
        defined = study.defined(source.columns)
        with naming(source, "these events cannot be scored"):
            columns = columns_needed(study, part, source, targets=True)
            columns += columns_of(study.validation.quantities.values(), defined, source)
        for chunk in source.chunks(columns=list(dict.fromkeys([*columns, *IDS]))):
            events = chunk.events
            if test_only:
                events = events[split(flat_columns(events), study.split) == TEST]
            table = build_table(study, part, events, targets=True, where=chunk.file)
            names = Namespace(events, defined)
            chosen = {
                name: names.evaluate(text).numbers()[table.entry]
                for name, text in study.validation.quantities.items()
            }
            yield table, chosen, flat_columns(events)


def _found(
    background: _Side, signal: _Side, sculpted: str, *, ceiling: bool
) -> Iterator[Discrimination]:
    """Measure every score, and the classifiers that know signal."""
    if min(len(background), len(signal)) < FEWEST:
        raise EventFileError(
            f"{len(background)} events and {len(signal)} of signal are too few to measure scores"
        )
    quantity = background.quantities.get(sculpted)
    for name, values in background.scores.items():
        yield discriminate(name, values, signal.scores[name], quantity=quantity)
    if not ceiling:
        return
    sides = background.quantities, signal.quantities
    fold = background.fold, signal.fold
    if sides[0]:
        scores = supervised(*sides, fold)
        yield discriminate("supervised", *scores, quantity=quantity)
    if sculpted and len(sides[0]) > 1:
        kept = without(sides[0], sculpted)
        one, two = ({name: side[name] for name in kept} for side in sides)
        scores = supervised(one, two, fold)
        yield discriminate(f"supervised without {sculpted}", *scores, quantity=quantity)


def without(quantities: Iterable[str], name: str) -> list[str]:
    """Return the quantities without one, and without ratios to it: those with its words in theirs.

    `m` is one of the words of `pt_over_m`, but none of those of `gamma_pt`.
    """
    return [key for key in quantities if f"_{name}_" not in f"_{key}_"]
