"""Scores of events: what families give, how signal is found, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gen2reco import load_emulator, score, train
from gen2reco.errors import EmulatorError, EventFileError, OutputExistsError, StudyError
from gen2reco.rows.splits import TEST, split
from gen2reco.study import load_study
from gen2reco.validation.discrimination import discriminate
from gen2reco.verbs.score import without

SAMPLE = Path(__file__).parents[1] / "data" / "zgamma_small.parquet"
QUICK = {"training.epochs": 6, "model.hidden": [32], "model.latent": 6}


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    path = tmp_path_factory.mktemp("vae") / "model"
    train("zgamma-copula-d", SAMPLE, path, overrides=QUICK)
    return path


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Events whose photons are twice as hard."""
    table = pq.read_table(SAMPLE)
    place = table.schema.get_field_index("Photon_pt")
    harder = [[2 * pt for pt in pts] for pts in table["Photon_pt"].to_pylist()]
    field = table.schema.field(place)
    path = tmp_path_factory.mktemp("strange") / "strange.parquet"
    import pyarrow as pa

    pq.write_table(table.set_column(place, field, pa.array(harder, field.type)), path)
    return path


def test_every_score_of_a_copula_vae_with_discriminator(vae, strange, tmp_path):
    scored = score(
        vae,
        SAMPLE,
        tmp_path / "scores.parquet",
        signal=strange,
        sculpted="m_lly",
        pictures=tmp_path / "pictures",
    )
    table = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    names = {"reconstruction", "latent", "bound", "copula", "discriminator"}
    assert {name.removeprefix("score_") for name in table if "score_" in name} == names
    ids = {name: np.array(table[name]) for name in ("run", "luminosityBlock", "event")}
    assert np.all(split(ids, load_study("zgamma").split) == TEST)
    assert scored.events == len(table["event"])
    found = {one.name: one for one in scored.found}
    assert set(found) == names | {"supervised", "supervised without m_lly"}
    assert found["supervised"].auc > 0.9
    assert found["bound"].auc > 0.53
    assert all(0 <= one.sculpting <= 1 for one in found.values())
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert {"roc.png", "latent.png", "sculpting-bound.png"} <= drawn


def test_other_files_are_scored_as_a_whole(vae, strange, tmp_path):
    whole = score(vae, strange, tmp_path / "whole.parquet")
    test = score(vae, strange, tmp_path / "test.parquet", split_of="test")
    assert 0.3 < test.events / whole.events < 0.5
    again = score(vae, strange, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not again.found


def test_what_cannot_be_scored_is_said(vae, small_emulator, gen_file, tmp_path):
    with pytest.raises(StudyError, match="m_lly"):
        score(vae, SAMPLE, tmp_path / "no.parquet", signal=SAMPLE, sculpted="m_llyy")
    with pytest.raises(StudyError, match="--signal"):
        score(vae, SAMPLE, tmp_path / "no.parquet", sculpted="m_lly")
    with pytest.raises(StudyError, match="split"):
        score(vae, SAMPLE, tmp_path / "no.parquet", split_of="tset")
    empty, few = tmp_path / "empty.parquet", tmp_path / "few.parquet"
    pq.write_table(pq.read_table(SAMPLE).slice(0, 0), empty)
    pq.write_table(pq.read_table(SAMPLE).slice(0, 60), few)
    with pytest.raises(EventFileError, match=r"empty\.parquet: there are no events to score"):
        score(vae, empty, tmp_path / "no.parquet")
    with pytest.raises(EventFileError, match=r"empty\.parquet: there are no events to score"):
        score(vae, SAMPLE, tmp_path / "no.parquet", signal=empty)
    with pytest.raises(EventFileError, match="too few to measure"):
        score(vae, SAMPLE, tmp_path / "no.parquet", signal=few)
    assert not (tmp_path / "no.parquet").exists()
    before = few.read_bytes()
    with pytest.raises(OutputExistsError, match="already there"):
        score(vae, tmp_path / "nothing.parquet", few)
    with pytest.raises(EventFileError, match="cannot be the output too"):
        score(vae, SAMPLE, few, signal=few, overwrite=True)
    assert few.read_bytes() == before
    density = score(small_emulator, gen_file, tmp_path / "density.parquet")
    assert list(density.medians) == ["density"]


def test_names_are_compared_word_by_word():
    names = ["m", "pt_over_m", "gamma_pt", "m_lly", "mass"]
    assert without(names, "m") == ["gamma_pt", "mass"]
    assert without(names, "m_lly") == ["m", "pt_over_m", "gamma_pt", "mass"]


def judged_by(model, **quantities):
    """The emulator with other quantities under `validation`."""
    emulator = load_emulator(model)
    block = emulator.study.validation.model_copy(update={"quantities": quantities})
    study = emulator.study.model_copy(update={"validation": block})
    return replace(emulator, study=study)


def test_a_sculpted_quantity_that_leaves_none_is_refused(vae, tmp_path):
    emulator = judged_by(vae, m="MET.pt", m_over_pt="MET.pt / photon.pt")
    with pytest.raises(StudyError, match="words of 'm'"):
        score(emulator, SAMPLE, tmp_path / "no.parquet", signal=SAMPLE, sculpted="m")


def test_a_missing_integer_is_no_zero(vae, strange, tmp_path):
    # events of electrons have no muon: among the others a cut changes nothing
    emulator = judged_by(vae, charge="mu_minus.charge", met="MET.pt")
    scored = score(
        emulator,
        SAMPLE,
        tmp_path / "scores.parquet",
        signal=strange,
        sculpted="charge",
        ceiling=False,
        pictures=tmp_path / "pictures",
    )
    assert [one.sculpting for one in scored.found] == [0.0] * len(scored.found)


def test_families_without_a_score_are_refused(bundled, tmp_path):
    overrides = {"training.epochs": 1, "training.max_rows": 2000}
    train("wjet-quantile", bundled, tmp_path / "quantile", overrides=overrides)
    with pytest.raises(EmulatorError, match="quantile"):
        score(tmp_path / "quantile", bundled, tmp_path / "no.parquet")


def test_discrimination_of_known_distributions():
    random = np.random.default_rng(3)
    background, signal = random.normal(size=20_000), random.normal(1.0, 1.0, 20_000)
    found = discriminate("shift", background, signal, quantity=background)
    assert found.auc == pytest.approx(0.7602, abs=0.01)  # Phi(1 / sqrt 2)
    assert 0.001 < found.auc_error < 0.004
    assert found.efficiency["10% background"] == pytest.approx(0.389, abs=0.02)
    assert found.sculpting > 0.8
    none = discriminate("none", background, signal, quantity=random.normal(size=20_000))
    assert none.sculpting < 0.05
