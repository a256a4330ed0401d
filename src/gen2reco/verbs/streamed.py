"""All events of a validation, chunk by chunk, into sketches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen2reco.events.layout import flat_columns
from gen2reco.rows.splits import halves
from gen2reco.verbs.samples import judged_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    import awkward

    from gen2reco.study import Study
    from gen2reco.validation.streamed import Streaming


def origins_of(study: Study) -> dict[str, float]:
    """Return the number that each response is near to where that is not 0."""
    responses = study.validation.responses.items()
    return {name: 1.0 for name, response in responses if response.kind == "ratio"}


def watching(
    study: Study, streaming: Streaming
) -> Callable[[awkward.Array, Callable[[], awkward.Array]], None]:
    """Return what takes the judged events of a chunk: FullSim of both halves, FastSim of half B."""

    def watch(events: awkward.Array, fast: Callable[[], awkward.Array]) -> None:
        if not len(events):
            return
        half = halves(flat_columns(events))
        for side, made, which in (
            ("full_a", events, half == 0),
            ("full_b", events, half == 1),
            ("fast", fast(), half == 1),
        ):
            _, weight, quantities, responses = judged_columns(study, made[which])
            streaming.add(side, int(which.sum()), weight, quantities, responses)

    return watch
