"""The columns of a chunk are freed with the last use of them, not when the collector comes by.

What references itself in a circle stays until a full collection, which a process with large
libraries does every million events or so: memory would grow with their number.
"""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from gen2reco.events import Jagged, flat_columns, open_events
from gen2reco.rows.tables import Table, build_table
from gen2reco.study import load_study

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def sample(request, bundled):
    return {"wjet": bundled, "jets": DATA / "ttbar_small.parquet"}[request.param]


@pytest.mark.parametrize(("study", "sample"), [("wjet",) * 2, ("jets",) * 2], indirect=["sample"])
def test_a_table_leaves_nothing_behind(study, sample, without_collector):
    study = load_study(study)
    events = next(iter(open_events(sample).chunks(size=150))).events
    columns = {
        name: Jagged(column.offsets.copy(), column.content.copy())
        if isinstance(column, Jagged)
        else np.array(column)
        for name, column in flat_columns(events).items()
    }
    watched = {
        name: weakref.ref(column.content if isinstance(column, Jagged) else column)
        for name, column in columns.items()
    }
    for targets in (False, True):
        table = build_table(study, study.parts[0], columns, targets=targets)
        assert len(table) > 50
        del table
    del columns
    assert [name for name, column in watched.items() if column() is not None] == []


def test_values_laid_out_for_rows_leave_nothing_behind(without_collector):
    from gen2reco.rows.expressions import Namespace

    pt = np.arange(1.0, 7.0)
    watched = weakref.ref(pt)
    columns = {"Jet_pt": Jagged(np.array([0, 2, 3, 6]), pt)}
    names = Namespace(columns).rows(np.array([0, 0, 2]), {"x": np.array([1.0, 2.0, 4.5])})
    assert names.evaluate("count(Jet)").values.tolist() == [2, 2, 3]
    assert names.evaluate("sum(where(Jet, pt > x).pt)").values.tolist() == [2.0, 0.0, 11.0]
    del names, pt, columns
    assert watched() is None


def test_a_table_is_not_in_memory_beside_its_pieces_or_its_parts(bundled, without_collector):
    study = load_study("wjet")
    pieces = [
        build_table(study, study.parts[0], chunk.events, targets=True)
        for chunk in open_events(bundled).chunks(size=200, stop=400)
    ]
    sides = ("condition", "target", "relative_to", "given")
    whole = Table.concatenate(pieces)
    watched = [weakref.ref(column) for piece in pieces for column in piece.target.values()]
    joined = Table.concatenate(pieces, drain=True)
    assert all(column() is None for column in watched)
    mask = np.arange(len(whole)) % 3 == 0
    expected = whole.take(mask), whole.take(~mask)
    watched = [weakref.ref(column) for column in joined.condition.values()]
    parts = joined.drained(mask, ~mask)
    assert all(column() is None for column in watched)
    for part, wanted in zip(parts, expected, strict=True):
        assert part.dropped == wanted.dropped
        np.testing.assert_array_equal(part.keys.event, wanted.keys.event)
        for side in sides:
            found, columns = getattr(part, side), getattr(wanted, side)
            assert list(found) == list(columns)
            for name, column in columns.items():
                np.testing.assert_array_equal(found[name], column)
