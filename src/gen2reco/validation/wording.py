"""Numbers and verdicts as a physicist writes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gen2reco.validation.labels import split_unit

if TYPE_CHECKING:
    from gen2reco.validation.results import Assessment, Quantity

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits; a dash where it does not exist."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{digits}g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)


def p_equals(p: float) -> str:
    """Write a p-value with its sign: `p = 0.03`, `p < 0.0001`."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def ratio(value: float) -> str:
    """Write a ratio with two decimals; large ones with three digits."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:.2f}" if abs(value) < 10 else number(value)


def plus_minus(value: float, error: float) -> str:
    """Write value ± error, both to two significant digits of the error."""
    if not math.isfinite(value):
        return NONE
    if not math.isfinite(error) or error <= 0:
        return number(value)
    places = 1 - math.floor(math.log10(error))
    if 0 <= places <= 6:
        return f"{value:.{places}f} ± {error:.{places}f}".replace("-", MINUS)
    if -3 <= places < 0:
        return f"{round(value, places):.0f} ± {round(error, places):.0f}".replace("-", MINUS)
    return f"{number(value)} ± {number(error, 2)}"


def p_value(p: float) -> str:
    """Write a p-value; small ones as a bound."""
    if p is None or not math.isfinite(p):
        return NONE
    if p < 1e-4:
        return "< 0.0001"
    return f"{p:.2g}" if p < 0.995 else "1"


def largest_ratio(assessment: Assessment) -> float:
    """Return the largest floor ratio of an assessment; nan where it has none."""
    found = [q.floor_ratio.value for q in assessment.quantities if q.floor_ratio]
    return max(found, default=math.nan)


def closure_p(assessment: Assessment) -> float:
    """Return the smallest p-value (Holm) of closure of an efficiency; nan where there is none."""
    found = [c.test.p_holm for outcome in assessment.efficiencies for c in outcome.curves]
    found += [o.reliability.test.p_holm for o in assessment.efficiencies if o.reliability]
    return min((p for p in found if math.isfinite(p)), default=math.nan)


def verdict_line(quantity: Quantity) -> str:
    """One line on a quantity: value, error, null, floor ratio, verdict."""
    if quantity.kind == "copy" and quantity.equal:
        return f"copy of GEN in {quantity.equal[1]:.2%} of FastSim, {quantity.word}"
    if quantity.categories:
        worst = max(quantity.categories.pulls, key=abs)
        p = p_equals(quantity.categories.test.p)
        return f"largest difference of a share {worst:+.1f} standard errors, {p}, {quantity.word}"
    if quantity.w1 and quantity.floor_ratio:
        unit = split_unit(quantity.label)[1]
        w1, ratio = quantity.w1, quantity.floor_ratio
        return (
            f"W1 {plus_minus(w1.value, w1.error)}{' ' + unit if unit else ''} "
            f"(null {number(w1.null, 2)}), floor ratio {plus_minus(ratio.value, ratio.error)}, "
            f"{quantity.word}"
        )
    return quantity.word
