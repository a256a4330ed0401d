"""Comparison of jets as sets: equal sides agree, and what differs is found where it differs."""

import numpy as np
import pytest

from gen2reco.rows.substructure import jet_features
from gen2reco.validation import Jets, Settings, compare_sets
from gen2reco.validation.pictures import png_bytes
from gen2reco.validation.set_plots import display_plot, image_plot

SETTINGS = Settings(bootstraps=40)
COUNT, SLOTS = 500, 12


def jets(seed, *, scale=1.0, spread=0.2, most=SLOTS):
    """Jets of 4 to 12 particles, or at most so many; two of each event."""
    rng = np.random.default_rng(seed)
    number = np.minimum(rng.integers(4, SLOTS + 1, COUNT), most)
    there = np.arange(SLOTS) < number[:, None]
    pt = np.where(there, -np.sort(-rng.exponential(20.0, (COUNT, SLOTS))) + 1.0, np.nan) * scale
    eta = np.where(there, rng.normal(0, spread, (COUNT, SLOTS)), np.nan)
    phi = np.where(there, rng.normal(0, spread, (COUNT, SLOTS)), np.nan)
    return Jets(
        pt, eta, phi, rng.integers(0, 5, (COUNT, SLOTS)), jet_features(pt, eta, phi),
        np.arange(COUNT) // 2, np.ones(COUNT),
    )  # fmt: skip


HALF = (np.arange(COUNT) // 2) % 2


def by_name(records):
    return {one.name: one for one in records}


@pytest.fixture(scope="module")
def same():
    return compare_sets(jets(1), HALF, jets(2), jets(3), SETTINGS)


def test_equal_sides_agree(same):
    assert same.jets == (COUNT // 2, COUNT // 2)
    ratios = [one.floor_ratio.value for one in same.constituents]
    assert np.median(ratios) < 1.7
    for one in same.distances:
        assert one.value.value < max(2 * one.value.null_95, 0.1)
    assert {"pt", "mass", "multiplicity"} <= set(by_name(same.scores))
    assert len(same.displays) == 4


def test_harder_particles_are_found_in_pt_and_not_in_direction():
    found = compare_sets(jets(1), HALF, jets(2, scale=1.3), jets(3), SETTINGS)
    ratios = {name: one.floor_ratio.value for name, one in by_name(found.constituents).items()}
    assert ratios["constituent_pt"] > 4
    assert ratios["pt_1"] > 3
    assert ratios["constituent_eta"] < 3
    score = by_name(found.scores)["pt"]
    assert score.shift.value > 5 * score.shift.error > 0


def test_ranks_that_few_jets_have_are_not_compared():
    found = compare_sets(jets(1), HALF, jets(2, most=2), jets(3), SETTINGS)
    assert [name for name in by_name(found.constituents) if name.startswith("pt_")] == [
        *("pt_1", "pt_2"),
    ]


def test_wider_jets_are_found_in_direction_and_width():
    found = compare_sets(jets(1), HALF, jets(2, spread=0.25), jets(3), SETTINGS)
    ratios = {name: one.floor_ratio.value for name, one in by_name(found.constituents).items()}
    assert ratios["constituent_eta"] > 4
    assert ratios["constituent_pt"] < 3
    distances = by_name(found.distances)
    assert distances["FPD"].value.value > 3 * distances["FPD"].value.null_95
    assert distances["KPD"].value.value > 3 * distances["KPD"].value.null_95


def test_the_average_image_holds_the_mean_pt(same):
    full = jets(1).take(HALF == 0)
    eta, phi = full.relative()
    inside = (np.abs(eta) < 1) & (np.abs(phi) < 1)
    assert np.sum(same.image.full) == pytest.approx(np.nansum(full.pt[inside]) / len(full))


def test_displays_show_the_particles(same):
    gen = jets(3)
    shown = np.array(same.displays[0].gen)
    np.testing.assert_allclose(shown[:, 0], gen.pt[0][np.isfinite(gen.pt[0])])


def test_plots_can_be_drawn(same):
    for figure in (image_plot(same.image), display_plot(same.displays[0])):
        assert png_bytes(figure)[:4] == b"\x89PNG"
