"""The flow in the real loop: slow, because the toys elsewhere stand in for it."""

import math
from functools import partial

import pytest
import torch
from training_toy import SHAPE, settings, toy_rows

from gen2reco.models.flow import FlowConfig
from gen2reco.training import fit, fresh_model
from gen2reco.training.health import check_health

TRAIN, VALIDATION = toy_rows(12_000, seed=1), toy_rows(6000, seed=2)
ENTROPY = sum(math.log(width) for width in (0.5, 0.5 / 1.667)) + math.log(2 * math.pi * math.e)
"""Of the truth given its condition, in nats: no model can have a smaller expected loss."""


def small(**options):
    return partial(FlowConfig(couplings=4, hidden=(24, 24), bins=8, **options).build, SHAPE)


@pytest.mark.slow
def test_the_flow_reaches_the_entropy_of_the_truth(tmp_path):
    model = fresh_model(small(), seed=1)
    chosen = settings(epochs=12, batch=512, learning_rate=1e-2)
    result = fit(model, TRAIN, VALIDATION, chosen, folder=tmp_path)
    truth = ENTROPY + _excess()
    assert result.best == pytest.approx(truth, abs=0.02)
    assert check_health(result.history, model, TRAIN, VALIDATION) == []


@pytest.mark.slow
def test_too_few_rows_for_the_flow_are_noticed(tmp_path):
    few = toy_rows(500, seed=3)
    model = fresh_model(small(), seed=1)
    chosen = settings(epochs=60, batch=64, learning_rate=1e-2)
    result = fit(model, few, VALIDATION, chosen, folder=tmp_path)
    topics = {a.topic for a in check_health(result.history, model, few, VALIDATION)}
    assert {"few rows", "overfitting"} <= topics


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_the_flow_resumes_to_the_same_bits(tmp_path, stopped, threads):
    torch.set_num_threads(threads)
    rows = toy_rows(3000, seed=4)

    def run(folder, **options):
        model = fresh_model(small(dropout=0.1), seed=1)
        chosen = settings(epochs=3, batch=256, ema=0.9)
        result = fit(model, rows, VALIDATION, chosen, folder=folder, **options)
        return [(e.train, e.validation) for e in result.history], model.state_dict()

    curve, weights = run(tmp_path / "through")
    (resumed, final), stops = stopped(partial(run, tmp_path / "stopped"), every=4)
    assert stops >= 3
    assert resumed == curve
    for name, value in final.items():
        assert torch.equal(value, weights[name]), name


def _excess():
    """How far the truth's own loss on these validation rows is from its expectation."""
    condition, target = VALIDATION.condition, VALIDATION.target
    mean = torch.stack([0.7 * condition[:, k] + 0.3 * k for k in range(2)], 1)
    widths = torch.tensor([0.5, 0.5 / 1.667])
    return float(0.5 * ((target - mean) / widths).square().sum(1).mean() - 1.0)
