import pytest
from matplotlib.mathtext import MathTextParser

from gen2reco.study import load_study
from gen2reco.validation.labels import Labels, label_of, split_unit


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("jet_pt", "GeV"),
        ("mu_phi", "rad"),
        ("mu_eta", ""),
        ("met", "GeV"),
        ("met_x", "GeV"),
        ("met_phi", "rad"),
        ("m_T", "GeV"),
        ("gen_jet_pt", "GeV"),
        ("log_jet_mass", ""),
        ("dphi_mu_met", "rad"),
        ("score", ""),
        ("leading_Muon_pt", "GeV"),
        ("pt", "GeV"),
        ("gen_pt", "GeV"),
        ("eta", ""),
        ("isoSumPtCharged", "GeV"),
        ("n_jets", ""),
        ("m", ""),
    ],
)
def test_names_have_labels_with_units(name, unit):
    label = label_of(name)
    assert split_unit(label)[1] == unit
    MathTextParser("path").parse(label)


def test_names_of_one_word_are_understood_on_the_page_of_their_object():
    assert label_of("pt") == "$p_{T}$ [GeV]"
    assert label_of("gen_eta") == r"GEN $\eta$"
    assert label_of("n_spurious_jets") == "number of spurious jets"
    assert label_of("btag") == "b tag"
    assert label_of("m") == "m"


def test_the_study_has_the_last_word():
    assert label_of("jet_pt", {"jet_pt": "$p$ [MeV]"}) == "$p$ [MeV]"
    assert label_of("gen_jet_pt", {"jet_pt": "$p$ [MeV]"}) == "GEN $p$ [MeV]"


def test_responses_say_what_is_divided_or_subtracted():
    labels = Labels({"response:met": "mine"}, {"jet_pt": "ratio", "mu_phi": "angle"})
    assert labels.response("jet_pt").endswith(": RECO / GEN")
    assert labels.residual("jet_pt").endswith("(RECO $-$ GEN) / GEN")
    assert labels.response("mu_phi").endswith("RECO $-$ GEN [rad]")
    assert labels.response("met") == "mine"


def test_every_quantity_of_the_shipped_study_gets_a_label():
    for name in load_study("wjet").validation.quantities:
        assert "$" in label_of(name)
