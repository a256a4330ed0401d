"""The scripts under `examples/` run, and what they find is right."""

import importlib.util
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from matplotlib.image import imread

from gen2reco import load_emulator, open_events, simulate, write_events
from gen2reco.rows.expressions import Namespace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
REPLICAS = 3


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    yield load("hmumu_analysis")
    del sys.modules["hmumu_analysis"]


@pytest.fixture(scope="module")
def files(hmumu_sample, hmumu_model, tmp_path_factory):
    """FullSim as NanoAOD, and FastSim of the same GEN events."""
    folder = tmp_path_factory.mktemp("examples")
    write_events(folder / "full.root", open_events(hmumu_sample))
    simulate(hmumu_model, hmumu_sample, folder / "fast.root", oversample=REPLICAS)
    return folder / "full.root", folder / "fast.root"


@pytest.fixture(scope="module")
def full(script, files):
    return script.analyse(files[0])


@pytest.fixture(scope="module")
def fast(script, files):
    return script.analyse(files[1])


@pytest.fixture(scope="module")
def selected(files):
    """The selection once more, in the expression language of studies, for both files."""
    define = {
        "good": "where(Muon, pfRelIso04_all < 0.25 and pt > 20 and abs(eta) < 2.4)",
        "mu1": "leading(good)",
        "mu2": "subleading(good)",
        "central": "where(Jet, pt > 25 and abs(eta) < 4.7)",
        "jets": "where(central, delta_r(mu1) > 0.4 and delta_r(mu2) > 0.4)",
        "jet1": "leading(jets)",
        "jet2": "subleading(jets)",
    }
    found = []
    for path in files:
        events = ak.concatenate(list(open_events(path)))
        names = Namespace(events, define)
        pair = names.mask("mu1.charge * mu2.charge < 0")
        two = pair & names.mask("count(jets) >= 2 and jet1.pt > 35")
        mass, gap = (
            names.evaluate(text).values for text in ("mass(jet1, jet2)", "abs(jet1.eta - jet2.eta)")
        )
        steps = {
            "all": np.ones(len(events), bool),
            "two muons": pair,
            "two jets": two,
            "VBF": two & (mass > 400) & (gap > 2.5),
        }
        found.append((events, steps, mass, names.evaluate("mass(mu1, mu2)").values))
    return found


def scale(script, events):
    return script.EXPECTED / len(np.unique(np.asarray(events.event)))


def test_the_selection_is_what_it_says(script, full, fast, selected):
    for analysis, (events, steps, *_) in zip((full, fast), selected, strict=True):
        weight = np.asarray(events.weight) if "weight" in events.fields else np.ones(len(events))
        assert list(analysis.steps) == list(steps)
        for step, passed in steps.items():
            expected = scale(script, events) * weight[passed].sum()
            assert analysis.steps[step][0] == pytest.approx(expected, rel=2e-3), step
        assert analysis.steps["all"][0] == pytest.approx(script.EXPECTED)
        values = [analysis.steps[step][0] for step in steps]
        assert values == sorted(values, reverse=True)
        assert values[-1] > 0.05 * values[0]


@pytest.mark.parametrize(("name", "step"), [("m_mumu", "two muons"), ("m_jj", "two jets")])
def test_histograms_hold_the_selected_events(script, full, fast, selected, name, step):
    for analysis, (events, steps, m_jj, m_mumu) in zip((full, fast), selected, strict=True):
        found = analysis.histograms[name]
        values = {"m_jj": m_jj, "m_mumu": m_mumu}[name][steps[step]]
        weight = np.full(len(values), scale(script, events))
        if "replica" in events.fields:
            weight /= REPLICAS
        expected = np.histogram(values, found.axes[0].edges, weights=weight)[0]
        assert found.values().sum() > 0.5 * analysis.steps[step][0], "most are in the range"
        assert np.abs(found.values() - expected).sum() < 0.01 * expected.sum()


def test_both_files_give_the_same_plots(script, full, fast):
    assert set(full.histograms) == set(fast.histograms) == set(script.OBSERVABLES)
    for name, one in full.histograms.items():
        assert one.axes == fast.histograms[name].axes
        # some seconds of training: the same process, roughly
        assert fast.histograms[name].values().sum() == pytest.approx(one.values().sum(), rel=0.4)
    for analysis in (full, fast):
        mass = analysis.histograms["m_mumu"]
        peak = np.average(mass.axes[0].centers, weights=mass.values())
        assert peak == pytest.approx(124.5, abs=1.5)
        discriminant = analysis.histograms["d_vbf"]
        vbf, error = analysis.steps["VBF"]
        assert discriminant.values().sum() == pytest.approx(vbf), "all lie between 0 and 1"
        # Replicas of an event in several bins: the error of the sum is more than bins alone give.
        assert error**2 >= discriminant.variances().sum() * (1 - 1e-9)


