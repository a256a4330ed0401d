"""Rows of kind set: tables of padded constituents, and what a part of such rows writes."""

import awkward as ak
import numpy as np
import pytest

from gen2reco.errors import StudyError
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.sets import WithJets, evaluate_set_output, with_jets
from gen2reco.rows.substructure import jet_features
from gen2reco.rows.tables import build_table, columns_needed
from gen2reco.study import CONSTITUENT, Study, load_study

SIZE = 4


@pytest.fixture
def study():
    return load_study("wjets-particles", {"parts.0.rows.size": SIZE})


@pytest.fixture
def events():
    """Four jets of two events; the third has no RECO, the fourth more particles than kept."""
    gen = [[5.0, 3.0], [9.0], [4.0, 2.0, 1.0], [1.0, 6.0, 2.0, 3.0, 4.0, 5.0]]
    reco = [[4.0], [8.0, 1.0], [], [2.0, 1.0]]

    def fields(lists):
        flat = {"pt": ak.Array(lists)}
        for name, scale in (("eta", 0.1), ("phi", -0.2)):
            flat[name] = flat["pt"] * scale
        return ak.zip({**flat, "pdgId": ak.ones_like(flat["pt"]) * 22, "charge": flat["pt"] * 0})

    return ak.zip(
        {
            "run": np.ones(4, np.uint32),
            "luminosityBlock": np.ones(4, np.uint32),
            "event": np.array([7, 7, 8, 8], np.uint64),
            "jet": np.array([0, 1, 0, 1], np.uint8),
            "FatJet": ak.zip({"pt": np.zeros(4), "mass": np.zeros(4)}),
            "GenPFCand": fields(gen),
            "PFCand": fields(reco),
        },
        depth_limit=1,
    )


class Columns:
    """What a file would say it has."""

    def __init__(self, events):
        self.is_list = {}
        for name in events.fields:
            fields = events[name].fields
            jagged = name in {"GenPFCand", "PFCand"}
            self.is_list |= {f"{name}_{field}": jagged for field in fields} or {name: False}
        self.columns, self.unfit = list(self.is_list), {}


def test_constituents_are_padded_and_rows_without_any_are_left_out(study, events):
    table = build_table(study, study.parts[0], events, targets=True)
    np.testing.assert_array_equal(table.entry, [0, 1, 3])
    assert table.dropped == {"no RECO constituent": 1}
    np.testing.assert_array_equal(table.condition["gen_pt"][0], [5, 3, np.nan, np.nan])
    np.testing.assert_allclose(table.target["eta"][1], [0.8, 0.1, np.nan, np.nan])
    np.testing.assert_array_equal(table.keys.object, [0, 1, 1])
    assert table.keys.event.tolist() == [7, 7, 8]


def test_the_hardest_constituents_are_kept(study, events):
    table = build_table(study, study.parts[0], events, targets=True)
    np.testing.assert_array_equal(table.condition["gen_pt"][2], [6, 5, 4, 3])
    np.testing.assert_allclose(table.condition["gen_phi"][2], [-1.2, -1.0, -0.8, -0.6])


def test_constituents_fall_in_pt_whatever_the_file_and_the_other_jets(study, events):
    flipped = ak.copy(events)
    for name in ("GenPFCand", "PFCand"):
        flipped[name] = events[name][:, ::-1]
    whole = build_table(study, study.parts[0], events, targets=True)
    for taken in (slice(None), slice(0, 3), slice(3, 4)):  # with and without the long jet
        table = build_table(study, study.parts[0], flipped[taken], targets=True)
        rows = np.isin(whole.entry, np.arange(4)[taken])
        for side in ("condition", "target"):
            for name, values in getattr(table, side).items():
                np.testing.assert_array_equal(values, getattr(whole, side)[name][rows])


