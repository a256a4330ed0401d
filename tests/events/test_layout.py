import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen2reco.errors import EventFileError
from gen2reco.events import Jagged, flat_columns, to_events


def jagged(*lists, dtype=np.float32):
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64)
    return Jagged(offsets, np.array([x for row in lists for x in row], dtype))


def test_columns_become_collections_records_and_scalars():
    events = to_events(
        {
            "run": np.array([1, 1], np.uint32),
            "Muon_pt": jagged([10, 20], []),
            "Muon_pfRelIso04_all": jagged([0.1, 0.2], []),
            "MET_pt": np.array([5.0, 6.0]),
            "MET_phi": np.array([0.5, 0.6]),
            "PSWeight": jagged([1, 2], [3]),
        }
    )
    assert events.fields == ["run", "Muon", "MET", "PSWeight"]
    assert events.Muon.pt.tolist() == [[10, 20], []]
    assert events.Muon.fields == ["pt", "pfRelIso04_all"]
    assert events.MET.phi.tolist() == [0.5, 0.6]
    assert events.PSWeight.tolist() == [[1, 2], [3]]
    assert "?" not in str(events.type)


def test_a_plain_column_beside_a_collection_keeps_its_full_name():
    columns = {
        "Jet_pt": jagged([1], [2]),
        "Jet_rho": np.array([7.0, 8.0]),
        "MET": np.array([1.0, 2.0]),
        "MET_phi": np.array([0.0, 0.1]),
    }
    events = to_events(columns)
    assert events.fields == ["Jet", "Jet_rho", "MET", "MET_phi"]
    assert list(flat_columns(events)) == list(columns)


def test_no_number_is_copied():
    pt = jagged([1, 2], [3])
    met = np.array([1.0, 2.0])
    events = to_events({"Jet_pt": pt, "MET_pt": met})
    back = flat_columns(events)
    assert np.shares_memory(back["Jet_pt"].content, pt.content)
    assert np.shares_memory(back["MET_pt"], met)


def test_pairs_of_offsets_and_content_are_accepted():
    events = to_events({"Jet_pt": (np.array([0, 1, 1]), np.array([4.0]))})
    assert events.Jet.pt.tolist() == [[4], []]


def test_disagreeing_objects_name_the_branch_and_the_row():
    columns = {"Muon_pt": jagged([1], [2], [3]), "Muon_eta": jagged([1], [2, 3], [])}
    with pytest.raises(
        EventFileError, match="branch Muon_eta, row 1: 2 objects where Muon_pt has 1"
    ):
        to_events(columns, file="f")


def test_disagreeing_lengths_name_the_branch():
    with pytest.raises(
        EventFileError, match="branch b: it has 3 events where other columns have 2"
    ):
        to_events({"a": np.zeros(2), "b": np.zeros(3)})


def test_part_starts_at_zero():
    column = jagged([1, 2], [], [3]).part(1, 3)
    assert column.offsets.tolist() == [0, 0, 1]
    assert column.content.tolist() == [3]


@pytest.mark.parametrize("cut", [slice(1, 3), [2, 0, 0], np.array([True, False, True, False])])
def test_any_selection_of_events_can_be_taken_apart(cut):
    events = to_events(
        {"event": np.arange(4), "Muon_pt": jagged([1, 2], [], [3], [4]), "MET_pt": np.arange(4.0)}
    )
    chosen = events[cut]
    columns = flat_columns(chosen)
    assert to_events(columns).tolist() == chosen.tolist()
    assert columns["Muon_pt"].offsets[0] == 0
    assert len(columns["Muon_pt"].content) == columns["Muon_pt"].offsets[-1]


def test_a_selection_of_objects_can_be_taken_apart():
    events = to_events({"Muon_pt": jagged([1, 20], [], [30]), "Muon_eta": jagged([0, 1], [], [2])})
    events = ak.with_field(events, events.Muon[events.Muon.pt > 10], "Muon")
    assert flat_columns(events)["Muon_eta"].content.tolist() == [1, 2]


def test_options_are_normalised_unless_something_is_missing():
    assert flat_columns(ak.Array({"x": ak.Array([1, None])[[0, 0]]}))["x"].tolist() == [1, 1]
    with pytest.raises(EventFileError, match="branch x, row 1: a value is missing"):
        flat_columns(ak.Array([{"x": 1}, {"x": None}]))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ([{"x": [[1.0]]}], "one list of numbers"),
        ([{"x": "text"}], "text"),
        ([{"x": {"y": {"z": 1}}}], "number"),
    ],
)
def test_what_is_neither_number_nor_list_is_refused(data, word):
    with pytest.raises(EventFileError, match=word):
        flat_columns(ak.Array(data))


def test_events_must_be_records():
    with pytest.raises(EventFileError, match="must be records"):
        flat_columns(ak.Array([1, 2]))


def test_the_same_flat_name_twice_is_refused():
    with pytest.raises(EventFileError, match="branch Jet_pt"):
        flat_columns(ak.Array({"Jet": ak.Array({"pt": [1]}), "Jet_pt": [2]}))


counts = st.lists(st.integers(0, 4), max_size=12)


@given(counts, st.sampled_from([np.float32, np.float64, np.int16, np.uint8, np.bool_]))
def test_layout_round_trip(counts, dtype):
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    content = (np.arange(offsets[-1]) % 2).astype(dtype)
    columns = {
        "a_x": Jagged(offsets, content),
        "a_y": Jagged(offsets, content),
        "b": np.arange(len(counts)),
        "c_z": np.zeros(len(counts), dtype),
    }
    back = flat_columns(to_events(columns))
    assert list(back) == list(columns)
    np.testing.assert_array_equal(back["a_y"].offsets, offsets)
    np.testing.assert_array_equal(back["a_y"].content, content)
    assert back["a_x"].content.dtype == back["c_z"].dtype == dtype
