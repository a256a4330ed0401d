"""What a reader must know of a comparison: how its numbers were made, and what they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.validation.efficiency import WELL_MEASURED
from gen2reco.validation.quantities import LEAST_KNOWN, NOWHERE, TOO_FEW
from gen2reco.validation.verdict import title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.validation.inputs import Closure, Coverage
    from gen2reco.validation.object_records import Efficiency
    from gen2reco.validation.quantities import Comparison
    from gen2reco.validation.results import (
        Classifier,
        Quantity,
        RateResult,
        ResponseProfile,
    )
    from gen2reco.validation.settings import Settings


def notes_on(
    settings: Settings,
    comparison: Comparison,
    closure: Closure | None,
    profiles: tuple[ResponseProfile, ...],
    efficiencies: Sequence[Efficiency],
    replicas: int,
) -> list[str]:
    """Return sentences on how the numbers were made."""
    notes = []
    if settings.quick:
        notes.append(
            f"Quick settings: {settings.classifier_seeds} noise seed(s) and "
            f"{settings.classifier_resplits} re-splits for the C2ST, {settings.bootstraps} "
            "bootstraps. A full comparison takes 5, 10 and 100."
        )
    negative = float(np.mean(comparison.full.weight < 0))
    if negative > 0:
        notes.append(
            f"{negative:.1%} of the FullSim weights are negative: distances use signed cumulated "
            "weights, W2^2 is left out, the classifier is trained on absolute weights and judged "
            "with signed ones."
        )
    if profiles and closure is None:
        notes.append("Scale and resolution compare half A with FastSim, not the same GEN rows.")
    if comparison.clustered:
        notes.append(
            "Events have several rows: re-splits, bootstraps and folds keep them together, and "
            "errors take the rows of an event as one."
        )
    if replicas > 1:
        notes.append(
            f"FastSim has {replicas} replicas of each GEN event. Histograms hold all of them, with "
            "errors that know their correlation; distances, which need equal sizes, the first one."
        )
    limit = settings.targets.tag
    short = [
        f"{outcome.name} of {rate.group} ({rate.ratio.error:.1%})"
        for outcome in efficiencies
        if outcome.kind == "flag"
        for rate in outcome.overall
        if not rate.ratio.error <= WELL_MEASURED * limit
    ]
    if short:
        notes.append(
            f"Too few rows to judge a share to {limit:.0%}, with the error of its ratio: "
            f"{', '.join(short)}."
        )
    return notes


def left_out(
    coverage: Coverage | None,
    closure: Closure | None,
    profiles: tuple[ResponseProfile, ...],
    rates: Sequence[RateResult],
    classifier: Classifier | None,
    efficiencies: Sequence[Efficiency],
    quantities: Sequence[Quantity],
) -> list[str]:
    """Return sentences on what was not judged."""
    missing = []
    rare = [title(quantity) for quantity in quantities if quantity.word in {NOWHERE, TOO_FEW}]
    if rare:
        missing.append(
            f"The distribution of {', '.join(rare)}: fewer than {LEAST_KNOWN} events have a value "
            "in FullSim or in FastSim; only the shares of rows without one are compared."
        )
    if coverage is None:
        missing.append("Coverage (PIT): no draws of the emulator for the same GEN rows were given.")
    if not profiles:
        missing.append("Response scale and resolution against GEN: no GEN quantity to bin in.")
    elif closure is None:
        missing.append("Response closure on the same GEN rows: only disjoint events were compared.")
    if not rates and not any(outcome.kind == "presence" for outcome in efficiencies):
        missing.append(
            "Efficiencies: only the shapes of rows that pass the selection are compared."
        )
    if classifier is None:
        missing.append("C2ST: switched off in the settings.")
    return missing
