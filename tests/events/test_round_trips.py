"""Whatever the shape of the events, every format gives back what was written, in any chunks."""

import awkward as ak
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen2reco.events import Jagged, open_events, to_events, write_events

TYPES = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint16, np.bool_]


@st.composite
def events(draw):
    """Up to 20 events with up to 3 collections, many of them empty, sometimes all."""
    entries = draw(st.integers(0, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def numbers(size, dtype):
        return (
            rng.integers(0, 2, size).astype(dtype)
            if dtype is np.bool_
            else rng.integers(0, 200, size).astype(dtype)
        )

    columns = {
        "run": np.ones(entries, np.uint32),
        "luminosityBlock": np.arange(entries, dtype=np.uint32),
        "event": rng.permutation(entries).astype(np.uint64),
    }
    for name in draw(st.lists(st.sampled_from(["Muon", "Jet", "X"]), unique=True)):
        counts = rng.integers(0, draw(st.integers(1, 4)), entries)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        for field in draw(st.lists(st.sampled_from(["a", "b_c", "d"]), min_size=1, unique=True)):
            columns[f"{name}_{field}"] = Jagged(
                offsets, numbers(offsets[-1], draw(st.sampled_from(TYPES)))
            )
    for name in draw(st.lists(st.sampled_from(["MET_a", "MET_b", "plain"]), unique=True)):
        columns[name] = numbers(entries, draw(st.sampled_from(TYPES)))
    return columns


@pytest.mark.parametrize("name", ["a.parquet", "a.root", "a.rntuple.root", "a.h5"])
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(columns=events(), row_group=st.integers(1, 25), chunk=st.integers(1, 25), data=st.data())
def test_round_trip(tmp_path, same_columns, name, *, columns, row_group, chunk, data):
    made = to_events(columns)
    path = tmp_path / name
    if name == "a.h5":
        with h5py.File(path, "w") as out:
            for column, values in columns.items():
                out[column] = values.content if isinstance(values, Jagged) else values
                if isinstance(values, Jagged):
                    out[f"{column}_offsets"] = values.offsets
    else:
        edges = sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=3)))
        pieces = [made[a:b] for a, b in zip([0, *edges], [*edges, len(made)], strict=True)]
        write_events(path, pieces, row_group=row_group, overwrite=True)
    source = open_events(path)
    assert source.entries == len(made)
    assert set(source.columns) == set(columns)
    chunks = [c.events for c in source.chunks(chunk)]
    assert [len(c) for c in chunks] == [
        min(chunk, len(made) - i) for i in range(0, len(made), chunk)
    ]
    if chunks:
        same_columns(ak.concatenate(chunks), columns)
