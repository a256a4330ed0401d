"""What oversampling brings: replicas of a GEN event are correlated, less so in narrow bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.validation.binned import histogram, oversampling_gain
from gen2reco.validation.object_records import Gain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gen2reco.validation.results import Distribution
    from gen2reco.validation.samples import Sample


def gains(fast: Sample, distributions: Iterable[Distribution]) -> tuple[Gain, ...]:
    """Gain in effective statistics per distribution of RECO quantities.

    Args:
        fast: FastSim with all its replicas, nominal member.
        distributions: which quantities, in which bins; those that are no quantity are left out.

    Returns:
        The gains; nothing where FastSim has a single replica.
    """
    if fast.replica is None or len(np.unique(fast.replica)) < 2:
        return ()
    replicas = len(np.unique(fast.replica))
    found = []
    for shape in distributions:
        values = fast.quantities.get(shape.name)
        if values is None:
            continue
        edges = np.asarray(shape.edges)
        gain = oversampling_gain(values, fast.weight, fast.event, fast.replica, edges)
        content, _ = histogram(values, np.abs(fast.weight), fast.event, edges)
        there = np.isfinite(gain) & (content > 0)
        mean = float(content[there] @ gain[there] / content[there].sum()) if there.any() else np.nan
        found.append(
            Gain(shape.name, shape.label, replicas, shape.edges, tuple(gain.tolist()), float(mean))
        )
    return tuple(found)
