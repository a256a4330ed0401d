import awkward as ak
import numpy as np
import pytest
import uproot

from gen2reco.errors import EventFileError
from gen2reco.events import Jagged, open_events, to_events, write_events
from gen2reco.events.nanoaod import as_nano, nano_type


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("Muon_charge", np.int32),
        ("Muon_genPartIdx", np.int16),
        ("GenPart_genPartIdxMother", np.int16),
        ("Jet_muonIdx1", np.int16),
        ("Jet_hadronFlavour", np.uint8),
        ("run", np.uint32),
        ("event", np.uint64),
    ],
)
def test_integer_types(column, kind):
    assert nano_type(column) is kind
    assert as_nano(column, np.array([1.0, 2.0])).dtype == kind


@pytest.mark.parametrize("column", ["Jet_pt", "replica", "gen2reco_flags", "weight"])
def test_other_types_stay(column):
    values = np.array([1, 2], np.int64)
    assert as_nano(column, values) is values


@pytest.mark.parametrize("values", [[0.5], [np.nan], [70000], [-70000]])
def test_what_does_not_fit_is_refused(values):
    with pytest.raises(EventFileError, match=r"branch Muon_genPartIdx: .* is not a int16"):
        as_nano("Muon_genPartIdx", Jagged(np.array([0, 1]), np.array(values)))


def test_ids_are_required(tmp_path):
    with pytest.raises(EventFileError, match="NanoAOD needs the column luminosityBlock"):
        write_events(tmp_path / "a.root", [to_events({"run": np.ones(1), "event": np.ones(1)})])
    assert list(tmp_path.iterdir()) == []


def test_the_tree_is_laid_out_as_nanoaod(tmp_path, make_events):
    events = make_events(50)
    write_events(tmp_path / "a.root", [events], row_group=20, descriptions={"Jet_pt": "GeV"})
    with uproot.open(tmp_path / "a.root") as file:
        tree = file["Events"]
        types = {name: branch.typename for name, branch in tree.iteritems()}
        assert types["nMuon"] == "int32_t"
        assert types["Muon_pt"] == "float[]"
        assert types["Muon_charge"] == "int32_t[]"
        assert types["Muon_genPartIdx"] == "int16_t[]"
        assert types["Jet_btag"] == "bool[]"
        assert types["run"] == types["luminosityBlock"] == "uint32_t"
        assert types["event"] == "uint64_t"
        assert [name for name in types if name.startswith("n")] == ["nGenPart", "nMuon", "nJet"]
        assert tree["Muon_pt"].count_branch.name == tree["Muon_charge"].count_branch.name == "nMuon"
        assert tree["Muon_pt"].num_baskets == 3
        assert tree["nMuon"].member("fLeaves")[0].member("fMaximum") == ak.max(ak.num(events.Muon))
        assert isinstance(file.file.fCompress, int)
        assert file.file.compression.name == "ZSTD"
        assert {key.partition(";")[0] for key in file} == {
            "Events",
            "Runs",
            "LuminosityBlocks",
        }
        assert file["Runs"].keys() == ["run", "genEventCount", "genEventSumw", "genEventSumw2"]
        assert file["Runs/genEventSumw"].array().tolist() == [np.sum(events.genWeight)]


def test_the_rntuple_has_the_names_of_the_tree(tmp_path, make_events):
    write_events(tmp_path / "a.root", [make_events(50)], row_group=20)
    write_events(tmp_path / "b.root", [make_events(50)], format="rntuple", row_group=20)
    with uproot.open(tmp_path / "a.root") as one, uproot.open(tmp_path / "b.root") as two:
        tree, ntuple = one["Events"], two["Events"]
        assert ntuple.classname.endswith("RNTuple")
        assert set(ntuple.keys()) == set(tree.keys())
        assert ntuple["Muon_genPartIdx"].typename == "std::vector<std::int16_t>"
        assert ntuple["nMuon"].typename == "std::int32_t"
        assert ntuple["nMuon"].array().tolist() == tree["nMuon"].array().tolist()
        assert ntuple["Jet_pt"].array().tolist() == tree["Jet_pt"].array().tolist()
        assert two["Runs"].num_entries == 1
        assert set(two.keys(cycle=False)) == {"Events", "Runs", "LuminosityBlocks"}


