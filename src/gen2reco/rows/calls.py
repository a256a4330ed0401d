"""A call of a function in an expression: its arguments, evaluated as the function asks for them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from gen2reco.errors import nearest
from gen2reco.rows.kinematics import field, field_names
from gen2reco.rows.values import Collection, Elements, Single, Thing, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gen2reco.rows.syntax import Parsed

Result = Value | Thing


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a function.

    Attributes:
        parsed: the expression it stands in.
        node: its place there.
        name: name of the function.
        usage: how the function is written.
        scope: the collection of the condition it stands in, if any.
        evaluate: returns what an argument stands for, within a condition on a collection or not.
        collections: names of the stored collections, for messages.
    """

    parsed: Parsed
    node: ast.Call
    name: str
    usage: str
    scope: Collection | None
    evaluate: Callable[[Parsed, ast.expr, Collection | None], Result]
    collections: Sequence[str]

    @property
    def count(self) -> int:
        """Number of arguments."""
        return len(self.node.args)

    @property
    def text(self) -> str:
        """The call as written."""
        return self.parsed.keys[self.node]

    def fail(self, message: str, argument: int = -1) -> NoReturn:
        """Raise an error that marks the call or one of its arguments."""
        self.parsed.fail(self.node if argument < 0 else self.node.args[argument], message)

    def item(self, i: int) -> Result:
        """Return argument `i`, whatever it is."""
        return self.evaluate(self.parsed, self.node.args[i], self.scope)

    def value(self, i: int) -> Value:
        """Return argument `i`, which must be a number per event, row or object."""
        return as_value(self.parsed, self.node.args[i], self.item(i))

    def thing(self, i: int) -> Thing:
        """Return argument `i`, which must be an object or a collection."""
        result = self.item(i)
        if not isinstance(result, Thing):
            self.fail(f"{self.name} needs an object here, not a number", i)
        return result

    def single(self, i: int) -> Single:
        """Return argument `i`, which must be one object per event or row."""
        result = self.item(i)
        if not isinstance(result, Single):
            self.fail(f"{self.name} needs a single object here, such as leading(...)", i)
        return result

    def collection(self, i: int) -> Collection:
        """Return argument `i`, which must be a collection."""
        result = self.item(i)
        if not isinstance(result, Collection):
            hint = nearest(self.parsed.keys[self.node.args[i]], self.collections)
            example = "such as Jet or where(Jet, ...)"
            self.fail(f"{self.name} needs a collection here, {example}.{hint}", i)
        return result

    def condition(self, i: int, collection: Collection) -> Value:
        """Return argument `i` evaluated for every object of a collection."""
        node = self.node.args[i]
        return as_value(self.parsed, node, self.evaluate(self.parsed, node, collection))

    def per_object(self, i: int) -> tuple[Value, Elements]:
        """Return argument `i`, which must be a number per object of a collection, and its frame."""
        value = self.value(i)
        if not isinstance(value.frame, Elements):
            self.fail(f"{self.name} needs a number per object here, such as Jet.pt", i)
        return value, value.frame

    def integer(self, i: int) -> int:
        """Return argument `i`, which must be written as a whole number from 0."""
        node = self.node.args[i]
        if not (isinstance(node, ast.Constant) and type(node.value) is int and node.value >= 0):
            self.fail(f"{self.name} needs a whole number here: {self.usage}", i)
        return node.value

    def field(self, i: int, thing: Thing, name: str) -> Value:
        """Return a field of an object or collection that came as argument `i`."""
        return field_of(self.parsed, self.node.args[min(i, self.count - 1)], thing, name)


def as_value(parsed: Parsed, node: ast.expr, result: Result) -> Value:
    """Return a result that must be numbers; an error at `node` for an object or collection."""
    if isinstance(result, Thing):
        kind = "a collection" if isinstance(result, Collection) else "an object"
        wanted = "ask for a field such as .pt"
        parsed.fail(node, f"{parsed.keys[node]!r} is {kind}, not a number; {wanted}")
    return result


def field_of(parsed: Parsed, node: ast.expr, thing: Thing, name: str) -> Value:
    """Return a field of an object or collection; an error at `node` where it has none."""
    value = field(thing, name)
    if value is None:
        parsed.fail(node, no_field(thing, name))
    return value


def no_field(thing: Thing, name: str) -> str:
    """Return the message for a field that a thing has not."""
    if name in thing.source.unfit:
        return f"{thing.source.name} has no usable field {name!r}: {thing.source.unfit[name]}"
    names = field_names(thing)
    there = f" It has {', '.join(names)}."
    if name in {"px", "py"}:  # asked for in most places without a thought of what it is made of
        return f"{thing.source.name} has no field {name!r}, which needs pt and phi.{there}"
    return f"{thing.source.name} has no field {name!r}.{nearest(name, names) or there}"
