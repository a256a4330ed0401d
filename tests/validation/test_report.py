import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from gen2reco.errors import SampleError
from gen2reco.events import Jagged
from gen2reco.rows.matching import match
from gen2reco.validation import Rate, Report, assess, read_report, render, write_report
from gen2reco.validation.matching import Objects, describe_matching
from gen2reco.validation.records import Metric
from gen2reco.validation.sliced import Sliced
from gen2reco.validation.transport import Transport, transport_plan

BROWSER = next(
    (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
)
HISTORY = [{"epoch": i + 1, "train": 3 / (i + 1), "validation": 3.1 / (i + 1)} for i in range(4)]
PROBE = """<script>
const errors = [];
const note = e => errors.push(String(e.message || e.target.outerHTML).slice(0, 200));
addEventListener("error", note, true);
addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  const all = what => [...document.querySelectorAll(what)];
  const wide = all("main > section > *, header > *, figure, .scroll")
    .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80));
  const tiny = all("main p, main td").filter(e => parseFloat(getComputedStyle(e).fontSize) < 12);
  const loaded = performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:"));
  parent.postMessage(JSON.stringify({
    errors, wide, width,
    tiny: tiny.length,
    scroll: document.documentElement.scrollWidth,
    images: document.images.length,
    missing: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
    requests: loaded.length,
  }), "*");
});
</script></head>"""
FRAME = """<!doctype html><html><body style="margin:0"><script>
addEventListener("message", e => { document.documentElement.dataset.probe = e.data; });
</script><iframe src="probed.html" style="border:0;width:%dpx;height:900px"></iframe></body>
</html>"""


@pytest.fixture(scope="module")
def folder(toys, tmp_path_factory):
    toy = toys.make(rows=1200)
    found = assess(
        toy.full,
        toy.half,
        toys.members(toy.fast),
        coverage=toy.coverage,
        closure=toy.closure,
        rates={"final selection": Rate((90, 100), (91, 100))},
        not_judged=["Anything <else> & more."],
        settings=replace(toys.settings, quick=True),
    )
    target = tmp_path_factory.mktemp("report") / "deep" / "report"
    page = write_report(
        found,
        target,
        title="toy <1>",
        provenance={
            "files": ["a.parquet"],
            "versions": {"numpy": "2"},
            "nothing": {},
            "long": "x" * 200,
        },
        histories={"event, member 0": HISTORY},
        domain={"any": 0.001},
        storage={"RECO": 60.0, "GEN": 140.0},
    )
    assert page == target / "index.html"
    return target


@pytest.fixture(scope="module")
def parts(toys, tmp_path_factory):
    """The report of an emulator of two parts: a page for the event, one for each part."""
    toy, objects = toys.make(rows=600), toys.objects(events=500)
    settings = replace(toys.settings, classifier_resplits=1)
    event = assess(toy.full, toy.half, toy.fast, settings=settings)
    jets = assess(
        objects.full,
        objects.half,
        objects.fast,
        outcomes=objects.outcomes,
        counts=objects.counts,
        matching=matching(),
        settings=settings,
    )
    target = tmp_path_factory.mktemp("parts") / "report"
    write_report(
        event,
        target,
        title="whole events",
        parts={
            "jets": Report(jets, "jets", histories={"jets, member 0": HISTORY}),
            "met": Report(event, "MET"),
        },
    )
    return target


def matching():
    """Pairs of two hundred events, each object found and smeared."""
    rng = np.random.default_rng(1)
    offsets = np.arange(0, 601, 3)
    gen = [
        Jagged(offsets, rng.uniform(low, high, 600)) for low, high in ((20, 90), (-2, 2), (-3, 3))
    ]
    reco = [Jagged(offsets, c.content + rng.normal(0, 0.05, 600)) for c in gen]
    sides = Objects(*gen), Objects(*reco)
    return describe_matching(match(*gen[1:], *reco[1:]), *sides, reach=0.4)


def test_parts_have_pages_of_their_own(parts):
    assert sorted(p.name for p in parts.iterdir()) == [
        "index.html", "part-jets.html", "part-met.html", "plots", "report.json",
    ]  # fmt: skip
    assert (parts / "plots/part-jets/efficiency-found-gen_pt.png").exists()
    assert (parts / "plots/part-jets/matching.png").exists()
    assert (parts / "plots/distribution-pt.png").exists()
    index, page = ((parts / f"{n}.html").read_text("utf-8") for n in ("index", "part-jets"))
    assert re.findall(r'href="(part-[^"]*)"', index) == ["part-jets.html", "part-met.html"]
    assert '<h2 id="parts">' in index
    assert '<a href="index.html">' in page
    assert "plots/part-jets/" in page
    for heading in ("efficiency", "counts", "matching", "training"):
        assert f'<h2 id="{heading}">' in page
        assert f'href="#{heading}"' in page
        assert f'id="{heading}"' not in index
    assert 'id="parts"' not in page
    for text in (index, page):
        assert not re.search(r'(?:src|href)="(?!#|data:|index\.html"|part-)', text)
        images = re.findall(r"<img [^>]*>", text)
        assert all(re.search(r'alt="[^"]{10,}"', image) for image in images)


def test_parts_come_back_from_json(parts, tmp_path):
    tree = json.loads((parts / "report.json").read_text(encoding="utf-8"))
    assert list(tree["parts"]) == ["jets", "met"]
    assert tree["parts"]["jets"]["assessment"]["efficiencies"][0]["name"] == "found"
    assert tree["parts"]["jets"]["assessment"]["matching"]["pairs"] == 600
    render(read_report(parts), tmp_path)
    for name in ("index.html", "part-jets.html", "part-met.html", "report.json"):
        assert (tmp_path / name).read_bytes() == (parts / name).read_bytes()


def test_maps_learned_without_pairs_have_a_section(folder, tmp_path):
    """Distances and a picture of every plan, on the page and in report.json."""
    rng = np.random.default_rng(1)
    gen = rng.uniform(20, 100, 500)
    plan = transport_plan("e_energy", "E [GeV]", (gen, gen + 1), (gen, rng.permutation(gen)))
    assert plan.correlation[0] == pytest.approx(1)
    assert abs(plan.correlation[1]) < 0.2
    distance = Sliced("GEN, unfolded from RECO", Metric(3.0, 1.0, 2.5, 4.0), 0.3, 250, 8)
    report = replace(read_report(folder), transport=Transport((distance,), (plan,)))
    page = render(report, tmp_path).read_text(encoding="utf-8")
    assert page.index('id="response"') < page.index('id="transport"')
    assert "GEN, unfolded from RECO" in page
    assert (tmp_path / "plots" / "plan-e_energy.png").is_file()
    assert read_report(tmp_path).transport == report.transport


def test_a_plan_needs_events_on_both_sides():
    nothing = np.full(3, np.nan)
    assert transport_plan("x", "x", (np.ones(3), np.arange(3.0)), (nothing, nothing)) is None


def test_one_part_needs_no_list_of_parts(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert 'id="parts"' not in text
    assert "part-" not in re.sub(r"data:[^\"]*", "", text)
    assert '"parts"' not in (folder / "report.json").read_text(encoding="utf-8")


def test_files_are_whole(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["index.html", "plots", "report.json"]
    pictures = list((folder / "plots").iterdir())
    assert len(pictures) > 10
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    assert (folder / "index.html").stat().st_size < 6e6


def test_page_is_self_contained_and_accessible(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert "url(" not in text
    images = re.findall(r"<img [^>]*>", text)
    assert len(images) == len(list((folder / "plots").iterdir()))
    assert all(re.search(r'alt="[^"]{10,}"', image) for image in images)
    assert "toy &lt;1&gt;" in text
    assert "Anything &lt;else&gt; &amp; more." in text


def test_order_of_the_page(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'<h2 id="([^"]*)"', text)
    assert ids == [
        "tests", "quantities", "distributions", "residuals", "pictures", "coverage", "correlations",
        "classifier", "response", "domain", "storage", "training", "provenance", "not-judged",
    ]  # fmt: skip
    assert text.index("FastSim can") < text.index('id="tests"')
    assert "Quick settings" in text
    assert "GEN taken as RECO" in text


def test_everything_comes_back_from_json(folder, tmp_path):
    tree = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert tree["format"] == 1
    assert tree["assessment"]["settings"]["resplits"] >= 100
    assert len(tree["assessment"]["distributions"][0]["full"]) > 5
    render(read_report(folder), tmp_path)
    for name in ("index.html", "report.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_same_samples_same_json(toys, tmp_path):
    settings = replace(toys.settings, classifier_resplits=1, folds=2)
    for name in ("one", "two"):
        toy = toys.make(rows=400)
        found = assess(toy.full, toy.half, toy.fast, settings=settings)
        write_report(found, tmp_path / name, png=False)
    assert (tmp_path / "one/report.json").read_bytes() == (
        tmp_path / "two/report.json"
    ).read_bytes()
    assert (tmp_path / "one/index.html").read_bytes() == (tmp_path / "two/index.html").read_bytes()
    assert not (tmp_path / "one/plots").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1, "assessment": {}}'])
def test_what_is_no_report_is_refused(content, tmp_path):
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(SampleError, match=r"report\.json"):
        read_report(tmp_path)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: the page is not opened in a browser")
@pytest.mark.parametrize("width", [1366, 390])
def test_page_in_a_browser(folder, tmp_path, width):
    open_in_a_browser(folder / "index.html", tmp_path, width)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: the page is not opened in a browser")
@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("name", ["index", "part-jets"])
def test_pages_of_parts_in_a_browser(parts, tmp_path, width, name):
    open_in_a_browser(parts / f"{name}.html", tmp_path, width)


def open_in_a_browser(page, tmp_path, width):
    text = page.read_text(encoding="utf-8")
    (tmp_path / "probed.html").write_text(text.replace("</head>", PROBE, 1), encoding="utf-8")
    # in a frame, since a browser's window cannot be as narrow as a phone
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME % width, encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1600,1000",
        "--virtual-time-budget=20000", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, timeout=240, check=True, env=environment, text=True
    )
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr[-500:]
    probe = json.loads(html.unescape(found.group(1)))
    assert probe["errors"] == []
    assert probe["missing"] == 0
    assert probe["images"] > 10
    assert probe["requests"] == 0
    assert abs(probe["width"] - width) <= 20
    assert probe["wide"] == []
    assert probe["scroll"] <= probe["width"]
    assert probe["tiny"] == 0