def test_simulation_reads_gen_alone(study, events):
    table = build_table(study, study.parts[0], events[["run", "luminosityBlock", "event", "jet",
                                                       "GenPFCand"]], targets=False)  # fmt: skip
    assert len(table) == 4
    assert not table.target
    needed = columns_needed(study, study.parts[0], Columns(events), targets=False)
    assert set(needed) == {"run", "luminosityBlock", "event", "jet"} | {
        f"GenPFCand_{name}" for name in CONSTITUENT
    }


def test_what_is_not_finite_is_marked_or_left_out(study, events):
    columns = {f"{c}_{f}": events[c][f] for c in ("GenPFCand", "PFCand") for f in CONSTITUENT}
    columns["GenPFCand_eta"] = ak.Array([[0.5, np.inf], [0.9], [0.4, 0.2, 0.1], [0.1] * 6])
    pieces = {
        c: ak.zip({f: columns[f"{c}_{f}"] for f in CONSTITUENT}) for c in ("GenPFCand", "PFCand")
    }
    for name, of in pieces.items():
        events[name] = of
    flagged = build_table(study, study.parts[0], events, targets=False)
    np.testing.assert_array_equal(flagged.nonfinite, [True, False, False, False])
    learned = build_table(study, study.parts[0], events, targets=True)
    np.testing.assert_array_equal(learned.entry, [1, 3])


def test_output_of_constituents_and_of_jets(study, events):
    part = study.parts[0]
    table = build_table(study, part, events, targets=True)
    made = evaluate_set_output(part, Namespace(events, study.define), table, table.target)
    (entry, particles, alone), (jets, features, of_jets) = made
    assert not alone
    assert of_jets
    np.testing.assert_array_equal(entry, [0, 1, 1, 3, 3])
    np.testing.assert_array_equal(particles["PFCand"]["pt"], [4, 8, 1, 2, 1])
    assert particles["PFCand"]["pdgId"].dtype.kind == "i"
    np.testing.assert_array_equal(jets, [0, 1, 3])
    sides = (table.target[name] for name in ("pt", "eta", "phi"))
    np.testing.assert_allclose(features["FatJet"]["mass"], jet_features(*sides)["mass"])


def test_jets_are_made_anew_on_all_sides(study, events):
    made = with_jets(study, events)
    two = np.hypot(8 * np.cos(1.6) + np.cos(0.2), 8 * np.sin(1.6) + np.sin(0.2))
    np.testing.assert_allclose(made.FatJet.pt[:2], [4.0, two])
    assert made.FatJet.nConstituents.tolist() == [1, 2, 0, 2]
    assert made.GenFatJet.nConstituents.tolist() == [2, 1, 3, 4]
    known = WithJets.of(study, Columns(events))
    assert {"FatJet_tau21", "GenFatJet_tau21"} <= set(known.columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": []}, "target"),
        ({"condition": []}, "need under `condition`, in this order: gen_pt"),
    ],
)
def test_a_set_needs_its_fields(study, change, message):
    tree = study.model_dump(mode="json")
    tree["parts"][0] |= change
    with pytest.raises(ValueError, match=message):
        Study.model_validate(tree)


def test_transforms_are_refused(study):
    tree = study.model_dump(mode="json")
    tree["parts"][0]["condition"][0]["transform"] = [{"kind": "log"}]
    with pytest.raises(ValueError, match="leave out `transform`"):
        Study.model_validate(tree)


def test_a_set_stands_alone(study):
    tree = study.model_dump(mode="json")
    tree["parts"].append(tree["parts"][0] | {"name": "again", "output": {}})
    with pytest.raises(ValueError, match="stands alone"):
        Study.model_validate(tree)


def test_an_unknown_collection_is_named(study, events):
    part = study.parts[0]
    other = part.model_copy(update={"rows": part.rows.model_copy(update={"gen": "GenPFCands"})})
    with pytest.raises(StudyError, match="GenPFCand"):
        build_table(study, other, events, targets=False)
