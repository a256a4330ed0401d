import subprocess
import sys

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen2reco.errors import EventFileError
from gen2reco.events import flat_columns, open_events, to_events, write_events


def write(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def read(path, **options):
    source = open_events(path)
    return ak.concatenate([chunk.events for chunk in source.chunks(**options)])


def test_columns_and_which_are_lists(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"run": [1, 1], "Muon_pt": [[1.0, 2.0], []], "tag": ["x", "y"]}
    )
    source = open_events(path)
    assert source.files[0].format == "parquet"
    assert source.entries == 2
    assert dict(source.is_list) == {
        "luminosityBlock": False,
        "event": False,
        "run": False,
        "Muon_pt": True,
    }
    assert next(iter(source)).Muon.pt.tolist() == [[1, 2], []]


def test_lists_of_structs_are_collections(tmp_path):
    events = ak.Array(
        [
            {
                "event": 1,
                "Muon": [{"pt": 1.0, "charge": 1}, {"pt": 2.0, "charge": -1}],
                "MET": {"pt": 3.0, "phi": 0.1},
            },
            {"event": 2, "Muon": [], "MET": {"pt": 4.0, "phi": 0.2}},
            {"event": 3, "Muon": [{"pt": 5.0, "charge": 1}], "MET": {"pt": 6.0, "phi": 0.3}},
        ]
    )
    ak.to_parquet(events, tmp_path / "a.parquet", row_group_size=2)
    source = open_events(tmp_path / "a.parquet")
    assert {"Muon_pt", "Muon_charge", "MET_phi"} <= set(source.columns)
    chunks = list(source.chunks(size=3, columns=["Muon_charge", "MET_pt"]))
    assert chunks[0].events.tolist() == [
        {"Muon": [{"charge": 1}, {"charge": -1}], "MET": {"pt": 3.0}},
        {"Muon": [], "MET": {"pt": 4.0}},
        {"Muon": [{"charge": 1}], "MET": {"pt": 6.0}},
    ]
    assert read(tmp_path / "a.parquet", columns=["Muon_pt"], start=1).Muon.pt.tolist() == [[], [5]]


def test_nullable_columns_without_nulls_have_no_option_type(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"run": pa.array([1, 2]), "Muon_pt": pa.array([[1.0], []])}
    )
    assert "?" not in str(read(path, columns=["run", "Muon_pt"]).type)


def test_a_missing_list_is_empty_and_a_missing_float_is_nan(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"Muon_pt": [[1.0, 2.0], None, [None]], "MET_pt": [1.0, None, 3.0]}
    )
    events = read(path, columns=["Muon_pt", "MET_pt"])
    assert ak.num(events.Muon.pt).tolist() == [2, 0, 1]
    assert np.isnan(events.Muon.pt[2, 0])
    assert np.isnan(events.MET.pt[1])


@pytest.mark.parametrize("column", [[1, 1, None, 2], [[1], [1], [3, None], [2]]])
def test_a_missing_integer_names_the_branch_and_the_row(tmp_path, column):
    path = write(tmp_path / "a.parquet", {"x_n": column})
    with pytest.raises(
        EventFileError, match=r"a\.parquet, branch x_n, row 2: a value of type int64 is missing"
    ):
        read(path, columns=["x_n"], start=1)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.large_list(pa.float32()), [[1, 2], [], [3]]),
        (pa.list_(pa.float32(), 2), [[1, 2], [3, 4], [5, 6]]),
        (pa.list_(pa.bool_()), [[True], [], [False, True]]),
        (pa.list_(pa.uint8()), [[1], [], [255, 2]]),
    ],
)
def test_kinds_of_lists(tmp_path, kind, values):
    path = write(tmp_path / "a.parquet", {"Jet_x": pa.array(values, kind)}, row_group_size=2)
    assert read(path, columns=["Jet_x"]).Jet.x.tolist() == values
    assert read(path, columns=["Jet_x"], start=1, stop=3).Jet.x.tolist() == values[1:]