def test_errors_know_that_replicas_belong_together(full, fast, selected):
    """FullSim: sums of squared weights; FastSim: of squared sums per event, which is more."""
    one = full.histograms["m_jj"]
    weight = one.values().sum() / len(selected[0][2][selected[0][1]["two jets"]])
    assert np.allclose(one.variances(), one.values() * weight, rtol=0.05)
    many, (events, steps, m_jj, _) = fast.histograms["m_jj"], selected[1]
    passed = steps["two jets"]
    place = np.digitize(m_jj[passed], many.axes[0].edges) - 1
    number = np.asarray(events.event)[passed]
    sums = {}
    for cell in zip(number.tolist(), place.tolist(), strict=True):
        sums[cell] = sums.get(cell, 0) + 1
    expected = np.zeros(len(many.values()))
    for (_, where), count in sums.items():
        if 0 <= where < len(expected):
            expected[where] += count**2
    expected *= (fast.steps["all"][0] / len(events)) ** 2
    assert np.abs(many.variances() - expected).sum() < 0.02 * expected.sum()
    naive = many.values() * fast.steps["all"][0] / len(events)
    assert many.variances().sum() > 1.2 * naive.sum()


def test_only_the_nominal_member_is_analysed(script, hmumu_sample, tmp_path):
    events = next(iter(open_events(hmumu_sample).chunks(size=200))).events
    both = ak.concatenate(
        [ak.with_field(events, np.full(len(events), m, np.uint16), "member") for m in (0, 1)]
    )
    write_events(tmp_path / "one.root", [events])
    with_members = write_events(tmp_path / "both.root", [both])
    assert with_members["genEventCount"] == 400
    one, two = script.analyse(tmp_path / "one.root"), script.analyse(tmp_path / "both.root")
    assert two.steps["VBF"][0] == pytest.approx(one.steps["VBF"][0] / 2)


def test_pictures_show_both(script, full, fast, tmp_path):
    pictures = script.draw(full, fast, tmp_path / "plots")
    assert [path.stem for path in pictures] == list(script.OBSERVABLES)
    for path in pictures:
        pixels = imread(path)[..., :3].reshape(-1, 3)
        assert (pixels < 0.2).all(axis=1).sum() > 500, "black: axes and FullSim"
        blue = (pixels[:, 2] > 0.6) & (pixels[:, 0] < 0.5)
        assert blue.sum() > 200, "blue: FastSim"


def test_the_analysis_is_a_command(script, files, tmp_path, monkeypatch, capsys):
    command = ["hmumu_analysis.py", *map(str, files), "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    shown = capsys.readouterr().out
    assert [line.split("  ")[0] for line in shown.splitlines()[1:]] == [
        *("all", "two muons", "two jets", "VBF"),
    ]
    assert len(list((tmp_path / "out").glob("*.png"))) == len(script.OBSERVABLES)


def test_events_in_memory(hmumu_model, capsys):
    module = load("in_memory")
    batches = module.main(str(hmumu_model))
    del sys.modules["in_memory"]
    assert [len(batch) for batch in batches] == [1000, 1000, 1000]
    assert capsys.readouterr().out.count("muons") == 3
    gen = module.generate(0, 500)
    reco = load_emulator(hmumu_model).simulate(gen[::-1], seed=7, oversample=2)
    first = reco[(reco.event == 3) & (reco.replica == 1)]
    again = batches[0][(batches[0].event == 3) & (batches[0].replica == 1)]
    assert first.Jet.pt.tolist() == again.Jet.pt.tolist()
    assert batches[0].GenMET.pt[::2].tolist() == pytest.approx(gen.GenMET.pt.tolist())


def test_jets_of_particles(tmp_path):
    module = load("jets_of_particles")
    try:
        full, fast = module.main(tmp_path, [])
    finally:
        del sys.modules["jets_of_particles"]
    assert fast == pytest.approx(full, abs=0.03)
    panels = imread(tmp_path / "jet.png")[..., :3].reshape(-1, 3)
    assert ((panels[:, 2] > 0.6) & (panels[:, 0] < 0.6)).sum() > 200, "blue: charged particles"


def test_partitions_do_not_change_a_histogram(small_emulator, gen_file, capsys):
    module = load("dask_partitions")
    try:
        module.PARTITION = 700
        many = module.main(str(small_emulator), str(gen_file))
        module.PARTITION = 10_000
        one = module.main(str(small_emulator), str(gen_file))
    finally:
        del sys.modules["dask_partitions"]
    assert "in 5 partitions" in capsys.readouterr().out
    assert one.sum(flow=True).value > 2900
    assert np.array_equal(many.values(flow=True), one.values(flow=True))
