"""Size, cost and speed of the baselines for jets: `python benchmarks/flashsim_baselines.py`.

Trains FlashSim's flow (`jets-flashsim`) and a conditional VAE (`jets-vae`) on the training part of
the ttbar sample, and times training steps and sampling of both, and of FlashSim's flow as large as
it was published (not trained). Emulators stay in `benchmarks/models`; one that is there is not
trained again, an interrupted training goes on. How true they are is for `gen2reco validate` to say.

One thread. Rates count the processor's seconds of this process, so that other work on the machine
hardly changes them; wall times of epochs are those of the training. Losses are in nats per jet, in
each study's own encoded columns: they compare epochs and sizes of one study, not studies.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from gen2reco import load_emulator, models, open_events, train
from gen2reco.emulator.blocks import BLOCK, sample_rows
from gen2reco.models.protocol import Batch, Shape
from gen2reco.rng import noise
from gen2reco.training import show_progress
from gen2reco.verbs.training_rows import read_tables
from record import MODELS, record, reference_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gen2reco.features import PartFeatures
    from gen2reco.models.protocol import Model
    from gen2reco.rows.tables import Table

STUDIES = ("jets-flashsim", "jets-vae")
PUBLISHED = {"kind": "flashsim"}
"""FlashSim's flow at its published size: the defaults of the family."""
ROWS = 4 * BLOCK
"""Jets per timed call of sampling and decoding."""


def trained(name: str, sample: Path, *, again: bool) -> Path:
    """The emulator of a study, trained unless it is there."""
    model = MODELS / name
    if again or not model.exists():
        with show_progress() as progress:
            train(name, sample, model, resume=not again, overwrite=again, progress=progress)
    return model


def described(name: str, model: Path, sample: Path, repeats: int) -> dict[str, Any]:
    """Size, cost and speed of one trained study."""
    emulator = load_emulator(model)
    part = emulator.parts[0]
    network = part.members[0]
    history = emulator.provenance["history"][part.part.name][0]
    best = min(history, key=lambda epoch: epoch["validation"])
    tables, _ = read_tables(emulator.study, open_events(sample))
    table = tables[part.part.name].take(slice(ROWS))
    return {
        "study": name,
        "settings": ", ".join(f"{key} {value}" for key, value in part.part.model.items()),
        **emulator.provenance["rows"][part.part.name],
        **sizes(network),
        "epochs": len(history),
        "best_epoch": best["epoch"],
        "validation_loss": best["validation"],
        "training_loss": best["train"],
        "epoch_seconds": median(epoch["seconds"] for epoch in history),
        **rates(network, part.features, table, emulator.study.training.batch, repeats),
        "validation_losses": [epoch["validation"] for epoch in history],
    }


def as_published(name: str, model: Path, sample: Path) -> dict[str, Any]:
    """Size and speed of FlashSim's flow as large as published, for the columns of a study."""
    emulator = load_emulator(model)
    part = emulator.parts[0]
    network = models.build(PUBLISHED, Shape(*part.features.shape)).eval()
    tables, _ = read_tables(emulator.study, open_events(sample))
    table = tables[part.part.name].take(slice(BLOCK))
    return {
        "study": f"{name}, as large as published",
        "settings": "the defaults of kind flashsim; not trained",
        **sizes(network),
        **rates(network, part.features, table, 2048, repeats=1),
    }


def sizes(network: Model) -> dict[str, int]:
    """Columns and parameters."""
    return {
        "targets": network.shape.targets,
        "conditions": network.shape.conditions,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def rates(
    network: Model, features: PartFeatures, table: Table, batch: int, repeats: int
) -> dict[str, float]:
    """Jets per second of one thread: training steps, sampling, and sampling with decoding."""
    condition = features.encode_condition(table)
    target = features.encode_target(table, 1)
    random = noise(table.keys, seed=1, part="benchmark", normal=network.noise.width)
    rows = Batch(
        torch.from_numpy(target[:batch]),
        torch.from_numpy(condition[:batch]),
        torch.ones(min(batch, len(target))),
    )
    # Steps of nothing: the network that is timed stays as it was trained.
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        network.loss(rows).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0, foreach=True)
        optimizer.step()

    def sample() -> Any:
        return sample_rows(network, condition, random)

    tasks: dict[str, tuple[Callable[[], Any], int]] = {
        "training_jets_per_second": (step, len(rows.weight)),
        "sampled_jets_per_second": (sample, len(table)),
        "simulated_jets_per_second": (
            lambda: features.decode_target(sample(), table),
            len(table),
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(repeats + 1):
        for name, (task, _) in tasks.items():
            network.train(name == "training_jets_per_second")
            begin = time.process_time()
            task()
            if repeat:  # the first round warms up
                seconds[name].append(time.process_time() - begin)
    network.eval()
    return {name: count / median(seconds[name]) for name, (_, count) in tasks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="train again what is there")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each kind")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sample = reference_sample("ttbar")
    paths = {name: trained(name, sample, again=arguments.again) for name in STUDIES}
    studies = {
        name: described(name, path, sample, arguments.repeats) for name, path in paths.items()
    }
    first = STUDIES[0]
    studies[f"{first}, as published"] = as_published(first, paths[first], sample)
    record(
        "flashsim_baselines",
        {
            "sample": "ttbar.parquet",
            "threads": 1,
            "studies": studies,
        },
    )


if __name__ == "__main__":
    main()
