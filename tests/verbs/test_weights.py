"""Event weights go through: shared by replicas, signed, under the name that FullSim has."""

import json
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot

from gen2reco import load_emulator, open_events, simulate, write_events
from gen2reco.errors import EventFileError

WEIGHTS = np.where(np.arange(40) % 4, 1.5, -0.5).astype(np.float32)


@pytest.fixture(scope="module")
def emulator(small_emulator):
    """An emulator of a study with a weight; it was trained without, which is no matter here."""
    plain = load_emulator(small_emulator)
    inputs = plain.study.input.model_copy(update={"weight": "genWeight"})
    return replace(plain, study=plain.study.model_copy(update={"input": inputs}))


@pytest.fixture
def gen(gen_file):
    events = next(iter(open_events(gen_file).chunks(size=40))).events
    return ak.with_field(events, WEIGHTS, "genWeight")


def weights_of(events, gen):
    place = {key: i for i, key in enumerate(zip(gen.luminosityBlock, gen.event, strict=True))}
    keys = zip(events.luminosityBlock, events.event, strict=True)
    return WEIGHTS[[place[key] for key in keys]]


def test_weights_are_shared_by_replicas_and_keep_their_sign(emulator, gen):
    made = emulator.simulate(gen, oversample=4)
    expected = weights_of(made, gen) / 4
    assert made.weight.tolist() == made.genWeight.tolist() == expected.tolist()
    assert np.asarray(made.genWeight).dtype == np.float32
    assert np.asarray(made.weight).dtype == np.float64
    assert set(np.sign(made.weight)) == {-1, 1}


def test_members_have_full_weights(emulator, gen):
    made = emulator.simulate(gen, members=2)
    for member in (0, 1):
        one = made[made.member == member]
        assert one.weight.tolist() == weights_of(one, gen).tolist()


def test_an_analysis_normalises_to_runs(emulator, gen, tmp_path):
    met = gen.GenMET.pt.to_numpy().copy()
    met[0] = np.nan
    write_events(tmp_path / "gen.parquet", [ak.with_field(gen, met, ("GenMET", "pt"))])
    options = {"oversample": 4, "policy": "drop"}
    done = simulate(emulator, tmp_path / "gen.parquet", tmp_path / "reco.root", **options)
    assert done.events == 4 * (len(gen) - 1)
    with uproot.open(tmp_path / "reco.root") as file:
        assert file["Runs/genEventSumw"].array().tolist() == [WEIGHTS.sum()]
        assert file["Runs/genEventSumw2"].array().tolist() == [(WEIGHTS**2).sum()]
        written = file["Events/genWeight"].array(library="np").sum()
        assert file["Events/genWeight"].title == "the same as weight"
    assert written == pytest.approx(WEIGHTS[1:].sum())
    sidecar = json.loads((tmp_path / "reco.root.json").read_text())
    assert sidecar["sumw"] == pytest.approx(written)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_bad_input(emulator, gen, tmp_path, value):
    bad = next(i for i, event in enumerate(gen.event) if event in emulator.simulate(gen).event)
    weights = WEIGHTS.copy()
    weights[bad] = value
    spoilt = ak.with_field(gen, weights, "genWeight")
    with pytest.raises(EventFileError, match=r"(column genWeight|input\.weight) is NaN, infinite"):
        emulator.simulate(spoilt)
    dropped = emulator.simulate_chunk(spoilt, policy="drop")
    assert dropped.dropped["GEN not finite"] == 1
    assert np.isfinite(np.asarray(dropped.events.weight)).all()
    kept = emulator.simulate_chunk(spoilt, policy="flag").events
    assert kept.weight[kept.event == gen.event[bad]].tolist() == [0.0]
    write_events(tmp_path / "gen.parquet", [spoilt])
    simulate(emulator, tmp_path / "gen.parquet", tmp_path / "reco.root", policy="drop")
    with uproot.open(tmp_path / "reco.root") as file:
        expected = WEIGHTS.sum() - WEIGHTS[bad]
        assert file["Runs/genEventSumw"].array().tolist() == [expected]
