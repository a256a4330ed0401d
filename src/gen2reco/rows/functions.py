"""The functions of the expression language: one table, which the reference page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows import kinematics, objects
from gen2reco.rows.values import Value, combine, restricted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gen2reco.rows.calls import Call, Result


@dataclass(frozen=True)
class Function:
    """One function of the language.

    Attributes:
        usage: how it is written.
        summary: what it gives, for the reference page.
        few: fewest arguments.
        many: most arguments.
        run: evaluates a call.
        takes_objects: whether its arguments may be objects or collections.
        condition: place of an argument that is a condition on the collection; 0: none.
    """

    usage: str
    summary: str
    few: int
    many: int
    run: Callable[[Call], Result]
    takes_objects: bool = True
    condition: int = 0


def _number(
    usage: str,
    summary: str,
    formula: Callable[..., Any],
    allowed: Callable[..., Any] | None = None,
    arguments: int = 1,
) -> Function:
    """Make a function of numbers; outside `allowed` the result is missing instead of NaN."""

    def run(call: Call) -> Value:
        operands = [call.value(i) for i in range(call.count)]
        result = combine(formula, *operands)
        return restricted(result, combine(allowed, *operands)) if allowed else result

    return Function(usage, summary, arguments, arguments, run, takes_objects=False)


def _choice(
    usage: str, summary: str, run: Callable[[Call], Result], condition: int = 1
) -> Function:
    """Make a function of a collection with a condition, which may be left out except in `where`."""
    few = condition + (not usage.endswith("])"))
    return Function(usage, summary, few, condition + 1, run, condition=condition)


def _function(
    usage: str, summary: str, run: Callable[[Call], Result], few: int = 1, many: int = 1
) -> Function:
    """Make a function of objects or of the fields of a collection."""
    return Function(usage, summary, few, many, run)


_CANDIDATE = "; with one object, of the candidate of a condition"
_MANY = 99
_ABOVE_ZERO = "missing at 0 and below"

_COLLECTIONS = (
    _choice("leading(collection[, condition])", "object of highest pt", objects.ranked(0)),
    _choice(
        "subleading(collection[, condition])", "object of second highest pt", objects.ranked(1)
    ),
    _choice(
        "nth(collection, k[, condition])",
        "object number k by falling pt, counted from 0",
        objects.ranked(None),
        condition=2,
    ),
    _choice(
        "where(collection, condition)",
        "the objects that meet the condition, in their order",
        objects.where,
    ),
    _choice("count(collection[, condition])", "how many objects there are", objects.count),
    _function(
        "nearest(collection, object)", "object nearest in eta and phi", objects.nearest, 2, 2
    ),
    _function("sum(x)", "sum over a list; 0 for an empty one", objects.reduced(0)),
    _function(
        "min(x) or min(a, b, ...)",
        "smallest of a list, or of the arguments",
        objects.extreme(1, np.minimum),
        many=_MANY,
    ),
    _function(
        "max(x) or max(a, b, ...)",
        "largest of a list, or of the arguments",
        objects.extreme(2, np.maximum),
        many=_MANY,
    ),
    _function("any(x)", "whether it holds for one object of a list", objects.verdict(every=False)),
    _function("all(x)", "whether it holds for every object of a list", objects.verdict(every=True)),
)

_OBJECTS = (
    _function(
        "delta_phi(a, b)",
        f"phi of a minus phi of b, between -pi and pi{_CANDIDATE}",
        objects.between("phi", formula=lambda a, b: kinematics.wrapped(a - b)),
        many=2,
    ),
    _function(
        "delta_eta(a, b)",
        f"eta of a minus eta of b{_CANDIDATE}",
        objects.between("eta", formula=lambda a, b: a - b),
        many=2,
    ),
    _function(
        "delta_r(a, b)",
        f"distance in eta and phi{_CANDIDATE}; of a collection, the nearest other object counts"
        " (infinite where there is none)",
        objects.delta_r,
        many=2,
    ),
    _function(
        "transverse_mass(a, b)",
        "transverse mass of two objects taken as massless",
        objects.between("pt", "phi", formula=kinematics.transverse_mass),
        2,
        2,
    ),
    *(
        _function(
            f"{name}(a, b, ...)",
            f"{name} of the summed four-momentum of objects and collections",
            objects.of_sum(name),
            many=_MANY,
        )
        for name in kinematics.SUMS
    ),
    _function(
        "index(object)",
        "position in the stored collection of its event, -1 where missing",
        objects.index,
    ),
    _function(
        "exists(object)", "whether the object (or number) is there", objects.exists(there=True)
    ),
    _function(
        "is_missing(object)",
        "whether the object (or number) is not there",
        objects.exists(there=False),
    ),
)

_NUMBERS = (
    _number("abs(x)", "absolute value", np.abs),
    _number("sign(x)", "-1, 0 or 1", np.sign),
    _number("floor(x)", "largest whole number not above", np.floor),
    _number("sqrt(x)", "square root; missing below 0", np.sqrt, lambda x: ~(x < 0)),
    _number("exp(x)", "exponential", np.exp),
    _number("log(x)", f"natural logarithm; {_ABOVE_ZERO}", np.log, lambda x: ~(x <= 0)),
    _number("log10(x)", f"decimal logarithm; {_ABOVE_ZERO}", np.log10, lambda x: ~(x <= 0)),
    _number("sin(x)", "sine of radians", np.sin),
    _number("cos(x)", "cosine of radians", np.cos),
    _number("tan(x)", "tangent of radians", np.tan),
    _number("atan(x)", "angle of a tangent", np.arctan),
    _number("atan2(y, x)", "angle of the point (x, y)", np.arctan2, arguments=2),
    _number("sinh(x)", "hyperbolic sine", np.sinh),
    _number("cosh(x)", "hyperbolic cosine", np.cosh),
    _number("tanh(x)", "hyperbolic tangent", np.tanh),
    _number("asinh(x)", "inverse of sinh", np.arcsinh),
    _number("hypot(x, y)", "sqrt(x**2 + y**2)", np.hypot, arguments=2),
    Function("if_else(condition, a, b)", "a where it holds, else b", 3, 3, objects.if_else, False),
    Function("bit(x, k)", "whether bit k (from 0) of a number is set", 2, 2, objects.bit, False),
)

FUNCTIONS: dict[str, Function] = {
    function.usage.partition("(")[0]: function for function in (*_COLLECTIONS, *_OBJECTS, *_NUMBERS)
}
"""Name -> function, everything that may be called."""
