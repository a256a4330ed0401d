from dataclasses import replace

import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.validation import Closure, Counted, Coverage, Rate, Sample

ONES = np.ones(4)
EVENT = np.arange(4)


def sample(**changes):
    parts = {"quantities": {"pt": ONES}, "responses": {}, "gen": {}, "weight": ONES, "event": EVENT}
    return Sample(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantities": {"pt": np.ones(3)}}, "quantities 'pt' has 3 rows, the weights have 4"),
        ({"weight": np.array([1, 1, np.nan, 1])}, "weight of row 2 is not finite"),
        ({"weight": np.array([1, -1, 1, -1.0])}, "sum to 0"),
        ({"event": np.arange(4.0)}, "must be integers, not float64"),
        (
            {"gen_quantities": {"pts": ONES}},
            "'pts', which is not among the quantities. Did you mean 'pt'",
        ),
        ({"member": np.zeros(3)}, "member has 3 rows"),
    ],
)
def test_what_does_not_fit_together_is_named(changes, message):
    with pytest.raises(SampleError, match=message):
        sample(**changes)


def test_no_rows_is_a_clear_error():
    with pytest.raises(SampleError, match="no rows"):
        sample(quantities={"pt": ONES[:0]}, weight=ONES[:0], event=EVENT[:0])


def test_take_keeps_every_column_and_nominal_picks_member_zero():
    one = sample(gen={"g": ONES * 2}, gen_quantities={"pt": ONES}, member=np.array([0, 1, 0, 1]))
    assert len(one.take(EVENT > 0)) == 3
    nominal = one.nominal()
    assert len(nominal) == 2
    assert nominal.event.tolist() == [0, 2]
    assert sample().nominal().event.tolist() == [0, 1, 2, 3]


def test_ranks_outside_their_range_are_refused():
    with pytest.raises(SampleError, match="between 0 and 99"):
        Coverage({"pt": np.array([0, 5, 100, 3])}, ONES, EVENT)


def test_closure_needs_the_same_responses_on_both_sides():
    with pytest.raises(SampleError, match="'pt' is on one side"):
        Closure({}, {"pt": ONES}, {}, ONES, EVENT)
    made = Closure({}, {"pt": ONES}, {"pt": ONES}, ONES, EVENT)
    assert made.fast["pt"].shape == (4, 1)


def test_samples_are_joined_and_members_default_to_the_nominal_one():
    one = Sample({"x": np.zeros(2)}, {}, {"g": np.ones(2)}, np.ones(2), np.arange(2))
    two = replace(one, member=np.array([1, 1]), row=None)
    both = Sample.concatenate([one, two])
    assert both.member.tolist() == [0, 0, 1, 1]
    assert both.replica is None
    assert both.row is None
    assert both.event.tolist() == [0, 1, 0, 1]
    assert len(both.nominal()) == 2
    assert Sample.concatenate([one, one]).member is None


def test_replicas_are_samples_of_their_own():
    rows = Sample({"x": np.arange(4.0)}, {}, {}, np.full(4, 0.5), np.array([0, 0, 1, 1]))
    assert rows.replicas() == [rows]
    split = replace(rows, replica=np.array([0, 1, 0, 1])).replicas()
    assert [s.quantities["x"].tolist() for s in split] == [[0, 2], [1, 3]]


def test_a_rate_takes_the_replicas_of_an_event_together():
    passed, event = np.array([True, False, True, True]), np.array([0, 0, 1, 2])
    rate = Rate.of((passed, np.ones(4), np.arange(4)), (passed, np.ones(4), event))
    assert rate.full == (3, 4)
    assert rate.errors[0] == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    # the two rows of event 0 move the share by 1/4 - 3/4 together
    assert rate.errors[1] == pytest.approx(np.sqrt(0.5**2 + 2 * 0.25**2) / 4)


def test_counts_of_the_same_events_have_one_row_each():
    fine = Counted(np.array([0, 2]), np.array([[0, 1], [2, 2]]), np.ones(2), np.arange(2))
    assert fine.fast.shape == (2, 2)
    with pytest.raises(SampleError, match="fast has 3 rows"):
        Counted(np.array([0, 2]), np.array([1, 1, 1]), np.ones(2), np.arange(2))
    with pytest.raises(SampleError, match="whole numbers"):
        Counted(np.array([0, 2]), np.array([0.5, 1.0]), np.ones(2), np.arange(2))
