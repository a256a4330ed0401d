"""Discrete columns: flags and categories as ranks, point masses as levels."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import kstest

from gen2reco.errors import StudyError
from gen2reco.features import PartFeatures

ROWS = 20_000
SOURCE = np.random.default_rng(21)
FLAG = (SOURCE.random(ROWS) < 0.2).astype(float)
CHARGE = np.where(SOURCE.random(ROWS) < 0.5, -1.0, 1.0)
CHARGED = SOURCE.poisson(2, ROWS).astype(float)
FRACTION = np.where(CHARGED == 0, 0.0, SOURCE.beta(2, 2, ROWS))
FRACTION[(SOURCE.random(ROWS) < 0.05) & (CHARGED > 0)] = 1.0
GEN = 20 + SOURCE.exponential(20, ROWS)
PT = np.where(SOURCE.random(ROWS) < 0.02, GEN, GEN * np.exp(0.1 * SOURCE.standard_normal(ROWS)))

TARGETS = (
    {"name": "pt", "kind": "positive", "relative_to": "gen", "transform": ["log", "asinh"]},
    {"name": "flag", "kind": "flag"},
    {"name": "charged", "kind": "integer", "atoms": 0},
    {"name": "charge", "kind": "category"},
    {"name": "fraction", "kind": "bounded", "transform": ["logit", "asinh"]},
)
COLUMNS = {"pt": PT, "flag": FLAG, "charged": CHARGED, "charge": CHARGE, "fraction": FRACTION}


@pytest.fixture(scope="module")
def part(make_part):
    return make_part(*TARGETS)


@pytest.fixture(scope="module")
def table(make_table):
    return make_table(COLUMNS, relative_to={"pt": GEN})


@pytest.fixture(scope="module")
def features(part, table):
    return PartFeatures.fit(part, table, 1, levels=True)


def test_what_the_model_sees(features, table):
    targets, conditions, levels, combinations, shares = features.shape
    assert (targets, conditions, levels) == (8, 0, (2, 2, 2, 2, 3))
    assert features.target_names == (
        *("pt point mass", "flag", "charged point mass", "charge", "fraction point mass"),
        *("pt", "charged", "fraction"),
    )
    encoded = features.encode_target(table, 1)
    wanted = {
        "pt point mass": PT == GEN,
        "flag": FLAG,
        "charged point mass": CHARGED == 0,
        "charge": CHARGE > 0,
        "fraction point mass": np.select([FRACTION == 0, FRACTION == 1], [1, 2], 0),
    }
    for k, (name, expected) in enumerate(wanted.items()):
        np.testing.assert_array_equal(encoded[:, k], expected, err_msg=name)
    seen, counts = np.unique(encoded[:, :5], axis=0, return_counts=True)
    assert combinations == tuple(map(tuple, seen.astype(int).tolist()))
    np.testing.assert_allclose(shares, counts / ROWS)
    assert {row[2:5:2] for row in combinations} == {(0, 0), (0, 2), (1, 1)}
    np.testing.assert_allclose(encoded[:, 5:].mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(encoded[:, 5:].std(axis=0), 1, atol=0.02)


def test_rows_come_back(features, table):
    decoded = features.decode_target(features.encode_target(table, 1), table)
    assert list(decoded) == list(COLUMNS)
    for name in ("flag", "charged", "charge"):
        np.testing.assert_array_equal(decoded[name], COLUMNS[name])
    for name, value in (("fraction", 0.0), ("fraction", 1.0), ("pt", GEN)):
        np.testing.assert_array_equal(decoded[name] == value, COLUMNS[name] == value)
    np.testing.assert_allclose(decoded["pt"], PT, rtol=1e-6)
    np.testing.assert_allclose(decoded["fraction"], FRACTION, rtol=1e-5)


def test_levels_decide_whatever_the_numbers_say(features, table):
    few = table.take(np.arange(6))
    encoded = np.zeros((6, 8), np.float32)
    encoded[:, 5:] = np.array([-30.0, -3.0, 0.0, 3.0, 30.0, np.inf])[:, None]
    encoded[:, 4] = [0, 1, 2, 0, 1, 2]
    encoded[:, 2] = [0, 1, 0, 1, 0, 0]
    encoded[:, 0] = [1, 0, 0, 0, 0, 1]
    decoded = features.decode_target(encoded, few)
    assert (decoded["fraction"][[1, 4]] == 0).all()
    assert (decoded["fraction"][[2, 5]] == 1).all()
    assert ((decoded["fraction"] > 0) & (decoded["fraction"] < 1)).tolist() == [1, 0, 0, 1, 0, 0]
    assert (decoded["charged"] == 0).tolist() == [0, 1, 0, 1, 0, 0]
    assert (decoded["pt"] == few.relative_to["pt"]).tolist() == [1, 0, 0, 0, 0, 1]
    assert all(np.isfinite(column).all() for column in decoded.values())


def test_numbers_at_a_level_are_standard_normal_and_keyed_by_the_row(features, table):
    encoded = features.encode_target(table, 1)
    at = CHARGED == 0
    filled = encoded[at, 6]
    assert kstest(filled, "norm").pvalue > 1e-3
    assert np.abs(filled).max() < 6
    shuffled = table.take(np.arange(ROWS)[::-1])
    np.testing.assert_array_equal(features.encode_target(shuffled, 1)[::-1], encoded)
    other = features.encode_target(table, 2)
    assert not np.array_equal(other[at, 6], filled)
    np.testing.assert_array_equal(other[~(FRACTION % 1 == 0), 7], encoded[~(FRACTION % 1 == 0), 7])


def test_state_is_the_features(features, part, table):
    again = PartFeatures.from_state(part, json.loads(json.dumps(features.state())))
    assert again == features
    assert again.shape == features.shape
    encoded = features.encode_target(table, 1)
    np.testing.assert_array_equal(again.encode_target(table, 1), encoded)
    back, wanted = again.decode_target(encoded, table), features.decode_target(encoded, table)
    for name, column in wanted.items():
        np.testing.assert_array_equal(back[name], column)


def test_what_was_found_is_said(features):
    found = sorted((f.column, f.value) for f in features.findings if f.what == "point mass")
    assert found == [("charged", 0.0), ("fraction", 0.0), ("fraction", 1.0), ("pt", 1.0)]
    how = {row["column"]: row["how"] for row in features.describe()}
    assert how["flag"] == how["charge"] == "learned, 2 values"
    assert how["fraction"] == "learned, point mass at 0, 1"
    assert how["charged"] == "learned, point mass at 0"


def test_log_det_makes_probabilities_of_levels(features, table):
    # Density of the encoded row, with p(levels) left out, times the determinant: at a point mass
    # the noise cancels, elsewhere the slope of the encoding is left.
    few = table.take(np.arange(500))
    encoded = features.encode_target(few, 1).astype(float)
    log_normal = -0.5 * encoded[:, 5:] ** 2 - 0.5 * np.log(2 * np.pi)
    log_det = features.log_det(few, 1)
    at = np.stack([PT == GEN, CHARGED == 0, FRACTION % 1 == 0], axis=1)[:500]
    slope = np.zeros((500, 3))
    for j, name in enumerate(("pt", "charged", "fraction")):
        step = 1e-6 * np.maximum(few.target[name], 0.01)
        sides = []
        for sign in (1, -1):
            moved = {**few.target, name: few.target[name] + sign * step}
            with np.errstate(all="ignore"):
                blocks = [
                    block.encode(reco, columns)
                    for *_, block, reco, columns in features._learned(_with(few, moved), 1)
                ]
            sides.append(np.concatenate(blocks, axis=1)[:, j])
        with np.errstate(all="ignore"):
            slope[:, j] = np.log(np.abs(sides[0] - sides[1]) / (2 * step))
    expected = np.where(at, -log_normal, slope).sum(axis=1)
    np.testing.assert_allclose(log_det, expected, atol=2e-4)


def _with(table, target):
    return type(table)(**{**vars(table), "target": target})


def test_without_levels_named_point_masses_are_intervals(part, table):
    features = PartFeatures.fit(part, table, 1)
    assert features.shape == (5, 0, (), (), ())
    assert features.target_names == tuple(COLUMNS)
    decoded = features.decode_target(features.encode_target(table, 1), table)
    np.testing.assert_array_equal(decoded["charged"], CHARGED)


@pytest.mark.parametrize("levels", [False, True])
def test_a_named_point_mass_needs_no_large_share(make_part, make_table, levels):
    values = 1 + np.random.default_rng(3).standard_normal(ROWS)
    values[:7] = 0.25
    found = {}
    for atoms in ([], [0.25]):
        part = make_part({"name": "x", "atoms": atoms, "transform": "asinh"})
        features = PartFeatures.fit(part, make_table({"x": values}), 1, levels=levels)
        found[len(atoms)] = [mass.value for mass in features.blocks[0].point_masses(0)]
        decoded = features.decode_target(
            features.encode_target(make_table({"x": values}), 1), make_table({"x": values})
        )
        np.testing.assert_array_equal(decoded["x"][:7] == 0.25, [bool(atoms)] * 7)
        np.testing.assert_allclose(decoded["x"], values, rtol=1e-4, atol=1e-6)
    assert found == {0: [], 1: [0.25]}


def test_a_named_point_mass_that_no_row_has_is_left_out_and_reported(make_part, make_table):
    part = make_part({"name": "x", "atoms": [0, 9]})
    values = np.append(np.random.default_rng(3).standard_normal(500), np.zeros(10))
    features = PartFeatures.fit(part, make_table({"x": values}), 1, levels=True)
    assert features.shape[:4] == (2, 0, (2,), ((0,), (1,)))
    assert any("no row is there" in str(finding) for finding in features.findings)


def test_components_that_a_transform_mixes_have_levels_of_their_own(make_part, make_table):
    source = np.random.default_rng(4)
    x, y = source.standard_normal((2, ROWS))
    x[: ROWS // 2], y[: ROWS // 4] = 0.0, 0.0
    angle = np.zeros(ROWS)
    part = make_part(
        {
            "name": ["x", "y"],
            "value": ["a", "b"],
            "transform": [{"kind": "rotate", "given": {"angle": "phi"}}],
        }
    )
    table = make_table({"x": x, "y": y}, given={"phi": angle})
    features = PartFeatures.fit(part, table, 1, levels=True)
    assert features.shape[:4] == (4, 0, (2, 2), ((0, 0), (1, 0), (1, 1)))
    encoded = features.encode_target(table, 1)
    np.testing.assert_array_equal(encoded[:, :2], np.stack([x == 0, y == 0], axis=1))
    decoded = features.decode_target(encoded, table)
    np.testing.assert_allclose(decoded["x"], x, atol=1e-6)
    np.testing.assert_array_equal(decoded["y"] == 0, y == 0)
    assert np.isfinite(features.log_det(table, 1)).all()


def test_a_quantity_of_few_values_becomes_a_category(make_part, make_table):
    values = np.random.default_rng(5).choice([0.0, 0.5, 2.0], ROWS)
    features = PartFeatures.fit(make_part({"name": "x"}), make_table({"x": values}), 1, levels=True)
    assert features.shape[:4] == (1, 0, (3,), ((0,), (1,), (2,)))
    few = make_table({"x": np.array([0.5, 0.7, 9.0])})
    np.testing.assert_array_equal(features.encode_target(few, 1)[:, 0], [1, 2, 2])
    decoded = features.decode_target(np.array([[1.0], [7.0], [-3.0]]), few)
    np.testing.assert_array_equal(decoded["x"], [0.5, 2.0, 0.0])


def test_transforms_of_a_flag_do_not_matter(make_part, make_table):
    part = make_part({"name": "x", "kind": "flag", "transform": ["dequantize", "standardize"]})
    features = PartFeatures.fit(part, make_table({"x": FLAG}), 1, levels=True)
    assert features.shape[:4] == (1, 0, (2,), ((0,), (1,)))


def test_a_flag_may_be_relative_to_gen(make_part, make_table):
    gen = (np.random.default_rng(6).random(ROWS) < 0.5).astype(float)
    part = make_part({"name": "x", "kind": "flag", "relative_to": "g"})
    table = make_table({"x": FLAG}, relative_to={"x": gen})
    features = PartFeatures.fit(part, table, 1, levels=True)
    assert features.shape[2] == (3,)
    decoded = features.decode_target(features.encode_target(table, 1), table)
    np.testing.assert_array_equal(decoded["x"], FLAG)


def test_mistakes_about_point_masses_are_named(make_part, make_table):
    with pytest.raises(ValidationError, match="takes each of its values exactly"):
        make_part({"name": "x", "kind": "flag", "atoms": [0]})
    with pytest.raises(ValidationError, match="listed twice"):
        make_part({"name": "x", "atoms": [0, 0.0]})
    with pytest.raises(ValidationError, match="finite"):
        make_part({"name": "x", "atoms": [float("nan")]})
    rotate = {"kind": "rotate", "given": {"angle": "phi"}}
    part = make_part({"name": ["x", "y"], "value": ["a", "b"], "transform": [rotate], "atoms": [0]})
    with pytest.raises(StudyError, match=r"target x, y: atoms are values before the transforms"):
        PartFeatures.fit(part, make_table({"x": PT, "y": PT}, given={"phi": PT}), 1)
