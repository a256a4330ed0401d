import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco.errors import EventFileError
from gen2reco.events import Jagged
from gen2reco.rows.matching import match, match_by_index


def lists(*events):
    offsets = np.concatenate([[0], np.cumsum([len(e) for e in events])]).astype(np.int64)
    return Jagged(offsets, np.array([x for e in events for x in e], np.float64))


def zeros(column):
    return Jagged(column.offsets, np.zeros(len(column.content)))


def on_a_line(gen, reco, **options):
    """Match objects that differ in eta alone."""
    return match(gen, zeros(gen), reco, zeros(reco), **options)


def test_nearest_pair_first():
    # RECO 0.10 is nearest to GEN 0.0 and to GEN 0.15; the closer pair takes it.
    found = on_a_line(lists([0.0, 0.15]), lists([0.10, 0.30]))
    assert found.reco_of_gen.tolist() == [1, 0]
    assert found.delta_r == pytest.approx([0.3, 0.05])
    assert found.gen_of_reco.tolist() == [1, 0]


def test_two_reco_jets_of_one_gen_jet_leave_a_spurious_one():
    found = on_a_line(lists([0.0]), lists([0.2, -0.1]))
    assert found.reco_of_gen.tolist() == [1]
    assert found.gen_of_reco.tolist() == [-1, 0]


def test_beyond_the_largest_distance():
    found = on_a_line(lists([0.0]), lists([0.5]), max_delta_r=0.25)
    assert found.reco_of_gen.tolist() == [-1]
    assert np.isinf(found.delta_r).all()
    edge = on_a_line(lists([0.0]), lists([0.25]), max_delta_r=0.25)
    assert edge.reco_of_gen.tolist() == [0]


def test_ties_go_by_the_order_of_the_lists():
    found = on_a_line(lists([0.0, 0.25]), lists([0.125, 0.125]), max_delta_r=1)
    assert found.reco_of_gen.tolist() == [0, 1]
    found = on_a_line(lists([0.0]), lists([0.125, -0.125]))
    assert found.reco_of_gen.tolist() == [0]


def test_events_stay_apart_and_may_be_empty():
    found = on_a_line(lists([0.0], [], [1.0], [2.0]), lists([], [0.0], [1.0, 1.1], []))
    assert found.reco_of_gen.tolist() == [-1, 1, -1]
    assert found.gen_of_reco.tolist() == [-1, 1, -1]
    nothing = on_a_line(lists(), lists())
    assert len(nothing.reco_of_gen) == len(nothing.gen_of_reco) == 0


def test_phi_goes_round():
    phi, other = lists([3.1]), lists([-3.1])
    found = match(zeros(phi), phi, zeros(other), other)
    assert found.delta_r[0] == pytest.approx(2 * np.pi - 6.2)


def test_window_on_the_ratio_of_pt():
    gen, reco = lists([0.0, 1.0]), lists([0.0, 0.1, 1.0])
    window = {"gen_pt": lists([10.0, 10.0]), "reco_pt": lists([1.0, 9.0, 25.0])}
    found = on_a_line(gen, reco, **window, min_pt_ratio=0.5, max_pt_ratio=2)
    assert found.reco_of_gen.tolist() == [1, -1]
    assert on_a_line(gen, reco, **window).reco_of_gen.tolist() == [0, 2]


def test_nan_has_no_partner():
    found = on_a_line(lists([np.nan, 0.0]), lists([0.0, np.nan]))
    assert found.reco_of_gen.tolist() == [-1, 0]


def test_samples_of_different_length():
    with pytest.raises(EventFileError, match="cannot match 2 GEN events to 1"):
        on_a_line(lists([0.0], []), lists([0.0]))


def test_by_index_the_nearest_wins():
    gen, reco = lists([0.0, 1.0], [0.0]), lists([0.3, 0.1, 5.0], [9.0])
    found = match_by_index(
        *(gen, zeros(gen), reco, zeros(reco)),
        gen_index=lists([0, 1], [0]),
        reco_index=lists([0, 0, 1], [-1]),
    )
    assert found.reco_of_gen.tolist() == [1, 2, -1]
    assert found.gen_of_reco.tolist() == [-1, 0, 1, -1]
    assert found.delta_r[:2] == pytest.approx([0.1, 4.0])


def test_by_index_of_what_is_left_of_a_collection():
    gen, reco = lists([1.0]), lists([0.0, 1.0])
    found = match_by_index(
        *(gen, zeros(gen), reco, zeros(reco)),
        gen_index=lists([7]),
        reco_index=lists([2, 7]),
        gen_pt=lists([10.0]),
        reco_pt=lists([10.0, 30.0]),
        max_pt_ratio=5.0,
    )
    assert found.reco_of_gen.tolist() == [1]


points = st.lists(
    st.tuples(st.floats(-2, 2), st.floats(-4, 4), st.sampled_from([1.0, 2.0, 4.0])), max_size=6
)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(points, points), min_size=1, max_size=4), st.floats(0.1, 3))
def test_one_to_one_and_no_closer_pair_is_left(events, radius):
    """Partners point to each other; no pair left out is closer than both its objects' matches."""
    gen = [lists(*([p[i] for p in g] for g, _ in events)) for i in range(3)]
    reco = [lists(*([p[i] for p in r] for _, r in events)) for i in range(3)]
    found = match(
        *(gen[0], gen[1], reco[0], reco[1]),
        max_delta_r=radius,
        gen_pt=gen[2],
        reco_pt=reco[2],
        min_pt_ratio=0.5,
        max_pt_ratio=2.0,
    )
    matched = np.flatnonzero(found.reco_of_gen >= 0)
    assert (found.gen_of_reco[found.reco_of_gen[matched]] == matched).all()
    assert len(matched) == np.count_nonzero(found.gen_of_reco >= 0)
    distance_of_reco = np.full(len(found.gen_of_reco), np.inf)
    distance_of_reco[found.reco_of_gen[matched]] = found.delta_r[matched]
    for event in range(len(events)):
        for i in range(*gen[0].offsets[event : event + 2]):
            for j in range(*reco[0].offsets[event : event + 2]):
                turn = (reco[1].content[j] - gen[1].content[i] + np.pi) % (2 * np.pi) - np.pi
                distance = np.hypot(reco[0].content[j] - gen[0].content[i], turn)
                ratio = reco[2].content[j] / gen[2].content[i]
                if found.reco_of_gen[i] == j:
                    assert found.delta_r[i] == pytest.approx(distance, abs=1e-9)
                    assert distance <= radius + 1e-9
                    assert 0.5 <= ratio <= 2
                elif distance < radius - 1e-9 and 0.5 <= ratio <= 2:
                    assert distance >= min(found.delta_r[i], distance_of_reco[j]) - 1e-9
