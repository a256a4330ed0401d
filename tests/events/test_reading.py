import re

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen2reco.errors import EventFileError, StudyError
from gen2reco.events import flat_columns, open_events, to_events, write_events


@pytest.fixture
def three(tmp_path, make_events):
    """Three files of 10, 0 and 25 events whose `event` counts on, in two formats."""
    write_events(tmp_path / "a.parquet", [make_events(10)])
    write_events(tmp_path / "b.parquet", [make_events(0)])
    write_events(tmp_path / "c.root", [make_events(25, first=10)])
    return [tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.root"]


@pytest.mark.parametrize("size", [1, 7, 10, 1000])
def test_chunks_of_several_files(three, size):
    source = open_events(three)
    assert source.entries == len(source) == 35
    assert [file.entries for file in source.files] == [10, 0, 25]
    assert [file.format for file in source.files] == ["parquet", "parquet", "nanoaod"]
    chunks = list(source.chunks(size, columns=["event"]))
    assert np.concatenate([c.events.event for c in chunks]).tolist() == list(range(35))
    for chunk in chunks:
        assert 0 < len(chunk) <= size
        assert chunk.events.event[0] == chunk.index
        assert chunk.start == chunk.index - (10 if chunk.file.endswith("c.root") else 0)
        assert chunk.events.fields == ["event"]


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
def test_any_entry_range(three, start, stop, size):
    chunks = open_events(three).chunks(size, columns=["event"], start=start, stop=stop)
    seen = [number for chunk in chunks for number in chunk.events.event.tolist()]
    assert seen == list(range(35))[start:stop]


def test_iteration_gives_all_columns(three, make_events, same_columns):
    first = next(iter(open_events(three)))
    same_columns(first, make_events(10))


def test_globs_are_sorted_and_strings_are_paths(three):
    folder = three[0].parent
    source = open_events(str(folder / "*.parquet"))
    assert [file.path.name for file in source.files] == ["a.parquet", "b.parquet"]
    assert len(open_events([str(folder / "**" / "*.root"), three[0]]).files) == 2


def test_the_content_decides_the_format(three, tmp_path):
    three[2].rename(tmp_path / "wrong.parquet")
    assert open_events(tmp_path / "wrong.parquet").files[0].format == "nanoaod"


def test_only_common_columns_are_offered_but_others_are_named(three, tmp_path, make_events):
    columns = flat_columns(make_events(5)) | {"extra_x": np.zeros(5)}
    write_events(tmp_path / "d.parquet", [to_events(columns)])
    source = open_events([tmp_path / "d.parquet", three[0]])
    assert "extra_x" not in source.columns
    with pytest.raises(
        EventFileError, match=r"a\.parquet, branch extra_x: there is no such branch"
    ):
        source.chunks(columns=["extra_x"])


def test_ids_of_a_file_without_ids(tmp_path):
    write_events(tmp_path / "a.parquet", [to_events({"MET_pt": np.arange(5.0)})])
    source = open_events(tmp_path / "a.parquet")
    assert source.columns == ("run", "luminosityBlock", "event", "MET_pt")
    digest = source.files[0].digest()
    chunk = next(source.chunks(columns=["run", "event"], start=3))
    assert chunk.events.run.tolist() == [int(digest[-8:], 16)] * 2
    assert chunk.events.event.tolist() == [3, 4]


def test_ids_of_files_of_one_run_that_number_no_events(tmp_path):
    for number in range(2):
        columns = {name: np.ones(5, np.uint32) for name in ("run", "luminosityBlock")}
        pt = np.arange(5.0) + number
        write_events(tmp_path / f"{number}.parquet", [to_events({**columns, "MET_pt": pt})])
    source = open_events([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    chunks = [chunk.events for chunk in source.chunks(2)]
    assert {run for events in chunks for run in events.run} == {1}
    ids = [event for events in chunks for event in events.event.tolist()]
    assert len(set(ids)) == 10
    digest = source.files[1].digest()
    assert ids[5:] == [(int(digest[:8], 16) >> 1 << 32) + entry for entry in range(5)]
    assert max(ids) < 2**63


def test_ids_get_the_types_of_nanoaod(tmp_path):
    events = to_events(
        {"run": np.array([1, 2]), "luminosityBlock": np.array([1, 1]), "event": np.array([5, 6])}
    )
    write_events(tmp_path / "a.parquet", [events])
    read = next(iter(open_events(tmp_path / "a.parquet")))
    assert str(read.type) == "2 * {run: uint32, luminosityBlock: uint32, event: uint64}"


@pytest.mark.parametrize(
    ("name", "values"), [("run", [1, 2**33]), ("event", [3, -1]), ("run", [1.0, 2.0])]
)
def test_ids_that_do_not_fit_are_refused(tmp_path, name, values):
    write_events(tmp_path / "a.parquet", [to_events({name: np.array(values)})])
    with pytest.raises(EventFileError, match=f"branch {name}"):
        next(iter(open_events(tmp_path / "a.parquet")))


def test_a_missing_file_names_the_nearest(three):
    with pytest.raises(EventFileError, match=r"no such file. Did you mean .*a\.parquet"):
        open_events(three[0].parent / "aa.parquet")


def test_a_pattern_without_match(tmp_path):
    with pytest.raises(EventFileError, match=r"\*\.root: no file matches"):
        open_events(tmp_path / "*.root")


def test_no_files(tmp_path):
    with pytest.raises(EventFileError, match="no file of events was named"):
        open_events([])


def test_a_folder(tmp_path):
    with pytest.raises(EventFileError, match="a folder; name its files"):
        open_events(tmp_path)


def test_a_file_named_twice(three):
    with pytest.raises(EventFileError, match="named twice"):
        open_events([three[0], three[0].parent / "." / "a.parquet"])
    for link in ("soft", "hard"):
        other = three[0].parent / f"{link}.parquet"
        (other.symlink_to if link == "soft" else other.hardlink_to)(three[0])
        with pytest.raises(
            EventFileError, match=rf"{link}\.parquet: it is named twice, also as .*a"
        ):
            open_events([three[0], other])


def test_lists_that_disagree_are_told_with_their_entry(tmp_path):
    pt = [[1.0]] * 5 + [[1.0, 2.0]] + [[1.0]] * 4
    table = pa.table({"Jet_pt": pt, "Jet_eta": [[0.5]] * 10})
    pq.write_table(table, tmp_path / "a.parquet")
    for size in (2, 4, 100):
        with pytest.raises(EventFileError, match=r"Jet_eta, row 5: 1 objects where .*must agree"):
            list(open_events(tmp_path / "a.parquet").chunks(size))


def test_an_empty_file(tmp_path):
    (tmp_path / "a.root").touch()
    with pytest.raises(EventFileError, match=r"a\.root: it is empty \(0 bytes\)"):
        open_events(tmp_path / "a.root")


@pytest.mark.parametrize(
    ("name", "word"), [("a.root", "as a ROOT file does"), ("a.txt", "not Parquet, ROOT or HDF5")]
)
def test_another_kind_of_file(tmp_path, name, word):
    (tmp_path / name).write_text("hello, events")
    with pytest.raises(EventFileError, match=word):
        open_events(tmp_path / name)


def test_settings_that_make_no_sense(three):
    source = open_events(three)
    with pytest.raises(StudyError, match="at least 1 event"):
        source.chunks(0)
    with pytest.raises(StudyError, match="entries count from 0"):
        source.chunks(start=-1)


def _make(path, events):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as out:
            for name, column in flat_columns(events).items():
                out[name] = column.content if hasattr(column, "content") else column
                if hasattr(column, "offsets"):
                    out[f"{name}_offsets"] = column.offsets
    else:
        write_events(path, [events], row_group=100)


@pytest.mark.parametrize("name", ["a.parquet", "a.root", "a.rntuple.root", "a.h5"])
def test_a_truncated_file_is_one_clear_error(tmp_path, make_events, name):
    path = tmp_path / name
    _make(path, make_events(400))
    content = path.read_bytes()
    cut = tmp_path / f"cut{path.suffix}"
    rng = np.random.default_rng(1)
    for length in [4, 5, 30, len(content) - 1, *rng.integers(6, len(content), 25)]:
        cut.write_bytes(content[:length])
        try:
            read = [chunk.events for chunk in open_events(cut).chunks(50)]
        except EventFileError as error:
            assert error.file == str(cut)  # noqa: PT017
            assert re.search("damaged or was not written to its end|is cut off", str(error))  # noqa: PT017
        else:
            # A ROOT file may lose unused bytes at its end; what is read must then be complete.
            assert length > len(content) * 0.9
            assert sum(map(len, read)) == 400


def test_a_file_that_shrinks_while_it_is_read(tmp_path, make_events):
    path = tmp_path / "a.root"
    write_events(path, [make_events(400)], row_group=100)
    source = open_events(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(EventFileError, match=r"damaged|cut off"):
        list(source.chunks(50))


def test_no_file_stays_open(three, recwarn):
    iterator = open_events(three).chunks(5)
    next(iterator)
    iterator.close()
    assert not [w for w in recwarn if w.category is ResourceWarning]


def test_valid_files_without_events(tmp_path, make_events):
    for name in ("a.parquet", "a.root", "a.rntuple.root", "a.h5"):
        _make(tmp_path / name, make_events(0))
        source = open_events(tmp_path / name)
        assert source.entries == 0
        assert "Jet_pt" in source.columns
        assert list(source.chunks()) == []


def test_a_tree_of_another_name(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("nominal", {"Jet_pt": "var * float32"}).extend(
            {"Jet_pt": to_events({"Jet_pt": (np.array([0, 1]), np.ones(1, "f4"))}).Jet.pt}
        )
    assert next(iter(open_events(tmp_path / "a.root", tree="nominal"))).Jet.pt.tolist() == [[1]]
