"""Generation without GEN: the study's features, events by number, what is refused."""

import gc
import weakref
from functools import partial
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from gen2reco import compare, generate, load_study, open_events, simulate, train
from gen2reco.emulator import Emulator
from gen2reco.errors import EmulatorError, OutputExistsError, StudyError
from gen2reco.events.layout import flat_columns
from gen2reco.events.numbers import MOST, EventNumbers
from gen2reco.rows.expressions import Namespace
from gen2reco.verbs import stream

SAMPLE = Path(__file__).parents[1] / "data" / "zgamma_small.parquet"
QUICK = {
    "training.epochs": 4,
    "model.continuous.couplings": 4,
    "model.continuous.hidden": [24, 24],
}
FEATURES = [
    "m_lly",
    "phi_zy",
    "eta_zy",
    "pt_zy",
    "e_zy",
    "m_ll",
    "phi_ll",
    "eta_ll",
    "pt_ll",
    "e_ll",
    "dr_ll",
    "met",
    "met_phi",
    "n_jets",
    "n_central_jets",
    "dphi_ll",
    "dphi_met_zy",
    "pt_ll_over_m_lly",
]


def columns(path):
    return flat_columns(ak.concatenate(list(open_events(path))))


def wrapped(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi


@pytest.fixture(scope="module")
def zgamma(tmp_path_factory):
    path = tmp_path_factory.mktemp("zgamma") / "model"
    train("zgamma", SAMPLE, path, overrides=QUICK)
    return path


@pytest.fixture(scope="module")
def generated(zgamma):
    path = zgamma.with_name("generated.parquet")
    generate(zgamma, 3000, path)
    return path


def test_features_of_the_study_are_those_of_leptons_and_photon():
    study = load_study("zgamma")
    assert sorted(study.validation.quantities) == sorted(FEATURES)
    names = Namespace(next(iter(open_events(SAMPLE))), study.define)
    selected = names.mask(study.select)

    def of(text):
        return names.evaluate(text).values[selected]

    def momentum(pt, eta, phi):
        return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])

    leptons = [[of(f"{which}_{field}") for field in ("pt", "eta", "phi")] for which in "ab"]
    photon = momentum(*(of(f"photon.{field}") for field in ("pt", "eta", "phi")))
    pair = momentum(*leptons[0]) + momentum(*leptons[1])
    for name, (x, y, z, e) in {"ll": pair, "zy": pair + photon}.items():
        pt = np.hypot(x, y)
        np.testing.assert_allclose(of(f"pt_{name}"), pt, rtol=1e-9)
        np.testing.assert_allclose(of(f"e_{name}"), e, rtol=1e-9)
        np.testing.assert_allclose(of(f"eta_{name}"), np.arcsinh(z / pt), atol=1e-9)
        assert np.abs(wrapped(of(f"phi_{name}") - np.arctan2(y, x))).max() < 1e-9
        mass = np.sqrt(np.maximum(e**2 - pt**2 - z**2, 0))
        np.testing.assert_allclose(of("m_ll" if name == "ll" else "m_lly"), mass, rtol=1e-4)
    turn = np.abs(wrapped(leptons[0][2] - leptons[1][2]))
    np.testing.assert_allclose(of("dphi_ll"), turn, atol=1e-7)
    np.testing.assert_allclose(
        of("dr_ll"), np.hypot(turn, leptons[0][1] - leptons[1][1]), atol=1e-7
    )
    np.testing.assert_allclose(of("met"), of("MET.pt"), rtol=1e-9)
    assert np.abs(wrapped(of("met_phi") - of("MET.phi"))).max() < 1e-9
    away = np.abs(wrapped(of("MET.phi") - of("phi_zy")))
    np.testing.assert_allclose(of("dphi_met_zy"), away, atol=1e-9)
    assert np.array_equal(of("n_jets"), of("count(Jet, pt > 25)"))


def test_generated_events_obey_what_is_exact(generated):
    made = columns(generated)
    assert set(FEATURES) <= set(made)
    assert made["n_jets"].dtype.kind == made["n_central_jets"].dtype.kind == "i"
    assert np.all(made["n_central_jets"] <= made["n_jets"])
    assert np.all(made["n_jets"] >= 0)
    for name in ("phi_ll", "phi_zy", "met_phi"):
        assert np.abs(made[name]).max() <= np.float32(np.pi)
    assert np.all(made["m_ll"] > 0)
    assert np.all(made["m_lly"] >= made["m_ll"] * 0.9999)
    assert np.all(made["dr_ll"] >= made["dphi_ll"] * 0.9999)
    for name, mass in (("ll", "m_ll"), ("zy", "m_lly")):
        momentum = made[f"pt_{name}"].astype(float) * np.cosh(made[f"eta_{name}"].astype(float))
        energy = np.hypot(momentum, made[mass])
        np.testing.assert_allclose(made[f"e_{name}"], energy, rtol=1e-4)
    ratio = made["pt_ll"] / made["m_lly"]
    np.testing.assert_allclose(made["pt_ll_over_m_lly"], ratio, rtol=1e-4)
    turn = np.abs(wrapped(made["met_phi"] - made["phi_zy"]))
    np.testing.assert_allclose(made["dphi_met_zy"], turn, atol=1e-4)


