import json

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest

from gen2reco import (
    load_emulator,
    load_study,
    open_events,
    simulate,
    train,
    unfold,
)
from gen2reco.errors import (
    EmulatorError,
    EventFileError,
    OutputExistsError,
    SampleError,
    StudyError,
)
from gen2reco.verbs.prior import remove_prior, unfold_without_prior
from gen2reco.verbs.reweight import reweight

QUICK = {
    "training.epochs": 2,
    "training.max_rows": 4000,
    "model.couplings": 3,
    "model.hidden": [16, 16],
}
GEN = ("Gen", "Generator")


def read(path):
    return ak.concatenate(list(open_events(path)))


@pytest.fixture(scope="module")
def unfolder(bundled, tmp_path_factory):
    path = tmp_path_factory.mktemp("unfolder") / "model"
    train("wjet-unfold", bundled, path, overrides=QUICK)
    return path


@pytest.fixture(scope="module")
def reco_file(gen_file, tmp_path_factory):
    """Events without anything of GEN, as data are."""
    table = pq.read_table(gen_file)
    path = tmp_path_factory.mktemp("reco") / "reco.parquet"
    pq.write_table(
        table.select([name for name in table.column_names if not name.startswith(GEN)]), path
    )
    return path


def test_reco_alone_is_read_whatever_the_chunk(unfolder, reco_file, gen_file, tmp_path):
    result = unfold(unfolder, reco_file, tmp_path / "one.parquet", draws=3)
    unfold(unfolder, gen_file, tmp_path / "two.parquet", draws=3, chunk=700)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    events = read(tmp_path / "one.parquet")
    assert result.read == 3000
    assert result.events == len(events) == 3 * (3000 - sum(result.dropped.values()))
    assert any("missing" in reason for reason in result.dropped)
    assert events.replica[:4].to_list() == [0, 1, 2, 0]
    assert np.allclose(events.weight, 1 / 3)
    pt = ak.to_numpy(ak.flatten(events.GenPart.pt)).reshape(-1, 3)
    assert np.mean(pt[:, 0] == pt[:, 1]) < 0.01
    sidecar = json.loads((tmp_path / "one.parquet.json").read_text())
    assert sidecar["direction"] == "unfold"
    assert "RECO events/s" in str(result)


def test_unfolded_truth_follows_reco(unfolder, reco_file, tmp_path):
    unfold(unfolder, reco_file, tmp_path / "gen.parquet", keep=["Muon_*"])
    events = read(tmp_path / "gen.parquet")
    reco = np.asarray(ak.fill_none(ak.max(events.Muon.pt, axis=1), np.nan))
    ratio = ak.to_numpy(ak.flatten(events.GenPart.pt)) / reco
    assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.05)


