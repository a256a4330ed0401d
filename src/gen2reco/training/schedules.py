"""Learning rate of every optimiser step, as a pure function of the step: no state to save."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gen2reco.study import Training

_WARM_SHARE = 0.3
"""Share of the one-cycle that climbs to the largest rate; the rest anneals to nearly nothing."""
_WARM_START = 1 / 25
"""Rate of the first step of a one-cycle, relative to the largest."""
_COSINE_WARM_SHARE = 0.05


def learning_rate(settings: Training, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of optimiser step `step` (from 0) out of `epochs * steps_per_epoch`.

    `one-cycle` climbs from 1/25 of the largest rate over the first 30 % of all steps and then falls
    to zero, both as a half cosine: the warm start keeps a spline's first steps small, the long fall
    is what stops a flow from overfitting. `cosine` climbs linearly over 5 % and falls to zero.
    `inverse-epoch` is lr / (1 + epoch), constant within an epoch (arXiv:2010.01835). `constant`
    stays.
    """
    peak = settings.learning_rate
    steps = max(settings.epochs * steps_per_epoch, 1)
    match settings.schedule:
        case "one-cycle":
            warm = max(round(_WARM_SHARE * steps), 1)
            if step < warm:
                return peak * (_WARM_START + (1 - _WARM_START) * _half_cosine(step / warm))
            return peak * (1 - _half_cosine((step - warm) / max(steps - warm, 1)))
        case "cosine":
            warm = max(round(_COSINE_WARM_SHARE * steps), 1)
            if step < warm:
                return peak * (step + 1) / warm
            return peak * (1 - _half_cosine((step - warm) / max(steps - warm, 1)))
        case "inverse-epoch":
            return peak / (1 + step // steps_per_epoch)
        case _:
            return peak


def _half_cosine(share: float) -> float:
    """Rise smoothly from 0 at 0 to 1 at 1."""
    return 0.5 - 0.5 * math.cos(math.pi * min(max(share, 0.0), 1.0))
