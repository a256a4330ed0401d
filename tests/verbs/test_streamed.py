"""Validation of samples larger than memory: all events count, however they are cut into files.

The one that is looked at runs on a cluster, and what it is compared with in one process.
"""

import importlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from gen2reco import compare, load_emulator, open_events, simulate, validate
from gen2reco.validation.distances import wasserstein
from gen2reco.validation.report import read_report
from gen2reco.validation.streamed import Streaming
from gen2reco.verbs.event_samples import EventSamples
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.streamed import origins_of


def figures(folder):
    return json.loads((folder / "streamed.json").read_text())


@pytest.fixture(scope="module")
def table(bundled):
    return pq.read_table(bundled).slice(14_000, 5000)


def split(table, folder, cuts):
    folder.mkdir()
    for i, (low, high) in enumerate(zip([0, *cuts], [*cuts, table.num_rows], strict=True)):
        pq.write_table(table.slice(low, high - low), folder / f"{i}.parquet")
    return folder / "*.parquet"


@pytest.fixture(scope="module")
def judged(small_emulator, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("validated")
    sample = split(table, folder / "one", [])
    report = folder / "report"
    found = validate(
        small_emulator, sample, report, stream=600, quick=True, split="all", scheduler="local"
    )
    return sample, report, found


def test_validate_streams_all_events_and_judges_the_rest_on_a_subsample(judged):
    _, report, found = judged
    document = json.loads((report / "report.json").read_text())
    streamed = found.streamed
    assert sum(streamed.events[:2]) > 4000
    assert streamed.events[2] == streamed.events[1]
    assert 420 < streamed.rows < 600
    assert "all events" in str(found)
    assert "streamed.json" in json.dumps(document)


def test_the_page_shows_what_was_streamed(judged):
    _, report, found = judged
    page = (report / "index.html").read_text()
    assert '<h2 id="streamed">All events</h2>' in page
    assert '<a href="#streamed">' in page
    section = page[page.index('id="streamed"') : page.index('id="quantities"')]
    assert section.count('<th scope="row">') == len(found.streamed.quantities)
    copies = [one.name for one in found.streamed.quantities if one.single]
    assert copies == ["mu_eta", "mu_phi"]
    assert section.count("in all of FastSim the same") == len(copies)
    drawn = len(found.streamed.quantities) - len(copies)
    assert section.count("<figure") == drawn
    assert len(list((report / "plots").glob("streamed-*.png"))) == drawn
    assert read_report(report).streamed.quantities[0].shape == found.streamed.quantities[0].shape


def test_bins_hold_all_weights_and_whole_numbers_have_bins_of_their_own():
    random = np.random.default_rng(1)
    streaming = Streaming({"pt": 1.0})
    values = random.normal(91, 3, 20_000)
    ratio = random.normal(1, 0.05, 20_000)
    counts = random.poisson(3, 20_000).astype(float)
    weight = random.uniform(0.5, 1.5, 20_000)
    for side, factor in (("full_a", 1.0), ("fast", 2.0)):
        quantities = {"mass": values, "jets": counts}
        streaming.add(side, 20_000, factor * weight, quantities, {"pt": ratio})
    shapes = {one.name: one.shape for one in streaming.result(0).quantities}
    assert shapes["jets"].edges[:3] == (-0.5, 0.5, 1.5)
    exact = [weight[counts == k].sum() for k in range(len(shapes["jets"].full))]
    assert shapes["jets"].full == pytest.approx(exact)
    for name, numbers in (("mass", values), ("pt", ratio)):
        shape = shapes[name]
        assert sum(shape.outside) == pytest.approx(0.004, abs=0.001)
        assert shape.fast == pytest.approx(shape.full)  # scaled to FullSim
        centre = 0.5 * (np.array(shape.edges[1:]) + np.array(shape.edges[:-1]))
        found = np.average(centre, weights=shape.full)
        assert found == pytest.approx(numbers.mean(), abs=0.02 * numbers.std())
        exact = np.histogram(numbers, shape.edges, weights=weight)[0]
        assert np.abs(np.array(shape.full) - exact).max() < 0.02 * exact.max()
        error = np.sqrt(np.array(shape.full_variance).sum())
        assert error == pytest.approx(np.sqrt((weight**2).sum()), rel=0.01)


def test_files_and_chunks_do_not_matter(small_emulator, table, judged, tmp_path, monkeypatch):
    module = importlib.import_module("gen2reco.verbs.judged")
    monkeypatch.setattr(module, "_CHUNK", 333)
    monkeypatch.setattr(module, "RANGE", 1500)
    many = split(table, tmp_path / "many", [700, 701, 3000])
    emulator = load_emulator(small_emulator)
    streaming = Streaming(origins_of(emulator.study))
    source = open_events(many)
    found = read_judged(emulator, source, test_only=False, share=600 / 5000, streaming=streaming)
    _, _, before = judged
    assert streaming.result(len(found.events)) == before.streamed


def test_streamed_distances_are_those_of_all_events(small_emulator, judged):
    """Against the same numbers from memory."""
    sample, _, found = judged
    emulator = load_emulator(small_emulator)
    memory = read_judged(emulator, open_events(sample), test_only=False)
    samples = EventSamples(emulator, memory, seed=1, oversample=1, replicas=1, seeds=1)
    first = samples.half == 0
    for one in found.streamed.quantities:
        group = "quantities" if one.group == "quantity" else "responses"
        full = getattr(samples.full, group)[one.name][first]
        fast = getattr(samples.fast[0].nominal(), group)[one.name]
        full, fast = (values[np.isfinite(values)] for values in (full, fast))
        assert one.entries == (len(full), len(fast))
        exact = wasserstein(full, fast)
        assert abs(one.w1 - exact) <= one.w1_error + 1e-9, one.name


def test_compare_streams_two_files(small_emulator, table, tmp_path):
    sample = split(table, tmp_path / "one", [])
    simulate(small_emulator, sample, tmp_path / "fast.parquet")
    found = compare(sample, tmp_path / "fast.parquet", tmp_path / "c", stream=700, quick=True)
    one = figures(tmp_path / "c")
    assert one["events"][0] + one["events"][1] == 5000
    assert abs(one["events"][2] - one["events"][1]) < 300
    assert found.streamed.rows < 850
    assert {quantity["name"] for quantity in one["quantities"]} >= {"MET_pt", "leading_Jet_pt"}
