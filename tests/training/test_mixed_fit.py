"""Category first, then flow, on jets whose flags, point masses and numbers hang together."""

from functools import partial

import numpy as np
import pytest
import torch
from training_toy import settings

from gen2reco import models
from gen2reco.emulator.blocks import sample_rows
from gen2reco.features import PartFeatures
from gen2reco.models.protocol import Batch, Shape
from gen2reco.rng import Keys, noise
from gen2reco.rows.tables import Table
from gen2reco.study import Part
from gen2reco.training import fit, fresh_model
from gen2reco.training.health import check_health
from gen2reco.validation.distances import wasserstein

PART = Part.model_validate(
    {
        "name": "jet",
        "condition": [{"name": "gen_pt", "value": "gen.pt", "transform": "log"}],
        "target": [
            {"name": "pt", "value": "pt", "kind": "positive", "transform": "log"},
            {"name": "btag", "value": "btag", "kind": "flag"},
            {"name": "charge", "value": "charge", "kind": "category"},
            {"name": "charged", "value": "charged", "kind": "integer", "atoms": [0]},
            {"name": "fraction", "value": "fraction", "kind": "bounded", "atoms": [0, 1]},
        ],
    }
)
NETWORKS = {
    "categories": {"hidden": [32, 32]},
    "continuous": {"couplings": 4, "hidden": [32, 32], "bins": 8},
}


def jets(rows: int, seed: int) -> Table:
    """Jets whose charged fraction is 0 if nothing in them is charged; then they have no b tag."""
    source = np.random.default_rng(seed)
    gen = 10 + source.exponential(30, rows)
    pt = gen * np.exp(0.15 * source.standard_normal(rows))
    charged = source.poisson(1 + np.log(gen / 10)).astype(float)
    share = source.beta(1 + charged, 2, rows)
    share[source.random(rows) < 0.2 / (1 + charged)] = 1.0
    btag = (source.random(rows) < 1 / (1 + np.exp(4 - pt / 10))) & (charged > 1)
    toward = np.where(btag, 0.8, 0.5)
    target = {
        "pt": np.where(btag, 0.9, 1.0) * pt,
        "btag": btag.astype(float),
        "charge": np.where(source.random(rows) < toward, 1.0, -1.0),
        "charged": charged,
        "fraction": np.where(charged == 0, 0.0, share),
    }
    one = np.ones(rows, np.uint32)
    return Table(
        part="jet",
        keys=Keys(one, one * seed, np.arange(rows), np.zeros(rows, np.uint16)),
        weight=np.ones(rows),
        entry=np.arange(rows),
        condition={"gen_pt": gen},
        target=target,
        relative_to={},
        given={},
    )


def batch(features: PartFeatures, table: Table) -> Batch:
    target, condition = features.encode_target(table, 1), features.encode_condition(table)
    weight = torch.ones(len(table))
    return Batch(torch.from_numpy(target), torch.from_numpy(condition), weight)


def fitted(kind: str, folder) -> tuple[PartFeatures, torch.nn.Module]:
    block = {"kind": kind, **(NETWORKS if kind == "mixed" else NETWORKS["continuous"])}
    features = PartFeatures.fit(PART, jets(30_000, 1), 1, levels=models.takes_levels(block))
    model = fresh_model(partial(models.build, block, Shape(*features.shape)), seed=1)
    train, held = batch(features, jets(30_000, 1)), batch(features, jets(8000, 2))
    result = fit(
        model, train, held, settings(epochs=14, batch=512, learning_rate=8e-3), folder=folder
    )
    names = features.target_names
    assert check_health(result.history, model, train, held, targets=names) == []
    return features, model


def simulated(features, model, table: Table) -> dict[str, np.ndarray]:
    width = model.noise
    numbers = noise(table.keys, seed=7, part="jet", normal=width.normal, uniform=width.uniform)
    drawn = sample_rows(model, features.encode_condition(table), numbers)
    return features.decode_target(drawn, table)


def categories(jet: dict[str, np.ndarray]) -> np.ndarray:
    """Joint category of each jet: b tag, charge, no charged constituent, fraction 0 or 1."""
    ends = (jet["fraction"] == 0) + 2 * (jet["fraction"] == 1)
    return (jet["btag"] + 2 * (jet["charge"] > 0) + 4 * (jet["charged"] == 0) + 8 * ends).astype(
        int
    )


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Full and simulated jets, and a second set of full ones as the null."""
    features, model = fitted("mixed", tmp_path_factory.mktemp("mixed"))
    full, null = jets(40_000, 3).target, jets(40_000, 4).target
    return full, simulated(features, model, jets(40_000, 5)), null


@pytest.mark.slow
def test_categories_come_together_as_often_as_in_truth(comparison):
    full, fast, null = comparison
    counts = [np.bincount(categories(jet), minlength=32) for jet in (full, fast, null)]
    assert set(np.flatnonzero(counts[1])) <= set(np.flatnonzero(counts[0] + counts[2]))
    both = counts[0] + counts[1] > 20
    chi2 = ((counts[0] - counts[1]) ** 2 / (counts[0] + counts[1]).clip(1))[both].sum()
    assert both.sum() > 8
    assert chi2 / both.sum() < 3.5
    # What cannot be: no charged constituent, but a charged fraction, or a b tag.
    empty = fast["charged"] == 0
    np.testing.assert_array_equal(fast["fraction"] == 0, empty)
    assert not fast["btag"][empty].any()


@pytest.mark.slow
def test_numbers_follow_their_category(comparison):
    full, fast, null = comparison
    for tagged in (0, 1):
        for name in ("pt", "charged", "fraction"):
            columns = [jet[name][jet["btag"] == tagged] for jet in (full, fast, null)]
            width = columns[0].std()
            distance, floor = (wasserstein(columns[0], other) / width for other in columns[1:])
            assert distance < 0.02 + 3 * floor, (name, tagged)
    inner = [(jet["fraction"] > 0) & (jet["fraction"] < 1) for jet in comparison]
    columns = [jet["fraction"][here] for jet, here in zip(comparison, inner, strict=True)]
    assert wasserstein(columns[0], columns[1]) < 0.005 + 2 * wasserstein(columns[0], columns[2])


@pytest.mark.slow
def test_a_stopped_fit_goes_on_to_the_same_bits(tmp_path, stopped):
    block = {"kind": "mixed", "categories": {"dropout": 0.1}, "continuous": {"couplings": 2}}
    features = PartFeatures.fit(PART, jets(3000, 1), 1, levels=True)
    rows, held = batch(features, jets(3000, 1)), batch(features, jets(1000, 2))

    def run(folder, **options):
        model = fresh_model(partial(models.build, block, Shape(*features.shape)), seed=1)
        chosen = settings(epochs=3, batch=256, ema=0.9)
        result = fit(model, rows, held, chosen, folder=folder, **options)
        return [(e.train, e.validation) for e in result.history], model.state_dict()

    curve, weights = run(tmp_path / "through")
    (resumed, final), stops = stopped(partial(run, tmp_path / "stopped"), every=4)
    assert stops >= 3
    assert resumed == curve
    assert final.keys() == weights.keys()
    for name, value in final.items():
        assert torch.equal(value, weights[name]), name
