"""Point masses are found where they are, and not where rounding alone repeats values."""

import numpy as np
import pytest

from gen2reco.features.atoms import MOST, find_atoms, spacing

ROWS = 60_000


def stored(values: np.ndarray, bits: int = 14) -> np.ndarray:
    """Round to a number of bits of mantissa, as samples are stored."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


def source() -> np.random.Generator:
    return np.random.default_rng(7)


def momenta(resolution: float, bits: int = 14) -> tuple[np.ndarray, np.ndarray]:
    gen = 16 + source().exponential(30, ROWS)
    reco = gen * np.exp(resolution * np.random.default_rng(8).standard_normal(ROWS))
    return stored(gen, bits), stored(reco, bits)


@pytest.mark.parametrize("resolution", [0.003, 0.01, 0.1])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("bits", [10, 14, 24])
def test_rounding_of_a_narrow_ratio_is_no_point_mass(resolution, scale, bits):
    gen, reco = momenta(resolution, bits)
    assert not find_atoms(reco / gen, reco * scale, gen * scale, ratio=True)


@pytest.mark.parametrize("width", [0.002, 0.03])
@pytest.mark.parametrize("bits", [11, 14, 24])
def test_rounding_of_a_narrow_difference_is_no_point_mass(width, bits):
    gen = source().uniform(-np.pi, np.pi, ROWS)
    reco = stored(gen + width * np.random.default_rng(8).standard_normal(ROWS), bits)
    gen = stored(gen, bits)
    assert not find_atoms(reco - gen, reco, gen)


def test_values_on_a_decimal_grid_are_no_point_masses():
    values = np.round(source().normal(0, 1, ROWS), 2)
    assert np.unique(values, return_counts=True)[1].max() > 0.003 * ROWS
    assert not find_atoms(values, values)


def test_copies_among_a_narrow_response_are_found():
    gen, reco = momenta(0.01)
    reco = np.where(source().random(ROWS) < 0.05, gen, reco)
    assert find_atoms(reco / gen, reco, gen, ratio=True) == [1.0]
    direction = source().uniform(-2.4, 2.4, ROWS)
    moved = direction + 0.02 * np.random.default_rng(8).standard_normal(ROWS)
    moved, direction = stored(moved), stored(direction)
    moved = np.where(source().random(ROWS) < 0.05, direction, moved)
    assert find_atoms(moved - direction, moved, direction) == [0.0]


@pytest.mark.parametrize("share", [0.0015, 0.03, 0.5, 0.91, 0.9995])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 40.0])
def test_one_point_mass_is_found_wherever_it_is(share, value):
    values = stored(source().normal(0, 1, ROWS))
    values[: int(share * ROWS)] = value
    assert find_atoms(values, values) == [value]


def test_several_point_masses_are_found_by_their_size():
    values = stored(source().beta(0.8, 2, ROWS))
    values[:20_000], values[20_000:27_000], values[27_000:27_600] = 0.0, 1.0, 0.25
    assert find_atoms(values, values) == [0.0, 1.0, 0.25]


def test_a_rare_value_is_no_point_mass():
    values = source().normal(0, 1, ROWS)
    values[:50] = 0.5
    assert not find_atoms(values, values)
    few = source().normal(0, 1, 100)
    few[:19] = 0.5
    assert not find_atoms(few, few)
    few[:20] = 0.5
    assert find_atoms(few, few) == [0.5]


def test_whole_numbers_in_a_continuous_column_end_somewhere():
    values = source().integers(0, 60, ROWS).astype(float)
    assert not find_atoms(values, values)
    assert len(find_atoms(*[source().poisson(2.0, ROWS).astype(float)] * 2)) <= MOST


def test_spacing_is_the_grid_where_it_is_filled_and_the_density_elsewhere():
    grid = np.round(source().normal(0, 1, ROWS), 2)
    near = np.abs(grid) < 2
    np.testing.assert_allclose(spacing(grid)[near], 0.01, rtol=1e-9)
    smooth = source().uniform(0, 1, ROWS)
    assert spacing(smooth).mean() == pytest.approx(0.7 / ROWS, rel=0.1)
    assert not spacing(np.ones(5)).any()