def test_flags_are_read_from_any_entry(tmp_path):
    flags = np.random.default_rng(1).random(100) < 0.5
    path = write(tmp_path / "a.parquet", {"HLT_x": flags}, row_group_size=30)
    for start, stop in ((0, 100), (3, 5), (29, 61), (99, 100)):
        assert (
            read(path, columns=["HLT_x"], start=start, stop=stop).HLT.x.tolist()
            == flags[start:stop].tolist()
        )


@pytest.mark.parametrize(
    ("values", "word"), [(["a", "b"], "string"), ([[[1.0]], []], "list<"), ([None, None], "null")]
)
def test_other_types_are_refused_with_their_name(tmp_path, values, word):
    path = write(tmp_path / "a.parquet", {"x": values})
    source = open_events(path)
    assert "x" not in source.columns
    with pytest.raises(EventFileError, match=f"branch x: it holds {word}"):
        source.chunks(columns=["x"])


def test_row_groups_are_cut_at_the_asked_size(tmp_path, make_events, same_columns):
    events = make_events(100)
    write_events(tmp_path / "a.parquet", [events], row_group=30)
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [
        30,
        30,
        30,
        10,
    ]
    same_columns(read(tmp_path / "a.parquet"), events)


def test_only_the_columns_asked_for_are_decoded(tmp_path, make_events):
    path = tmp_path / "a.parquet"
    write_events(path, [make_events(200)])
    column = next(
        pq.ParquetFile(path).metadata.row_group(0).column(i)
        for i in range(50)
        if pq.ParquetFile(path).metadata.row_group(0).column(i).path_in_schema
        == "Jet_eta.list.element"
    )
    damaged = bytearray(path.read_bytes())
    begin = column.data_page_offset
    damaged[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(damaged)
    assert len(read(path, columns=["Jet_pt", "event"])) == 200
    with pytest.raises(EventFileError, match="damaged"):
        read(path, columns=["Jet_eta"])


def test_descriptions_and_no_nulls_in_the_schema(tmp_path, make_events):
    path = tmp_path / "a.parquet"
    write_events(path, [make_events()], descriptions={"Jet_pt": "transverse momentum, GeV"})
    schema = pq.read_schema(path)
    assert schema.field("Jet_pt").metadata[b"description"] == b"transverse momentum, GeV"
    assert not schema.field("Jet_pt").nullable
    assert not schema.field("Jet_pt").type.value_field.nullable


def test_types_are_kept(tmp_path):
    events = to_events(
        {
            "a": np.arange(3, dtype=np.int64),
            "b": np.arange(3.0),
            "Jet_charge": (np.array([0, 1, 1, 2]), np.array([1, 2], np.int8)),
        }
    )
    write_events(tmp_path / "a.parquet", [events])
    columns = flat_columns(read(tmp_path / "a.parquet", columns=["a", "b", "Jet_charge"]))
    assert columns["a"].dtype == np.int64
    assert columns["b"].dtype == np.float64
    assert columns["Jet_charge"].content.dtype == np.int8


def test_files_are_read_and_written_without_pandas(tmp_path):
    """Where it is installed, loading it takes most of a second of every command."""
    program = (
        "import sys, numpy as np\n"
        "from gen2reco.events import Jagged, open_events, to_events, write_events\n"
        "events = to_events({'run': np.ones(3, np.uint32), 'ok': np.array([True, False, True]),"
        " 'Jet_pt': Jagged(np.array([0, 2, 2, 3]), np.arange(3.0))})\n"
        "write_events(sys.argv[1], [events])\n"
        "(again,) = open_events(sys.argv[1])\n"
        "assert again.Jet.pt.to_list() == [[0, 1], [], [2]] and again.ok.to_list() == [1, 0, 1]\n"
        "print('pandas' in sys.modules)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "events.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "False"
