import numpy as np
import pytest
import torch
from training_toy import toy_rows

from gen2reco.errors import TrainingError
from gen2reco.models.protocol import Batch, Shape
from gen2reco.training.feed import Feed, check_rows

SHAPE = Shape(2, 3)


def dealt(feed, epoch):
    feed.start(epoch)
    return torch.cat([feed.batch(i).target.clone() for i in range(feed.steps)])


def numbered(count):
    number = torch.arange(count, dtype=torch.float32)
    return Batch(number[:, None], torch.zeros(count, 0), torch.ones(count))


def test_an_epoch_deals_every_row_once_but_the_last_incomplete_batch():
    feed = Feed(numbered(1000), batch=300, seed=1, member=0)
    assert (feed.rows, feed.size, feed.steps) == (1000, 300, 3)
    rows = dealt(feed, 0)[:, 0].tolist()
    assert len(rows) == len(set(rows)) == 900


def test_the_order_depends_on_seed_member_and_epoch_alone():
    def order(seed, member, epoch):
        return dealt(Feed(numbered(500), batch=50, seed=seed, member=member), epoch)[:, 0].tolist()

    assert order(1, 0, 3) == order(1, 0, 3)
    orders = [order(1, 0, 3), order(1, 0, 4), order(1, 1, 3), order(2, 0, 3)]
    assert len({tuple(o) for o in orders}) == 4


def test_the_three_sides_of_a_row_stay_together():
    data = toy_rows(400)
    weighted = Batch(data.target, data.condition, data.target[:, 0].abs() + 1)
    feed = Feed(weighted, batch=64, seed=1, member=0)
    feed.start(0)
    batch = feed.batch(2)
    place = {tuple(row): i for i, row in enumerate(data.condition.tolist())}
    rows = [place[tuple(row)] for row in batch.condition.tolist()]
    assert torch.equal(batch.target, weighted.target[rows])
    assert torch.equal(batch.weight, weighted.weight[rows])


def test_fewer_rows_than_a_batch_make_one_batch():
    feed = Feed(numbered(10), batch=1024, seed=1, member=0)
    assert sorted(dealt(feed, 0)[:, 0].tolist()) == list(range(10))


def test_max_rows_is_the_same_subset_for_every_member():
    first = Feed(numbered(1000), batch=100, seed=1, member=0, max_rows=200)
    other = Feed(numbered(1000), batch=100, seed=1, member=3, max_rows=200)
    assert first.rows == 200
    subset = set(dealt(first, 0)[:, 0].tolist())
    assert subset == set(dealt(other, 1)[:, 0].tolist())
    assert max(subset) > 500  # spread over the sample, not its first rows


def test_repeats_enter_as_often_as_they_say():
    repeats = np.array([0, 3, 1, 0, 2] * 20)
    feed = Feed(numbered(100), batch=10, seed=1, member=1, repeats=repeats)
    assert feed.rows == repeats.sum()
    rows, counts = np.unique(dealt(feed, 0)[:, 0].numpy().astype(int), return_counts=True)
    assert np.array_equal(counts, repeats[rows])
    assert len(rows) == 60


def test_signed_weights_are_scaled_to_the_mean_of_the_sample():
    data = numbered(10_000)
    weight = torch.where(torch.arange(10_000) % 5 < 2, -1.0, 1.0)
    feed = Feed(Batch(data.target, data.condition, weight), batch=100, seed=1, member=0)
    feed.start(0)
    total = 0.0
    for i in range(feed.steps):
        batch = feed.batch(i)
        if feed.scale(i):
            mean = (batch.weight * batch.target[:, 0]).sum() / batch.weight.sum()
            total += float(mean) * feed.scale(i)
    truth = float((weight * data.target[:, 0]).sum() / weight.sum())
    assert total / feed.steps == pytest.approx(truth, rel=0.02)


def test_a_batch_whose_weights_cancel_is_skipped():
    weight = torch.tensor([1.0, -1.0] * 50 + [1.0] * 10)
    data = numbered(110)
    feed = Feed(Batch(data.target, data.condition, weight), batch=2, seed=1, member=0)
    feed.start(0)
    for i in range(feed.steps):
        assert (feed.scale(i) == 0) == (float(feed.batch(i).weight.sum()) == 0)
    assert feed.dealt == sum(feed.scale(i) != 0 for i in range(feed.steps)) < feed.steps


def test_equal_weights_need_no_scale():
    feed = Feed(numbered(100), batch=10, seed=1, member=0)
    feed.start(0)
    assert feed.scale(3) == 1
    assert feed.dealt == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: Batch(b.target[:0], b.condition[:0], b.weight[:0]), "no training rows"),
        (lambda b: Batch(b.target[:, :1], b.condition, b.weight), r"\[50, 1\].*\[50, 2\]"),
        (lambda b: Batch(b.target, b.condition, -b.weight), "sum to -50"),
        (lambda b: Batch(b.target, b.condition[:40], b.weight), "condition of the training rows"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(change, message):
    with pytest.raises(TrainingError, match=message):
        check_rows(change(toy_rows(50)), SHAPE, "training")


def test_the_first_value_that_is_not_finite_is_named():
    data = toy_rows(50)
    data.condition[7, 2] = float("nan")
    with pytest.raises(TrainingError, match=r"condition.*row 7, column 2"):
        check_rows(data, SHAPE, "training")


def test_repeats_must_be_counts():
    with pytest.raises(TrainingError, match="whole numbers"):
        Feed(numbered(4), batch=2, seed=1, member=1, repeats=np.array([0.5, 1, 1, 1]))
