import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import awkward as ak
import numpy as np
import pytest

from gen2reco.errors import EventFileError, OutputExistsError
from gen2reco.events import EventWriter, Jagged, flat_columns, open_events, to_events, write_events
from gen2reco.events.nanoaod import TreeWriter

NAMES = ["a.parquet", "a.root", "a.rntuple.root"]


def read(path):
    return ak.concatenate(list(open_events(path)))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read(tmp_path, make_events, same_columns, name):
    events = make_events(100)
    summary = write_events(tmp_path / name, [events[:30], events[30:30], events[30:]])
    same_columns(read(tmp_path / name), events)
    source = open_events(tmp_path / name)
    assert source.files[0].format == summary["format"]
    assert [file.name for file in sorted(tmp_path.iterdir())] == [name, f"{name}.json"]


@pytest.mark.parametrize("name", NAMES)
def test_the_content_does_not_depend_on_the_chunks(tmp_path, make_events, same_columns, name):
    events = make_events(60)
    for size in (1, 7, 60):
        chunks = (events[i : i + size] for i in range(0, 60, size))
        write_events(tmp_path / f"{size}.{name}", chunks, row_group=25)
    for size in (1, 7):
        same_columns(read(tmp_path / f"{size}.{name}"), read(tmp_path / f"60.{name}"))
    if name.endswith("parquet"):
        assert len({(tmp_path / f"{size}.{name}").read_bytes() for size in (1, 7, 60)}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_events_and_no_chunks_are_valid_files(tmp_path, make_events, name):
    write_events(tmp_path / f"0.{name}", [make_events(0)])
    assert open_events(tmp_path / f"0.{name}").entries == 0
    assert open_events(tmp_path / f"0.{name}").is_list["Muon_pt"]
    summary = write_events(tmp_path / f"1.{name}", [])
    assert summary["columns"] == ["run", "luminosityBlock", "event"]
    assert open_events(tmp_path / f"1.{name}").entries == 0


def test_the_sidecar(tmp_path, make_events):
    events = make_events(40)
    sidecar = {"seed": 3, "entries": "not yours"}
    with EventWriter(tmp_path / "a.parquet", sidecar=sidecar) as writer:
        writer.append(events)
        sidecar["dropped"] = {"no jet": np.int64(2)}
    summary = json.loads((tmp_path / "a.parquet.json").read_text())
    assert set(summary) == set(writer.summary)
    assert summary["sha256"] == hashlib.sha256((tmp_path / "a.parquet").read_bytes()).hexdigest()
    assert summary["sha256"] == open_events(tmp_path / "a.parquet").files[0].digest()
    assert summary["entries"] == 40
    assert summary["sumw"] == summary["genEventSumw"] == np.sum(events.genWeight)
    assert summary["seed"] == 3
    assert summary["dropped"] == {"no jet": 2}
    assert set(summary["columns"]) == set(flat_columns(events))
    assert "pyarrow" in summary["versions"]


def test_generated_events_are_counted_with_those_left_out(tmp_path, make_events):
    events = make_events(10)
    with EventWriter(tmp_path / "a.root") as writer:
        for start in (0, 10):
            run = np.array([1] * 6 + [2] * 4)
            writer.count_generated(
                run=run, luminosityBlock=np.full(10, 5 + start), weight=np.full(10, 0.5)
            )
        writer.append(events)
    runs = next(iter(open_events(tmp_path / "a.root", tree="Runs")))
    assert runs.run.tolist() == [1, 2]
    assert runs.genEventCount.tolist() == [12, 8]
    assert runs.genEventSumw.tolist() == [6, 4]
    assert runs.genEventSumw2.tolist() == [3, 2]
    blocks = next(open_events(tmp_path / "a.root", tree="LuminosityBlocks").chunks())
    assert list(zip(blocks.events.run, blocks.events.luminosityBlock, strict=True)) == [
        (1, 5),
        (1, 15),
        (2, 5),
        (2, 15),
    ]
    assert writer.summary["genEventCount"] == 20
    assert writer.summary["entries"] == 10


def test_an_existing_output_is_refused_before_any_work(tmp_path, make_events):
    (tmp_path / "a.root").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"a\.root is already there"):
        EventWriter(tmp_path / "a.root")
    assert (tmp_path / "a.root").read_text() == "mine"
    write_events(tmp_path / "a.root", [make_events(5)], overwrite=True)
    assert open_events(tmp_path / "a.root").entries == 5


