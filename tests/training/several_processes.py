"""Fits in each of several processes: `several_processes.py FOLDER FAMILY...`, by torchrun."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from training_toy import SHAPE, Toy, settings, toy_rows

from gen2reco.models.flow import FlowConfig
from gen2reco.models.protocol import Batch
from gen2reco.training import current_group, fit, fresh_model

FLOW = FlowConfig(couplings=2, hidden=(8,), bins=4)
UNEVEN = (0, 1100, 1500)
"""Where the rows of the first and of the second process end."""


def rows(family):
    train = toy_rows(1500, seed=1)
    weight = 0.5 + torch.rand(1500, generator=torch.Generator().manual_seed(3))
    if "signed" in family:
        weight *= torch.where(torch.arange(1500) % 5 == 0, -1.0, 1.0)
    if "shared signed" in family:
        weight[1200:] = -weight[1200:].abs() / 4  # the second process has a negative sum
    return Batch(train.target, train.condition, weight)


def main(folder, family):
    group = current_group()
    train, repeats = rows(family), None
    if "bootstrap" in family:
        repeats = np.random.default_rng(4).poisson(1, 1500)
    shared = "shared" in family
    if shared and not group.alone:
        mine = slice(*UNEVEN[group.rank : group.rank + 2])
        train = train.map(lambda tensor: tensor[mine])
        repeats = None if repeats is None else repeats[mine]
    build = (lambda: FLOW.build(SHAPE)) if "flow" in family else (lambda: Toy(several=True))
    model = fresh_model(build, seed=1)
    # Batches of 7 rows: often the second process has none of them.
    chosen = settings(epochs=2, batch=7 if "small" in family else 127, learning_rate=1e-2)
    name = f"{family}-{group.size}-{group.rank}"
    result = fit(
        model,
        train,
        toy_rows(700, seed=2),
        chosen,
        folder=folder / name,
        repeats=repeats,
        shared=shared,
    )
    said = {
        "train": [epoch.train for epoch in result.history],
        "validation": [epoch.validation for epoch in result.history],
        "weights": torch.cat([p.detach().reshape(-1) for p in model.parameters()]).tolist(),
    }
    (folder / f"{name}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in sys.argv[2:]:
        main(Path(sys.argv[1]), each)
