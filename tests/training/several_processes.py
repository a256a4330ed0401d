"""A fit in each of several processes: `several_processes.py FOLDER FAMILY`, started by torchrun."""

import json
import sys
from pathlib import Path

import torch
from training_toy import SHAPE, Toy, settings, toy_rows

from gen2reco.models.flow import FlowConfig
from gen2reco.models.protocol import Batch
from gen2reco.training import current_group, fit, fresh_model


def main(folder, family):
    torch.set_num_threads(1)
    group = current_group()
    train, validation = toy_rows(1500, seed=1), toy_rows(700, seed=2)
    weight = 0.5 + torch.rand(1500, generator=torch.Generator().manual_seed(3))
    weight = -weight if family == "negative" else weight
    if family == "negative":
        weight = weight.abs() * torch.where(torch.arange(1500) % 9 == 0, -1.0, 1.0)
    train = Batch(train.target, train.condition, weight)
    flow = FlowConfig(couplings=2, hidden=(8,), bins=4)
    build = (lambda: flow.build(SHAPE)) if family == "flow" else (lambda: Toy(several=True))
    model = fresh_model(build, seed=1)
    chosen = settings(epochs=3, batch=127)
    result = fit(model, train, validation, chosen, folder=folder / f"{group.size}-{group.rank}")
    said = {
        "train": [epoch.train for epoch in result.history],
        "validation": [epoch.validation for epoch in result.history],
        "weights": torch.cat([p.detach().reshape(-1) for p in model.parameters()]).tolist(),
    }
    (folder / f"{group.size}-{group.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
