"""validate on an emulator of several parts: a page each, and one for whole events."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from gen2reco import (
    compare,
    load_emulator,
    load_study,
    open_events,
    simulate,
    train,
    validate,
)
from gen2reco.errors import EventFileError
from gen2reco.events.layout import flat_columns
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.judging import judged_quantities
from gen2reco.study import NUMBER, Study
from gen2reco.verbs.event_samples import EventSamples, with_quantities
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.judging import too_few
from gen2reco.verbs.part_samples import PartSamples

PARTS = ["muons", "jets", "spurious", "met"]


@pytest.fixture(scope="module")
def events_file(hmumu_sample, tmp_path_factory):
    """Some events in a file other than that of training."""
    path = tmp_path_factory.mktemp("parts") / "some.parquet"
    pq.write_table(pq.read_table(hmumu_sample).slice(0, 1500), path)
    return path


@pytest.fixture(scope="module")
def emulator(hmumu_model):
    return load_emulator(hmumu_model)


@pytest.fixture(scope="module")
def judged(emulator, events_file):
    return read_judged(emulator, open_events(events_file), test_only=False)


@pytest.fixture(scope="module")
def jets(emulator, judged):
    return PartSamples(emulator, judged, emulator.study.part("jets"), replicas=2, seed=1)


@pytest.fixture(scope="module")
def validated(hmumu_model, events_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("validated") / "report"
    return validate(hmumu_model, events_file, folder, quick=True, oversample=2)


def test_each_part_has_a_page_and_the_events_have_the_first(validated):
    assert sorted(p.name for p in validated.folder.iterdir()) == [
        "index.html", *(f"part-{name}.html" for name in sorted(PARTS)), "plots", "report.json",
    ]  # fmt: skip
    tree = validated.as_dict()
    assert list(tree["parts"]) == PARTS
    assert {q["name"] for q in tree["assessment"]["quantities"]} >= {"m_mumu", "m_jj", "met"}
    features = tree["assessment"]["classifier"]["features"]
    assert {"m_mumu", "response:m_mumu", "gen:gen_m_mumu", "gen:gen_met"} <= set(features)
    assert list(tree["parts"]["jets"]["histories"]) == ["jets.presence, member 0", "jets, member 0"]
    assert tree["histories"] == {}


def test_a_part_is_judged_in_all_that_it_writes_and_asks_for(validated):
    jets = validated.parts["jets"]
    names = {(q.group, q.name) for q in jets.quantities}
    written = {"pt", "eta", "phi", "mass", "nConstituents", "nCh", "chEF", "neEmEF", "neHEF"}
    written |= {"ptD", "width", "leadFrac", "charge", "btag", "tautag"}
    assert {name for group, name in names if group == "quantity"} == written
    assert {name for group, name in names if group == "response"} == {"pt", "eta", "phi", "mass"}
    outcomes = {o.name: o for o in jets.efficiencies}
    assert list(outcomes) == ["found", "btag", "tautag"]
    assert outcomes["found"].kind == "presence"
    assert outcomes["found"].reliability is not None
    assert outcomes["btag"].replicas == 2
    groups = {rate.group for rate in outcomes["btag"].overall}
    assert {"all", "light"} <= groups <= {"all", "b", "c", "light"}
    assert {c.by for c in outcomes["found"].curves} == {"gen_pt", "gen_eta", "next_distance"}
    assert jets.matching.reach == 0.4
    assert {pit.name for pit in jets.coverage} >= {"pt", "evenness", "btag"}
    assert {r.by for r in jets.responses} == {"gen_pt", "gen_eta", "next_distance"}
    assert jets.settings.targets.excess == 0.02


def test_parts_of_other_rows_are_judged_as_well(validated):
    spurious, met = validated.parts["spurious"], validated.parts["met"]
    assert {c.name for c in spurious.counts} == {"n_spurious"}
    assert spurious.efficiencies == ()
    assert {q.name for q in met.quantities if q.group == "quantity"} == {"MET_pt", "MET_phi"}
    assert {q.name for q in met.quantities if q.group == "response"} == {"x", "y"}
    muons = {(q.group, q.name): q for q in validated.parts["muons"].quantities}
    assert muons["response", "eta"].kind == "copy"
    assert muons["response", "eta"].word == "equal"
    assert muons["quantity", "mass"].word == "equal"


def test_whole_events_have_regions_counts_and_gains(validated):
    found = validated.assessment
    assert [o.name for o in found.efficiencies] == ["dimuon", "vbf"]
    assert {o.kind for o in found.efficiencies} == {"region"}
    assert {c.name for c in found.counts} == {"n_Muon", "n_Jet"}
    gains = {g.name: g for g in found.gains}
    assert gains["m_mumu"].replicas == 2
    assert 1 < gains["m_mumu"].mean < 2
    assert any("2 replicas of each GEN event" in note for note in found.notes)
    assert len(found.classifier.auc) == 1  # quick
    text = (validated.folder / "index.html").read_text(encoding="utf-8")
    assert "<h3>Regions</h3>" in text
    assert 'id="efficiency"' not in text


def test_the_summary_has_every_part(validated):
    text = str(validated)
    for name in PARTS:
        assert f"part {name}: FastSim can" in text


def test_full_rows_are_those_of_the_file(jets, judged):
    names = Namespace(judged.events)
    matched = names.evaluate("sum(Jet.pt)").values.sum()
    alone = judged.tables["spurious"].target["pt"].sum()
    assert jets.full.quantities["pt"].sum() == pytest.approx(matched - alone)
    np.testing.assert_allclose(jets.full.quantities["pt"], jets.table.target["pt"])
    ratio = jets.table.target["pt"] / jets.table.relative_to["pt"]
    np.testing.assert_allclose(jets.full.responses["pt"], ratio)


def test_drawn_rows_are_what_would_be_written(jets, emulator):
    drawn = emulator.sample_targets(jets.trained, jets.table, seed=1, replica=1)
    second = jets.drawn[1]
    np.testing.assert_array_equal(second.quantities["pt"], drawn["pt"].astype(np.float32))
    parts = [second.quantities[name] for name in ("chEF", "neEmEF", "neHEF")]
    assert np.abs(sum(parts) - 1).max() < 1e-4
    np.testing.assert_array_equal(second.flags["btag"], drawn["btag"] > 0.5)
    assert not np.array_equal(jets.drawn[0].quantities["pt"], second.quantities["pt"])


def test_halves_are_of_events_and_fastsim_is_of_half_b(jets, judged):
    full, half, fast = jets.samples()
    assert len(full) == len(jets.table)
    assert set(fast[0].event) <= set(full.event[half == 1])
    assert not set(fast[0].event) & set(full.event[half == 0])
    np.testing.assert_array_equal(fast[0].row, full.row[half == 1])
    # GEN in the place of RECO: the fields that GEN jets have as well
    assert {"pt", "eta", "phi", "mass", "nConstituents"} <= set(full.gen_quantities)
    assert "btag" not in full.gen_quantities
    np.testing.assert_allclose(full.gen_quantities["pt"], jets.table.relative_to["pt"])


def test_the_probability_of_presence_is_what_its_draws_come_to(jets):
    number = jets.number
    drawn = number.draws(60, 5).mean(axis=1)
    spread = np.sqrt(number.probability * (1 - number.probability) / 60)
    pulls = (drawn - number.probability) / np.maximum(spread, 1e-3)
    assert abs(pulls.mean()) < 4 / np.sqrt(len(pulls))
    assert pulls.std() == pytest.approx(1, abs=0.1)
    outcome = jets.outcomes()["found"]
    assert outcome.full.sum() == len(jets.table)
    assert len(outcome.full) == len(number.table)


def test_counts_are_those_of_each_event(jets, judged):
    counted = jets.counts()["n_jets"]
    truth = np.bincount(jets.table.entry, minlength=len(judged.events))
    np.testing.assert_array_equal(counted.full, truth[counted.event])
    drawn = jets.number.draws(2, 1)[:, 0]
    assert counted.fast[:, 0].sum() == drawn.sum()
    spurious = judged.tables["spurious.presence"].target[NUMBER]
    part = PartSamples(jets.emulator, judged, judged.study.part("spurious"), replicas=1, seed=1)
    np.testing.assert_array_equal(part.counts()["n_spurious"].full, spurious)


def test_regions_count_the_events_that_an_analysis_would(emulator, judged, hmumu_model):
    samples = EventSamples(emulator, judged, seed=3, oversample=2, replicas=2, seeds=1)
    outcome = samples.regions()["dimuon"]
    made = flat_columns(emulator.simulate(judged.events, seed=3, oversample=2))
    text = judged.study.validation.regions["dimuon"]
    passed = Namespace(made, judged.study.define).mask(text)
    np.testing.assert_array_equal(outcome.fast, passed.reshape(-1, 2))
    again = Namespace(judged.events, judged.study.define).mask(text)
    np.testing.assert_array_equal(outcome.full, again)
    rate = samples.rate()
    selected = Namespace(made, judged.study.define).mask(judged.study.validation.select)
    b = judged.half == 1
    assert rate.fast[0] / rate.fast[1] == pytest.approx(selected.reshape(-1, 2)[b].mean())
    # two draws of one GEN event are less than two events, and more than one
    share = rate.fast[0] / rate.fast[1]
    single = np.sqrt(share * (1 - share) / b.sum())
    assert single / np.sqrt(2) < rate.errors[1] < single


def test_a_study_without_quantities_is_compared_in_what_it_writes(emulator, judged):
    bare = emulator.study.model_dump(mode="json")
    bare["validation"] = {}
    study = with_quantities(Study.model_validate(bare), judged.source)
    assert {"n_Muon", "n_Jet", "leading_Jet_pt", "leading_Muon_eta", "MET_pt", "MET_phi"} == {
        name
        for name in study.validation.quantities
        if not name.endswith(("_phi", "_mass")) or name.startswith("MET")
    } - {"leading_Muon_pt", "leading_Jet_eta"}
    assert with_quantities(emulator.study, judged.source) is emulator.study


def test_default_quantities_of_a_part_leave_out_indices(judged):
    part = judged.study.part("jets")
    found = judged_quantities(part, judged.names["jets"], judged.source)
    assert "genJetIdx" in part.output["Jet"]
    assert "genJetIdx" not in found
    assert found["pt"] == "reco.pt"


def test_too_few_rows_are_said(emulator, hmumu_sample, tmp_path):
    path = tmp_path / "few.parquet"
    pq.write_table(pq.read_table(hmumu_sample).slice(0, 420), path)
    judged = read_judged(emulator, open_events(path), test_only=False)
    assert too_few(judged, judged.study.part("spurious")).startswith("Part spurious: a half")
    assert too_few(judged, judged.study.part("jets")) == ""


def test_no_event_is_one_clear_error(hmumu_model, hmumu_sample, tmp_path):
    path = tmp_path / "none.parquet"
    pq.write_table(pq.read_table(hmumu_sample).slice(0, 0), path)
    with pytest.raises(EventFileError, match=r"none\.parquet: there are no events to judge"):
        validate(hmumu_model, path, tmp_path / "report")


def test_nan_in_gen_leaves_the_event_out(emulator, events_file, tmp_path):
    table = pq.read_table(events_file).slice(0, 200)
    jets = table["GenJet_pt"].to_pylist()
    first = next(i for i, row in enumerate(jets) if row)
    jets[first][0] = float("nan")
    place = table.column_names.index("GenJet_pt")
    kind = table.schema.field("GenJet_pt").type
    broken = table.set_column(place, "GenJet_pt", pa_array(jets, kind))
    pq.write_table(broken, tmp_path / "nan.parquet")
    judged = read_judged(emulator, open_events(tmp_path / "nan.parquet"), test_only=False)
    assert len(judged.events) == 199
    assert sum(judged.dropped.values()) == 1


def pa_array(values, kind):
    import pyarrow as pa

    return pa.array(values, kind)


def test_replicas_in_a_file_are_compared_as_such(hmumu_model, events_file, tmp_path):
    simulate(hmumu_model, events_file, tmp_path / "fast.parquet", oversample=3)
    done = compare(
        events_file, tmp_path / "fast.parquet", tmp_path / "report", study="hmumu", quick=True
    )
    found = done.assessment
    assert {g.replicas for g in found.gains} == {3}
    assert any("3 replicas" in note for note in found.notes)
    (rate,) = found.rates
    events = len(pq.read_table(events_file)) / 2
    naive = np.sqrt(rate.fast * (1 - rate.fast) / events / 3)
    assert rate.fast_error > 1.1 * naive
    assert done.parts == {}
    assert load_study("hmumu").validation.select


def test_the_only_part_has_the_first_page(hmumu_sample, events_file, tmp_path):
    overrides = {
        "training.epochs": 1,
        "training.max_rows": 3000,
        "parts.0.presence.training": {"epochs": 1},
    }
    train("jets", hmumu_sample, tmp_path / "model", overrides=overrides)
    pq.write_table(pq.read_table(events_file).slice(0, 300), tmp_path / "few.parquet")
    done = validate(tmp_path / "model", tmp_path / "few.parquet", tmp_path / "report", quick=True)
    assert done.parts == {}
    assert sorted(p.name for p in done.folder.iterdir()) == ["index.html", "plots", "report.json"]
    assert [o.name for o in done.assessment.efficiencies] == ["found", "btag", "tautag"]
    assert list(done.as_dict()["histories"]) == ["jets.presence, member 0", "jets, member 0"]
    assert done.assessment.matching.pairs > 300


def test_members_of_an_ensemble_make_a_band(emulator, judged):
    parts = tuple(replace(one, members=one.members * 2) for one in emulator.parts)
    double = replace(emulator, parts=parts)
    part = PartSamples(double, judged, judged.study.part("met"), replicas=2, seed=1)
    _, half, fast = part.samples()
    b = int(np.sum(half == 1))
    assert np.bincount(fast[0].member).tolist() == [b, b]
    assert fast[1].member is None
    samples = EventSamples(double, judged, seed=1, oversample=2, replicas=2, seeds=1)
    (whole,) = samples.fast
    assert set(whole.member[whole.replica == 1]) == {0}
    assert set(whole.member) == {0, 1}
    assert len(whole.nominal().replicas()) == 2
