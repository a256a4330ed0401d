"""What an expression rests on in the end, read off its text: collections, objects, columns."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING

from gen2reco.rows.functions import FUNCTIONS
from gen2reco.rows.syntax import parse

if TYPE_CHECKING:
    from collections.abc import Mapping


def things_named(expression: str, define: Mapping[str, str]) -> frozenset[str]:
    """Return the collections, objects and columns that an expression rests on, through `define`.

    No file is needed. A bare name inside a condition is taken for a field of the collection, and
    left out, unless it is used as an object there.
    """
    return _things_named(expression, tuple(define.items()))


@lru_cache(maxsize=1024)
def _things_named(expression: str, define: tuple[tuple[str, str], ...]) -> frozenset[str]:
    # Every chunk of a file asks again for the same study.
    return frozenset(_Reading(dict(define)).read(expression))


class _Reading:
    """Walks through an expression and the definitions it uses, each once."""

    def __init__(self, define: Mapping[str, str]) -> None:
        self.define = define
        self.found: set[str] = set()
        self.seen: set[str] = set()

    def read(self, expression: str) -> set[str]:
        self._visit(parse(expression).root, as_field=False)
        return self.found

    def _visit(self, node: ast.expr, *, as_field: bool) -> None:
        """Note the names below a node; `as_field`: a bare name here is a field of a collection."""
        match node:
            case ast.Name():
                self._name(node.id, as_field=as_field)
            case ast.Attribute():
                self._visit(node.value, as_field=False)
            case ast.Call(func=ast.Name(id=name)):
                function = FUNCTIONS.get(name)
                for place, argument in enumerate(node.args):
                    condition = function is not None and 0 < function.condition <= place
                    thing = function is not None and function.takes_objects and not condition
                    self._visit(argument, as_field=condition or (as_field and not thing))
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._visit(child, as_field=as_field)

    def _name(self, name: str, *, as_field: bool) -> None:
        if name not in self.define:
            if not as_field:
                self.found.add(name)
        elif name not in self.seen:
            self.seen.add(name)
            self.read(self.define[name])
