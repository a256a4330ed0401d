"""Features: invertible transforms, point masses, and the pipeline of a part; numpy throughout."""

from gen2reco.features.findings import Finding
from gen2reco.features.pipeline import PartFeatures, check_transforms

__all__ = ["Finding", "PartFeatures", "check_transforms"]
