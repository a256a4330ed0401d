"""One row per GEN jet, on events of the shape of the ttbar sample (its first 150 events)."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from gen2reco.errors import StudyError
from gen2reco.events import flat_columns, open_events
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.tables import build_table, columns_needed, evaluate_output
from gen2reco.study import load_study

SMALL = Path(__file__).parents[1] / "data" / "ttbar_small.parquet"


@pytest.fixture(scope="module")
def jets():
    return load_study("jets")


@pytest.fixture(scope="module")
def ttbar():
    return next(open_events(SMALL).chunks()).events


@pytest.fixture(scope="module")
def table(jets, ttbar):
    return build_table(jets, jets.parts[0], ttbar, targets=True)


def changed(study, **rows):
    """The study with other settings of its rows."""
    tree = study.model_dump(exclude_unset=True)
    tree["parts"][0]["rows"] = tree["parts"][0]["rows"] | rows
    return type(study).model_validate(tree)


def test_rows_are_matched_jets(table, ttbar):
    assert 700 < len(table) < 1300
    assert set(table.dropped) == {"no RECO object matches gen"}
    assert (np.diff(table.entry) >= 0).all()
    columns = flat_columns(ttbar)
    gen = columns["GenJet_pt"].offsets[table.entry] + table.keys.object
    assert len(np.unique(gen)) == len(gen)
    np.testing.assert_array_equal(table.condition["gen_pt"], columns["GenJet_pt"].content[gen])
    np.testing.assert_array_equal(table.keys.event, columns["event"][table.entry])
    distance = np.hypot(
        table.target["eta"] - table.relative_to["eta"],
        np.remainder(table.target["phi"] - table.relative_to["phi"] + np.pi, 2 * np.pi) - np.pi,
    )
    assert distance.max() <= 0.4
    assert np.median(distance) < 0.03


def test_the_files_own_index_agrees_where_it_is_one_to_one(table, ttbar):
    """`genJetIdx` is the nearest GEN jet; ours differs only where two RECO jets share one."""
    columns = flat_columns(ttbar)
    index, pt = columns["Jet_genJetIdx"], columns["Jet_pt"]
    agree = total = 0
    for row in range(len(table)):
        jets = slice(*index.offsets[table.entry[row] : table.entry[row] + 2])
        pointing = np.flatnonzero(index.content[jets] == table.keys.object[row])
        if len(pointing) == 1:
            total += 1
            agree += pt.content[jets][pointing[0]] == table.target["pt"][row]
    assert total > 0.95 * len(table)
    assert agree > 0.995 * total


def test_matching_by_index_gives_nearly_the_same(jets, ttbar, table):
    study = changed(jets, match={"by": "index", "index": "genJetIdx"})
    other = build_table(study, study.parts[0], ttbar, targets=True)
    same = np.isin(other.entry * 1000 + other.keys.object, table.entry * 1000 + table.keys.object)
    assert same.mean() > 0.98
    study = changed(jets, match={"by": "index", "index": "genJetIndex"})
    with pytest.raises(StudyError, match=r"Jet has no field 'genJetIndex'. Did you mean 'genJetId"):
        build_table(study, study.parts[0], ttbar, targets=True)


def test_window_on_the_ratio_of_pt(jets, ttbar, table):
    study = changed(jets, match={"min_pt_ratio": 0.8, "max_pt_ratio": 1.2})
    other = build_table(study, study.parts[0], ttbar, targets=True)
    ratio = other.target["pt"] / other.relative_to["pt"]
    assert 0.8 <= ratio.min() <= ratio.max() <= 1.2
    assert 0.3 * len(table) < len(other) < len(table)


def test_jets_of_leptons_are_left_out(jets, ttbar, table):
    names = Namespace(ttbar, jets.define)
    kept = names.evaluate("count(gen_jets)").values
    stored = names.evaluate("count(GenJet)").values
    leptons = names.evaluate("count(gen_leptons)").values
    assert 0 < (stored - kept).sum() <= leptons.sum()
    for event in range(len(ttbar)):
        left = ak.to_list(ttbar[event].GenPart)
        near = [p for p in left if p["isPrompt"] and abs(p["pdgId"]) in {11, 13} and p["pt"] > 10]
        for row in np.flatnonzero(table.entry == event):
            for lepton in near:
                turn = table.relative_to["phi"][row] - lepton["phi"]
                turn -= 2 * np.pi * np.rint(turn / (2 * np.pi))
                assert np.hypot(table.relative_to["eta"][row] - lepton["eta"], turn) > 0.4


def test_flavour_and_tag(table):
    condition, tagged = table.condition, table.target["btag"]
    flavours = np.array([condition["gen_b"], condition["gen_c"]])
    assert set(np.unique(flavours)) == {0.0, 1.0}
    assert tagged[condition["gen_b"] == 1].mean() > 0.5
    assert tagged[flavours.sum(axis=0) == 0].mean() < 0.1


def test_simulation_has_every_gen_jet_and_reads_no_reco(jets, ttbar, available, table):
    part = jets.parts[0]
    columns = flat_columns(ttbar)
    needed = columns_needed(jets, part, available(columns), targets=False)
    assert not any(name.startswith(("Jet_", "MET_")) for name in needed)
    training = columns_needed(jets, part, available(columns), targets=True)
    assert set(training) - set(needed) >= {"Jet_pt", "Jet_btag"}
    gen = {name: columns[name] for name in needed}
    every = build_table(jets, part, gen, targets=False)
    assert len(every) == len(table) + table.dropped["no RECO object matches gen"]
    drawn = {name: np.full(len(every), 0.5) for name in table.target}
    out = evaluate_output(jets, part, gen, every, drawn)["Jet"]
    np.testing.assert_array_equal(out["genJetIdx"], every.keys.object)
    some = every.take(np.arange(5, 40, 3))
    out = evaluate_output(jets, part, gen, some, {n: v[:12] for n, v in drawn.items()})["Jet"]
    np.testing.assert_array_equal(out["genJetIdx"], some.keys.object)


def test_event_quantities_are_the_same_for_all_rows_of_an_event(jets, ttbar):
    tree = jets.model_dump(exclude_unset=True)
    tree["parts"][0]["condition"] = [
        {"name": "met", "value": "GenMET.pt"},
        {"name": "number", "value": "count(gen_jets)"},
        {"name": "close", "value": "count(GenJet, 0 < delta_r(gen) < 1)"},
        {"name": "share", "value": "gen.pt / sum(gen_jets.pt)"},
    ]
    study = type(jets).model_validate(tree)
    table = build_table(study, study.parts[0], ttbar, targets=False)
    number = np.bincount(table.entry, minlength=len(ttbar))
    np.testing.assert_array_equal(table.condition["number"], number[table.entry])
    np.testing.assert_array_equal(
        table.condition["met"], flat_columns(ttbar)["GenMET_pt"][table.entry]
    )
    share = np.bincount(table.entry, table.condition["share"])
    assert share[number > 0] == pytest.approx(1)
    columns = flat_columns(ttbar)
    row = 17
    jets_there = slice(*columns["GenJet_eta"].offsets[table.entry[row] : table.entry[row] + 2])
    eta, phi = (columns[f"GenJet_{n}"].content[jets_there].astype(float) for n in ("eta", "phi"))
    me = table.keys.object[row]
    turn = (phi - phi[me] + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(eta - eta[me], turn) < 1
    assert table.condition["close"][row] == near.sum() - 1


def test_rows_must_come_from_collections(jets, ttbar):
    study = changed(jets, gen="GenMET")
    with pytest.raises(StudyError, match=r"part jets, rows.gen: is not a collection"):
        build_table(study, study.parts[0], ttbar, targets=False)
    study = changed(jets, reco="Jetz")
    with pytest.raises(StudyError, match=r"part jets, rows.reco: unknown name 'Jetz'"):
        build_table(study, study.parts[0], ttbar, targets=True)
