import pytest

from gen2reco.rows.origins import things_named
from gen2reco.study import load_study

DEFINE = dict(load_study("wjet").define)


@pytest.mark.parametrize(
    ("expression", "things"),
    [
        ("jet.mass", {"Jet", "Muon"}),
        ("gen_jet.pt / GenMET.pt", {"GenJet", "GenPart", "GenMET"}),
        ("count(Jet, pt > MET.pt and btag)", {"Jet", "MET"}),
        ("leading(GenJet, delta_r(mu) > 1 and abs(flavour) == 5).pt", {"GenJet", "Muon"}),
        ("nth(Jet, 2, mass > 3).pt", {"Jet"}),
        ("genWeight + Jet_pt", {"genWeight", "Jet_pt"}),
        ("sum(LHEPdfWeight)", {"LHEPdfWeight"}),
        ("3 + 4", set()),
    ],
)
def test_what_an_expression_rests_on(expression, things):
    assert things_named(expression, DEFINE) == things


def test_circles_end():
    assert things_named("a", {"a": "b", "b": "a + Jet.pt"}) == {"Jet"}
