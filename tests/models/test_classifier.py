"""The classifier: which combinations there are, probabilities, and their calibration."""

import itertools
import math

import numpy as np
import pytest
import torch

from gen2reco import models
from gen2reco.errors import StudyError
from gen2reco.models.classifier import MOST_COMBINATIONS
from gen2reco.models.protocol import Batch, Shape
from gen2reco.study import Training
from gen2reco.training import fit, fresh_model

SEEN = ((0, 0), (1, 2), (0, 1))
SHAPE = Shape(2, 3, (2, 3), SEEN)


def classifier(shape=SHAPE, **settings):
    torch.manual_seed(1)
    return models.build({"kind": "classifier", **settings}, shape).eval()


def test_continuous_targets_are_refused():
    with pytest.raises(StudyError, match=r"2 of the 3 targets are continuous.*kind: mixed"):
        classifier(Shape(3, 1, (2,)))
    with pytest.raises(StudyError, match="1 of the 1 targets"):
        classifier(Shape(1, 1))


def test_other_families_refuse_discrete_columns():
    with pytest.raises(StudyError, match="a flow has no discrete columns"):
        models.build({"kind": "flow"}, Shape(2, 1, (2,)))
    assert models.takes_levels({"kind": "classifier"})
    assert models.takes_levels({"kind": "mixed"})
    assert not models.takes_levels({"kind": "flow"})
    assert not models.takes_levels({"kind": "quantile"})


def test_too_many_combinations_are_refused_unless_few_occur():
    flags = (2,) * 13
    with pytest.raises(StudyError, match=f"8192 combinations of 13.*more than {MOST_COMBINATIONS}"):
        classifier(Shape(13, 1, flags))
    with pytest.raises(StudyError, match="combinations"):
        classifier(Shape(80, 1, (2,) * 80, ((0,) * 80, (1,) * 80)))
    few = classifier(Shape(40, 1, (2,) * 40, ((0,) * 40, (1,) * 40)))
    assert few.sample(torch.zeros(50, 1), torch.rand(50, 1)).unique(dim=0).shape == (2, 40)


def test_only_combinations_that_occur_are_drawn():
    model = classifier()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10.0)
    condition, noise = 20 * torch.randn(50_000, 3), torch.rand(50_000, 1)
    noise[:2] = torch.tensor([[2.0**-24], [1 - 2.0**-24]])
    drawn = model.sample(condition, noise)
    assert set(map(tuple, drawn.long().tolist())) == set(SEEN)
    assert model.combinations.tolist() == [list(map(float, seen)) for seen in sorted(SEEN)]


def test_a_combination_that_cannot_occur_has_no_probability_and_a_constant_loss():
    model = classifier()
    condition = torch.randn(4, 3)
    target = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    log_prob = model.log_prob(target, condition)
    assert log_prob.isinf().tolist() == [False, True, True, False]
    probabilities = model.probabilities(condition)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
    assert log_prob[0].exp().item() == pytest.approx(probabilities[0, 0].item(), rel=1e-5)
    assert log_prob[3].exp().item() == pytest.approx(probabilities[3, 2].item(), rel=1e-5)
    loss = model.loss(Batch(target, condition, torch.tensor([1.0, 2.0, 1.0, 4.0])))
    expected = -(log_prob[0] + 4 * log_prob[3]) + 3 * math.log(3)
    assert loss.item() == pytest.approx(expected.item() / 8, rel=1e-5)
    alone = model.loss(Batch(target[1:2], condition[1:2], torch.ones(1)))
    assert alone.item() == pytest.approx(math.log(3))


def test_a_fresh_classifier_knows_what_is_rare():
    shares = (0.9989, 0.001, 0.0001)
    model = classifier(Shape(2, 3, (2, 3), SEEN, shares))
    mean = model.probabilities(torch.randn(2000, 3)).mean(0)
    # In the order of the combinations, which is not that of SEEN.
    torch.testing.assert_close(mean, torch.tensor([0.9989, 0.0001, 0.001]), rtol=0.3, atol=0)


def test_frequencies_are_the_probabilities():
    model = classifier(Shape(1, 2, (4,)))
    condition = torch.tensor([[0.5, -1.0]]).expand(200_000, -1)
    uniform = (torch.arange(200_000)[:, None] + 0.5) / 200_000
    drawn = model.sample(condition, uniform)[:, 0].long()
    expected = model.probabilities(condition[:1])[0]
    frequencies = drawn.bincount(minlength=4) / 200_000
    torch.testing.assert_close(frequencies, expected, atol=1e-4, rtol=0)


def efficiency(condition: torch.Tensor) -> torch.Tensor:
    """Of a turn-on in the first GEN number, with a gap in the second."""
    plateau = torch.where(condition[:, 1].abs() < 0.3, 0.6, 0.97)
    return plateau * torch.sigmoid(3.0 * condition[:, 0] + 1.0)


def presence(count: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    condition = torch.randn(count, 4, generator=generator)
    found = torch.rand(count, generator=generator) < efficiency(condition)
    return Batch(found.float()[:, None], condition, torch.ones(count))


def test_presence_is_calibrated(tmp_path):
    # Defaults of the family and of training, but for the number and size of steps.
    model = fresh_model(lambda: classifier(Shape(1, 4, (2,))), seed=1)
    fit(
        model,
        presence(40_000, 1),
        presence(10_000, 2),
        Training(epochs=12, batch=512, device="cpu"),
        folder=tmp_path,
    )
    rows = presence(100_000, 3)
    with torch.no_grad():
        predicted = model.probabilities(rows.condition)[:, 1].double().numpy()
        drawn = model.sample(rows.condition, torch.rand(100_000, 1)).numpy()[:, 0]
    truth, found = efficiency(rows.condition).double().numpy(), rows.target.numpy()[:, 0]
    assert np.abs(predicted - truth).mean() < 0.04
    assert predicted.mean() == pytest.approx(truth.mean(), abs=0.005)
    assert drawn.mean() == pytest.approx(truth.mean(), abs=0.008)
    # Reliability: among rows of like probability, as many are found as it says.
    for here in np.array_split(np.argsort(predicted), 10):
        assert found[here].mean() == pytest.approx(predicted[here].mean(), abs=0.035)
    # Closure against the quantity that drives it.
    edges = np.quantile(rows.condition[:, 0], np.linspace(0, 1, 9))
    for low, high in itertools.pairwise(edges):
        here = (rows.condition[:, 0].numpy() >= low) & (rows.condition[:, 0].numpy() < high)
        assert predicted[here].mean() == pytest.approx(truth[here].mean(), abs=0.025)
