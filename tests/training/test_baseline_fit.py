"""Baselines in the real loop: their random numbers and running means survive an interruption."""

from functools import partial

import pytest
import torch
from training_toy import SHAPE, settings, toy_rows

from gen2reco import models
from gen2reco.training import fit, fresh_model, loop

BASELINES = {
    "flashsim": {"kind": "flashsim", "blocks": 2, "width": 16, "bins": 8, "dropout": 0.1},
    "vae": {"kind": "vae", "latent": 3, "hidden": [24]},
}


@pytest.mark.parametrize("family", BASELINES)
def test_a_baseline_resumes_to_the_same_bits(tmp_path, monkeypatch, stopped, family):
    rows, validation = toy_rows(2000, seed=4), toy_rows(600, seed=2)

    def run(folder, **options):
        model = fresh_model(partial(models.build, BASELINES[family], SHAPE), seed=1)
        chosen = settings(epochs=3, batch=200, ema=0.9, learning_rate=3e-3)
        torch.manual_seed(len(str(folder)))  # the state outside the fit plays no role
        result = fit(model, rows, validation, chosen, folder=folder, **options)
        return [(e.train, e.validation) for e in result.history], model.state_dict()

    curve, weights = run(tmp_path / "through")
    monkeypatch.setattr(loop, "_TICK_SECONDS", 0.0)
    (resumed, final), stops = stopped(partial(run, tmp_path / "stopped"), every=2)
    assert stops >= 3
    assert resumed == curve
    assert curve[-1][1] < curve[0][1]
    for name, value in final.items():
        assert torch.equal(value, weights[name]), name
