import json

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest

from gen2reco import (
    load_study,
    open_events,
    simulate,
    train,
    unfold,
)
from gen2reco.errors import EmulatorError, EventFileError, OutputExistsError, StudyError
from gen2reco.verbs.prior import remove_prior
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
        with pytest.raises(OutputExistsError, match="exists"):
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
