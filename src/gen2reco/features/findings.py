"""What the fit of the features noticed about a sample, in words for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

What = Literal["copy", "constant", "point mass", "discrete", "tail"]


@dataclass(frozen=True)
class Finding:
    """One remarkable fact about one column.

    Attributes:
        what: `copy` and `constant` columns are not learned but restored; a `point mass` is learned
            as an interval or a level; `discrete` warns of a continuous quantity that takes few
            values; `tail` of encoded values far from zero.
        column: name of the target component or of the condition.
        share: share of the training rows it concerns.
        value: the value that is taken exactly, in the unit of the column or as RECO / GEN; 0 where
            there is none.
        message: the fact as a sentence.
    """

    what: What
    column: str
    share: float
    value: float
    message: str

    def __str__(self) -> str:
        return self.message

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Finding:
        """Return the finding that gave `state`."""
        return cls(**state)


def percent(share: float) -> str:
    """Return a share of rows as text: `0.058 %`."""
    return f"{100 * share:.3g} %"
