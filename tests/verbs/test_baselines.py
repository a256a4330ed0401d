"""The baselines of `jets` from file to file, on events of the shape of the ttbar sample."""

from pathlib import Path

import numpy as np
import pytest

from gen2reco import open_events, simulate, train
from gen2reco.events import flat_columns
from gen2reco.study import load_study

SMALL = Path(__file__).parents[1] / "data" / "ttbar_small.parquet"
TINY = {
    "jets-flashsim": {
        "model.layers": 3,
        "model.blocks": 1,
        "model.width": 16,
        "model.bins": 8,
        "training.learning_rate": 5e-3,
    },
    "jets-vae": {"model.hidden": [32], "model.latent": 4, "training.epochs": 60},
}


@pytest.fixture(scope="module", params=TINY)
def simulated(request, tmp_path_factory):
    """Name of the study, columns of the training file and of what a tiny emulator made of it."""
    folder = tmp_path_factory.mktemp("baseline")
    overrides = {"training.epochs": 8, "training.batch": 64, **TINY[request.param]}
    train(request.param, SMALL, folder / "model", overrides=overrides)
    simulate(folder / "model", SMALL, folder / "reco.parquet", oversample=10)
    columns = [
        flat_columns(next(open_events(f).chunks()).events) for f in (SMALL, folder / "reco.parquet")
    ]
    return request.param, *columns


def test_the_autoencoder_sees_what_the_flow_sees():
    flow, autoencoder = (load_study(name).parts[0] for name in ("jets", "jets-vae"))
    assert autoencoder.condition == flow.condition
    assert autoencoder.target == flow.target


def test_both_baselines_give_the_same_fifteen_fields():
    fields = [set(load_study(name).parts[0].output["Jet"]) for name in TINY]
    wanted = "pt eta phi mass nConstituents nCh chEF neEmEF neHEF ptD width leadFrac charge"
    assert fields == [{*wanted.split(), "btag", "tautag", "genJetIdx"}] * 2


def test_jets_are_physical(simulated):
    _, full, fast = simulated
    jets = {name[4:]: column.content for name, column in fast.items() if name.startswith("Jet_")}
    assert len(jets["pt"]) > 5000
    assert all(np.isfinite(values).all() for values in jets.values())
    fractions = [jets[name] for name in ("chEF", "neEmEF", "neHEF")]
    assert min(fraction.min() for fraction in fractions) >= 0.0
    np.testing.assert_allclose(sum(fractions), 1.0, atol=1e-6)
    assert set(np.unique(jets["charge"])) == {-1, 1}
    for flag in ("btag", "tautag"):
        assert set(np.unique(jets[flag])) <= {0, 1}
    for name in ("ptD", "leadFrac", "width"):
        assert jets[name].min() >= 0.0
        assert jets[name].max() <= 1.0
    assert jets["nConstituents"].dtype == full["Jet_nConstituents"].content.dtype
    assert jets["mass"].min() >= 0.0
    assert np.abs(jets["phi"]).max() <= np.float32(np.pi)


def test_point_masses_and_flags_come_back_as_often(simulated):
    # The network is tiny and the sample small: a gross mistake in a transform shows, no more.
    _, full, fast = simulated
    for name, value in (("chEF", 0.0), ("charge", 1), ("btag", 1), ("nCh", 0)):
        shares = [np.mean(columns[f"Jet_{name}"].content == value) for columns in (full, fast)]
        assert shares[1] == pytest.approx(shares[0], abs=0.12), name


def test_the_centre_of_the_response_is_learned(simulated):
    _, full, fast = simulated
    gen = full["GenJet_pt"]
    starts = dict(zip(full["event"].tolist(), gen.offsets[:-1].tolist(), strict=True))
    centres = []
    for columns in (full, fast):
        index = columns["Jet_genJetIdx"]
        first = np.repeat([starts[event] for event in columns["event"]], np.diff(index.offsets))
        found = index.content >= 0
        partner = gen.content[(first + index.content)[found]]
        ratio = columns["Jet_pt"].content[found] / partner
        # Well above 15 GeV, where RECO jets begin: missing jets are not part of the studies.
        centres.append(np.median(ratio[partner > 40.0]))
    assert centres[1] == pytest.approx(centres[0], abs=0.1)