@pytest.mark.parametrize("blocks", [1, 25])
def test_columns_say_what_they_mean(tmp_path, make_events, blocks):
    lines = {"Jet_pt": "after the correction (GeV)", "nJet": "jets above 15 GeV"}
    options = {"row_group": -(-50 // blocks), "descriptions": lines}
    write_events(tmp_path / "a.root", [make_events(50)], **options)
    summary = write_events(tmp_path / "b.root", [make_events(50)], format="rntuple", **options)
    with uproot.open(tmp_path / "a.root") as one, uproot.open(tmp_path / "b.root") as two:
        titles = {name: branch.title for name, branch in one["Events"].iteritems()}
        fields = {name: two["Events"][name].description for name in titles}
        assert titles == fields
        assert titles["Jet_pt"] == "after the correction (GeV)"
        assert titles["nJet"] == "jets above 15 GeV"
        assert titles["Muon_pt"] == "transverse momentum (GeV)"
        assert titles["nMuon"] == "number of entries of Muon"
        assert titles["Muon_genPartIdx"] == "index into GenPart of the same event, -1: none"
        assert one["Runs"]["genEventSumw"].title == two["Runs"]["genEventSumw"].description
        leaf = one["Events/Muon_pt"].member("fLeaves")[0]
        assert leaf.member("fTitle") == "Muon_pt[nMuon]", "ROOT reads the length off the leaf"
        assert one["Events/Muon_pt"].num_baskets == blocks
    assert summary["descriptions"] == {
        name: line for name, line in titles.items() if name not in {"nMuon", "nJet", "nGenPart"}
    }


@pytest.mark.parametrize("kind", ["nanoaod", "rntuple"])
def test_coffea_reads_it_adds_muons_and_follows_gen_references(tmp_path, make_events, kind):
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    class Schema(NanoAODSchema):
        warn_missing_crossrefs = False  # it knows dozens of collections that are not here

    made = make_events(200)
    write_events(tmp_path / "a.root", [made], format=kind, row_group=70)
    factory = NanoEventsFactory.from_root(
        {str(tmp_path / "a.root"): "Events"}, schemaclass=Schema, mode="eager"
    )
    events = factory.events()
    assert len(events) == 200
    assert events.event.tolist() == made.event.tolist()

    pairs = events.Muon[ak.num(events.Muon) >= 2]
    total = pairs[:, 0] + pairs[:, 1]
    chosen = made.Muon[ak.num(made.Muon) >= 2]
    px = sum(chosen.pt[:, i] * np.cos(chosen.phi[:, i]) for i in (0, 1))
    py = sum(chosen.pt[:, i] * np.sin(chosen.phi[:, i]) for i in (0, 1))
    np.testing.assert_allclose(total.pt, np.hypot(px, py), rtol=1e-4)
    assert ak.all(total.mass >= 0.2)

    matched = events.Muon.matched_gen
    index = made.Muon.genPartIdx
    expected = made.GenPart.pt[index.mask[index >= 0]]
    assert matched.pt.tolist() == expected.tolist()
    assert 0 < ak.count(matched.pt) < ak.count(index)
    np.testing.assert_allclose(events.MET.px, made.MET.pt * np.cos(made.MET.phi), rtol=1e-5)


def test_our_reader_and_uproot_agree(tmp_path, make_events):
    write_events(tmp_path / "a.root", [make_events(30)])
    with uproot.open(tmp_path / "a.root") as file:
        arrays = file["Events"].arrays()
    events = next(iter(open_events(tmp_path / "a.root")))
    assert arrays.Jet_btag.tolist() == events.Jet.btag.tolist()
    assert arrays.nJet.tolist() == ak.num(events.Jet).tolist()
