import io
import re
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from gen2reco.validation import assess
from gen2reco.validation.gallery import gallery
from gen2reco.validation.pictures import png_bytes, style, svg_bytes
from gen2reco.validation.plots import loss_plot

HISTORY = [
    {"epoch": i + 1, "train": 3 / (i + 1), "validation": 3 / (i + 1) + 0.01 * i, "monitor": None}
    for i in range(6)
]


@pytest.fixture(scope="module")
def figures(toys):
    toy = toys.make(rows=1500)
    found = assess(
        toy.full,
        toy.half,
        toys.members(toy.fast),
        coverage=toy.coverage,
        closure=toy.closure,
        settings=toys.settings,
    )
    before = dict(mpl.rcParams)
    plots = list(gallery(found, {"event, member 0": HISTORY}))
    drawn = {plot.name: (plot, plot.draw()) for plot in plots}
    assert dict(mpl.rcParams) == before
    return drawn


@pytest.fixture(scope="module")
def object_figures(toys):
    toy = toys.objects(events=600)
    whole = toy.fast.take(np.repeat(np.arange(len(toy.fast)), 2))
    copies = replace(whole, replica=np.tile([0, 1], len(toy.fast)))
    found = assess(
        toy.full,
        toy.half,
        copies,
        outcomes=toy.outcomes,
        counts=toy.counts,
        settings=replace(toys.settings, classifier_resplits=0),
    )
    return {plot.name: (plot, plot.draw()) for plot in gallery(found, {})}


def test_plots_of_objects_are_there(object_figures):
    names = set(object_figures)
    assert {
        "efficiency-found-gen_pt", "efficiency-found-gen_eta", "reliability-found",
        "efficiency-tag-gen_pt", "counts-extra", "gain-pt", "gain-n",
    } <= names  # fmt: skip
    assert "reliability-tag" not in names  # draws have no probability
    test_every_axis_says_what_it_shows(object_figures)


def test_groups_are_told_apart_and_shares_end_at_one(object_figures):
    above, below = object_figures["efficiency-found-gen_pt"][1].get_axes()
    texts = [text.get_text() for text in above.get_legend().get_texts()]
    assert texts == ["FullSim", "FastSim", "b", "other"]
    assert max(above.get_yticks()) <= 1
    assert below.get_ylim()[0] < 0.98
    assert below.get_ylim()[1] > 1.02
    # tags of b and others differ by more than ten: a logarithmic axis
    assert object_figures["efficiency-tag-gen_pt"][1].get_axes()[0].get_yscale() == "log"


def test_the_open_end_of_counts_is_marked(object_figures):
    axis = object_figures["counts-extra"][1].get_axes()[1]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1", "2", "3+"]


def test_captions_carry_the_figures(object_figures):
    caption = object_figures["efficiency-found-gen_pt"][0].caption
    assert "p of closure (Holm): all" in caption
    assert "ratio within 2%" in caption
    assert "ratio within" not in object_figures["efficiency-tag-gen_pt"][0].caption


def test_every_kind_of_plot_is_there(figures):
    assert {plot.section for plot, _ in figures.values()} == {
        "summary", "distributions", "residuals", "pictures", "coverage", "correlations",
        "classifier", "response", "training",
    }  # fmt: skip
    assert len({plot.name for plot, _ in figures.values()}) == len(figures)


def test_no_figure_stays_with_pyplot(figures):
    assert plt.get_fignums() == []


def test_every_axis_says_what_it_shows(figures):
    for name, (plot, figure) in figures.items():
        assert plot.alt
        assert plot.caption
        axes = figure.get_axes()
        if not name.startswith("correlations"):
            assert any(axis.get_xlabel() for axis in axes), name
            assert any(axis.get_ylabel() or axis.get_yticklabels() for axis in axes), name


def test_bytes_are_the_same_each_time(figures):
    for name in ("distribution-pt", "pit-pt", "roc"):
        plot, _ = figures[name]
        assert svg_bytes(plot.draw()) == svg_bytes(plot.draw())
        assert png_bytes(plot.draw()) == png_bytes(plot.draw())
    text = svg_bytes(figures["distribution-pt"][0].draw())
    assert b"date" not in text.lower()
    assert len(text) < 150_000


def test_planes_are_pixels_not_a_thousand_shapes(figures):
    svg = svg_bytes(figures["plane-pt"][1])
    assert b"<image" in svg
    assert len(svg) < 300_000


def test_labels_carry_units(figures):
    labels = {axis.get_xlabel() for axis in figures["distribution-pt"][1].get_axes()}
    assert "pt" in labels or any("[GeV]" in label for label in labels)
    response = figures["response-pt-gen_pt"][1].get_axes()[-1].get_xlabel()
    assert "GEN" in response


def test_a_history_of_one_epoch_or_without_losses_is_drawn():
    assert svg_bytes(loss_plot(HISTORY[:1]))
    assert svg_bytes(loss_plot([{"epoch": 1}]))


def test_compact_svg_keeps_every_colour(figures):
    for name in ("roc", "distribution-pt", "floor-ratios"):
        figure = figures[name][0].draw()
        stream = io.BytesIO()
        with style():
            FigureCanvasSVG(figure).print_svg(stream)
        whole, compact = stream.getvalue().decode(), svg_bytes(figure).decode()
        for paint in ("fill", "stroke"):
            pattern = rf"{paint}: (#[0-9a-f]{{6}})"
            assert set(re.findall(pattern, compact)) == set(re.findall(pattern, whole)), name
        assert len(compact) < 0.85 * len(whole)
