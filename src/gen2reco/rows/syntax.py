"""Text of an expression to a checked syntax tree, and errors that point at the place.

Expressions are parsed with Python's own `ast` and only a short list of nodes passes; nothing is
ever compiled or run as Python. No library fits: numexpr knows flat arrays only, and scikit-hep's
`formulate` translates between the ROOT and Python spelling of flat formulas; neither has
collections of objects per event, conditions inside a collection, or objects that are missing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from gen2reco.errors import StudyError

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Pow)
_SIGNS = (ast.UAdd, ast.USub, ast.Not)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.In, ast.NotIn)
_MODERN = {"&&": "and", "||": "or", "!": "not"}
_BITWISE: dict[type, str] = {
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "!=",
    ast.Invert: "not",
}


class ExpressionError(StudyError):
    """An expression is wrong; the message shows it with a mark under the place."""


@dataclass(frozen=True, eq=False)
class Parsed:
    """A checked expression.

    Attributes:
        text: the expression on one line.
        root: its syntax tree.
        keys: every node -> its normalised text, the name under which its value is kept.
        names: every node -> the bare names below it, functions excluded.
    """

    text: str
    root: ast.expr
    keys: dict[ast.AST, str]
    names: dict[ast.AST, frozenset[str]]

    def fail(self, node: ast.AST, message: str) -> NoReturn:
        """Raise an ExpressionError that marks the first character of `node`."""
        raise _marked(self.text, getattr(node, "col_offset", 0), message)


@lru_cache(maxsize=4096)
def parse(text: str) -> Parsed:
    """Parse an expression; line breaks count as blanks.

    Raises:
        ExpressionError: it is not an expression, or uses syntax that the language does not have.
    """
    text = " ".join(text.split())
    if not text:
        raise ExpressionError("an expression is empty")
    try:
        root = ast.parse(text, mode="eval").body
        parsed = Parsed(text, root, {}, {})
        _check(parsed, root)
    except SyntaxError as error:
        raise _marked(text, (error.offset or 1) - 1, _hint(text, error.msg)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"cannot read the expression `{text:.80}`: {error}") from None
    return parsed


def _check(parsed: Parsed, node: ast.expr) -> None:
    """Refuse nodes outside the language; note the text of the others and the names below them."""
    below = _children(parsed, node)
    for child in below:
        _check(parsed, child)
    own = frozenset({node.id} if isinstance(node, ast.Name) else ())
    parsed.names[node] = own.union(*(parsed.names[child] for child in below))
    parsed.keys[node] = ast.unparse(node)


def _children(parsed: Parsed, node: ast.expr) -> list[ast.expr]:
    """Return the operands of a node of the language; an error for any other node."""
    children: list[ast.expr] = []
    match node:
        case ast.Constant(value=bool() | int() | float()) | ast.Name():
            pass
        case ast.Attribute():
            children = [node.value]
        case ast.UnaryOp() if isinstance(node.op, _SIGNS):
            children = [node.operand]
        case ast.BinOp() if isinstance(node.op, _OPERATORS):
            children = [node.left, node.right]
        case ast.BoolOp():
            children = node.values
        case ast.Compare() if all(isinstance(op, _COMPARISONS) for op in node.ops):
            _check_lists(parsed, node)
            children = [node.left, *node.comparators]
        case ast.Tuple() if all(isinstance(_unsigned(item), ast.Constant) for item in node.elts):
            children = node.elts
        case ast.Call(func=ast.Name(), keywords=[]):
            children = node.args
        case _:
            _refuse(parsed, node)
    return children


def _check_lists(parsed: Parsed, node: ast.Compare) -> None:
    for op, item in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn) and not isinstance(item, ast.Tuple):
            parsed.fail(item, "after `in` comes a list of numbers in parentheses: (11, 13)")


def _refuse(parsed: Parsed, node: ast.expr) -> NoReturn:
    match node:
        case ast.Tuple():
            message = "a list in parentheses may hold numbers only"
        case ast.Call(func=ast.Name()):
            message = "arguments have no names here; give them in order"
        case ast.Call():
            message = "only plain functions can be called"
        case ast.BinOp() | ast.UnaryOp() if type(node.op) in _BITWISE:
            message = f"bitwise operators are not part of it; write `{_BITWISE[type(node.op)]}`"
        case ast.Constant():
            message = f"{node.value!r} is not a number"
        case _:
            message = f"{type(node).__name__} is not part of the expression language"
    parsed.fail(node, message)


def _unsigned(node: ast.expr) -> ast.expr:
    return node.operand if isinstance(node, ast.UnaryOp) else node


def _hint(text: str, message: str) -> str:
    for old, new in _MODERN.items():
        if old in text.replace("!=", ""):
            return f"cannot be read; write `{new}` for `{old}`"
    return f"cannot be read: {message}"


def _marked(text: str, column: int, message: str) -> ExpressionError:
    before = text.encode()[:column].decode(errors="ignore")
    return ExpressionError(f"{message}\n    {text}\n    {' ' * len(before)}^")