def test_a_pipe_and_a_link_to_a_device_are_not_replaced(tmp_path, make_events):
    os.mkfifo(tmp_path / "pipe.root")
    (tmp_path / "link.root").symlink_to(os.devnull)
    for name in ("pipe.root", "link.root"):
        with pytest.raises(EventFileError, match=rf"{name}: this is a device, a pipe or a socket"):
            write_events(tmp_path / name, [make_events(5)], overwrite=True)
    assert (tmp_path / "pipe.root").is_fifo()
    assert (tmp_path / "link.root").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_told_though_the_file_cannot_be_closed(tmp_path, make_events, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TreeWriter, "write", full)
    monkeypatch.setattr(TreeWriter, "abandon", full)
    with pytest.raises(EventFileError, match=r"a\.root: it cannot be written: No space left"):
        write_events(tmp_path / "a.root", [make_events(5)])
    assert list(tmp_path.iterdir()) == []


def test_data_that_do_not_reach_the_disk_are_no_file(tmp_path, make_events, monkeypatch):
    """A network file system may say so only when it is asked to flush."""

    def full(_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EventFileError, match=r"a\.root: it cannot be written: Disk quota"):
        write_events(tmp_path / "a.root", [make_events(5)])
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_the_first_to_finish_wins(tmp_path, make_events):
    first, second = EventWriter(tmp_path / "a.parquet"), EventWriter(tmp_path / "a.parquet")
    first.append(make_events(5))
    second.append(make_events(7))
    first.close()
    with pytest.raises(OutputExistsError):
        second.close()
    assert open_events(tmp_path / "a.parquet").entries == 5
    assert json.loads((tmp_path / "a.parquet.json").read_text())["entries"] == 5
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", NAMES)
def test_an_error_leaves_nothing_behind(tmp_path, make_events, name):
    def chunks():
        yield make_events(30)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        write_events(tmp_path / name, chunks(), row_group=10)
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_file_that_was_to_be_replaced(tmp_path, make_events):
    write_events(tmp_path / "a.root", [make_events(5)])

    def chunks():
        yield make_events(9)
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        write_events(tmp_path / "a.root", chunks(), overwrite=True)
    assert open_events(tmp_path / "a.root").entries == 5
    assert json.loads((tmp_path / "a.root.json").read_text())["entries"] == 5


