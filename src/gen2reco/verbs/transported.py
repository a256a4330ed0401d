"""What `validate` says of a map learned without pairs: sliced distances, transport plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gen2reco.models.nn.momenta import four_vectors, unpack
from gen2reco.models.transport import Transport as Maps
from gen2reco.study import Validation
from gen2reco.validation.labels import Labels
from gen2reco.validation.sliced import compare_sliced
from gen2reco.validation.transport import Transport, transport_plan
from gen2reco.verbs.samples import response_values, to_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward

    from gen2reco.emulator import Emulator
    from gen2reco.models.nn.momenta import Particle
    from gen2reco.study import Study
    from gen2reco.validation.settings import Settings
    from gen2reco.verbs.judged import Judged
    from gen2reco.verbs.way_back import Compared


@dataclass(frozen=True)
class Momenta:
    """How the momenta of one side are found in events.

    Attributes:
        study: whose validation block gives the columns of the particles, in their order.
        particles: of the model.
    """

    study: Study
    particles: Sequence[Particle]

    def of(self, events: awkward.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return px, py, pz, E of all particles, [n, 4 particles], and the events that have all."""
        sample = to_sample(self.study, events, np.arange(len(events)), {})
        columns = np.stack(list(sample.quantities.values()), axis=1)
        there = np.isfinite(columns).all(axis=1)
        found = four_vectors(unpack(torch.from_numpy(columns[there]), self.particles))
        return found.numpy(), sample.event[there]


def transported(
    emulator: Emulator,
    judged: Judged,
    simulated: awkward.Array,
    back: Mapping[str, Compared],
    settings: Settings,
) -> Transport | None:
    """Judge the maps of a family `transport`; None for other families.

    Args:
        emulator: what is judged.
        judged: the events of the file.
        simulated: the same events with RECO made of their GEN.
        back: what `way_back` made of half B; empty for a decoder alone.
        settings: numbers of re-splits, seed.
    """
    model = emulator.parts[0].members[0]
    if len(emulator.parts) > 1 or not isinstance(model, Maps):
        return None
    study, part = emulator.study, emulator.parts[0].part
    names = [name for target in part.target for name in target.name]
    texts = [text for target in part.target for text in target.value]
    x = Momenta(
        _judging(study, dict(zip(names, texts, strict=True)), study.validation.select),
        model.config.reco,
    )
    z = Momenta(_judging(study, {c.name: c.value for c in part.condition}), model.config.gen)
    made = {"RECO, simulated from GEN": (x, simulated[judged.half == 1])}
    if back:
        made |= {
            "GEN, unfolded from RECO (the latent space)": (z, back["unfolded"].made),
            "RECO, simulated from unfolded GEN": (x, back["reconstructed"].made),
        }
    distances = []
    for name, (side, events) in made.items():
        full, number = side.of(judged.events)
        fast, _ = side.of(events)
        distances.append(compare_sliced(name, full, judged.half[number] == 0, fast, settings))
    labels = Labels(study.validation.labels, {})
    truth, drawn = (response_values(study, events) for events in (judged.events, simulated))
    plans = [
        transport_plan(name, labels.quantity(name), truth[name], drawn[name]) for name in truth
    ]
    return Transport(tuple(distances), tuple(plan for plan in plans if plan))


def _judging(study: Study, quantities: Mapping[str, str], select: str = "") -> Study:
    block = Validation(select=select, quantities=dict(quantities))
    return study.model_copy(update={"validation": block})