@pytest.mark.parametrize("changes", [{"chunk": 700}, {"workers": 2, "chunk": 1000}])
def test_steps_and_workers_change_no_byte(zgamma, generated, tmp_path, changes):
    generate(zgamma, 3000, tmp_path / "other.parquet", **changes)
    assert (tmp_path / "other.parquet").read_bytes() == generated.read_bytes()


def test_events_of_a_step_are_gone_when_their_row_group_is_written(zgamma, tmp_path, monkeypatch):
    """Memory depends on chunk and row group and not on the number of events."""
    made, alive = [], []
    draw = Emulator.simulate_chunk

    def watched(emulator, events, *arguments, **options):
        alive.append(sum(one() is not None for one in made))
        simulated = draw(emulator, events, *arguments, **options)
        assert len(simulated.events) == 250
        columns = flat_columns(simulated.events)
        made.append(weakref.ref(columns["m_lly"]))
        return simulated

    monkeypatch.setattr(Emulator, "simulate_chunk", watched)
    monkeypatch.setattr(stream, "EventWriter", partial(stream.EventWriter, row_group=500))
    gc.collect()
    gc.disable()  # what the collector would have to find is not gone
    try:
        generate(zgamma, 3000, tmp_path / "events.parquet", chunk=250)
    finally:
        gc.enable()
    assert len(made) == 12
    assert max(alive) <= 2  # the steps of a row group, all of 12 without


def test_an_event_depends_on_its_number_and_the_seed_alone(zgamma, generated, tmp_path):
    generate(zgamma, 500, tmp_path / "later.parquet", first=2000)
    generate(zgamma, 500, tmp_path / "seed.parquet", first=2000, seed=2)
    whole, later = columns(generated), columns(tmp_path / "later.parquet")
    for name in (*FEATURES, "event", "luminosityBlock", "run"):
        assert np.array_equal(whole[name][2000:2500], later[name])
    assert not np.array_equal(later["m_lly"], columns(tmp_path / "seed.parquet")["m_lly"])


def test_numbers_of_events_are_unique_across_blocks():
    chunks = list(EventNumbers(250_000, first=99_990).chunks(size=70_000))
    ids = [flat_columns(chunk.events) for chunk in chunks]
    event = np.concatenate([one["event"] for one in ids])
    block = np.concatenate([one["luminosityBlock"] for one in ids])
    assert np.array_equal(event, np.arange(99_991, 349_991))
    assert np.array_equal(block, 1 + (event - 1) // 100_000)


@pytest.mark.parametrize(("number", "first"), [(0, 0), (-3, 0), (1, -1), (2, MOST - 1)])
def test_numbers_that_there_are_not_are_refused(zgamma, tmp_path, number, first):
    with pytest.raises(StudyError):
        generate(zgamma, number, tmp_path / "none.parquet", first=first)
    assert not (tmp_path / "none.parquet").exists()


def test_an_emulator_that_is_given_gen_does_not_generate(small_emulator, tmp_path):
    with pytest.raises(EmulatorError, match="gen2reco simulate"):
        generate(small_emulator, 10, tmp_path / "none.parquet")


def test_a_generator_does_not_simulate(zgamma, tmp_path):
    with pytest.raises(StudyError, match="gen2reco generate"):
        simulate(zgamma, SAMPLE, tmp_path / "none.parquet")


def test_what_is_there_stays(zgamma, generated):
    with pytest.raises(OutputExistsError):
        generate(zgamma, 10, generated)


def test_generated_columns_are_compared_with_what_the_study_makes_of_full_events(
    generated, tmp_path
):
    judged = compare(SAMPLE, generated, tmp_path / "report", study="zgamma", quick=True)
    assert {one.name for one in judged.assessment.quantities} == set(FEATURES)


def test_columns_of_the_event_are_checked():
    study = load_study("zgamma")
    tree = study.model_dump(mode="json")
    with pytest.raises(ValueError, match="pairing 'none'"):
        type(study).model_validate(
            {
                **tree,
                "parts": [
                    {**tree["parts"][0], "condition": [{"name": "gen_pt", "value": "GenMET.pt"}]}
                ],
            }
        )
    with pytest.raises(ValueError, match="cannot be used in expressions"):
        type(study).model_validate(
            {**tree, "parts": [{**tree["parts"][0], "output": {"not a name": "1"}}]}
        )
