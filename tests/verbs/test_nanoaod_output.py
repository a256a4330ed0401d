"""What `simulate` writes to ROOT is NanoAOD that an analysis reads: whole events with GEN kept."""

from typing import ClassVar

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

from gen2reco import load_study, open_events, simulate

KEEP = ["GenPart_*", "GenJet_*", "GenMET_*"]
EVENTS = 300


class Schema(NanoAODSchema):
    """NanoAOD without a warning for each collection that is not here, jets with their charge."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar = {
        name: value for name, value in NanoAODSchema.full_like_items.items() if name != "Jet_charge"
    }


@pytest.fixture(scope="module")
def gen(hmumu_sample):
    return next(iter(open_events(hmumu_sample).chunks(size=EVENTS))).events


@pytest.fixture(scope="module", params=["reco.root", "reco.rntuple.root"])
def reco(request, hmumu_model, hmumu_sample, tmp_path_factory):
    from gen2reco import write_events

    folder = tmp_path_factory.mktemp("nano")
    source = next(iter(open_events(hmumu_sample).chunks(size=EVENTS))).events
    write_events(folder / "gen.parquet", [source])
    path = folder / request.param
    simulate(hmumu_model, folder / "gen.parquet", path, oversample=2, keep=KEEP, chunk=100)
    return path


@pytest.fixture(scope="module")
def events(reco):
    return NanoEventsFactory.from_root(
        {str(reco): "Events"}, schemaclass=Schema, mode="eager"
    ).events()


def test_types_and_counters_are_those_of_nanoaod(reco):
    wanted = {
        "run": "uint32_t",
        "luminosityBlock": "uint32_t",
        "event": "uint64_t",
        "nMuon": "int32_t",
        "nJet": "int32_t",
        "nGenPart": "int32_t",
        "Muon_pt": "float",
        "Muon_charge": "int32_t",
        "Muon_genPartIdx": "int16_t",
        "Jet_nConstituents": "uint8_t",
        "Jet_genJetIdx": "int16_t",
        "Jet_btag": "bool",
        "MET_pt": "float",
        "GenPart_pdgId": "int32_t",
        "GenJet_partonFlavour": "int16_t",
        "GenJet_hadronFlavour": "uint8_t",
    }
    with uproot.open(reco) as file:
        kinds = {name: file["Events"][name].typename for name in wanted}
        for name, kind in kinds.items():
            plain = kind.replace("std::vector<", "").strip("[]>").replace("std::", "")
            assert plain == wanted[name], name
        counts = file["Events"]["nJet"].array(library="np")
        assert counts.tolist() == [len(jets) for jets in file["Events"]["Jet_eta"].array()]
        assert file["Runs"].num_entries == 1
        assert file["Runs"]["genEventCount"].array().tolist() == [EVENTS]
        assert file["LuminosityBlocks"].num_entries >= 1


def test_every_column_is_described(reco):
    study = load_study("hmumu")
    with uproot.open(reco) as file:
        events = file["Events"]
        for name in events.keys():  # noqa: SIM118  (an RNTuple is no mapping)
            field = events[name]
            text = field.title if reco.name == "reco.root" else field.description
            assert text, name
            assert not text.startswith(f"{name}/"), "uproot's own title"
            if name in study.describe:
                assert text == study.describe[name]


def test_collections_behave_as_momenta(events):
    pairs = events[ak.num(events.Muon) >= 2]
    mass = (pairs.Muon[:, 0] + pairs.Muon[:, 1]).mass
    assert 100 < ak.mean(mass) < 150, "of a Higgs boson"
    assert set(events.Muon.fields) >= {"pt", "eta", "phi", "mass", "charge", "pfRelIso04_all"}
    jets = events.Jet[ak.num(events.Jet) >= 2]
    assert ak.all((jets[:, 0] + jets[:, 1]).mass > 0)
    assert np.allclose(np.hypot(events.MET.px, events.MET.py), events.MET.pt, rtol=1e-5)
    assert set(ak.flatten(events.Jet.charge).tolist()) == {-1, 1}


def test_muons_lead_to_their_gen_muons(events):
    matched = events.Muon.matched_gen
    assert ak.all(abs(matched.pdgId) == 13)
    assert ak.count(matched.pt) == ak.count(events.Muon.pt)
    assert ak.all(abs(events.Muon.eta - matched.eta) < 0.05)
    assert np.mean(ak.flatten(events.Muon.charge == -np.sign(matched.pdgId))) > 0.9


def test_jets_lead_to_their_gen_jets_and_spurious_ones_to_none(events):
    matched = events.Jet.matched_gen
    there = ~ak.is_none(matched.pt, axis=1)
    assert ak.all(there == (events.Jet.genJetIdx >= 0))
    assert 0 < ak.sum(~there) < ak.sum(there)
    pairs = ak.zip({"jet": events.Jet.eta[there], "gen": matched.eta[there]})
    assert np.mean(ak.flatten(abs(pairs.jet - pairs.gen) < 0.4)) > 0.9


def test_references_survive_slicing(events):
    """An analysis selects events and objects first, and follows references then."""
    good = events[ak.num(events.Jet) >= 2][10:50]
    jets = good.Jet[good.Jet.pt > 25]
    index = jets.genJetIdx
    found = good.GenJet[ak.mask(index, index >= 0)]
    assert jets.matched_gen.pt.tolist() == found.pt.tolist()


def test_kept_columns_and_replicas_are_those_of_the_gen_event(events, gen):
    assert len(events) == 2 * len(gen)
    for replica in (0, 1):
        one = events[events.replica == replica]
        assert one.event.tolist() == gen.event.tolist()
        assert one.GenJet.pt.tolist() == gen.GenJet.pt.tolist()
        assert one.GenPart.pdgId.tolist() == gen.GenPart.pdgId.tolist()
        assert one.GenMET.phi.tolist() == gen.GenMET.phi.tolist()
    assert np.allclose(events.weight, 0.5)