def test_each_verb_refuses_emulators_of_the_other(
    unfolder, small_emulator, reco_file, gen_file, tmp_path
):
    with pytest.raises(EmulatorError, match=r"does not run backwards.*direction: unfold"):
        unfold(small_emulator, reco_file, tmp_path / "gen.parquet")
    with pytest.raises(StudyError, match="use `gen2reco unfold`"):
        simulate(unfolder, gen_file, tmp_path / "reco.parquet")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def empty_file(bundled, tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "empty.parquet"
    pq.write_table(pq.read_table(bundled).slice(0, 0), path)
    return path


@pytest.fixture(scope="module")
def done(bundled, reco_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "unfolded.parquet"
    simulation = path.with_name("simulation.parquet")
    pq.write_table(pq.read_table(bundled).slice(0, 6000), simulation)
    result = reweight(
        "wjet-unfold", reco_file, simulation, path, iterations=2, bootstraps=2, keep=["Jet_pt"]
    )
    return result, path, simulation


class TestReweight:
    def test_the_file_holds_the_truth_with_its_final_weight(self, done):
        result, path, simulation = done
        events = read(path)
        assert len(events) == result.events < 6000
        assert {"run", "event", "GenPart", "GenJet", "GenMET", "Jet"} <= set(events.fields)
        used = result.result.weight > 0
        assert np.allclose(events.weight, result.result.weight[used])
        original = read(simulation)
        assert np.all(np.isin(np.asarray(events.event), np.asarray(original.event)))

    def test_yields_are_those_of_the_measurement(self, done):
        result, _, _ = done
        counts = result.result.counts
        both = counts["simulated events with GEN and RECO"]
        lost = counts["simulated events without RECO"]
        expected = counts["measured events"] * (1 - result.result.fakes) * (both + lost) / both
        assert result.result.weight.sum() == pytest.approx(expected, rel=0.03)
        assert counts["measured events"] + result.without_reco == 3000

    def test_sidecar_and_summary_say_how_it_went(self, done):
        result, path, _ = done
        sidecar = json.loads(path.with_name(f"{path.name}.json").read_text())
        assert [one["number"] for one in sidecar["iterations"]] == [1, 2]
        assert sidecar["counts"]["measured events"] > 0
        assert json.loads(json.dumps(result.as_dict()))["events"] == result.events
        assert "effective events" in str(result)

    def test_what_cannot_be_unfolded_is_refused(self, done, reco_file, tmp_path):
        _, path, simulation = done
        with pytest.raises(OutputExistsError, match="already there"):
            reweight("wjet-unfold", reco_file, simulation, path)
        before = simulation.read_bytes()
        for place in (simulation, reco_file):
            with pytest.raises(EventFileError, match="it is read and cannot be the output"):
                reweight("wjet-unfold", reco_file, simulation, place, overwrite=True)
        assert simulation.read_bytes() == before
        with pytest.raises(StudyError, match="'wjet' simulates"):
            reweight("wjet", reco_file, simulation, tmp_path / "out.parquet")
        with pytest.raises(StudyError, match="two replicas or none"):
            reweight("wjet-unfold", reco_file, simulation, tmp_path / "o.parquet", bootstraps=1)
        with pytest.raises(StudyError, match="a seed is a whole number from 0 on, not -1"):
            reweight("wjet-unfold", reco_file, simulation, tmp_path / "o.parquet", seed=-1)

    def test_files_without_events_are_refused(self, done, reco_file, empty_file, tmp_path):
        _, _, simulation = done
        out = tmp_path / "out.parquet"
        with pytest.raises(EventFileError, match=r"empty\.parquet: there are no events to unfold$"):
            reweight("wjet-unfold", empty_file, simulation, out)
        with pytest.raises(EventFileError, match=r"there are no events to unfold with"):
            reweight("wjet-unfold", reco_file, empty_file, out)


def test_removing_the_prior_trains_with_other_weights(bundled, reco_file, tmp_path):
    study = load_study("wjet-unfold", QUICK)
    done = remove_prior(study, reco_file, bundled, tmp_path / "model", iterations=1)
    assert [step.number for step in done.steps] == [1]
    assert done.steps[0].change > 0
    assert 0 < done.steps[0].effective < 1
    assert not (tmp_path / "model.iterations").exists()
    result = unfold(done.path, reco_file, tmp_path / "gen.parquet")
    assert result.events > 0
    with pytest.raises(OutputExistsError):
        remove_prior(study, reco_file, bundled, tmp_path / "model")


def test_what_cannot_become_of_it_is_refused_before_the_first_training(
    reco_file, empty_file, bundled, tmp_path, monkeypatch
):
    def trained(*_, **__):
        raise AssertionError("it was trained")

    monkeypatch.setattr("gen2reco.verbs.prior.train", trained)
    out = tmp_path / "gen.parquet"
    for pair in ((empty_file, bundled), (reco_file, empty_file)):
        with pytest.raises(EventFileError, match="there are no events to unfold"):
            remove_prior("wjet-unfold", *pair, tmp_path / "model")
    without = tmp_path / "without.parquet"
    table = pq.read_table(reco_file)
    few = table.filter(np.array([not pts for pts in table["Muon_pt"].to_pylist()]))
    pq.write_table(few.slice(0, 5), without)
    with pytest.raises(SampleError, match=r"without\.parquet: no event has all RECO objects, of 5"):
        remove_prior("wjet-unfold", without, bundled, tmp_path / "model")
    for wrong, message in (({"policy": "x"}, "policy must be"), ({"draws": 0}, "must lie between")):
        with pytest.raises(StudyError, match=message):
            unfold_without_prior("wjet-unfold", reco_file, bundled, out, **wrong)
    with pytest.raises(EventFileError, match="cannot be the output too"):
        unfold_without_prior("wjet-unfold", reco_file, bundled, bundled, overwrite=True)
    out.write_bytes(b"")
    with pytest.raises(OutputExistsError, match="already there"):
        unfold_without_prior("wjet-unfold", reco_file, bundled, out)
    out.rename(tmp_path / "gen.parquet.model")
    with pytest.raises(OutputExistsError, match=r"gen2reco unfold .*gen\.parquet\.model FILES -o"):
        unfold_without_prior("wjet-unfold", reco_file, bundled, out)


def test_unfolding_without_the_prior_keeps_its_emulator(bundled, reco_file, tmp_path):
    study = load_study("wjet-unfold", QUICK)
    lines = []
    result = unfold_without_prior(
        study, reco_file, bundled, tmp_path / "gen.parquet", iterations=1, draws=2, say=lines.append
    )
    assert result.events == len(read(tmp_path / "gen.parquet")) > 3000
    assert load_emulator(tmp_path / "gen.parquet.model").provenance["weighted"]
    assert "prior removed 1 times" in lines[-1]
