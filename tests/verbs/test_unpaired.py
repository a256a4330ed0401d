"""Studies without pairs from file to file: train, simulate, judge."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen2reco import load_emulator, load_study, open_events, simulate, train, unfold
from gen2reco.errors import StudyError
from gen2reco.events import Jagged, flat_columns
from gen2reco.events.layout import to_events
from gen2reco.rows.expressions import Namespace
from gen2reco.validation import Settings
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.samples import emulated
from gen2reco.verbs.transported import transported
from gen2reco.verbs.way_back import way_back

EVENTS = 3000
TINY = {
    "training.epochs": 4,
    "training.batch": 512,
    "model.decoder": {"hidden": [8]},
    "model.encoder": {"hidden": [8], "local": False},
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Back-to-back electrons; in every tenth event RECO has lost the second one."""
    rng = np.random.default_rng(1)
    pt, eta = 25 + 20 * rng.random((EVENTS, 1)), rng.normal(size=(EVENTS, 2))
    phi = rng.uniform(-3, 0, (EVENTS, 1)) + np.array([0, np.pi])
    kept = np.where(np.arange(EVENTS) % 10 == 0, 1, 2)
    gen = {"pt": pt + 0 * eta, "eta": eta, "phi": phi, "mass": 0 * eta + 0.000511}
    reco = {**gen, "pt": gen["pt"] * (0.98 + 0.02 * rng.normal(size=eta.shape))}
    columns = {
        "run": np.ones(EVENTS, np.uint32),
        "luminosityBlock": np.ones(EVENTS, np.uint32),
        "event": np.arange(EVENTS, dtype=np.uint64),
    }
    for name, values in gen.items():
        columns[f"LHEPart_{name}"] = pa.array(values.astype(np.float32).tolist())
    columns["LHEPart_pdgId"] = pa.array([[11, -11]] * EVENTS, pa.list_(pa.int32()))
    for name, values in reco.items():
        lists = [row[:n].tolist() for row, n in zip(values, kept, strict=True)]
        columns[f"Electron_{name}"] = pa.array(lists, pa.list_(pa.float32()))
    charges = [[-1, 1][:n] for n in kept]
    columns["Electron_charge"] = pa.array(charges, pa.list_(pa.int8()))
    path = tmp_path_factory.mktemp("zee") / "zee.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def trained(sample):
    return train("zee", sample, sample.with_name("model"), overrides=TINY)


def test_two_electrons_by_falling_pt(sample, trained):
    simulate(trained.path, sample, sample.with_name("reco.parquet"), oversample=2)
    made = flat_columns(next(open_events(sample.with_name("reco.parquet")).chunks()).events)
    pt, charge = (made[f"Electron_{name}"] for name in ("pt", "charge"))
    assert (np.diff(pt.offsets) == 2).all()
    assert len(made["event"]) == 2 * EVENTS
    pairs = pt.content.reshape(-1, 2)
    assert (pairs[:, 0] >= pairs[:, 1]).all()
    assert (np.sort(charge.content.reshape(-1, 2), axis=1) == [-1, 1]).all()
    # Directions stay within the detector's resolution, whatever the order; few turn further.
    gen = flat_columns(next(open_events(sample).chunks()).events)["LHEPart_eta"].content
    first = np.where(charge.content.reshape(-1, 2)[:, 0] == -1, 0, 1)
    wanted = gen.reshape(-1, 2)[np.repeat(np.arange(EVENTS), 2), first]
    turned = np.abs(made["Electron_eta"].content.reshape(-1, 2)[:, 0] - wanted)
    assert np.mean(turned < 2e-3) > 0.99


def test_what_was_left_out_is_told(trained):
    dropped = trained.dropped["event"]
    assert dropped["GEN: not selected"] == dropped["RECO: not selected"] == EVENTS // 10
    serving = dropped["GEN: serves the other side"] + dropped["RECO: serves the other side"]
    assert serving == EVENTS - EVENTS // 10
    assert not any(advice.topic == "dependence on GEN" for advice in trained.advice["event"])


def test_the_saved_copy_has_both_directions(trained):
    model = load_emulator(trained.path).parts[0].members[0]
    assert model.noise.normal == 6
    assert model.unfold_noise.normal == 6
    assert model.shape.conditions == model.shape.targets == 6


def test_the_encoder_writes_gen(sample, trained):
    """RECO in, LHEPart out: near the truth after the identity start, the same in any chunks."""
    paths = [sample.with_name(f"gen-{number}.parquet") for number in range(3)]
    result = unfold(trained.path, sample, paths[0], draws=2)
    unfold(trained.path, sample, paths[1], draws=2, chunk=700)
    unfold(trained.path, sample, paths[2], draws=2, workers=2)
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()
    whole = EVENTS - EVENTS // 10
    assert (result.read, result.events) == (EVENTS, 2 * whole)
    made = flat_columns(next(open_events(paths[0]).chunks()).events)
    assert "Electron_pt" not in made
    pdg_id = made["LHEPart_pdgId"].content.reshape(-1, 2)
    assert (np.sort(pdg_id, axis=1) == [-11, 11]).all()
    there = flat_columns(next(open_events(sample).chunks()).events)
    events = np.searchsorted(there["event"], made["event"])
    electron = np.argmax(pdg_id == 11, axis=1)
    truth = there["LHEPart_pt"].content.reshape(-1, 2)[events, 0]
    unfolded = made["LHEPart_pt"].content.reshape(-1, 2)[np.arange(2 * whole), electron]
    assert np.median(np.abs(unfolded / truth - 1)) < 0.1


