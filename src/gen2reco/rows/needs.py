"""What the expressions of a part are, which columns they read, and which of them belong to RECO."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gen2reco.rows.expressions import Namespace
from gen2reco.rows.functions import FUNCTIONS
from gen2reco.rows.spaces import GEN, RECO, row_space, rows_at
from gen2reco.rows.store import Available, Store
from gen2reco.rows.syntax import parse

if TYPE_CHECKING:
    from gen2reco.study import Part, Study

import numpy as np

IDS = ("run", "luminosityBlock", "event")


@dataclass(frozen=True)
class Wanted:
    """One column of a table: the block it goes to, its name there, its expression."""

    block: str
    name: str
    expression: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.block} {self.name}" if self.name != self.expression else self.block


def wanted_columns(study: Study, part: Part, *, targets: bool) -> list[Wanted]:
    """Return every column of a part's table, conditions first, targets last.

    Without `targets`, neither targets nor those `given` columns that are made of RECO are among them: such a column
    (the reference of `residual_rescale`) serves the fit of a transform only.
    """
    gen = [Wanted("condition", item.name, item.value) for item in part.condition]
    for target in part.target:
        if target.relative_to:
            gen += [
                Wanted("relative_to", name, text)
                for name, text in zip(target.name, target.relative_to, strict=True)
            ]
    texts: dict[str, None] = {}
    for item in (*part.condition, *part.target):
        for transform in item.transform:
            texts |= dict.fromkeys(transform.given.values())
    given = [Wanted("given", text, text) for text in texts]
    reco = [
        Wanted("target", name, text)
        for target in part.target
        for name, text in zip(target.name, target.value, strict=True)
    ]
    if targets:
        return [*gen, *given, *reco]
    seen = set().union(*(things_named(study, part, item.expression) for item in gen))
    only_reco = set().union(*(things_named(study, part, item.expression) for item in reco)) - seen
    return [*gen, *(i for i in given if not things_named(study, part, i.expression) & only_reco)]


def things_named(study: Study, part: Part, expression: str) -> set[str]:
    """Return the collections, objects and columns that an expression rests on, through `define`, by its text alone."""
    define = dict(study.define)
    if part.rows.kind == "object":
        define = {GEN: part.rows.gen, RECO: part.rows.reco} | define
    found: set[str] = set()
    seen: set[str] = set()

    def visit(node: ast.expr, *, inside: bool, is_thing: bool) -> None:
        match node:
            case ast.Name(id=name) if name in define:
                if name not in seen:
                    seen.add(name)
                    visit(parse(define[name]).root, inside=False, is_thing=True)
            case ast.Name(id=name):
                # A bare name inside a condition is a field of the collection, unless it is used as an object.
                if is_thing or not inside:
                    found.add(name)
            case ast.Attribute(value=base):
                visit(base, inside=inside, is_thing=True)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                function = FUNCTIONS.get(name)
                for place, item in enumerate(arguments):
                    condition = bool(
                        function and function.condition and place >= function.condition
                    )
                    visit(
                        item,
                        inside=inside or condition,
                        is_thing=bool(function and function.takes_objects and not condition),
                    )
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        visit(child, inside=inside, is_thing=False)

    visit(parse(expression).root, inside=False, is_thing=True)
    return found


def columns_needed(study: Study, part: Part, available: Available, *, targets: bool) -> list[str]:
    """Return the flat columns to read for a part's table, sorted; nothing is computed.

    Args:
        study: the study.
        part: one of its parts.
        available: what the files have.
        targets: True for training and validation; False for simulation, which also writes the part's output.

    Raises:
        StudyError: an expression is wrong or names a column that the files lack.
    """
    events = Namespace(Store.empty(available), study.define)
    space = row_space(part, events, targets=targets)
    for item in wanted_columns(study, part, targets=targets):
        space.names.evaluate(item.expression, f"part {part.name}, {item.label}")
    if targets:
        events.mask(study.select, "select")
    if study.input.weight:
        events.evaluate(study.input.weight, "input.weight")
    used = {*events.columns_used, *(name for name in IDS if name in available.columns)}
    if not targets:
        used |= {*output_columns_needed(study, part, available)}
    return sorted(used)


def output_columns_needed(study: Study, part: Part, available: Available) -> list[str]:
    """Return the flat columns that a part's `output` reads besides what the model generates, sorted."""
    events = Namespace(Store.empty(available), study.define)
    generated = {name: np.zeros(0) for target in part.target for name in target.name}
    nothing = np.zeros(0, np.int64)
    names = rows_at(part, events, nothing, nothing, generated)
    for collection, fields in part.output.items():
        for name, expression in fields.items():
            names.evaluate(expression, f"part {part.name}, output {collection}.{name}")
    return events.columns_used


def columns_of(
    expressions: Iterable[str], define: Mapping[str, str], available: Available
) -> list[str]:
    """Return the flat columns that expressions on whole events read, sorted; StudyError for one that cannot work."""
    events = Namespace(Store.empty(available), define)
    for expression in expressions:
        if expression.strip():
            events.evaluate(expression, f"expression `{expression}`")
    return events.columns_used