def test_a_file_that_does_not_read_back_is_not_published(tmp_path, make_events, monkeypatch):
    writer = EventWriter(tmp_path / "a.parquet")
    writer.append(make_events(5))
    writer.entries += 1
    with pytest.raises(EventFileError, match="written 6 events but 5 read back"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_chunks_must_fit_the_first(tmp_path, make_events, name):
    events = make_events(5)
    columns = flat_columns(events)
    short = {k: v for k, v in columns.items() if k != "Jet_eta"}
    more = columns | {"Jet_x": columns["Jet_pt"]}
    other = columns | {"MET_pt": columns["MET_pt"].astype(np.float64)}
    flat = columns | {"MET_pt": Jagged(np.arange(6), columns["MET_pt"])}
    for odd, word in (
        (short, "Jet_eta: missing"),
        (more, "Jet_x: new"),
        (other, "MET_pt: float64 where"),
        (flat, "MET_pt: lists of"),
    ):
        with pytest.raises(EventFileError, match=f"branch {word}"):
            write_events(tmp_path / name, [events, to_events(odd)])
    assert list(tmp_path.iterdir()) == []


def test_empty_lists_of_unknown_type_fit(tmp_path, make_events):
    events = make_events(5)
    unknown = ak.with_field(events[:2], ak.Array([[], []]), "x")
    known = ak.with_field(
        events,
        ak.Array(
            ak.contents.ListOffsetArray(
                ak.index.Index64(np.arange(6)), ak.contents.NumpyArray(np.ones(5, "f4"))
            )
        ),
        "x",
    )
    write_events(tmp_path / "a.parquet", [known, unknown])
    assert str(read(tmp_path / "a.parquet").x.type) == "7 * var * float32"


def test_half_precision_becomes_float32(tmp_path):
    write_events(
        tmp_path / "a.parquet", [to_events({"x": np.ones(2, np.float16), "y": np.ones(2)})]
    )
    assert (
        str(next(open_events(tmp_path / "a.parquet").chunks(columns=["x", "y"])).events.type)
        == "2 * {x: float32, y: float64}"
    )


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("a.txt", {}, "'.txt' names no format"),
        ("a.root", {"format": "ntuple"}, "Did you mean 'rntuple'"),
        ("no/a.root", {}, "folder of this file is not there"),
        ("a.root", {"row_group": 0}, "at least 1 event"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, name, options, word):
    with pytest.raises(EventFileError, match=word):
        EventWriter(tmp_path / name, **options)


def test_a_folder_is_no_output(tmp_path):
    (tmp_path / "a.root").mkdir()
    with pytest.raises(EventFileError, match="a folder"):
        EventWriter(tmp_path / "a.root")


@pytest.mark.parametrize("name", ["x.root", "x.parquet"])
def test_the_format_asked_for_goes_before_the_suffix(tmp_path, make_events, name):
    write_events(tmp_path / name, [make_events(3)], format="rntuple")
    assert open_events(tmp_path / name).files[0].format == "rntuple"


def test_columns_may_be_any_nested_selection(tmp_path, make_events):
    events = make_events(30)
    events = ak.with_field(events, events.Jet[events.Jet.pt > 30], "Jet")[events.MET.pt > 10]
    write_events(tmp_path / "a.root", [events])
    assert read(tmp_path / "a.root").Jet.eta.tolist() == events.Jet.eta.tolist()


KILLED = """
import sys, numpy as np
from gen2reco.events import EventWriter, to_events, Jagged
n = 2000
columns = {"run": np.ones(n, np.uint32), "luminosityBlock": np.ones(n, np.uint32)}
columns["Jet_pt"] = Jagged(np.arange(n + 1), np.random.default_rng(1).random(n))
print("go", flush=True)
for i in range(10**6):
    with EventWriter(sys.argv[1], overwrite=True, row_group=1000) as writer:
        for j in range(3):
            columns["event"] = np.arange(j * n, (j + 1) * n, dtype=np.uint64)
            writer.append(to_events(columns))
"""


def kill_and_look(path, kills):
    for delay in np.random.default_rng(1).uniform(0, 0.2, kills):
        command = [sys.executable, "-c", KILLED, str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if path.exists():
            source = open_events(path)
            assert source.entries == 6000
            assert sum(len(chunk) for chunk in source.chunks()) == 6000
            beside = path.with_name(f"{path.name}.json")
            if beside.exists():
                assert json.loads(beside.read_text())["entries"] == 6000
    EventWriter(path.parent / "other.root").close()
    assert not list(path.parent.glob(".*"))


def test_a_kill_leaves_no_partial_file(tmp_path):
    kill_and_look(tmp_path / "a.root", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_kills_at_any_moment_leave_no_partial_file(tmp_path, name):
    kill_and_look(tmp_path / name, 8)


STREAMED = """
import resource, sys
import numpy as np
from gen2reco.events import EventWriter, Jagged, open_events, to_events
n, chunks = 20_000, int(sys.argv[2])
rng = np.random.default_rng(1)
columns = {"run": np.ones(n, np.uint32), "luminosityBlock": np.ones(n, np.uint32)}
for name in ("Jet_pt", "Jet_eta", "Jet_phi", "Muon_pt"):
    columns[name] = Jagged(2 * np.arange(n + 1), rng.random(2 * n).astype(np.float32))
with EventWriter(sys.argv[1], row_group=n) as writer:
    for i in range(chunks):
        columns["event"] = np.arange(i * n, (i + 1) * n, dtype=np.uint64)
        writer.append(to_events(columns)[i % 7 :])
entries = sum(len(chunk) for chunk in open_events(sys.argv[1]).chunks(n))
assert entries == writer.entries
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_events(tmp_path, name):
    peaks = []
    for chunks in (5, 50):
        command = [sys.executable, "-c", STREAMED, str(tmp_path / f"{chunks}.{name}"), str(chunks)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(run.stdout))
    assert peaks[1] < 1.1 * peaks[0], f"kB for 100 000 and 1 000 000 events: {peaks}"
