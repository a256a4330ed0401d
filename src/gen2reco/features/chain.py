"""Transforms one after the other, as a study file lists them, with the columns that they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.errors import StudyError
from gen2reco.features.arrays import library
from gen2reco.features.transforms import SUPPLIED, parse, restore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gen2reco.features.arrays import Array
    from gen2reco.features.transform import Transform
    from gen2reco.study import TransformSpec


@dataclass(frozen=True)
class Chain:
    """Fitted transforms, first to last.

    Attributes:
        steps: the transforms.
        given: for each of them, role -> name of the column it reads.
    """

    steps: tuple[Transform, ...] = ()
    given: tuple[Mapping[str, str], ...] = ()

    @property
    def kinds(self) -> list[str]:
        """Names of the steps."""
        return [step.kind for step in self.steps]

    @property
    def reads(self) -> list[str]:
        """Names of the columns that encoding and decoding read."""
        names = [name for reads in self._reads() for name in reads.values()]
        return [name for name in dict.fromkeys(names) if name not in SUPPLIED.values()]

    @property
    def needs_noise(self) -> bool:
        """Whether a step spreads whole numbers by noise."""
        return any(role in SUPPLIED for step in self.steps for role in step.roles)

    def forward(self, values: Array, columns: Mapping[str, Array]) -> Array:
        """Return encoded values; columns hold what the steps read, and `NOISE` [n, k]."""
        for step, given in self._steps(columns):
            values = step.forward(values, given)
        return values

    def inverse(self, values: Array, columns: Mapping[str, Array]) -> Array:
        """Return the values before the first step."""
        for step, given in reversed(self._steps(columns)):
            values = step.inverse(values, given)
        return values

    def log_det(self, values: Array, columns: Mapping[str, Array]) -> Array:
        """Return the logarithm of the determinant of the whole chain, [n]."""
        total = library(values).zeros_like(values[:, 0])
        for step, given in self._steps(columns):
            total = total + step.log_det(values, given)
            values = step.forward(values, given)
        return total

    def state(self) -> list[dict[str, Any]]:
        """Return the steps as JSON can hold them."""
        pairs = zip(self.steps, self.given, strict=True)
        return [{**step.state(), "given": dict(given)} for step, given in pairs]

    @classmethod
    def from_state(cls, state: Sequence[Mapping[str, Any]]) -> Chain:
        """Return the chain that gave `state`."""
        return cls(
            tuple(restore(step) for step in state), tuple(dict(step["given"]) for step in state)
        )

    def _reads(self) -> list[dict[str, str]]:
        """Return for each step role -> column; noise has no role in decoding, and may be absent."""
        return [
            {role: SUPPLIED.get(role) or names[role] for role in step.roles}
            for step, names in zip(self.steps, self.given, strict=True)
        ]

    def _steps(self, columns: Mapping[str, Array]) -> list[tuple[Transform, dict[str, Array]]]:
        return [
            (step, {role: columns[name] for role, name in reads.items() if name in columns})
            for step, reads in zip(self.steps, self._reads(), strict=True)
        ]


def fit_chain(
    specs: Sequence[TransformSpec],
    values: NDArray[np.float64],
    columns: Mapping[str, NDArray[Any]],
    where: str,
) -> tuple[Chain, NDArray[np.bool_]]:
    """Fit transforms to values [n, k], each to what the one before made of them.

    Rows that a step sends to infinity (zero under a logarithm) take no part in the fit of the next.

    Args:
        specs: entries of the study file.
        values: finite values [n, k].
        columns: what the entries read under `given`, by expression, and `NOISE` [n, k].
        where: place in the study, for messages.

    Returns:
        The chain, and which rows stay finite all the way, bool [n].

    Raises:
        StudyError: an entry is wrong, or its transform cannot take these values.
    """
    steps: list[Transform] = []
    finite = np.ones(len(values), np.bool_)
    for number, spec in enumerate(specs, 1):
        kind, options = parse(spec, values.shape[1], f"{where}, transform {number}")
        given = {
            role: columns[SUPPLIED.get(role) or spec.given[role]]
            for role in (*kind.roles, *kind.fit_roles)
        }
        try:
            step = kind.fit(
                values[finite], {name: column[finite] for name, column in given.items()}, options
            )
        except StudyError as error:
            raise StudyError(f"{where}, transform {number}: {error}") from None
        with np.errstate(all="ignore"):
            values = step.forward(values, given)
        finite = finite & np.isfinite(values).all(axis=1)
        if not finite.any():
            raise StudyError(f"{where}, transform {number}: {kind.kind} leaves no finite value")
        steps.append(step)
    return Chain(tuple(steps), tuple(dict(spec.given) for spec in specs)), finite
