import awkward as ak
import numpy as np
import pytest
import uproot

from gen2reco.errors import EventFileError
from gen2reco.events import open_events, write_events


@pytest.fixture
def nano(tmp_path):
    """A file as other tools write NanoAOD: counters, text, fixed-length branches, other trees."""
    muon = ak.Array(
        [[{"pt": 1.0, "charge": 1}, {"pt": 2.0, "charge": -1}], [], [{"pt": 3.0, "charge": 1}]]
    )
    with uproot.recreate(tmp_path / "nano.root") as file:
        tree = file.mktree(
            "Events",
            {
                "run": "u4",
                "luminosityBlock": "u4",
                "event": "u8",
                "Muon": "var * {pt: float32, charge: int32}",
                "PSWeight": "var * float32",
                "MET_pt": "f4",
                "HLT_IsoMu24": "?",
                "vertex": np.dtype(("f4", (3,))),
                "nBunches": "i4",
            },
            counter_name=lambda name: f"n{name}",
            field_name=lambda name, field: f"{name}_{field}",
        )
        tree.extend(
            {
                "run": np.ones(3, "u4"),
                "luminosityBlock": np.ones(3, "u4"),
                "event": np.arange(3, dtype="u8"),
                "Muon": muon,
                "PSWeight": ak.Array([[1.0], [1.0, 2.0], []]),
                "MET_pt": np.arange(3, dtype="f4"),
                "HLT_IsoMu24": np.array([True, False, True]),
                "vertex": np.zeros((3, 3), "f4"),
                "nBunches": np.arange(3, dtype="i4"),
            }
        )
        runs = file.mktree("Runs", {"run": "u4"})
        runs.extend({"run": np.ones(1, "u4")})
    return tmp_path / "nano.root"


def test_a_tree_is_read_without_its_counters(nano):
    source = open_events(nano)
    assert source.files[0].format == "nanoaod"
    assert set(source.columns) == {
        *("run", "luminosityBlock", "event", "Muon_pt", "Muon_charge", "PSWeight", "MET_pt"),
        *("HLT_IsoMu24", "nBunches"),
    }
    events = next(iter(source))
    assert events.Muon.pt.tolist() == [[1, 2], [], [3]]
    assert events.PSWeight.tolist() == [[1], [1, 2], []]
    assert events.HLT.IsoMu24.tolist() == [True, False, True]
    assert str(events.Muon.charge.type) == "3 * var * int32"


def test_entry_ranges_of_a_tree(nano):
    chunks = list(open_events(nano).chunks(size=1, columns=["Muon_pt", "event"], start=1))
    assert [chunk.events.Muon.pt.tolist() for chunk in chunks] == [[[]], [[3]]]
    assert [(chunk.start, chunk.index) for chunk in chunks] == [(1, 1), (2, 2)]


def test_a_branch_of_another_type_is_refused(nano):
    with pytest.raises(EventFileError, match=r"branch vertex: it holds float\[3\]"):
        open_events(nano).chunks(columns=["vertex"])


def test_a_missing_branch_names_the_nearest(nano):
    with pytest.raises(
        EventFileError,
        match=r"nano\.root, branch Muon_Pt: there is no such branch. Did you mean 'Muon_pt'",
    ):
        open_events(nano).chunks(columns=["Muon_Pt"])


def test_a_missing_tree_names_those_there_are(nano):
    with pytest.raises(
        EventFileError, match=r"no tree 'Event'; it has Events, Runs\. Did you mean 'Events'"
    ):
        open_events(nano, tree="Event")


def test_another_tree_can_be_named(nano):
    assert open_events(nano, tree="Runs").entries == 1


def test_a_file_without_any_tree(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file["text"] = "nothing"
    with pytest.raises(EventFileError, match="no tree at all"):
        open_events(tmp_path / "a.root")


@pytest.mark.parametrize("records", [True, False])
def test_an_rntuple_with_records_or_flat_fields(tmp_path, records):
    pt = ak.Array([[1.0, 2.0], [], [3.0]])
    data = {
        "event": np.arange(3, dtype="u8"),
        "nested": ak.Array([[[1.0]], [], []]),
        "text": ak.Array(["a", "b", "c"]),
    }
    data |= {"Muon": ak.zip({"pt": pt})} if records else {"Muon_pt": pt, "nMuon": ak.num(pt)}
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("Events", ak.zip(data, depth_limit=1))
    source = open_events(tmp_path / "a.root")
    assert source.files[0].format == "rntuple"
    assert set(source.columns) == {"run", "luminosityBlock", "event", "Muon_pt"}
    chunks = list(source.chunks(size=2, columns=["Muon_pt", "event"]))
    assert [c.events.Muon.pt.tolist() for c in chunks] == [[[1, 2], []], [[3]]]
    for name in ("nested", "text"):
        with pytest.raises(EventFileError, match=f"branch {name}: it holds"):
            source.chunks(columns=[name])


def test_baskets_of_any_size_read_the_same(tmp_path, make_events, same_columns):
    events = make_events(100)
    for row_group in (7, 50, 1000):
        write_events(tmp_path / "a.root", [events], row_group=row_group, overwrite=True)
        for size in (13, 100):
            chunks = open_events(tmp_path / "a.root").chunks(size=size)
            same_columns(ak.concatenate([chunk.events for chunk in chunks]), events)
