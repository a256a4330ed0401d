import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from gen2reco.errors import StudyError
from gen2reco.rows.tables import columns_needed, columns_of
from gen2reco.study import Study, load_study, shipped_studies

WJET = (Path(load_study.__code__.co_filename).parents[1] / "studies" / "wjet.yaml").read_text()


@pytest.fixture
def write(tmp_path):
    def make(text: str) -> Path:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.split("\n"), 1) if part in line)


def test_shipped_studies_load_by_name():
    assert {"jets", "wjet", "wjet-quantile"} <= set(shipped_studies())
    for name in shipped_studies():
        assert load_study(name).name == name


@dataclass(frozen=True)
class Files:
    """What files have, as `columns_needed` wants to know it."""

    columns: tuple[str, ...]

    unfit: ClassVar[dict[str, str]] = {}

    @property
    def is_list(self) -> dict[str, bool]:
        plain = ("run", "lum", "ev", "GenMET", "MET", "jet")
        return {name: not name.startswith(plain) for name in self.columns}


# Every column that the shipped studies read, RECO and GEN.
EVERYTHING = Files(
    (
        *("run", "luminosityBlock", "event", "GenMET_pt", "GenMET_phi", "MET_pt", "MET_phi"),
        *(f"{c}_{f}" for c in ("Muon", "Jet") for f in ("pt", "eta", "phi", "mass")),
        *("Muon_charge", "Muon_genPartIdx", "Muon_pfRelIso04_all"),
        *("Muon_isoSumPtCharged", "Muon_isoSumPtNeutral"),
        *(f"Jet_{f}" for f in ("nConstituents", "nCh", "chEF", "neEmEF", "neHEF", "charge")),
        *(f"Jet_{f}" for f in ("ptD", "width", "leadFrac", "btag", "tautag")),
        *(f"GenJet_{f}" for f in ("pt", "eta", "phi", "mass", "hadronFlavour", "partonFlavour")),
        *(f"GenJet_{f}" for f in ("nBHadrons", "nCHadrons", "nConstituents", "leadMuonPt")),
        *(f"GenPart_{f}" for f in ("pt", "eta", "phi", "pdgId", "isPrompt")),
        *(f"LHEPart_{f}" for f in ("pt", "eta", "phi", "mass", "pdgId")),
        "jet",
        *(f"{c}_{f}" for c in ("PFCand", "GenPFCand") for f in ("pt", "eta", "phi")),
        *(f"{c}_{f}" for c in ("PFCand", "GenPFCand") for f in ("pdgId", "charge")),
        *(f"Electron_{f}" for f in ("pt", "eta", "phi", "mass", "charge", "pfRelIso04_all")),
        *(f"Photon_{f}" for f in ("pt", "eta", "phi")),
    )
)


@pytest.mark.parametrize("name", shipped_studies())
def test_every_expression_of_a_shipped_study_works(name):
    study = load_study(name)
    for part in study.stages:
        for targets in (True, False):
            needed = columns_needed(study, part, EVERYTHING, targets=targets)
            assert set(needed) <= set(EVERYTHING.columns)


@pytest.mark.parametrize("name", ["hmumu", "wjet", "wjet-quantile"])
def test_every_quantity_of_validation_works(name):
    study = load_study(name)
    validation = study.validation
    responses = [e for r in validation.responses.values() for e in (r.reco, r.gen)]
    expressions = [*validation.quantities.values(), *responses, validation.select]
    expressions += validation.response_bins.values()
    assert len(expressions) > 35
    columns_of(expressions, study.define, EVERYTHING)


def test_the_baseline_learns_the_papers_nine_quantities():
    study = load_study("wjet-quantile")
    part, training = study.parts[0], study.training
    order = [
        "mu_px",
        "mu_py",
        "mu_pz",
        "jet_px",
        "jet_py",
        "jet_pz",
        "log_jet_mass",
        "met_x",
        "met_y",
    ]
    assert [name for target in part.target for name in target.name] == order
    assert [c.name for c in part.condition] == [f"gen_{name}" for name in order]
    assert not any(c.transform for c in part.condition)
    for condition, target in zip(part.condition, part.target, strict=True):
        (spec,) = target.transform
        assert spec.kind == "residual_rescale"
        assert spec.given["gen"] == condition.value
        assert target.relative_to == ()
    assert part.model == {"kind": "quantile", "derived": "wjet"}
    settings = (training.optimizer, training.learning_rate, training.schedule, training.batch)
    assert settings == ("adam", 1e-3, "inverse-epoch", 128)
    assert (training.epochs, training.patience) == (100, 0)
    assert (training.weight_decay, training.clip) == (0, 0)
    assert study.validation == load_study("wjet").validation


