"""One GEN quantity on its way to the model: the listed transforms, then the final scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.features.arrays import library
from gen2reco.features.chain import Chain, fit_chain
from gen2reco.features.elementwise import Standardize
from gen2reco.features.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array
    from gen2reco.study import Condition

    Numbers = NDArray[np.float64]

MARGIN = 1.0
"""GEN beyond training is seen as lying so many standard deviations outside it ..."""
REACH = 10.0
"""... and never so many from the mean: the model was not there and must not be asked."""


@dataclass(frozen=True)
class ConditionColumn:
    """The fitted encoding of one GEN quantity.

    Attributes:
        name: its name in the study.
        chain: the transforms.
        final: the last step; None where the model normalises by itself.
        low: smallest encoded value; smaller ones, -inf included, count as this.
        high: largest encoded value.
    """

    name: str
    chain: Chain
    final: Standardize | None
    low: float
    high: float

    def encode(self, values: Array, given: Mapping[str, Array]) -> Array:
        """Return the encoded column [n] of a finite one [n]; given holds what the chain reads."""
        encoded = self.chain.forward(values[:, None], given)
        if self.final:
            encoded = self.final.forward(encoded, {})
        return library(encoded).clip(encoded[:, 0], self.low, self.high)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON can hold it, exactly."""
        return {
            "name": self.name,
            "chain": self.chain.state(),
            "final": self.final.state() if self.final else None,
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ConditionColumn:
        """Return the column that gave `state`."""
        final = Standardize.from_state(state["final"]) if state["final"] else None
        chain = Chain.from_state(state["chain"])
        return cls(state["name"], chain, final, state["low"], state["high"])


def fit_condition(
    item: Condition,
    values: Numbers,
    given: Mapping[str, Numbers],
    where: str,
    *,
    standardize: bool,
) -> tuple[ConditionColumn, list[Finding]]:
    """Fit one condition to finite values [n]; an error says which transform cannot take them."""
    chain, finite = fit_chain(item.transform, values[:, None], given, where)
    with np.errstate(all="ignore"):
        ends = chain.forward(values[:, None], given)[finite]
    final = Standardize.fit(ends, {}, None)
    deviation = 1.0 if standardize else final.deviation[0]
    if standardize:
        ends = final.forward(ends, {})
    low, high = float(ends.min()) - MARGIN * deviation, float(ends.max()) + MARGIN * deviation
    if standardize:
        low, high = max(low, -REACH), min(high, REACH)
    found = []
    if values.min() == values.max():
        text = f"condition {item.name} is {values[0]:g} in every row and says nothing"
        found.append(Finding("constant", item.name, 1.0, float(values[0]), text))
    return ConditionColumn(item.name, chain, final if standardize else None, low, high), found
