"""Features: invertible transforms, point masses, and the pipeline of a part; numpy throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gen2reco.features.findings import Finding
from gen2reco.features.pipeline import PartFeatures, check_transforms
from gen2reco.features.sets import SetFeatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.study import Part

Features = PartFeatures | SetFeatures
"""The features of any part."""


def features_from_state(part: Part, state: Mapping[str, Any]) -> Features:
    """Return the features of a part that gave `state`; EmulatorError where they are of another."""
    kind = SetFeatures if part.rows.kind == "set" else PartFeatures
    return kind.from_state(part, state)


__all__ = [
    "Features",
    "Finding",
    "PartFeatures",
    "SetFeatures",
    "check_transforms",
    "features_from_state",
]
