"""A study of several parts: presence, spurious objects, MET given all of them, whole events."""

import numpy as np
import pyarrow.parquet as pq
import pytest

import gen2reco
from gen2reco.emulator import load_emulator
from gen2reco.errors import StudyError
from gen2reco.events import open_events
from gen2reco.events.layout import flat_columns, to_events
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.tables import build_table, columns_needed, typed, with_part
from gen2reco.study import load_study
from gen2reco.verbs.train import bundled_sample

SAMPLE = bundled_sample("hmumu")


@pytest.fixture(scope="module")
def model(hmumu_model):
    return hmumu_model


@pytest.fixture(scope="module")
def gen():
    return next(iter(open_events(SAMPLE).chunks(size=600))).events


@pytest.fixture(scope="module")
def study():
    return load_study("hmumu")


def content(events):
    """Every column as lists of bytes, event by event order."""
    found = {}
    for name, column in flat_columns(events).items():
        if hasattr(column, "offsets"):
            found[name] = (column.offsets.tobytes(), column.content.tobytes())
        else:
            found[name] = np.asarray(column).tobytes()
    return found


def test_the_stages_are_the_parts_and_their_presence(study):
    assert [stage.name for stage in study.stages] == [
        *("muons.presence", "muons", "jets.presence", "jets"),
        *("spurious.presence", "spurious", "met"),
    ]


def test_every_reco_jet_is_matched_or_spurious(study, gen):
    names = Namespace(gen, study.define)
    tables = {}
    for stage in study.stages:
        tables[stage.name] = build_table(study, stage, names, targets=True)
        names = with_part(names, stage, tables[stage.name], typed(stage, tables[stage.name].target))
    jets, spurious = len(tables["jets"]), len(tables["spurious"])
    assert jets + spurious == len(flat_columns(gen)["Jet_pt"].content)
    assert tables["jets.presence"].target["how_many"].sum() == jets
    assert tables["spurious.presence"].target["how_many"].sum() == spurious
    assert len(tables["jets.presence"]) == len(flat_columns(gen)["GenJet_pt"].content)
    seen = names.evaluate("count(jets) + count(spurious)").values
    assert np.array_equal(seen, flat_columns(gen)["Jet_pt"].counts)
    # What a later part sees of the muons in training are the muons of RECO.
    momentum = names.evaluate("sum(muons.pt)").values
    stored = Namespace(gen).evaluate("sum(Muon.pt)").values
    assert np.allclose(momentum, stored)


def test_simulation_reads_gen_alone(study):
    source = open_events(SAMPLE)
    for stage in study.stages:
        columns = columns_needed(study, stage, source, targets=False)
        assert not [name for name in columns if name.startswith(("Jet_", "Muon_", "MET_"))]


def test_whole_events_are_consistent(model, gen):
    reco = flat_columns(load_emulator(model).simulate(gen, seed=3))
    jets = {name: reco[f"Jet_{name}"] for name in ("pt", "nCh", "nConstituents", "chEF", "ptD")}
    for name, column in reco.items():
        values = column.content if hasattr(column, "content") else np.asarray(column)
        assert np.isfinite(values.astype(float)).all(), name
    pt = jets["pt"]
    inside = np.ones(len(pt.content), bool)
    inside[pt.offsets[:-1][pt.counts > 0]] = False
    assert (np.diff(pt.content, prepend=np.inf)[inside] <= 0).all(), "jets by falling pt"
    assert pt.content.min() >= 14.99
    fractions = sum(reco[f"Jet_{name}"].content for name in ("chEF", "neEmEF", "neHEF"))
    assert np.abs(fractions - 1).max() < 1e-4
    assert (jets["nCh"].content <= jets["nConstituents"].content).all()
    assert np.array_equal(jets["nCh"].content == 0, jets["chEF"].content == 0)
    single = jets["nConstituents"].content == 1
    assert (jets["ptD"].content[single] == 1).all()
    index = reco["Jet_genJetIdx"]
    gen_jets = flat_columns(gen)["GenJet_pt"].counts
    assert (index.content < np.repeat(gen_jets, index.counts)).all()
    matched = index.content >= 0
    event = np.repeat(np.arange(len(index)), index.counts)[matched]
    assert len(np.unique(event * 1000 + index.content[matched])) == matched.sum(), "one to one"
    assert set(reco["Muon_charge"].content.tolist()) <= {-1, 1}
    assert reco["Muon_pfRelIso04_all"].content.max() <= 0.25


