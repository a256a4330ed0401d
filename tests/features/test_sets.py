"""Constituents as columns of a model and back, in each representation."""

import numpy as np
import pytest

from gen2reco.errors import EmulatorError, StudyError
from gen2reco.features.sets import KEPT, SetFeatures, types
from gen2reco.rng import Keys
from gen2reco.rows.substructure import turn
from gen2reco.rows.tables import Table
from gen2reco.study import CONSTITUENT, load_study

SIZE = 6


@pytest.fixture
def part():
    return load_study("wjets-particles", {"parts.0.rows.size": SIZE}).parts[0]


@pytest.fixture
def table(part):
    rng = np.random.default_rng(1)
    rows = 200
    number = rng.integers(1, SIZE + 1, rows)
    there = np.arange(SIZE) < number[:, None]

    def side():
        kind = rng.integers(0, 5, (rows, SIZE))
        values = {
            "pt": rng.exponential(20.0, (rows, SIZE)) + 1.0,
            "eta": rng.normal(0.5, 0.3, (rows, SIZE)),
            "phi": turn(3.0 + rng.normal(0, 0.3, (rows, SIZE))),
            "pdgId": np.array([211, 130, 22, 11, 13])[kind] * 1.0,
            "charge": np.where((kind == 1) | (kind == 2), 0.0, 1.0),
        }
        return {name: np.where(there, column, np.nan) for name, column in values.items()}

    gen = {f"gen_{name}": column for name, column in side().items()}
    ids = dict.fromkeys(("run", "luminosityBlock"), np.ones(rows, int))
    keys = Keys.from_columns(ids | {"event": np.arange(rows)})
    return Table(part.name, keys, np.ones(rows), np.arange(rows), gen, side(), {}, {})


@pytest.mark.parametrize("representation", ["absolute", "relative", "cartesian"])
def test_what_was_encoded_comes_back(part, table, representation):
    features = SetFeatures.fit(part, table, representation)
    encoded = features.encode_target(table, 1)
    assert encoded.dtype == np.float32
    assert encoded.shape == (len(table), features.shape[0])
    assert np.isfinite(encoded).all()
    back = features.decode_target(encoded, table)
    wanted = CONSTITUENT[:3] if representation == "cartesian" else CONSTITUENT
    for name in wanted:
        apart = back[name] - table.target[name]
        apart = turn(apart) if name == "phi" else apart
        assert np.array_equal(np.isnan(back[name]), np.isnan(table.target[name]))
        assert np.nanmax(np.abs(apart) / np.maximum(1.0, np.abs(table.target[name]))) < 1e-4


@pytest.mark.parametrize("representation", ["absolute", "relative", "cartesian"])
def test_no_jet_at_all_has_columns(part, table, representation):
    features = SetFeatures.fit(part, table, representation)
    none = table.take(np.zeros(len(table), np.bool_))
    encoded = features.encode_condition(none)
    assert encoded.shape == (0, features.shape[1])
    assert features.outside_domain(none).shape == (0,)
    back = features.decode_target(encoded, none)
    assert {column.shape for column in back.values()} == {(0, SIZE)}


def test_columns_are_standardised(part, table):
    features = SetFeatures.fit(part, table, "cartesian")
    flat = features.encode_condition(table).reshape(-1, 3)
    np.testing.assert_allclose(flat.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(flat.std(axis=0), 1.0, atol=1e-5)


def test_soft_particles_are_no_particles(part, table):
    features = SetFeatures.fit(part, table, "cartesian")
    soft = {name: column.copy() for name, column in table.target.items()}
    soft["pt"][:, 0] = KEPT * 0.9
    shifted = Table(part.name, table.keys, table.weight, table.entry, table.condition, soft, {}, {})
    back = features.decode_target(features.encode_target(shifted, 1), table)
    assert np.isnan(back["pt"][:, 0]).all()


def test_state_comes_back(part, table):
    features = SetFeatures.fit(part, table, "relative")
    again = SetFeatures.from_state(part, features.state())
    np.testing.assert_array_equal(again.encode_condition(table), features.encode_condition(table))
    assert again.state() == features.state()


def test_state_of_another_size_is_refused(part, table):
    state = SetFeatures.fit(part, table, "relative").state() | {"size": SIZE + 1}
    with pytest.raises(EmulatorError, match="constituents"):
        SetFeatures.from_state(part, state)


def test_jets_beyond_those_of_training_are_noticed(part, table):
    features = SetFeatures.fit(part, table, "absolute")
    assert not features.outside_domain(table).any()
    hard = {name: column.copy() for name, column in table.condition.items()}
    hard["gen_pt"][3] *= 1000.0
    other = Table(part.name, table.keys, table.weight, table.entry, hard, {}, {}, {})
    assert features.outside_domain(other).tolist() == [row == 3 for row in range(len(table))]


def test_a_particle_that_is_not_finite_is_an_empty_slot(part, table):
    features = SetFeatures.fit(part, table, "absolute")
    table.condition["gen_eta"][0, 0] = np.inf
    encoded = features.encode_condition(table).reshape(len(table), SIZE, -1)
    assert not encoded[0, 0].any()


def test_nan_from_a_model_is_an_error(part, table):
    features = SetFeatures.fit(part, table, "absolute")
    with pytest.raises(EmulatorError, match="NaN"):
        features.decode_target(np.full((len(table), features.shape[0]), np.nan), table)


def test_an_unknown_representation_is_refused(part, table):
    with pytest.raises(StudyError, match="absolute, relative, cartesian"):
        SetFeatures.fit(part, table, "polar")


def test_types_of_particles():
    pdg = np.array([-211.0, 321.0, 2212.0, 130.0, -2112.0, 22.0, 11.0, -13.0])
    charge = np.array([-1, 1, 1, 0, 0, 0, -1, 1])
    assert types(pdg, charge).tolist() == [0, 0, 0, 1, 1, 2, 3, 4]
