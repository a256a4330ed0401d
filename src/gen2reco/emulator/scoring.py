"""How unlike its training events an event is, as the family of an emulator can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.emulator.blocks import BLOCK
from gen2reco.errors import EmulatorError

if TYPE_CHECKING:
    from gen2reco.emulator.emulator import Emulator, TrainedPart
    from gen2reco.rows.tables import Table

DENSITY = "density"
"""Score of families with a density: -log p of the row in physics units, nats."""
STRANGEST = 1e6
"""No score is above this: so strange is a row that cannot be, as counts never seen together."""


def scored_part(emulator: Emulator) -> TrainedPart:
    """Return the part whose rows are scored.

    Raises:
        EmulatorError: there are several parts, rows are not events, or the family has no score.
    """
    study = emulator.study
    if len(emulator.parts) != 1 or emulator.parts[0].part.rows.kind != "event":
        raise EmulatorError(
            f"study {study.name!r} has several parts or rows that are not events; only an emulator"
            " of one part with a row per event scores events"
        )
    trained = emulator.parts[0]
    model = trained.members[0]
    if not (hasattr(model, "score") or hasattr(model, "log_prob")):
        raise EmulatorError(
            f"the family {trained.part.model['kind']} cannot tell how strange an event is; vae has"
            " scores, flow and mixed have a density"
        )
    return trained


def score_rows(
    trained: TrainedPart, table: Table, *, seed: int = 1, member: int = 0
) -> dict[str, np.ndarray]:
    """Return scores by name, float64 [rows]; larger is stranger.

    Args:
        trained: the part.
        table: rows with targets.
        seed: of the noise that spreads counts and point masses, a function of each row.
        member: of the ensemble.
    """
    model: Any = trained.members[member]
    target, condition = _encoded(trained, table, seed)
    found: dict[str, list[np.ndarray]] = {}
    with torch.no_grad():
        for start in range(0, len(target), BLOCK):
            rows = slice(start, start + BLOCK)
            if hasattr(model, "score"):
                scores = model.score(target[rows], condition[rows])
            else:
                scores = {DENSITY: -model.log_prob(target[rows], condition[rows])}
            for name, values in scores.items():
                found.setdefault(name, []).append(values.double().numpy(force=True))
    joined = {name: np.concatenate(pieces) for name, pieces in found.items()}
    if DENSITY in joined:
        features: Any = trained.features  # rows are events, which have a Jacobian
        with np.errstate(invalid="ignore"):
            joined[DENSITY] = joined[DENSITY] - features.log_det(table, seed)
    # At the very end of a bounded coordinate neither density nor Jacobian is finite.
    return {
        name: np.clip(np.nan_to_num(values, nan=STRANGEST), -STRANGEST, STRANGEST)
        for name, values in joined.items()
    }


def latent_places(trained: TrainedPart, table: Table, *, seed: int = 1) -> np.ndarray | None:
    """Return where rows lie in latent space [rows, latent]; None where a family has none."""
    model: Any = trained.members[0]
    if not hasattr(model, "places"):
        return None
    with torch.no_grad():
        places = model.places(*_encoded(trained, table, seed))
    return np.asarray(places.double().numpy(force=True))


def _encoded(trained: TrainedPart, table: Table, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    features = trained.features
    device = next(trained.members[0].parameters()).device
    return (
        torch.from_numpy(features.encode_target(table, seed)).to(device),
        torch.from_numpy(features.encode_condition(table)).to(device),
    )
