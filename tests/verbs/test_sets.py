"""Jets as sets of particles, from files to files and to a report."""

import json
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from gen2reco import compare, load_emulator, open_events, simulate, train, validate
from gen2reco.errors import StudyError
from gen2reco.events.layout import flat_columns, to_events
from gen2reco.events.writing import write_events
from gen2reco.rows.substructure import jet_features
from gen2reco.study import CONSTITUENT, load_study

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import jets_toy as toy

JETS = 700
SETTINGS = {
    "parts.0.rows.size": toy.SLOTS,
    "parts.0.model.hidden": [16, 16],
    "parts.0.model.bins": 8,
    "training.epochs": 2,
    "training.batch": 100,
}


def events():
    """Toy jets, two of each event."""
    gen = toy.gen_jets(JETS, 1)
    sides = {"GenPFCand": gen, "PFCand": toy.reco_jets(gen, 2)}
    columns = {
        "run": np.ones(JETS, np.uint32),
        "luminosityBlock": np.ones(JETS, np.uint32),
        "event": (np.arange(JETS) // 2).astype(np.uint64),
        "jet": (np.arange(JETS) % 2).astype(np.uint8),
    }
    for prefix, fields in sides.items():
        there = fields[..., 0] > 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        for place, name in enumerate(CONSTITUENT):
            kind = np.float32 if place < 3 else np.int16
            columns[f"{prefix}_{name}"] = (offsets, fields[..., place][there].astype(kind))
    for name in ("pt", "eta", "phi", "mass"):
        columns[f"FatJet_{name}"] = np.zeros(JETS, np.float32)
    return to_events(columns)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("jets") / "jets.parquet"
    write_events(path, [events()])
    return path


@pytest.fixture(scope="module")
def model(sample):
    output = sample.parent / "model"
    train(load_study("wjets-particles", SETTINGS), sample, output)
    return output


def test_every_jet_is_written_with_its_constituents(model, sample, tmp_path):
    simulate(model, sample, tmp_path / "reco.parquet")
    made = ak.concatenate(
        [chunk.events for chunk in open_events(tmp_path / "reco.parquet").chunks()]
    )
    given = events()
    assert made.event.tolist() == given.event.tolist()
    assert made.jet.tolist() == given.jet.tolist()
    pt, eta, phi = (
        ak.to_numpy(ak.fill_none(ak.pad_none(made.PFCand[name], toy.SLOTS), np.nan))
        for name in ("pt", "eta", "phi")
    )
    found = jet_features(pt, eta, phi)
    np.testing.assert_allclose(made.FatJet.pt, found["pt"], rtol=1e-4)
    np.testing.assert_allclose(made.FatJet.tau21, found["tau21"], rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(made.FatJet.nConstituents, ak.num(made.PFCand.pt))
    assert made.PFCand.pdgId.type.content.content.primitive == "int16"


def test_chunks_and_order_change_nothing(model):
    emulator, given = load_emulator(model), events()
    whole = flat_columns(emulator.simulate(given[:200], seed=5))
    bounds = ((0, 1), (1, 90), (90, 200))
    pieces = ak.concatenate([emulator.simulate(given[a:b], seed=5) for a, b in bounds])
    turned = emulator.simulate(given[:200][::-1], seed=5)[::-1]
    for name in ("PFCand_pt", "PFCand_phi", "PFCand_pdgId"):
        for other in (pieces, turned):
            np.testing.assert_array_equal(
                flat_columns(other)[name].content, whole[name].content, err_msg=name
            )


def test_the_order_of_particles_in_the_file_and_a_long_jet_beside_change_nothing(model):
    """A jet with more particles than slots is cut, and no other jet of its chunk is touched."""
    emulator, given = load_emulator(model), events()[:100]
    rng = np.random.default_rng(3)
    columns = flat_columns(given)
    jet = np.repeat(np.arange(len(given)), np.diff(columns["GenPFCand_pt"].offsets))
    turned = np.lexsort((rng.random(len(jet)), jet))
    shuffled = to_events({
        name: (values.offsets, values.content[turned]) if name.startswith("GenPFCand") else values
        for name, values in columns.items()
    })  # fmt: skip
    assert shuffled.GenPFCand.pt.tolist() != given.GenPFCand.pt.tolist()
    long = given[[0]]
    long["event"] = np.array([10**6], np.uint64)
    long["GenPFCand"] = ak.concatenate([given.GenPFCand[[k]] for k in range(20)], axis=1)
    assert ak.num(long.GenPFCand.pt)[0] > toy.SLOTS
    whole = emulator.simulate(given, seed=5)
    beside = emulator.simulate(ak.concatenate([shuffled, long]), seed=5)[:-1]
    pieces = [emulator.simulate(shuffled[k : k + 30], seed=5) for k in range(0, len(given), 30)]
    for name in ("PFCand_pt", "PFCand_phi", "PFCand_pdgId"):
        for other in (beside, ak.concatenate(pieces)):
            np.testing.assert_array_equal(
                flat_columns(other)[name].content, flat_columns(whole)[name].content, err_msg=name
            )


def test_two_jets_of_an_event_have_their_own_noise(model):
    emulator, given = load_emulator(model), events()
    twin = given[[0, 0]]
    twin["jet"] = np.array([0, 1], np.uint8)
    made = emulator.simulate(twin, seed=1)
    assert made.PFCand.pt[0].tolist() != made.PFCand.pt[1].tolist()


def test_jets_go_to_a_root_file(model, sample, tmp_path):
    simulate(model, sample, tmp_path / "reco.root")
    made = next(open_events(tmp_path / "reco.root").chunks()).events
    assert {"PFCand", "FatJet"} <= set(made.fields)
    assert len(made) == JETS


@pytest.mark.parametrize("stream", [0, 500])
def test_files_are_compared_in_the_jets_that_constituents_make(model, sample, tmp_path, stream):
    simulate(model, sample, tmp_path / "reco.root")
    made = next(open_events(tmp_path / "reco.root").chunks()).events
    other = tmp_path / "other.parquet"
    write_events(other, [ak.with_field(made, ak.zip({"pt": made.FatJet.pt * 0}), "FatJet")])
    reports = [
        compare(
            sample, fast, tmp_path / f"report-{k}", study=load_study("wjets-particles", SETTINGS),
            quick=True, stream=stream,
        )
        for k, fast in enumerate((tmp_path / "reco.root", other))
    ]  # fmt: skip
    values = [
        {q.name: q.floor_ratio.value for q in report.assessment.quantities if q.floor_ratio}
        for report in reports
    ]
    assert {"jet_pt", "jet_mass", "multiplicity", "tau21"} <= set(values[0])
    assert values[0] == pytest.approx(values[1])


def test_a_file_without_a_constituents_column_is_named(sample, tmp_path):
    columns = dict(flat_columns(events()))
    del columns["PFCand_phi"]
    write_events(tmp_path / "poor.parquet", [to_events(columns)])
    with pytest.raises(StudyError, match=r"poor\.parquet: .* PFCand has no field 'phi'"):
        compare(
            sample, tmp_path / "poor.parquet", tmp_path / "report",
            study=load_study("wjets-particles", SETTINGS), quick=True,
        )  # fmt: skip
    assert not (tmp_path / "report").exists()


def test_the_report_says_what_constituents_are_like(model, sample, tmp_path):
    result = validate(model, sample, tmp_path / "report", split="all", quick=True)
    tree = json.loads((tmp_path / "report" / "report.json").read_text())
    names = {one["name"] for one in tree["sets"]["constituents"]}
    assert {"constituent_pt", "constituent_eta", "pt_1", "pt_5"} <= names
    assert {one["name"] for one in tree["sets"]["distances"]} == {"FPD", "KPD"}
    assert len(tree["sets"]["displays"]) > 0
    assert "multiplicity" in {one.name for one in result.assessment.quantities}
    page = result.page.read_text()
    assert "Frechet" in page
    assert (tmp_path / "report" / "plots" / "jet-image.png").is_file()
