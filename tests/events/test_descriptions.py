"""What is known of columns by name."""

import pytest

from gen2reco.events.descriptions import COLUMNS, FIELDS, describe


@pytest.mark.parametrize(
    ("column", "line"),
    [
        ("Electron_pt", FIELDS["pt"]),
        ("run", COLUMNS["run"]),
        ("GenMET_pt", COLUMNS["GenMET_pt"]),
        ("Jet_genJetIdx", "index into GenJet of the same event, -1: none"),
        ("Jet_muonIdx2", "index into Muon of the same event, -1: none"),
        ("GenPart_genPartIdxMother", "index into GenPart of the mother, -1: none"),
    ],
)
def test_names_of_nanoaod_are_known(column, line):
    assert describe([column], {}) == {column: line}


def test_what_is_given_goes_before_what_is_known():
    assert describe(["Jet_pt"], {"Jet_pt": "mine", "Jet_eta": "not asked for"}) == {
        "Jet_pt": "mine"
    }


def test_a_counter_needs_its_collection():
    assert describe(["nJet", "nPSWeight", "nBunches", "Jet_pt", "PSWeight"], {}) == {
        "nJet": "number of entries of Jet",
        "nPSWeight": "number of entries of PSWeight",
        "Jet_pt": FIELDS["pt"],
    }


def test_what_is_unknown_has_no_line():
    assert describe(["Jet_myScore", "HLT_IsoMu24", "pt"], {}) == {}


def test_lines_are_short_and_plain():
    """Titles of branches are read on one line, in terminals of any encoding."""
    for name, line in (COLUMNS | FIELDS).items():
        assert line.isascii(), name
        assert len(line) < 100, name