def test_an_event_does_not_depend_on_its_chunk(model, gen):
    emulator = load_emulator(model)
    whole = content(emulator.simulate(gen[:63], seed=5))
    pieces = [emulator.simulate(gen[k : k + 7], seed=5) for k in range(0, 63, 7)]
    parts = [flat_columns(piece) for piece in pieces]
    for name, column in flat_columns(emulator.simulate(gen[:63], seed=5)).items():
        if hasattr(column, "content"):
            joined = np.concatenate([part[name].content for part in parts]).tobytes()
            assert joined == whole[name][1], name
        else:
            assert np.concatenate([np.asarray(p[name]) for p in parts]).tobytes() == whole[name]


def test_replicas_stand_side_by_side_and_the_first_is_the_plain_one(model, gen):
    emulator = load_emulator(model)
    plain = emulator.simulate(gen[:40], seed=2)
    three = emulator.simulate(gen[:40], seed=2, oversample=3)
    assert three.replica.to_list() == [0, 1, 2] * 40
    first = three[three.replica == 0]
    assert first.Jet.pt.to_list() == plain.Jet.pt.to_list()
    assert first.MET.pt.to_list() == plain.MET.pt.to_list()
    second = three[three.replica == 1]
    assert second.Jet.pt.to_list() != plain.Jet.pt.to_list()
    assert np.allclose(three.weight, 1 / 3)


def test_met_is_conditioned_on_the_simulated_jets(model, gen):
    """The same event with other jets has another MET relative to GEN, in the direction of them."""
    emulator = load_emulator(model)
    reco = flat_columns(emulator.simulate(gen, seed=1))
    given = Namespace(gen)
    names = Namespace(to_events(reco))
    jets = names.evaluate("sum(Jet.pt * cos(Jet.phi)) + sum(Muon.pt * cos(Muon.phi))").values
    truth = given.evaluate("sum(GenJet.pt * cos(GenJet.phi))").values
    met = names.evaluate("MET.px").values - given.evaluate("GenMET.px").values
    assert np.corrcoef(met, jets - truth)[0, 1] < -0.3


def test_a_resumed_training_repeats_nothing(tmp_path, quick_hmumu):
    quick = {**quick_hmumu, "training.max_rows": 500}
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.part == "jets" and progress.kind == "start":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gen2reco.train("hmumu", SAMPLE, tmp_path / "m", overrides=quick, progress=stop)
    again = []
    gen2reco.train(
        "hmumu", SAMPLE, tmp_path / "m", overrides=quick, resume=True, progress=again.append
    )
    fitted = {report.part for report in again if report.kind == "epoch"}
    assert fitted == {"jets", "spurious.presence", "spurious", "met"}


def test_wrong_parts_are_named(study):
    tree = study.model_dump(mode="json")
    tree["parts"][2]["rows"]["of"] = "jet"
    with pytest.raises(ValueError, match=r"rows\.of: 'jet' is no part.*'jets'"):
        gen2reco.Study.model_validate(tree)
    tree = study.model_dump(mode="json")
    tree["parts"][1]["training"] = {"epoch": 3}
    with pytest.raises(ValueError, match=r"part 'jets', training\.epoch.*'epochs'"):
        gen2reco.Study.model_validate(tree)
    tree = study.model_dump(mode="json")
    tree["parts"][3]["condition"][0]["value"] = "count(jetss)"
    broken = gen2reco.Study.model_validate(tree)
    with pytest.raises(StudyError, match=r"unknown name 'jetss'.*'jets'"):
        columns_needed(broken, broken.part("met"), open_events(SAMPLE), targets=False)


@pytest.mark.slow
def test_workers_and_chunks_change_no_byte_and_order_no_event(model, tmp_path):
    table = pq.read_table(SAMPLE)
    pieces = [tmp_path / f"{k}.parquet" for k in range(2)]
    for k, piece in enumerate(pieces):
        pq.write_table(table.slice(200 * k, 200), piece)
    ways = {"all": {}, "chunks": {"chunk": 37}, "workers": {"chunk": 37, "workers": 2}}
    written = {}
    for way, options in ways.items():
        output = tmp_path / f"{way}.out.parquet"
        gen2reco.simulate(model, pieces, output, seed=4, oversample=2, **options)
        written[way] = output.read_bytes()
    assert written["all"] == written["chunks"] == written["workers"]
    gen2reco.simulate(model, pieces[::-1], tmp_path / "r.out.parquet", seed=4, oversample=2)
    forth = next(iter(open_events(tmp_path / "all.out.parquet").chunks())).events
    back = next(iter(open_events(tmp_path / "r.out.parquet").chunks())).events
    assert forth.Jet.pt[:400].to_list() == back.Jet.pt[400:].to_list()
    assert forth.MET.phi[400:].to_list() == back.MET.phi[:400].to_list()
