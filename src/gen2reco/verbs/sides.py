"""RECO and GEN quantities of a study that unfolds, event by event, one side or both there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.table import IDS
from gen2reco.rows.tables import columns_of
from gen2reco.unfolding import Measured, Pairs
from gen2reco.verbs.inputs import naming

if TYPE_CHECKING:
    from gen2reco.events import EventSource
    from gen2reco.study import Part, Study


@dataclass(frozen=True, eq=False)
class Side:
    """Quantities of one side.

    Attributes:
        columns: name -> float64 [events], NaN where an object is missing.
        there: bool [events], whether all objects are there.
        weight: float64 [events].
    """

    columns: dict[str, np.ndarray]
    there: np.ndarray
    weight: np.ndarray


def only_part(study: Study) -> Part:
    """Return the part of a study that unfolds whole events; StudyError for any other."""
    if study.direction != "unfold":
        raise StudyError(
            f"study {study.name!r} simulates; unfolding takes a study with `direction: unfold`,"
            " whose conditions are RECO and whose targets are GEN"
        )
    if len(study.parts) != 1 or study.parts[0].rows.kind != "event":
        raise StudyError(
            f"study {study.name!r}: unfolding by weights takes one part with one row per event"
        )
    return study.parts[0]


def given_of(part: Part) -> dict[str, str]:
    """Expressions of the RECO side, by name."""
    return {condition.name: condition.value for condition in part.condition}


def truth_of(part: Part) -> dict[str, str]:
    """Expressions of the GEN side, by name."""
    return {
        name: text
        for target in part.target
        for name, text in zip(target.name, target.value, strict=True)
    }


def read_measured(study: Study, source: EventSource) -> tuple[Measured, int]:
    """Read the measurement: the RECO side alone; also returns the events without it.

    The study's `select` is not applied: events without RECO are not there, all others are.
    """
    (reco,) = _read(study, source, [given_of(only_part(study))])
    columns = {name: values[reco.there] for name, values in reco.columns.items()}
    missing = int(np.count_nonzero(~reco.there))
    return Measured.of(columns, reco.weight[reco.there]), missing


def read_pairs(study: Study, source: EventSource) -> Pairs:
    """Read both sides of the simulation, of events that have at least one of them."""
    part = only_part(study)
    gen, reco = _read(study, source, [truth_of(part), given_of(part)])
    return Pairs.of(gen.columns, reco.columns, gen.weight, has_gen=gen.there, has_reco=reco.there)


def check_columns(study: Study, measured: EventSource, source: EventSource) -> None:
    """Refuse a measurement or a simulation without what its sides are made of, before reading.

    Raises:
        StudyError: naming the files.
    """
    part = only_part(study)
    _columns(study, measured, [given_of(part)])
    _columns(study, source, [truth_of(part), given_of(part)])


def _columns(study: Study, source: EventSource, sides: list[dict[str, str]]) -> list[str]:
    texts = [text for side in sides for text in side.values()]
    weight = [study.input.weight] if study.input.weight else []
    with naming(source, "the study does not fit these events"):
        return columns_of([*texts, *weight], study.define, source)


def _read(study: Study, source: EventSource, sides: list[dict[str, str]]) -> list[Side]:
    weight = study.input.weight
    needed = _columns(study, source, sides)
    pieces: list[list[Side]] = [[] for _ in sides]
    for chunk in source.chunks(columns=[*dict.fromkeys([*IDS, *needed])]):
        names = Namespace(chunk.events, study.define)
        weights = (
            np.asarray(names.evaluate(weight, "input.weight").values, np.float64)
            if weight
            else np.ones(len(chunk.events))
        )
        for found, side in zip(pieces, sides, strict=True):
            columns, there = {}, np.ones(len(weights), np.bool_)
            for name, text in side.items():
                column = names.evaluate(text, name)
                columns[name] = column.numbers()
                there &= column.valid
            found.append(Side(columns, there, weights))
    return [_joined(found) for found in pieces]


def _joined(pieces: list[Side]) -> Side:
    return Side(
        {name: np.concatenate([one.columns[name] for one in pieces]) for name in pieces[0].columns},
        np.concatenate([one.there for one in pieces]),
        np.concatenate([one.weight for one in pieces]),
    )
