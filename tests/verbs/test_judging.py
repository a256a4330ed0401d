"""validate and compare on real events with a small emulator: the report, and what is refused."""

import json

import numpy as np
import pytest

from gen2reco import (
    compare,
    load_emulator,
    open_events,
    simulate,
    validate,
)
from gen2reco.errors import EventFileError, OutputExistsError
from gen2reco.rows.splits import TEST, split
from gen2reco.study import Split
from gen2reco.verbs.compare import common_quantities
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.samples import emulated, identity


@pytest.fixture(scope="module")
def validated(small_emulator, gen_file, tmp_path_factory):
    return validate(
        small_emulator, gen_file, tmp_path_factory.mktemp("validated") / "report", quick=True
    )


def test_the_report_has_every_quantity_with_value_error_and_null(validated):
    report = json.loads((validated.folder / "report.json").read_text())
    quantities = {(one["group"], one["name"]): one for one in report["assessment"]["quantities"]}
    assert len(quantities) == 30
    jet = quantities["response", "jet_pt"]
    assert jet["w1"]["value"] > 0
    assert jet["w1"]["error"] > 0
    assert jet["w1"]["null"] > 0
    assert jet["references"]["GEN taken as RECO"]["floor_ratio"] > 5
    assert validated.page.stat().st_size < 6e6


def test_copies_of_gen_are_equal_in_both(validated):
    report = validated.as_dict()
    for name in ("mu_eta", "mu_phi"):
        (one,) = (
            q
            for q in report["assessment"]["quantities"]
            if (q["group"], q["name"]) == ("response", name)
        )
        assert one["kind"] == "copy"
        assert one["equal"] == [1.0, 1.0]


def test_a_badly_trained_emulator_is_found_out(validated):
    assert not validated.assessment.agrees
    excess = validated.assessment.classifier.excess
    assert excess.value > 5 * excess.error


def test_the_summary_names_targets_and_page(validated):
    text = str(validated)
    assert "C2ST excess" in text
    assert str(validated.page) in text


def test_an_existing_report_is_left_alone(validated, small_emulator, gen_file):
    with pytest.raises(OutputExistsError, match="--overwrite"):
        validate(small_emulator, gen_file, validated.folder, quick=True)


def test_files_of_training_are_judged_on_their_test_part_only(small_emulator, bundled):
    emulator = load_emulator(small_emulator)
    judged = read_judged(emulator, open_events(bundled), test_only=True)
    assert set(split(judged.tables["event"].keys, Split())) == {TEST}
    everything = read_judged(emulator, open_events(bundled), test_only=False)
    assert len(judged.events) == pytest.approx(0.2 * len(everything.events), rel=0.05)


def test_gen_taken_as_reco_has_unit_response(small_emulator, gen_file):
    emulator = load_emulator(small_emulator)
    judged = read_judged(emulator, open_events(gen_file), test_only=False)
    events, table = judged.events, judged.tables["event"]
    same = identity(emulator, events, table)
    assert np.allclose(same.Jet.pt[:, 0], table.relative_to["jet_pt"], rtol=1e-6)
    assert np.allclose(same.MET.pt, np.asarray(events.GenMET.pt), rtol=1e-5, atol=1e-4)
    made = emulated(emulator, events, seed=1)
    assert len(made) == len(events)
    assert not np.allclose(made.Jet.pt[:, 0], table.relative_to["jet_pt"], rtol=1e-3)


def test_two_files_can_be_compared_without_an_emulator(small_emulator, gen_file, tmp_path):
    simulate(small_emulator, gen_file, tmp_path / "fast.parquet")
    done = compare(
        gen_file, tmp_path / "fast.parquet", tmp_path / "report", study="wjet", quick=True
    )
    names = {quantity.name for quantity in done.assessment.quantities}
    assert {"jet_pt", "m_T", "met"} <= names
    assert done.assessment.events[0] < 1100  # halves: no GEN event is on both sides
    plain = common_quantities(open_events(gen_file), open_events(tmp_path / "fast.parquet"))
    assert plain["n_Jet"] == "count(Jet)"
    assert plain["leading_Jet_pt"] == "leading(Jet).pt"
    assert plain["MET_pt"] == "MET.pt"
    assert not any(name.startswith("Gen") or name.endswith("Idx") for name in plain)


def test_files_without_common_columns_are_refused(gen_file, tmp_path):
    from gen2reco import write_events
    from gen2reco.events.layout import to_events

    ids = {name: np.arange(5, dtype=np.uint32) for name in ("run", "luminosityBlock", "event")}
    write_events(tmp_path / "other.parquet", [to_events({**ids, "Tau_x": np.ones(5)})])
    with pytest.raises(EventFileError, match="no RECO column in common"):
        compare(gen_file, tmp_path / "other.parquet", tmp_path / "report", quick=True)
    assert not (tmp_path / "report").exists()