def test_a_study_survives_json():
    study = load_study("wjet")
    text = json.dumps(study.model_dump(mode="json"), allow_nan=False)
    assert Study.model_validate(json.loads(text)) == study
    json.dumps(Study.model_json_schema(), allow_nan=False)


def test_numbers_stand_for_themselves():
    output = load_study("wjet").parts[0].output
    assert output["Muon"]["mass"] == "0.10566"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("training:", "trainin:", "unknown key 'trainin'. Did you mean 'training'?"),
        ("epochs: 48", "epoch: 24", "unknown key 'training.epoch'. Did you mean 'epochs'?"),
        (
            "relative_to: gen_mu.pt",
            "relativ_to: gen_mu.pt",
            "unknown key 'parts.0.target.0.relativ_to'. Did you mean 'relative_to'?",
        ),
        (
            "gen: gen_mu.pt, kind: ratio",
            "gen: gen_mu.pt, kinds: ratio",
            "unknown key 'validation.responses.mu_pt.kinds'. Did you mean 'kind'?",
        ),
        ("description: W", "zzz: W", "unknown key 'zzz'. Allowed here: base, define, describe"),
        ("epochs: 48", "epochs: many", "training.epochs: Input should be a valid integer"),
        ("epochs: 48", "epochs: 0", "training.epochs: Input should be greater than or equal to 1"),
        ("kind: ratio}", "kind: ratios}", "mu_pt.kind: Input should be 'ratio', 'difference'"),
        ("{name: gen_mu_eta, value", "{value", "'parts.0.condition.1.name' is missing"),
        ("{kind: rotate, given", "{given", "'parts.0.target.8.transform.0.kind' is missing"),
        ("name: gen_mu_eta", "name: gen_mu_pt", "the same name is used twice"),
        ("[met_x, met_y]", "[met_x]", "1 names but 2 values"),
        ("[GenMET.px, GenMET.py]", "GenMET.px", "1 entries under relative_to but 2 values"),
        ("{kind: event,", "{kind: object,", "need both `gen` and `reco`"),
        ("  gen_mu: leading", "  gen-mu: leading", "'gen-mu' cannot be used in expressions"),
        ("name: mu_pt,", "name: lambda,", "'lambda' cannot be used in expressions"),
        ("name: event", "name: ../event", "parts.0.name: String should match"),
        (
            "{kind: event, pairing: paired}",
            "{kind: event, match: {by: index}}",
            "matching by index needs `index`",
        ),
        (
            "{kind: event, pairing: paired}",
            "{match: {min_pt_ratio: 3, max_pt_ratio: 2}}",
            "min_pt_ratio is above max_pt_ratio",
        ),
    ],
)
def test_mistakes_are_told_once_with_their_line(write, old, new, message):
    text = WJET.replace(old, new, 1)
    assert text != WJET
    path = write(text)
    with pytest.raises(StudyError) as caught:
        load_study(path)
    told = str(caught.value)
    assert message in told
    assert told.count("\n") == 0
    assert told.startswith(str(path))
    if "name: ../" not in new and "cannot be used" not in message and "twice" not in message:
        line = int(told.removeprefix(f"{path}, line ").partition(":")[0])
        # A mistake that concerns a whole block is told at its beginning.
        assert 0 <= line_of(text, new.split("\n")[0]) - line <= 2


