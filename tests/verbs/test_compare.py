"""compare on samples of another tree, other units, with weights: both sides are treated alike."""

import json

import awkward as ak
import numpy as np
import pytest
import uproot

from gen2reco import compare, load_study, open_events, write_events
from gen2reco.errors import EventFileError, SampleError, StudyError
from gen2reco.events.layout import Jagged, flat_columns, to_events
from gen2reco.validation.correlations import correlation_matrix
from gen2reco.verbs.inputs import open_sample

IDS = ("run", "luminosityBlock", "event")
ENERGIES = ("MET_pt", "Jet_pt", "Muon_pt")


@pytest.fixture(scope="module")
def events(gen_file):
    names = [*IDS, *ENERGIES, "Jet_eta", "Jet_phi", "Muon_eta", "Muon_phi", "MET_phi"]
    return next(iter(open_events(gen_file).chunks(1200, names))).events


@pytest.fixture(scope="module")
def study():
    changes = {"input.tree": "nano", "input.units": "MeV", "input.weight": ""}
    plan = load_study("wjet", changes)
    quantities = {"jet_pt": "leading(Jet).pt", "met": "MET.pt"}
    judged = plan.validation.model_copy(update={"quantities": quantities, "select": ""})
    return plan.model_copy(update={"validation": judged, "define": {}})


@pytest.fixture(scope="module")
def full(events, tmp_path_factory):
    """A sample as an experiment has it: in MeV, in a tree `nano`."""
    columns = flat_columns(events)
    for name in ENERGIES:
        column = columns[name]
        columns[name] = (
            Jagged(column.offsets, 1000 * column.content)
            if isinstance(column, Jagged)
            else 1000 * column
        )
    flat = {name: column for name, column in columns.items() if not isinstance(column, Jagged)}
    lists = to_events({n: c for n, c in columns.items() if isinstance(c, Jagged)})
    data = flat | {name: lists[name] for name in lists.fields}
    path = tmp_path_factory.mktemp("full") / "full.root"
    with uproot.recreate(path) as file:
        kinds = {
            name: getattr(array, "dtype", None) or array.type.content
            for name, array in data.items()
        }
        file.mktree("nano", kinds, field_name=lambda outer, inner: f"{outer}_{inner}").extend(data)
    return path


@pytest.fixture(scope="module")
def fast(events, tmp_path_factory):
    """The same events as an emulator would write them."""
    path = tmp_path_factory.mktemp("fast") / "fast.root"
    marked = ak.with_field(events, np.zeros(len(events), np.int32), "gen2reco_flags")
    write_events(path, [marked])
    return path


def test_what_an_emulator_made_is_in_gev_in_events(study, full, fast, events):
    expected = np.asarray(events.MET.pt)
    for path in (full, fast):
        read = next(iter(open_sample(path, study))).MET.pt
        assert np.allclose(read, expected, rtol=1e-5)


def test_samples_and_simulated_events_do_not_mix(study, fast, events, tmp_path):
    write_events(tmp_path / "sample.parquet", [events])
    with pytest.raises(EventFileError, match=r"fast\.root: an emulator made it, in GeV, but not"):
        open_sample([fast, tmp_path / "sample.parquet"], study)


def test_the_same_events_agree_in_tree_and_units_of_a_study(study, full, fast, tmp_path):
    done = compare(full, fast, tmp_path / "report", study=study, quick=True)
    found = {quantity.name: quantity for quantity in done.assessment.quantities}
    assert set(found) == {"jet_pt", "met"}
    for quantity in found.values():
        assert quantity.w1.value < 3 * quantity.w1.null + 1


@pytest.fixture
def weighted(events):
    """Weights that fall with MET, as of a sample with more events at high MET."""
    return ak.with_field(events, np.exp(-np.asarray(events.MET.pt) / 20), "genWeight")


def test_the_weights_of_both_sides_count(weighted, tmp_path):
    write_events(tmp_path / "full.parquet", [weighted])
    write_events(tmp_path / "fast.parquet", [ak.with_field(weighted, weighted.genWeight, "weight")])
    done = compare(
        tmp_path / "full.parquet", tmp_path / "fast.parquet", tmp_path / "report", quick=True
    )
    (met,) = (one for one in done.assessment.quantities if one.name == "MET_pt")
    assert met.w1.value < 5 * met.w1.null
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["provenance"]["event weights"] == "FullSim: genWeight, FastSim: weight"


def test_one_side_is_not_weighted_alone(weighted, events, tmp_path):
    write_events(tmp_path / "plain.parquet", [events])
    write_events(tmp_path / "weighted.parquet", [weighted])
    with pytest.raises(
        EventFileError, match=r"plain\.parquet: it has no event weights.*`genWeight`"
    ):
        compare(tmp_path / "plain.parquet", tmp_path / "weighted.parquet", tmp_path / "report")


def test_a_stream_of_less_than_nothing(tmp_path):
    with pytest.raises(StudyError, match=r"stream is a number of events, or 0 .* not -1"):
        compare("no_file.parquet", "no_file.parquet", tmp_path / "report", stream=-1)


def test_a_quantity_that_cannot_correlate_is_named():
    table, weight = np.array([[0.0], [5.0], [0.1]]), np.array([1.0, -0.5, 1.0])
    with pytest.raises(SampleError, match="jet_pt has no positive variance"):
        correlation_matrix(table, weight, "pearson", ["jet_pt"])
