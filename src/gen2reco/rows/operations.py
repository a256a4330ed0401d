"""Operators of the expression language on values that may be missing."""

from __future__ import annotations

import ast
import operator
from typing import Any

import numpy as np

from gen2reco.rows.values import Value, combine, restricted

_SIGNS: dict[type, Any] = {ast.UAdd: np.positive, ast.USub: np.negative}
_ARITHMETIC: dict[type, Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Mod: np.mod,
    ast.Pow: lambda a, b: np.asarray(a, np.float64) ** b,
}
_COMPARISONS: dict[type, Any] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def constant(value: object) -> Value:
    """Return a number written in an expression."""
    if isinstance(value, bool):
        return Value(np.bool_(value))
    if isinstance(value, int) and abs(value) < 2**53:
        return Value(np.int64(value))
    return Value(np.float64(value))  # type: ignore[arg-type]


def unary(op: ast.unaryop, operand: Value) -> Value:
    """Return `+x`, `-x` or `not x`; what is missing stays missing, under `not` as well."""
    if isinstance(op, ast.Not):
        return Value(~_flags(operand), operand.valid, operand.frame)
    return combine(_SIGNS[type(op)], _signed(operand))


def arithmetic(op: ast.operator, left: Value, right: Value) -> Value:
    """Return `left op right`; missing at a division by zero and where a power is not real.

    Raises:
        OverflowError: there are whole numbers beyond int64.
    """
    left, right = _signed(left), _signed(right)
    result = combine(_ARITHMETIC[type(op)], left, right)
    if isinstance(op, ast.Div | ast.Mod):
        return restricted(result, combine(lambda _, b: b != 0, left, right))
    if isinstance(op, ast.Pow):
        # NaN and infinity that came in stay; those that are made here are a missing value.
        allowed = combine(
            lambda r, a, b: np.isfinite(r) | ~np.isfinite(a) | ~np.isfinite(b) | (a > 0),
            *(result, left, right),
        )
        return restricted(result, allowed)
    return result


def junction(op: ast.boolop, left: Value, right: Value) -> Value:
    """Return `left and right` or `left or right`; known wherever one side alone decides."""
    every = isinstance(op, ast.And)
    sides = [Value(_flags(side), side.valid, side.frame) for side in (left, right)]
    result = combine(np.logical_and if every else np.logical_or, *sides)
    if result.valid is None or result.frame is None:
        return result
    valid = result.valid
    for side in (side.on(result.frame) for side in sides):
        decides = ~side.values if every else side.values
        valid = valid | (decides if side.valid is None else decides & side.valid)
    return Value(result.values, valid, result.frame)


def comparison(op: ast.cmpop, left: Value, right: Value) -> Value:
    """Return `left op right` for one of `< <= > >= == !=`."""
    return combine(_COMPARISONS[type(op)], left, right)


def membership(op: ast.cmpop, left: Value, numbers: list[Any]) -> Value:
    """Return `left in (...)` or `left not in (...)`."""
    listed = np.array(numbers)
    return combine(lambda x: np.isin(x, listed, invert=isinstance(op, ast.NotIn)), left)


def _signed(value: Value) -> Value:
    if value.values.dtype == np.uint64:
        raise OverflowError(
            "computes with whole numbers beyond 2**63 - 1, which do not fit; they can be compared"
            " alone"
        )
    return value


def _flags(value: Value) -> Any:
    return value.values if value.values.dtype == np.bool_ else value.values != 0
