import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.validation import Closure, Coverage, Sample

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
