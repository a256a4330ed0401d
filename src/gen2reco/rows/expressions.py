"""The expression language: quantities as text, evaluated on all events of a chunk at once.

An expression is Python syntax: numbers, `+ - * / % **`, comparisons (`20 < mu.pt < 50`,
`abs(pdgId) in (11, 13)`), `and or not`, attributes, and the functions of
`gen2reco.rows.functions.FUNCTIONS`. Nothing is run as Python; `gen2reco.rows.syntax` says why no
library is used.

Names. A bare name is a name of the study's `define`, else a collection (`Jet`: the columns `Jet_*`,
lists per event), else an object that every event has (`MET`), else a flat column (`genWeight`,
`Generator_scalePDF`), else `pi`. Inside a condition it is first a field of the collection:
`leading(GenPart, abs(pdgId) == 13 and isPrompt)`. In tables with one row per GEN object, `gen` and
`reco` are the objects of the row; what belongs to the event is the same for all its rows.

Things. A name or function gives numbers, a collection, or a single object. Of the last two one asks
for fields: `mu.pt` is one number per event, `Jet.pt` one per jet, to be brought to one per event by
`sum min max any all`, or used in a condition. `px py pz energy` follow from `pt eta phi mass` where
they are not stored, and the reverse; a mass that is not stored is 0. GeV and radians throughout.

Parts. What the parts of a study before the present one made goes by their names: a collection with
their targets and conditions as fields, see `gen2reco.rows.chain`.

Missing. An event may have no leading jet; whatever is computed from it is then missing, not NaN, as
are logarithms of what is not positive, roots of negative numbers and divisions by zero. A condition
or selection on something missing is false, and so is its negation; ask with `exists(jet)` or
`is_missing(jet)`. Sums and extremes pass over missing entries. NaN and infinity of the input are
not hidden: they stay in the values.

A name under `define` may use others; each is evaluated at most once, and so is every part of an
expression that occurs again.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gen2reco.errors import StudyError, nearest
from gen2reco.events.layout import Jagged, flat_columns
from gen2reco.rows import operations
from gen2reco.rows.calls import Call, Result, as_value, field_of, no_field
from gen2reco.rows.functions import FUNCTIONS
from gen2reco.rows.kinematics import field, field_names
from gen2reco.rows.store import Source, Store
from gen2reco.rows.syntax import Parsed, parse
from gen2reco.rows.values import (
    Collection,
    Elements,
    Frame,
    FrameError,
    Single,
    Thing,
    Value,
    widened,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gen2reco.rows.segments import Array, Flags, Index, Numbers


@dataclass(frozen=True, eq=False)
class Column:
    """One number per row.

    Attributes:
        values: float64, int64 or bool [n]; NaN (or 0, False) where not valid. Do not write into it.
        valid: bool [n], False where the quantity is missing.
    """

    values: Array
    valid: Flags

    def numbers(self) -> Numbers:
        """Return the values as float64 [n], NaN where the quantity is missing."""
        return np.where(self.valid, self.values, np.nan)


class Namespace:
    """Everything an expression may name, for the events of a chunk or for the rows of a table."""

    def __init__(
        self,
        events: Any,
        define: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        row_event: Index | None = None,
        *,
        root: Namespace | None = None,
    ) -> None:
        """Take events apart; no number is computed yet.

        Args:
            events: awkward events, flat columns (name -> array or Jagged), or a Store.
            define: named expressions.
            extra: further numbers by name, one per row; they go before `define`. A pair
                (collection, flat positions in its stored columns or -1) is an object per row. Or a
                collection with a list per event.
            row_event: the event each row belongs to, int64 [rows]; default: rows are events.
            root: namespace of the same events; what belongs to events is computed there, once.

        Raises:
            StudyError: an expression under `define` cannot be read.
        """
        self.events = events
        self.define = dict(define or {})
        for name, text in self.define.items():
            with _labelled(f"define {name}"):
                parse(text)
        self._store = events if isinstance(events, Store) else _opened(events)
        self._kept: dict[tuple[Collection | None, str], Result] = {}
        self._open: list[str] = []
        self.frame: Frame = self._store.events
        if row_event is not None:
            self.frame = Frame(len(row_event), "row", self.frame, np.asarray(row_event, np.int64))
        self._bound = {name: self._bind(name, item) for name, item in (extra or {}).items()}
        self._store.made |= dict.fromkeys(self._bound)
        self._dependent = self._find_dependent()
        self._root = root
        if root is None and (extra or row_event is not None):
            self._root = Namespace(self._store, self.define)

    def rows(self, row_event: Index | None, extra: Mapping[str, Any]) -> Namespace:
        """Return a namespace for rows made from these events; arguments as for the class."""
        return Namespace(self._store, self.define, extra, row_event, root=self)

    def extended(self, extra: Mapping[str, Any]) -> Namespace:
        """Return a namespace of the same events that knows further names; arguments as above."""
        return Namespace(self._store, self.define, extra, root=self)

    @property
    def events_frame(self) -> Frame:
        """The frame with one entry per event."""
        return self._store.events

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.frame.size

    @property
    def columns_used(self) -> list[str]:
        """Flat columns read so far, sorted."""
        return sorted(self._store.used)

    def column(self, name: str) -> Array | None:
        """Return a stored column with one number per event, as it is; None where there is none."""
        if name not in self._store:
            return None
        column = self._store.read(name)
        return None if isinstance(column, Jagged) else np.asarray(column)

    def nan_rows(self) -> dict[str, Flags]:
        """Return, for every column read so far that holds a NaN, the rows whose event has one."""
        found = self._store.nan_events()
        index = self.frame.index_into(self._store.events)
        return found if index is None else {name: flags[index] for name, flags in found.items()}

    def evaluate(self, expression: str, label: str = "") -> Column:
        """Return the numbers that an expression stands for, one per row.

        Args:
            expression: text in the expression language.
            label: what it is, for error messages.

        Raises:
            StudyError: it cannot be read, names what is not there, or does not give one number
                per row.
        """
        with _labelled(label):
            value = self._number(expression)
        if value.valid is None:
            return Column(value.values, np.ones(self.size, np.bool_))
        missing = np.nan if value.values.dtype.kind == "f" else np.zeros((), value.values.dtype)
        return Column(np.where(value.valid, value.values, missing), value.valid)

    def mask(self, expression: str, label: str = "") -> Flags:
        """Return where a condition holds, bool [rows]; missing is False, empty text True."""
        if not expression.strip():
            return np.ones(self.size, np.bool_)
        with _labelled(label):
            return self._number(expression).truth()

    def collection(self, expression: str, label: str = "") -> Collection:
        """Return the collection that an expression stands for."""
        with _labelled(label):
            parsed, result = self._evaluate(expression)
            if not isinstance(result, Collection):
                parsed.fail(parsed.root, "is not a collection")
            return result

    def fields(self, thing: Thing, *names: str) -> list[Array]:
        """Return fields of a collection, flat, one number per object."""
        columns = []
        with np.errstate(all="ignore"):
            for name in names:
                value = field(thing, name)
                if value is None:
                    raise StudyError(no_field(thing, name))
                columns.append(np.asarray(value.values))
        return columns

    def missing_objects(self, expression: str) -> list[tuple[str, Flags]]:
        """Return the objects that an expression names and the rows where they are missing."""
        parsed = parse(expression)
        nodes = [node for node in parsed.keys if isinstance(node, ast.Name)]
        found: dict[str, Flags] = {}
        for node in sorted(nodes, key=lambda node: node.col_offset):
            if node.id in found or not (node.id in self.define or node.id in self._bound):
                continue
            result = self._node(parsed, node, None)
            if isinstance(result, Single) and result.exists is not None:
                found[node.id] = ~Value(result.exists, None, result.frame).on(self.frame).values
        return list(found.items())

    def _bind(self, name: str, item: Any) -> Result:
        if isinstance(item, Collection):
            return item
        if isinstance(item, tuple):
            collection, positions = item
            return Single(collection.source, self.frame, positions)
        numbers = np.asarray(item)
        if len(numbers) != self.frame.size:
            raise ValueError(f"{name} has {len(numbers)} numbers for {self.frame.size} rows")
        return Value(widened(numbers), None, self.frame)

    def _find_dependent(self) -> frozenset[str]:
        """Return the names that rest on numbers per row, directly or through `define`."""
        dependent = frozenset(self._bound)
        while dependent:
            trees = {name: parse(text) for name, text in self.define.items()}
            more = {name for name, tree in trees.items() if tree.names[tree.root] & dependent}
            if more <= dependent:
                break
            dependent |= more
        return dependent

    def _number(self, expression: str) -> Value:
        parsed, result = self._evaluate(expression)
        value = as_value(parsed, parsed.root, result)
        if isinstance(value.frame, Elements):
            parsed.fail(
                parsed.root,
                f"gives one number per object of {value.frame.label}; pick one with leading(...),"
                " or use sum, min, max, any, all or count",
            )
        return value.on(self.frame)

    def _evaluate(self, expression: str) -> tuple[Parsed, Result]:
        parsed = parse(expression)
        with np.errstate(all="ignore"):
            return parsed, self._node(parsed, parsed.root, None)

    def _node(self, parsed: Parsed, node: ast.expr, scope: Collection | None) -> Result:
        """Return what a node stands for; in a condition, `scope` is the collection it runs over."""
        if self._root is not None and not parsed.names[node] & self._dependent:
            return self._root._node(parsed, node, scope)  # noqa: SLF001
        key = (scope, parsed.keys[node])
        if key not in self._kept:
            try:
                self._kept[key] = self._compute(parsed, node, scope)
            except FrameError as error:
                parsed.fail(node, f"mixes different lists of objects: {error}")
            except OverflowError as error:
                parsed.fail(node, str(error))
        return self._kept[key]

    def _compute(self, parsed: Parsed, node: ast.expr, scope: Collection | None) -> Result:
        match node:
            case ast.Constant():
                result: Result = operations.constant(node.value)
            case ast.Name():
                result = self._name(parsed, node, scope)
            case ast.Attribute():
                thing = self._node(parsed, node.value, scope)
                if not isinstance(thing, Thing):
                    base = parsed.keys[node.value]
                    parsed.fail(node, f"{base!r} is a number and has no field {node.attr!r}")
                result = field_of(parsed, node, thing, node.attr)
            case ast.Call():
                result = self._call(parsed, node, scope)
            case _:
                result = self._operation(parsed, node, scope)
        return result

    def _operation(self, parsed: Parsed, node: ast.expr, scope: Collection | None) -> Value:
        def value(operand: ast.expr) -> Value:
            return as_value(parsed, operand, self._node(parsed, operand, scope))

        match node:
            case ast.UnaryOp():
                result = operations.unary(node.op, value(node.operand))
            case ast.BinOp():
                result = operations.arithmetic(node.op, value(node.left), value(node.right))
            case ast.BoolOp():
                result = value(node.values[0])
                for operand in node.values[1:]:
                    result = operations.junction(node.op, result, value(operand))
            case ast.Compare():
                steps = []
                left = value(node.left)
                for op, item in zip(node.ops, node.comparators, strict=True):
                    if isinstance(item, ast.Tuple):
                        numbers = [value(number).values for number in item.elts]
                        steps.append(operations.membership(op, left, numbers))
                    else:
                        right = value(item)
                        steps.append(operations.comparison(op, left, right))
                        left = right
                result = steps[0]
                for step in steps[1:]:
                    result = operations.junction(ast.And(), result, step)
            case _:
                parsed.fail(node, "a list in parentheses stands only after `in`")
        return result

    def _name(self, parsed: Parsed, node: ast.Name, scope: Collection | None) -> Result:
        name = node.id
        result: Result | None = field(scope, name) if scope is not None else None
        if result is None:
            result = self._bound.get(name)
        if result is None and name in self.define:
            result = self._defined(parsed, node)
        if result is None and name in self._store.sources:
            result = _thing(self._store.sources[name], self._store.events)
        if result is None:
            result = self._store.column(name)
        if result is None and name == "pi":
            result = Value(np.float64(np.pi))
        if result is None:
            self._unknown(parsed, node, scope)
        return result

    def _unknown(self, parsed: Parsed, node: ast.Name, scope: Collection | None) -> NoReturn:
        name = node.id
        if name in FUNCTIONS:
            parsed.fail(node, f"{name!r} is a function: {FUNCTIONS[name].usage}")
        alone = [column for column in self._store.names if "_" not in column]
        known = [*self.define, *self._store.made, *alone]
        place = "not under `define` and no column"
        if scope is not None:
            known += field_names(scope)
            place = f"no field of {scope.source.name}, {place}"
        for column, why in self._store.unfit.items():
            if column == name or column.startswith(f"{name}_"):
                parsed.fail(node, f"{name!r} cannot be used: {column} {why}")
        hint = nearest(name, known) or nearest(name, self._store.names)
        parsed.fail(node, f"unknown name {name!r}: {place}.{hint}")

    def _defined(self, parsed: Parsed, node: ast.Name) -> Result:
        name = node.id
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            parsed.fail(node, f"the definitions go round in a circle: {circle}")
        self._open.append(name)
        try:
            with _labelled(f"define {name}"):
                inner = parse(self.define[name])
                return self._node(inner, inner.root, None)
        finally:
            self._open.pop()

    def _call(self, parsed: Parsed, node: ast.Call, scope: Collection | None) -> Result:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        function = FUNCTIONS.get(name)
        if function is None:
            parsed.fail(node, f"unknown function {name!r}.{nearest(name, FUNCTIONS)}")
        if not function.few <= len(node.args) <= function.many:
            parsed.fail(node, f"{len(node.args)} arguments do not fit {function.usage}")
        collections = [name for name, source in self._store.sources.items() if source.is_list]
        return function.run(
            Call(parsed, node, name, function.usage, scope, self._node, collections)
        )


def _opened(events: Any) -> Store:
    if not isinstance(events, Mapping):
        return Store(flat_columns(events), len(events))
    return Store(events, len(next(iter(events.values()))) if events else 0)


def _thing(source: Source, events: Frame) -> Thing:
    return Collection(source, source.elements) if source.is_list else Single(source, events)


@contextmanager
def _labelled(label: str) -> Iterator[None]:
    """Put what an expression is for in front of its errors."""
    try:
        yield
    except StudyError as error:
        if not label:
            raise
        raise StudyError(f"{label}: {error}") from None
