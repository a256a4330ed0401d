"""The how-to on systematic uncertainties runs as it stands, and its numbers are what it says."""

import re
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from gen2reco import open_events, train, write_events
from gen2reco.validation import histogram

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "systematics.md"
EVENTS = 1500


@pytest.fixture(scope="module")
def page(hmumu_sample, quick_hmumu, tmp_path_factory):
    """Everything the code of the page has defined, after a run in a folder with its files."""
    folder = tmp_path_factory.mktemp("systematics")
    events = ak.concatenate(list(open_events(hmumu_sample)))
    rng = np.random.default_rng(1)
    weight = np.where(rng.random(len(events)) < 0.1, -1.0, 1.0).astype(np.float32)
    shower = rng.normal(1, 0.1, (len(events), 4)).astype(np.float32)
    events = ak.with_field(events, weight, "genWeight")
    events = ak.with_field(events, ak.from_regular(shower), "PSWeight")
    write_events(folder / "all.parquet", [events])
    write_events(folder / "gen.parquet", [events[:EVENTS]])
    quick = {name: 1 if name.endswith("epochs") else {"epochs": 1} for name in quick_hmumu}
    quick |= {"training.members": 4, "training.max_rows": 2000, "input.weight": "genWeight"}
    train("hmumu", folder / "all.parquet", folder / "model", overrides=quick)
    text = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in code:
            exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102  (our own page)
    return names | {"folder": folder, "gen": events[:EVENTS]}


def read(page, name):
    return ak.concatenate(list(open_events(page["folder"] / name)))


def test_the_ensemble_gives_a_covariance(page):
    training = page["training"]
    assert np.allclose(training, training.T)
    values = np.linalg.eigvalsh(training)
    assert values[0] > -1e-9 * values[-1]
    assert np.sum(values > 1e-6 * values[-1]) == 2, "three bootstraps span two directions"
    events = read(page, "members.parquet")
    rows = np.stack([page["spectrum"](events[events.member == m]) for m in (1, 2, 3)])
    assert np.allclose(np.diag(training), rows.var(axis=0, ddof=1))
    pair = page["from_pair"](page["ensemble_up"], page["ensemble_down"])
    assert np.trace(pair) == pytest.approx(values[-1]), "the templates carry the first direction"


def test_the_scale_moves_jets_and_met_together(page):
    events = read(page, "reco.root")
    moved = page["with_jets_scaled"](events, 1.02)
    hardest = [ak.fill_none(ak.max(sample.Jet.pt, axis=1), 0) for sample in (events, moved)]
    assert np.allclose(hardest[1], 1.02 * hardest[0])
    for turn in (np.cos, np.sin):

        def balance(sample, turn=turn):
            jets = ak.sum(sample.Jet.pt * turn(sample.Jet.phi), axis=1)
            return np.asarray(jets + sample.MET.pt * turn(sample.MET.phi))

        assert np.allclose(balance(moved), balance(events), atol=1e-2)
    assert ak.all(moved.Jet.pt[:, 1:] <= moved.Jet.pt[:, :-1])
    shapes = [ak.flatten(sample.Jet.mass / sample.Jet.pt) for sample in (events, moved)]
    assert np.allclose(np.sort(shapes[0]), np.sort(shapes[1]), rtol=1e-4)
    above = slice(3, None)
    up, down = page["scale_up"][above].sum(), page["scale_down"][above].sum()
    assert down < page["nominal"][above].sum() < up


def test_the_resolution_stretches_the_distance_from_gen(page):
    events = read(page, "reco.root")
    same = page["stretched"](events, 1.0)
    assert np.allclose(ak.flatten(same.Jet.pt), ak.flatten(events.Jet.pt))
    wide = page["stretched"](events, 2.0)

    def distance(sample):
        found = sample.Jet.genJetIdx >= 0
        gen = sample.GenJet.pt[sample.Jet.genJetIdx[found]]
        return np.sort(np.asarray(ak.flatten(sample.Jet.pt[found] - gen)))

    assert np.allclose(distance(wide), 2 * distance(events), atol=1e-2)
    spurious = [np.sort(ak.flatten(s.Jet.pt[s.Jet.genJetIdx < 0])) for s in (events, wide)]
    assert np.allclose(*spurious)
    assert not np.array_equal(page["resolution_up"], page["resolution_down"])


def test_signed_weights_are_carried_through(page):
    gen, events = page["gen"], read(page, "reco.root")
    assert page["generated"] == pytest.approx(np.sum(gen.genWeight))
    assert np.sum(gen.genWeight) < len(gen), "some are negative"
    assert events.weight.tolist() == gen.genWeight.tolist()
    assert 0.3 < page["fraction"].sum() < 1
    for i, varied in enumerate(page["shower"]):
        weight = np.asarray(gen.genWeight * gen.PSWeight[:, i], np.float64)
        expected = np.histogram(page["leading_pt"](events), page["edges"], weights=weight)[0]
        assert np.allclose(varied, expected, rtol=1e-5)


def test_errors_of_replicas(page):
    events, origin = read(page, "many.parquet"), page["origin"]
    content, variance = histogram(
        page["leading_pt"](events), np.asarray(events.weight), origin, page["edges"]
    )
    assert np.allclose(page["content"], content)
    assert np.allclose(np.diag(page["statistical"]), variance)
    beside = np.diag(page["statistical"], 1)
    assert (beside > 0).all(), "replicas of an event fall into neighbouring bins"
    squared = np.asarray(events.weight) ** 2
    naive = np.histogram(page["leading_pt"](events), page["edges"], weights=squared)[0]
    assert (variance > naive).all()
    assert len(np.unique(origin)) == EVENTS


def test_the_total_is_a_covariance(page):
    total = page["total"]
    assert np.allclose(total, total.T)
    assert np.linalg.eigvalsh(total)[0] > 0
    assert (page["error"] ** 2 >= np.diag(page["training"])).all()
