"""init and info on files with other trees and names: what is written, and what is said."""

import awkward as ak
import numpy as np
import pytest
import uproot

from gen2reco import info, init, load_study, open_events
from gen2reco.errors import EventFileError, StudyError
from gen2reco.rows.expressions import Namespace

COUNT = 200


@pytest.fixture(scope="module")
def columns(hmumu_sample):
    """Columns of NanoAOD: `statusFlags`, and no `isPrompt`."""
    events = next(iter(open_events(hmumu_sample).chunks(COUNT))).events
    gen = events.GenPart
    part = ak.zip({name: gen[name] for name in ("pt", "eta", "phi", "mass", "pdgId")})
    part["status"] = ak.ones_like(gen.pdgId)
    part["statusFlags"] = ak.values_astype(gen.isPrompt, np.uint16)
    fields = ("pt", "eta", "phi", "mass")
    found = {
        "GenPart": part,
        "GenJet": ak.zip({name: events.GenJet[name] for name in fields}),
        "Muon": ak.zip({name: events.Muon[name] for name in fields}),
        "Jet": ak.zip({name: events.Jet[name] for name in fields}),
        "event": np.arange(COUNT, dtype=np.uint64),
        "GenMET_pt": np.asarray(events.GenMET.pt),
        "GenMET_phi": np.asarray(events.GenMET.phi),
    }
    for name in ("MET", "PuppiMET"):
        found |= {
            f"{name}_pt": np.asarray(events.MET.pt),
            f"{name}_phi": np.asarray(events.MET.phi),
        }
    return found


def stored(path, columns, *trees):
    with uproot.recreate(path) as file:
        for tree in trees:
            kinds = {
                name: array.type.content if isinstance(array, ak.Array) else array.dtype
                for name, array in columns.items()
            }
            made = file.mktree(
                tree,
                kinds,
                counter_name=lambda outer: f"n{outer}",
                field_name=lambda outer, inner: f"{outer}_{inner}",
            )
            made.extend(columns)
        file.mktree("Runs", {"run": "u4"}).extend({"run": np.ones(1, np.uint32)})
    return path


def test_the_only_tree_with_events_is_found_and_written(columns, tmp_path):
    path = stored(tmp_path / "cms.root", columns, "nano")
    assert info(path).facts["tree"] == "nano"
    init(path, tmp_path / "cms.yaml")
    assert load_study(tmp_path / "cms.yaml").input.tree == "nano"
    with pytest.raises(EventFileError, match=r"no tree 'Events'.*nano.*`input: \{tree: nano\}`"):
        open_events(path)


def test_one_of_several_trees_is_named(columns, tmp_path):
    path = stored(tmp_path / "two.root", columns, "nominal", "shifted")
    for verb in (info, init):
        with pytest.raises(EventFileError, match=r"Runs, nominal, shifted\..* --tree of info and"):
            verb(path)
    assert "tree: shifted," in init(path, tree="shifted")
    assert info(path, tree="nominal").facts["tree"] == "nominal"


def test_leptons_are_prompt_and_charged(columns, tmp_path):
    init(stored(tmp_path / "a.root", columns, "Events"), tmp_path / "a.yaml")
    study = load_study(tmp_path / "a.yaml")
    assert "status == 1 and bit(statusFlags, 0)" in study.define["gen_muon"]
    assert study.parts[0].output["Muon"]["charge"] == "-sign(gen_muon.pdgId)"
    assert "charge" not in study.parts[0].output["Jet"]
    events = next(iter(open_events(tmp_path / "a.root")))
    charge = Namespace(events, study.define).evaluate("-sign(gen_muon.pdgId)")
    assert set(charge.values[charge.valid]) == {-1.0, 1.0}


def test_other_met_is_learned_or_named(columns, tmp_path):
    text = init(stored(tmp_path / "both.root", columns, "Events"))
    assert "# Left out: PuppiMET; one MET is learned, which is MET." in text
    alone = {name: column for name, column in columns.items() if not name.startswith("MET_")}
    init(stored(tmp_path / "puppi.root", alone, "Events"), tmp_path / "puppi.yaml")
    study = load_study(tmp_path / "puppi.yaml")
    assert "PuppiMET" in study.parts[0].output
    assert study.validation.quantities["met"] == "PuppiMET.pt"


def test_collections_of_other_names_are_listed(columns, tmp_path):
    other = {
        "event": columns["event"],
        "jets": columns["Jet"],
        "truth_jets": columns["GenJet"],
        "met_pt": columns["MET_pt"],
    }
    path = stored(tmp_path / "own.root", other, "Events")
    with pytest.raises(StudyError, match=r"Collections found: jets, met, truth .*first `_`"):
        init(path)
    events = next(iter(open_events(path)))
    with pytest.raises(
        StudyError, match="ends at the first `_`, so that truth_jets_pt is jets_pt of truth"
    ):
        Namespace(events).evaluate("leading(truth_jets).pt")


def test_places_without_a_file(columns, tmp_path):
    path = stored(tmp_path / "a.root", columns, "Events")
    with pytest.raises(EventFileError, match=r"x\.yaml: the folder of this file is not there"):
        init(path, tmp_path / "no" / "x.yaml")
    with pytest.raises(EventFileError, match="this is a folder; name a file in it"):
        init(path, tmp_path, overwrite=True)
