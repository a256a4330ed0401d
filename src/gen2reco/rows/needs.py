"""What the expressions of a part are, and which columns they read: for planning, without events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.rows.chain import parts_before, with_empty_parts
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.origins import things_named
from gen2reco.rows.sets import check_set
from gen2reco.rows.spaces import GEN, RECO, row_space, rows_at
from gen2reco.rows.store import Available, Store
from gen2reco.rows.table import IDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gen2reco.study import Condition, Part, Study, Target


@dataclass(frozen=True)
class Wanted:
    """One column of a table: the block it goes to, its name there, its expression."""

    block: str
    name: str
    expression: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return self.block if self.name == self.expression else f"{self.block} {self.name}"


def wanted_columns(study: Study, part: Part, *, targets: bool) -> list[Wanted]:
    """Return every column of a part's table, conditions first, targets last.

    Without `targets`, neither targets nor those `given` columns that are made of RECO are among
    them: such a column (the reference of `residual_rescale`) serves the fit of a transform only.
    """
    gen = [Wanted("condition", item.name, item.value) for item in part.condition]
    reco: list[Wanted] = []
    for target in part.target:
        reco += _components("target", target, target.value)
        if target.relative_to:
            gen += _components("relative_to", target, target.relative_to)
    items: list[Condition | Target] = [*part.condition, *part.target]
    texts = [text for item in items for spec in item.transform for text in spec.given.values()]
    given = [Wanted("given", text, text) for text in dict.fromkeys(texts)]
    if targets:
        return [*gen, *given, *reco]
    define = dict(study.define)
    if part.rows.gen:
        define |= {GEN: part.rows.gen, RECO: part.rows.reco}
    only_reco = _origins(reco, define) - _origins(gen, define)
    return [*gen, *(item for item in given if not _origins([item], define) & only_reco)]


def _components(block: str, target: Target, texts: tuple[str, ...]) -> list[Wanted]:
    return [Wanted(block, *pair) for pair in zip(target.name, texts, strict=True)]


def _origins(items: list[Wanted], define: Mapping[str, str]) -> frozenset[str]:
    return frozenset().union(*(things_named(item.expression, define) for item in items))


def columns_needed(study: Study, part: Part, available: Available, *, targets: bool) -> list[str]:
    """Return the flat columns to read for a part's table, sorted; nothing is computed.

    Args:
        study: the study.
        part: one of its parts.
        available: what the files have.
        targets: True for training and validation; False for simulation, which also writes the
            part's `output`.

    Raises:
        StudyError: an expression is wrong or names a column that the files lack.
    """
    stored = Namespace(Store.empty(available), study.define)
    events = with_empty_parts(stored, parts_before(study, part))
    if part.rows.kind == "set":
        check_set(part, events, targets=targets)
    else:
        space = row_space(part, events, targets=targets)
        for item in wanted_columns(study, part, targets=targets):
            space.names.evaluate(item.expression, f"part {part.name}, {item.label}")
    if targets:
        events.mask(study.select, "select")
        for side in ("select_gen", "select_reco"):
            events.mask(getattr(part.rows, side), f"part {part.name}, rows.{side}")
    if study.input.weight:
        events.evaluate(study.input.weight, "input.weight")
    used = {*events.columns_used, *(name for name in IDS if name in available.columns)}
    if not targets:
        used |= {*output_columns_needed(study, part, available)}
    return sorted(used)


def output_columns_needed(study: Study, part: Part, available: Available) -> list[str]:
    """Return the flat columns that a part's `output` reads besides what is generated, sorted."""
    stored = Namespace(Store.empty(available), study.define)
    events = with_empty_parts(stored, parts_before(study, part))
    if part.rows.kind == "set":
        check_set(part, events, targets=False, output=True)
        return events.columns_used
    generated = {name: np.zeros(0) for target in part.target for name in target.name}
    nothing = np.zeros(0, np.int64)
    names = rows_at(part, events, nothing, nothing, generated)
    for collection, fields in part.output.items():
        for name, written in fields.items():
            for expression in (written,) if isinstance(written, str) else written:
                names.evaluate(expression, f"part {part.name}, output {collection}.{name}")
    return events.columns_used


def columns_of(
    expressions: Iterable[str], define: Mapping[str, str], available: Available
) -> list[str]:
    """Return the flat columns that expressions on whole events read, sorted.

    Raises:
        StudyError: an expression is wrong or names a column that the files lack.
    """
    events = Namespace(Store.empty(available), define)
    for expression in expressions:
        if expression.strip():
            events.evaluate(expression, f"expression `{expression}`")
    return events.columns_used


__all__ = [
    "IDS",
    "Wanted",
    "columns_needed",
    "columns_of",
    "output_columns_needed",
    "wanted_columns",
]
