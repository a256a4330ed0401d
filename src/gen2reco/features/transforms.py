"""The kinds of transforms that a study file may name, and how one is built from its entry there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gen2reco.errors import EmulatorError, StudyError, nearest
from gen2reco.features.discrete import Categories, Dequantize
from gen2reco.features.elementwise import Asinh, Log, Logit, Standardize
from gen2reco.features.quantile import QuantileNormal
from gen2reco.features.relative import Difference, Ratio, ResidualRescale, WrappedDifference
from gen2reco.features.saturating import Arctan, Saturate
from gen2reco.features.smear import Jitter, Smear
from gen2reco.features.thresholds import SoftThresholdAt, Threshold, ThresholdAt
from gen2reco.features.vector import Cartesian, Polar, Rotate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.features.transform import Options, Transform
    from gen2reco.study import TransformSpec

KINDS: dict[str, type[Transform]] = {
    each.kind: each
    for each in (
        *(Standardize, Log, Asinh, Logit, Threshold, ThresholdAt, SoftThresholdAt, QuantileNormal),
        *(Ratio, Difference, WrappedDifference, ResidualRescale),
        *(Rotate, Cartesian, Polar, Dequantize, Categories),
        *(Saturate, Arctan, Smear, Jitter),
    )
}
"""Name in a study file -> transform. A new kind is one class and one entry here."""

NOISE, GEN = "<noise>", "<gen>"
"""Names of the columns that the pipeline supplies; no expression of a study reads like that."""

EDGE = 1e-3
"""Such noise stays this far from 0 and 1: float32 must not round a row out of its interval."""

SUPPLIED = {"noise": NOISE}
"""Roles that the pipeline fills itself -> name of the column."""


def parse(spec: TransformSpec, components: int, where: str) -> tuple[type[Transform], Options]:
    """Return the class and the checked options of a transform in a study file.

    Args:
        spec: the entry in the study file.
        components: number of columns it will act on.
        where: place in the study, for messages.

    Raises:
        StudyError: the kind, an option, or a role under `given` is unknown, wrong or missing.
    """
    kind = KINDS.get(spec.kind)
    if kind is None:
        hint = nearest(spec.kind, KINDS) or f" Known kinds: {', '.join(sorted(KINDS))}."
        raise StudyError(f"{where}: there is no transform {spec.kind!r}.{hint}")
    if kind.components not in {0, components}:
        raise StudyError(
            f"{where}: {spec.kind} acts on {kind.components} components, here are {components}"
        )
    wanted = {*kind.roles, *kind.fit_roles} - set(SUPPLIED)
    for name in spec.given:
        if name not in wanted:
            hint = nearest(name, wanted) or f" It reads {_listed(wanted)}."
            raise StudyError(f"{where}: {spec.kind} has no use for {name!r} under `given`.{hint}")
    if missing := wanted - set(spec.given):
        raise StudyError(f"{where}: {spec.kind} needs {_listed(missing)} under `given`")
    try:
        return kind, kind.Options.model_validate(spec.options)
    except ValidationError as error:
        raise StudyError(_explain(error, kind, where)) from None


def restore(state: Mapping[str, Any]) -> Transform:
    """Return the fitted transform that gave `state`; EmulatorError for an unknown kind."""
    kind = KINDS.get(state["kind"])
    if kind is None:
        raise EmulatorError(f"this version has no transform {state['kind']!r}")
    return kind.from_state(state)


def _explain(error: ValidationError, kind: type[Transform], where: str) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    allowed = list(kind.Options.model_fields)
    if first["type"] == "extra_forbidden":
        hint = nearest(name, allowed) or f" It has {_listed(set(allowed))}."
        return f"{where}: {kind.kind} has no option {name!r}.{hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {kind.kind}, {f'option {name}: ' if name else ''}{message}"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
