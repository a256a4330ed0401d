"""The search of settings: resumable, on validation alone, and a study that trains."""

from pathlib import Path

import pytest

from gen2reco import load_study, train, tune
from gen2reco.errors import EventFileError, OutputExistsError, StudyError
from gen2reco.verbs.tune import Range, default_space

SAMPLE = Path(__file__).parents[1] / "data" / "zgamma_small.parquet"
QUICK = {"training.epochs": 2, "model.hidden": [16], "model.latent": 4}
SPACE = {
    "training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
    "model.hidden": {"choices": [[16], [24, 24]]},
}


def test_a_search_goes_on_where_it_ended_and_its_study_trains(tmp_path):
    folder = tmp_path / "tuning"
    options = {"space": SPACE, "overrides": QUICK}
    first = tune("zgamma-vae", SAMPLE, folder, trials=2, **options)
    assert (first.trials, first.pruned) == (2, 0)
    with pytest.raises(OutputExistsError, match="resume"):
        tune("zgamma-vae", SAMPLE, folder, trials=4, **options)
    lines = []
    second = tune("zgamma-vae", SAMPLE, folder, trials=4, resume=True, say=lines.append, **options)
    assert second.trials == 4
    assert len(lines) == 2  # those that were there are not repeated
    assert second.start == first.start
    assert second.value <= first.value
    assert set(second.settings) in ({*SPACE}, set())
    assert (folder / "history.png").is_file()
    best = load_study(second.study)
    assert best.name == "zgamma-vae-tuned"
    for name, value in second.settings.items():
        block = best.parts[0].model if name.startswith("model.") else best.training.model_dump()
        assert block[name.partition(".")[2]] == value
    made = train(best, SAMPLE, tmp_path / "model")
    assert made.emulator.study.name == "zgamma-vae-tuned"


def test_the_mean_of_repeats_counts(tmp_path):
    def value(name, **options):
        return tune("zgamma-vae", SAMPLE, tmp_path / name, trials=1, **options).value

    seeds = [value(f"{seed}", overrides={**QUICK, "training.seed": seed}) for seed in (1, 2)]
    assert seeds[0] != seeds[1]
    assert value("both", overrides=QUICK, repeats=2, seed=2**32) == pytest.approx(sum(seeds) / 2)
    with pytest.raises(StudyError, match="2 repeats, not 1"):
        value("both", overrides=QUICK, resume=True)


def test_ranges_are_checked(tmp_path):
    for wrong in ({"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"hihg": 1}):
        with pytest.raises(StudyError, match=r"model\.beta"):
            tune("zgamma-vae", SAMPLE, tmp_path / "none", space={"model.beta": wrong})
    with pytest.raises(StudyError, match=r"model\.beta: 3 is no range"):
        tune("zgamma-vae", SAMPLE, tmp_path / "none", space={"model.beta": 3})
    with pytest.raises(StudyError, match="several parts"):
        tune("hmumu", SAMPLE, tmp_path / "none")


def test_settings_that_are_not_there_are_told_before_anything_is_trained(tmp_path):
    for wrong in ({"model.bta": {"low": 1, "high": 2}}, {"model.latent": {"low": -2, "high": 3}}):
        with pytest.raises(StudyError, match=r"model\.(bta|latent)"):
            tune("zgamma-vae", SAMPLE, tmp_path / "none", space=wrong)
    with pytest.raises(EventFileError):
        tune("zgamma-vae", tmp_path / "nothing.parquet", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_default_space_follows_the_family():
    plain = default_space(load_study("zgamma-vae"))
    assert {"training.batch", "model.latent", "model.beta", "model.activation"} <= set(plain)
    assert all(isinstance(one, Range) for one in plain.values())
    carried = default_space(load_study("zgamma-vae-nf-d"))
    assert set(carried) - set(plain) == {
        "model.alpha", "model.gamma", "model.flow", "model.flow_steps",
    }  # fmt: skip
    assert "model.continuous.couplings" in default_space(load_study("zgamma"))
    with pytest.raises(StudyError, match="--space"):
        default_space(load_study("wjet-quantile"))
