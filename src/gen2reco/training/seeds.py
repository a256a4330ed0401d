"""Seeds of torch's generator for each purpose, and models with reproducible initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gen2reco.rng import hash64

if TYPE_CHECKING:
    from collections.abc import Callable

    from gen2reco.models.protocol import Model


def stream(*purpose: str | int) -> int:
    """Return the seed of torch's generator for a purpose."""
    return hash64("gen2reco.training", *purpose) >> 1


def fresh_model(build: Callable[[], Model], *, seed: int, member: int = 0) -> Model:
    """Build a model whose random initial weights depend on (seed, member) alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("initial weights", seed, member))
        return build()