def test_two_parts_of_one_name(write):
    parts = WJET[WJET.index("  - name: event") : WJET.index("training:")]
    with pytest.raises(StudyError, match="two parts have the same name: event, event"):
        load_study(write(WJET.replace(parts, parts + parts)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\n b", "line 2: not valid YAML: expected ',' or ']'"),
        ("name: x\nname: y\n", 'not valid YAML: found duplicate key "name"'),
        ("- 1", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("name: x", "'parts' is missing"),
        ("name: x\nparts: 3", "line 2: parts: Input should be a valid tuple"),
        ("name: x\nparts: []", "line 2: parts: Tuple should have at least 1 item"),
        ("name: x\0", "cannot be read as YAML"),
    ],
)
def test_files_that_are_no_study(write, text, message):
    with pytest.raises(StudyError) as caught:
        load_study(write(text))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "base.yaml must hold a mapping"),
        (b"- 1", "base.yaml must hold a mapping"),
        (b"parts: \xff\xfe", "base.yaml cannot be read as YAML"),
        (b"a: [1,\n b", "base.yaml, line 2: not valid YAML"),
        (None, "there is no study file base.yaml"),
    ],
)
def test_bases_that_are_no_study(write, content, message):
    study = write("name: x\nbase: base.yaml\n")
    if content is not None:
        study.with_name("base.yaml").write_bytes(content)
    with pytest.raises(StudyError) as caught:
        load_study(study)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{study}: base: ")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(StudyError, match="cannot be read as YAML"):
        load_study(tmp_path / "x.yaml")


def test_a_study_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match=r"no study file wjett.*Did you mean 'wjet'"):
        load_study("wjett")
    with pytest.raises(StudyError, match="no study file"):
        load_study(tmp_path)


def test_overrides():
    study = load_study(
        "wjet",
        {
            "training.epochs": 3,
            "model.continuous.bins": 4,
            "parts.0.rows.match.max_delta_r": 0.2,
            "define.far": "count(Jet)",
            "parts.0.model.continuous.hidden": [8],
        },
    )
    part = study.parts[0]
    assert study.training.epochs == 3
    continuous = part.model["continuous"]
    assert continuous == {"couplings": 8, "hidden": [8], "bins": 4, "dropout": 0.1}
    assert part.rows.match.max_delta_r == 0.2
    assert study.define["far"] == "count(Jet)"
    assert load_study("wjet").training.epochs == 48


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "training.epoch",
            3,
            "a setting given beside the file: unknown key 'training.epoch'. Did you",
        ),
        (
            "training.epochs",
            -1,
            "a setting given beside the file: training.epochs: Input should be",
        ),
        ("trainin.epochs", 3, "unknown key 'trainin'"),
        ("parts.3.name", "x", "cannot set 'parts.3.name': no such place"),
        ("parts.a", "x", "cannot set 'parts.a'"),
        ("training.seed.x", 3, "cannot set 'training.seed.x'"),
    ],
)
def test_overrides_that_cannot_be(key, value, message):
    with pytest.raises(StudyError) as caught:
        load_study("wjet", {key: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("parts", ["3", "[3]", "[{model: 3}]"])
def test_overrides_of_a_broken_file(write, parts):
    with pytest.raises(StudyError):
        load_study(write(f"name: x\nparts: {parts}"), {"model.bins": 3})


def test_units_and_defaults():
    study = load_study("wjet", {"input.units": "MeV", "input.weight": "genWeight"})
    assert (study.input.units, study.input.weight, study.input.tree) == (
        "MeV",
        "genWeight",
        "Events",
    )
    with pytest.raises(StudyError, match="Input should be 'GeV' or 'MeV'"):
        load_study("wjet", {"input.units": "TeV"})


def test_parts_are_found_by_name():
    study = load_study("wjet")
    assert study.part("event") is study.parts[0]
    with pytest.raises(StudyError, match=r"has no part 'events'. Did you mean 'event'"):
        study.part("events")


def test_a_study_does_not_change():
    with pytest.raises(Exception, match="frozen"):
        load_study("wjet").name = "other"


def test_options_of_a_transform_stay_as_they_are(write):
    text = WJET.replace("transform: [log, asinh]", "transform: [{kind: log, floor: 0.5}, asinh]", 1)
    first, second = load_study(write(text)).parts[0].target[0].transform
    assert (first.kind, first.options, second.kind, second.options) == (
        "log",
        {"floor": 0.5},
        "asinh",
        {},
    )
    assert np.isfinite(first.options["floor"])
