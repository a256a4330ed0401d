"""`demo`: the whole way on bundled events, from training to the report, in a few minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gen2reco.errors import OutputExistsError
from gen2reco.verbs.simulate import simulate
from gen2reco.verbs.train import train
from gen2reco.verbs.training_rows import bundled_sample
from gen2reco.verbs.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from gen2reco.training import Progress
    from gen2reco.verbs.simulate import Simulation
    from gen2reco.verbs.validate import Validated


@dataclass(frozen=True)
class Demo:
    """Outcome of `demo`: the report, the simulation, and the wall time in seconds."""

    validated: Validated
    simulation: Simulation
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.validated}\n"
            f"simulated {self.simulation.events} events in {self.simulation.seconds:.1f} s"
            f" on one core: {self.simulation.path}\n"
            f"all of it took {self.seconds:.0f} s; now try your own events:"
            " gen2reco init YOUR_FILE -o study.yaml"
        )


def demo(
    output: str | Path = "demo",
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[Progress], None] | None = None,
) -> Demo:
    """Train the `wjet` flow on the bundled events, simulate them, judge it on the held-back ones.

    Args:
        output: folder for the model, the simulated events and the report.
        overwrite: replace what an earlier demo left there.
        say: receives a line at the start of each step.
        progress: receives the state of training.

    Raises:
        OutputExistsError: the folder holds an earlier demo and `overwrite` is off.
    """
    begin = time.perf_counter()
    output = Path(output)
    if (output / "model").exists() and not overwrite:
        raise OutputExistsError(
            f"{output} holds a demo; choose another --output or give --overwrite"
        )
    sample = bundled_sample("wjet")
    say("training the flow of study wjet on the bundled W + jet events")
    train("wjet", output=output / "model", overwrite=overwrite, progress=progress)
    say("simulating RECO events from GEN")
    simulation = simulate(output / "model", sample, output / "reco.parquet", overwrite=overwrite)
    say("judging it on the held-back events")
    validated = validate(
        output / "model", sample, output / "report", quick=True, overwrite=overwrite, say=say
    )
    return Demo(validated, simulation, time.perf_counter() - begin)
