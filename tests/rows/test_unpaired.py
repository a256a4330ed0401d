"""Unpaired rows: GEN and RECO of disjoint events, each with a selection of its own."""

import numpy as np
import pytest

from gen2reco.errors import TrainingError
from gen2reco.rng import Keys
from gen2reco.rows.splits import (
    GEN_SIDE,
    RECO_SIDE,
    TRAIN,
    VALIDATION,
    halves,
    known_pairs,
    sides,
    split,
)
from gen2reco.rows.tables import build_table
from gen2reco.rows.unpaired import join_chunks, join_sides
from gen2reco.study import Split, Study
from gen2reco.verbs.training_rows import read_tables

N = 4000


class Source:
    """Events in memory that stand for a file, in two chunks."""

    entries = N

    def __init__(self, columns):
        self._columns = columns
        self.columns = tuple(columns)
        self.is_list = dict.fromkeys(columns, False)
        self.unfit = {}

    def chunks(self, size, columns, start, stop):  # noqa: ARG002
        from types import SimpleNamespace

        from gen2reco.events.layout import to_events

        for rows in (slice(0, 1500), slice(1500, N)):
            events = to_events({name: self._columns[name][rows] for name in columns})
            yield SimpleNamespace(events=events, file="memory")


@pytest.fixture(scope="module")
def columns():
    """GenMET and MET know which event they are of."""
    number = np.arange(1, N + 1)
    return {
        "run": np.ones(N, np.uint32),
        "luminosityBlock": 1 + (number // 100).astype(np.uint32),
        "event": number.astype(np.uint64),
        "weight": np.where(number > N // 2, 2.0, 1.0),
        "GenMET_pt": number.astype(np.float64),
        "MET_pt": number.astype(np.float64),
    }


def study(**rows) -> Study:
    changes = rows.pop("study", {})
    return Study.model_validate(
        {
            "name": "unpaired",
            "parts": [
                {
                    "rows": {"kind": "event", "pairing": "unpaired", **rows},
                    "condition": [{"name": "z", "value": "GenMET.pt"}],
                    "target": [{"name": "x", "value": "MET.pt"}],
                    "model": {"kind": "flow"},
                }
            ],
            **changes,
        }
    )


def test_no_event_gives_both_sides(columns):
    table = read_tables(study(), Source(columns))[0]["event"]
    z, x = table.condition["z"], table.target["x"]
    assert len(z) == len(x) == len(set(z)) == len(set(x)) > 0.35 * N
    assert not set(z) & set(x)
    assert (table.keys.event == z).all()


def test_training_and_validation_stay_apart_on_both_sides(columns):
    table = read_tables(study(), Source(columns))[0]["event"]
    part = split(columns, Split())
    of = part[table.target["x"].astype(int) - 1]
    assert (of == split(table.keys, Split())).all()
    assert set(of.tolist()) == {TRAIN, VALIDATION}


def test_each_side_has_its_own_selection(columns):
    one = study(
        select_gen="GenMET.pt > 1000", select_reco="MET.pt <= 3000", study={"select": "MET.pt > 50"}
    )
    table = read_tables(one, Source(columns))[0]["event"]
    assert table.condition["z"].min() > 1000
    assert table.condition["z"].max() > 3000
    assert table.target["x"].max() <= 3000
    assert 50 < table.target["x"].min() < 1000


def test_a_side_needs_nothing_of_the_other(columns):
    broken = {**columns, "MET_pt": np.where(sides(columns) == GEN_SIDE, np.nan, columns["MET_pt"])}
    table = build_table(study(), study().parts[0], broken, targets=True, side="reco")
    assert len(table) == np.count_nonzero(sides(columns) == RECO_SIDE)
    gen = build_table(study(), study().parts[0], broken, targets=True, side="gen")
    assert len(gen) == np.count_nonzero(sides(columns) == GEN_SIDE)
    assert not gen.target
    assert not table.condition


def test_known_pairs_stand_beside_themselves(columns):
    """A fifth of the events on both sides, as pairs; the others serve one side alone."""
    table = read_tables(study(known_pairs=0.2), Source(columns))[0]["event"]
    known = known_pairs(table.keys, 0.2)
    z, x = table.condition["z"], table.target["x"]
    assert (z[known] == x[known]).all()
    assert not set(z[~known]) & set(x[~known])
    assert not set(z[known]) & set(x[~known])
    learned = split(columns, Split()) <= VALIDATION
    assert known.sum() == np.count_nonzero(known_pairs(columns, 0.2) & learned)
    part = split(table.keys, Split())
    assert (split(columns, Split())[x.astype(int) - 1] == part).all()


def test_known_pairs_are_for_rows_without_pairs():
    with pytest.raises(ValueError, match="else all pairs are known"):
        study(known_pairs=0.2, pairing="paired")


def test_judged_rows_are_pairs(columns):
    table = build_table(study(), study().parts[0], columns, targets=True)
    assert (table.condition["z"] == table.target["x"]).all()
    assert len(table) == N


def test_rows_that_are_left_out_are_counted(columns):
    one = study(select_gen="GenMET.pt > 3000")
    table = read_tables(one, Source(columns))[0]["event"]
    surplus = table.dropped["RECO: more rows than on the other side"]
    kept = np.count_nonzero((sides(columns) == RECO_SIDE) & (split(columns, Split()) <= VALIDATION))
    assert surplus == kept - len(table) > 0
    assert table.dropped["GEN: not selected"] == 3000


def test_different_weights_are_refused(columns):
    one = study(study={"input": {"weight": "weight"}})
    gen, reco = (
        build_table(one, one.parts[0], columns, targets=True, side=side) for side in ("gen", "reco")
    )
    with pytest.raises(TrainingError, match="one weight"):
        join_sides(gen, reco, Split())
    chosen = gen.weight == 1, reco.weight == 1
    assert len(join_chunks([gen.take(chosen[0])], [reco.take(chosen[1])], Split())) > 0


def test_sides_are_independent_of_the_other_divisions():
    n = 60_000
    keys = Keys(np.ones(n, int), 1 + np.arange(n) // 1000, np.arange(n), np.zeros(n, np.uint16))
    for other in (halves(keys), split(keys, Split()) == TRAIN, np.arange(n) % 2):
        for value in np.unique(other):
            assert np.mean(sides(keys)[other == value]) == pytest.approx(0.5, abs=0.015)
    few = Keys([1, 1, 2, 300, 1, 5], [1, 2, 1, 7, 1, 1], [1, 2, 3, 2**40, 9, 8], [0] * 6)
    assert sides(few).tolist() == PINNED


PINNED = [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {"kind": "event", "pairing": "paired", "select_gen": "MET.pt > 1"}}, "unpaired"),
        ({"target": [{"name": "x", "value": "MET.pt", "relative_to": "GenMET.pt"}]}, "no partner"),
        (
            {"rows": {"kind": "object", "pairing": "unpaired", "gen": "GenJet", "reco": "Jet"}},
            "kind 'event'",
        ),
    ],
)
def test_what_cannot_be_unpaired(change, message):
    tree = study().model_dump()
    tree["parts"] = [{**tree["parts"][0], **change}]
    with pytest.raises(ValueError, match=message):
        Study.model_validate(tree)
