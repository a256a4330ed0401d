import h5py
import numpy as np
import pytest

from gen2reco.errors import EventFileError
from gen2reco.events import open_events


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["event"] = np.arange(4)
        out["MET_pt"] = np.arange(4, dtype=">f4")
        out["Jet_pt"] = np.arange(8.0).reshape(4, 2)
        out["Muon_pt"] = np.array([1.0, 2.0, 3.0])
        out["Muon_charge"] = np.array([1, -1, 1], "i1")
        out["Muon_offsets"] = np.array([0, 2, 2, 2, 3])
        out["image"] = np.zeros((4, 2, 2))
        out["label"] = np.array([b"x"] * 4)
    return tmp_path / "a.h5"


def test_flat_arrays_fixed_and_varying_lists(file):
    source = open_events(file)
    assert source.files[0].format == "hdf5"
    assert source.entries == 4
    assert {name for name, listed in source.is_list.items() if listed} == {
        "Jet_pt",
        "Muon_pt",
        "Muon_charge",
    }
    events = next(iter(source))
    assert events.Jet.pt.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert events.Muon.charge.tolist() == [[1, -1], [], [], [1]]
    assert events.MET.pt.tolist() == [0, 1, 2, 3]


def test_entry_ranges(file):
    events = [
        c.events for c in open_events(file).chunks(size=2, columns=["Muon_pt", "Jet_pt"], start=1)
    ]
    assert [e.Muon.pt.tolist() for e in events] == [[[], []], [[3]]]
    assert events[1].Jet.pt.tolist() == [[6, 7]]


@pytest.mark.parametrize("name", ["image", "label"])
def test_other_shapes_and_types_are_refused(file, name):
    with pytest.raises(EventFileError, match=f"branch {name}: it holds"):
        open_events(file).chunks(columns=[name])


def test_datasets_may_lie_in_a_group(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["Events/Jet_pt"] = np.arange(3.0)
        out["Events/Jet_pt_offsets"] = np.array([0, 3])
    assert next(iter(open_events(tmp_path / "a.h5"))).Jet.pt.tolist() == [[0, 1, 2]]


def test_lengths_must_agree(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["a"] = np.arange(3)
        out["b"] = np.arange(4)
    with pytest.raises(EventFileError, match="branch b: it has 4 events where a has 3"):
        open_events(tmp_path / "a.h5")


def test_offsets_must_ascend(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["x"] = np.arange(3)
        out["x_offsets"] = np.array([0, 3, 1])
    with pytest.raises(EventFileError, match="branch x: its offsets do not ascend"):
        next(iter(open_events(tmp_path / "a.h5")))


def test_no_numbers_at_all(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["label"] = np.array([b"x"])
    with pytest.raises(EventFileError, match="no dataset of numbers"):
        open_events(tmp_path / "a.h5")