def test_listed_objects_are_written_where_their_condition_holds(sample, trained):
    emulator = trained.emulator
    part = emulator.parts[0].part
    fields = {
        **part.output["Electron"],
        "where": ["hypot(minus_px, minus_py) > 35", "hypot(plus_px, plus_py) > 35"],
    }
    chosen = part.model_copy(update={"output": {"Electron": fields}})
    study = emulator.study.model_copy(update={"parts": (chosen,)})
    fewer = replace(emulator, study=study, parts=(replace(emulator.parts[0], part=chosen),))
    events = next(open_events(sample).chunks()).events[:500]
    every, some = (flat_columns(one.simulate(events)) for one in (emulator, fewer))
    assert "Electron_where" not in some
    kept = every["Electron_pt"].content > 35
    assert 0 < kept.sum() < len(kept)
    for name in ("pt", "charge"):
        assert (some[f"Electron_{name}"].content == every[f"Electron_{name}"].content[kept]).all()
    counts = np.add.reduceat(kept.astype(int), every["Electron_pt"].offsets[:-1])
    assert (np.diff(some["Electron_pt"].offsets) == counts).all()


def test_where_is_for_lists():
    with pytest.raises(StudyError, match="chooses among listed objects"):
        load_study("wjet", {"parts.0.output.Jet.where": "jet_pt > 20"})


def test_draws_of_the_two_directions_are_independent(trained):
    emulator = trained.emulator
    back = emulator.backward()
    assert back.study.direction == "unfold"
    assert back.parts[0].part.name != emulator.parts[0].part.name  # the name is in the key
    assert back.backward() is back


def test_a_decoder_alone_does_not_unfold(sample, tmp_path):
    settings = TINY | {"model.decoder_alone": True}
    with pytest.raises(StudyError, match="`unfolded` is for a family that runs both ways"):
        train("zee", sample, tmp_path / "model", overrides=settings)


def test_the_way_back_is_judged_on_other_events(sample, trained):
    """Unfolded GEN and RECO made of it, from half B; both near the truth after the identity."""
    judged = read_judged(trained.emulator, open_events(sample), test_only=False)
    found = way_back(trained.emulator, judged, seed=1)
    assert set(found) == {"unfolded", "reconstructed"}
    for one in found.values():
        assert set(judged.half[one.fast.event]) == {1}
        assert set(one.half) == {0, 1}
        assert set(one.full.quantities) == set(one.fast.quantities)
    assert {"gen_minus_px", "gen_m_Z"} <= set(found["unfolded"].full.quantities)
    assert "m_Z" in found["reconstructed"].full.quantities
    events = found["unfolded"].fast.event
    truth = found["unfolded"].full.quantities["gen_minus_px"]
    of_b = dict(zip(found["unfolded"].full.event, truth, strict=True))
    made = found["unfolded"].fast.quantities["gen_minus_px"]
    apart = np.abs(made - [of_b[event] for event in events])
    assert np.median(apart) < 3.0
    assert np.median(apart) > 0.0


def test_a_report_says_where_the_maps_carry_momenta(sample, trained):
    """After the identity start all momenta are near FullSim's, but for what the loss of pt does."""
    emulator, settings = trained.emulator, Settings(resplits=20, bootstraps=10)
    judged = read_judged(emulator, open_events(sample), test_only=False)
    made = emulated(emulator, judged.events, seed=1)
    back = way_back(emulator, judged, seed=1)
    found = transported(emulator, judged, made, back, settings)
    assert [one.name.partition(",")[0] for one in found.sliced] == ["RECO", "GEN", "RECO"]
    for one in found.sliced:
        assert one.components == 8
        assert 0 < one.events <= len(judged.events) // 2
        assert one.value.value < 10 * one.value.null
    assert [plan.name for plan in found.plans] == ["minus_energy", "plus_energy"]
    for plan in found.plans:
        passing = [count / len(judged.events) for count in plan.events]
        assert min(passing) > 0.9
        assert plan.correlation[0] > 0.99
        assert 0.9 < plan.correlation[1] < 1
        tables = np.array([plan.full, plan.fast])
        assert tables.sum() > 0.9 * sum(plan.events)
    # against pt made twice as large the distance is far outside the null
    double = replaced_pt(made, 2.0)
    (wrong,) = transported(emulator, judged, double, {}, settings).sliced
    assert wrong.value.value > 10 * wrong.value.null_95
    assert wrong.p == pytest.approx(1 / 21)


def replaced_pt(events, factor):
    columns = flat_columns(events)
    pt = columns["Electron_pt"]
    return to_events(columns | {"Electron_pt": Jagged(pt.offsets, factor * pt.content)})


def test_the_lead_jet_of_ttbar_is_compared_with_its_parton():
    """The nearest quark within 0.4; none where all are farther away."""
    study = load_study("ttbar")
    columns = {
        "LHEPart_pt": [[50.0, 60.0, 70.0], [50.0, 60.0, 70.0]],
        "LHEPart_eta": [[0.0, 0.1, 1.0], [0.0, 0.1, 1.0]],
        "LHEPart_phi": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        "LHEPart_mass": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        "LHEPart_pdgId": [[11, 5, 2], [11, 5, 2]],
        "Jet_pt": [[30.0, 80.0], [90.0]],
        "Jet_eta": [[0.0, 0.3], [-2.0]],
        "Jet_phi": [[0.0, 0.0], [0.0]],
        "Jet_mass": [[0.0, 0.0], [0.0]],
    }
    names = Namespace(to_events({k: jagged(v) for k, v in columns.items()}), study.define)
    found = names.evaluate("jet_1_parton.pt")
    assert found.valid.tolist() == [True, False]
    assert found.values[0] == 60.0


def jagged(rows):
    content = np.concatenate([np.asarray(row) for row in rows])
    return Jagged(np.cumsum([0, *map(len, rows)]), content)
