"""What the fit of a target makes of point masses, copies, whole numbers and bounds."""

import json

import numpy as np
import pytest

from gen2reco.errors import StudyError
from gen2reco.features import PartFeatures

ROWS = 20_000


def source() -> np.random.Generator:
    return np.random.default_rng(12)


def there_and_back(part, table, seed=1):
    """Fit, save, load, encode, decode; return features, encoded and decoded columns."""
    features = PartFeatures.fit(part, table, seed)
    features = PartFeatures.from_state(part, json.loads(json.dumps(features.state())))
    encoded = features.encode_target(table, seed)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    return features, encoded, features.decode_target(encoded, table)


def atoms(features, column=0):
    return sorted((atom.value, atom.share) for atom in features.blocks[column].gaps[0].atoms)


GEN = 20 + source().exponential(20, ROWS)
RATIO = np.exp(0.1 * np.random.default_rng(13).standard_normal(ROWS))
MANY = source().random(ROWS)

POINT_MASSES = {
    "91 % in the middle": ({}, np.where(MANY < 0.91, 0.3, np.log(RATIO)), [0.3]),
    "zero under a logarithm": (
        {"kind": "positive", "transform": ["log", "asinh"]},
        np.where(MANY < 0.003, 0.0, RATIO),
        [0.0],
    ),
    "half at the lower edge": ({"kind": "positive"}, np.where(MANY < 0.5, 0.0, RATIO), [0.0]),
    "both ends of a fraction": (
        {"kind": "bounded", "transform": ["logit", "asinh"]},
        np.where(MANY < 0.33, 0.0, np.where(MANY < 0.34, 1.0, MANY)),
        [0.0, 1.0],
    ),
    "a marker below zero": (
        {"kind": "positive", "transform": "log"},
        np.where(MANY < 0.2, -1.0, np.where(MANY < 0.25, 0.0, RATIO)),
        [-1.0, 0.0],
    ),
    "three inside and a quantile transform": (
        {"transform": "quantile_normal"},
        np.select([MANY < 0.2, MANY < 0.5, MANY < 0.55], [-0.1, 0.0, 2.0], np.log(RATIO)),
        [-0.1, 0.0, 2.0],
    ),
    "at a threshold": ({"transform": "threshold"}, np.where(MANY < 0.1, 0.5, 0.5 + RATIO), [0.5]),
}


@pytest.mark.parametrize("case", POINT_MASSES)
def test_point_masses_are_found_and_restored(case, make_part, make_table):
    settings, values, expected = POINT_MASSES[case]
    if settings.get("kind") == "positive" and values.min() < 0:
        settings = {**settings, "kind": "continuous"}
    part, table = make_part({"name": "x", **settings}), make_table({"x": values})
    features, encoded, decoded = there_and_back(part, table)
    found = atoms(features)
    assert [value for value, _ in found] == expected
    for value, share in found:
        here = values == value
        assert share == pytest.approx(here.mean(), abs=1e-12)
        np.testing.assert_array_equal(decoded["x"] == value, here)
        inside = np.sort(encoded[here, 0])
        assert np.diff(inside).max() < 0.5 * np.ptp(inside)
    np.testing.assert_allclose(decoded["x"], values, rtol=2e-5, atol=1e-6)
    reported = [finding.what for finding in features.findings if finding.what != "tail"]
    assert reported == ["point mass"] * len(expected)
    assert encoded.std() == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(encoded) > 6) < 1e-3
    order = np.argsort(values[~np.isin(values, expected)])
    assert (np.diff(encoded[~np.isin(values, expected), 0][order]) >= 0).all()


@pytest.mark.parametrize(
    ("kind", "gen", "reco"),
    [
        ("positive", GEN, np.where(MANY < 0.3, GEN, GEN * RATIO)),
        ("continuous", GEN - 40, np.where(MANY < 0.3, GEN - 40, GEN - 40 + np.log(RATIO))),
        (
            "angle",
            2 * np.pi * MANY - np.pi,
            np.where(RATIO < 1, 2 * np.pi * MANY - np.pi, 2 * np.pi * MANY - np.pi + 0.01 * GEN),
        ),
    ],
)
def test_copies_in_part_of_the_rows_come_back_exactly(kind, gen, reco, make_part, make_table):
    reco = np.where(reco >= np.pi, reco - 2 * np.pi, reco) if kind == "angle" else reco
    part = make_part({"name": "x", "kind": kind, "relative_to": "gen", "transform": "asinh"})
    features, _, decoded = there_and_back(part, make_table({"x": reco}, relative_to={"x": gen}))
    copied = reco == gen
    assert atoms(features)[0][1] == pytest.approx(copied.mean(), abs=1e-12)
    np.testing.assert_array_equal(decoded["x"] == gen, copied)
    np.testing.assert_allclose(decoded["x"], reco, rtol=1e-5, atol=1e-5)
    assert "x equals its GEN value in" in str(features.findings[0])


@pytest.mark.parametrize("kind", ["positive", "continuous", "angle"])
def test_copies_in_every_row_are_not_learned(kind, make_part, make_table):
    gen = np.float32(GEN % 3).astype(float)
    part = make_part({"name": "x", "kind": kind, "relative_to": "gen"}, {"name": "y"})
    table = make_table({"x": gen, "y": np.log(RATIO)}, relative_to={"x": gen})
    features, encoded, decoded = there_and_back(part, table)
    assert features.target_names == ("y",)
    assert encoded.shape == (ROWS, 1)
    np.testing.assert_array_equal(decoded["x"], gen)
    assert list(decoded) == ["x", "y"]
    other = make_table({"x": gen + 5, "y": gen}, relative_to={"x": gen + 1})
    np.testing.assert_array_equal(features.decode_target(encoded, other)["x"], gen + 1)
    np.testing.assert_allclose(features.log_det(table, 1), features.log_det(table, 1)[0])


def test_a_handful_of_exceptions_does_not_hide_a_copy(make_part, make_table):
    reco = GEN.copy()
    reco[[3, 77, 500]] += 1.0
    part = make_part({"name": "x", "relative_to": "gen"}, {"name": "y"})
    table = make_table({"x": reco, "y": RATIO}, relative_to={"x": GEN})
    features, _, decoded = there_and_back(part, table)
    assert features.target_names == ("y",)
    assert "all but 3 rows" in str(features.findings[0])
    np.testing.assert_array_equal(decoded["x"], GEN)


def test_constants_are_kept(make_part, make_table):
    part = make_part(
        {"name": "mass"},
        {"name": "shift", "relative_to": "gen"},
        {"name": "scale", "kind": "positive", "relative_to": "gen"},
        {"name": "y"},
    )
    gen = np.round(GEN)
    target = {"mass": np.full(ROWS, 0.10566), "shift": gen + 0.5, "scale": 2 * gen, "y": RATIO}
    table = make_table(target, relative_to={"shift": gen, "scale": gen})
    features, _, decoded = there_and_back(part, table)
    assert features.target_names == ("y",)
    for name in ("mass", "shift", "scale"):
        np.testing.assert_array_equal(decoded[name], target[name])
    assert [f.what for f in features.findings] == ["constant"] * 3


def test_whole_numbers_flags_and_categories_come_back_as_they_are(make_part, make_table):
    target = {
        "count": source().poisson(40, ROWS).astype(float),
        "more": source().integers(0, 5, ROWS) + np.round(GEN),
        "flag": (MANY < 0.1).astype(float),
        "charge": source().choice([-1.0, 1.0], ROWS),
        "type": source().choice(
            [-211.0, 11.0, 13.0, 22.0, 130.0], ROWS, p=[0.5, 0.2, 0.1, 0.1, 0.1]
        ),
        "wide": source().integers(0, 5000, ROWS).astype(float),
        "logged": source().geometric(0.05, ROWS).astype(float),
    }
    part = make_part(
        {"name": "count", "kind": "integer"},
        {"name": "more", "kind": "integer", "relative_to": "gen"},
        {"name": "flag", "kind": "flag"},
        {"name": "charge", "kind": "category"},
        {"name": "type", "kind": "category"},
        {"name": "wide", "kind": "integer"},
        {"name": "logged", "kind": "integer", "transform": ["dequantize", "log"]},
    )
    table = make_table(target, relative_to={"more": np.round(GEN)})
    features, encoded, decoded = there_and_back(part, table)
    assert not features.findings
    for name, values in target.items():
        np.testing.assert_array_equal(decoded[name], values)
    np.testing.assert_allclose(encoded.std(axis=0), 1, atol=0.01)
    for far in (-50.0, 50.0):
        beyond = features.decode_target(np.full(encoded.shape, far), table)
        for name, values in target.items():
            assert values.min() <= beyond[name].min()
            assert beyond[name].max() <= values.max()
            assert (beyond[name] == np.round(beyond[name])).all()


def test_a_few_values_of_a_continuous_kind_become_categories(make_part, make_table):
    values = source().choice([0.25, 0.5, 7.0], ROWS)
    part = make_part({"name": "x", "transform": "asinh"})
    features, _, decoded = there_and_back(part, make_table({"x": values}))
    np.testing.assert_array_equal(decoded["x"], values)
    assert "takes 3 values only" in str(features.findings[0])


def test_whole_numbers_of_a_continuous_kind_are_reported(make_part, make_table):
    values = source().integers(0, 40, ROWS).astype(float)
    features, _, _ = there_and_back(make_part({"name": "x"}), make_table({"x": values}))
    assert [f.what for f in features.findings] == ["discrete"]
    assert "40 values" in str(features.findings[0])


def test_bounds_hold(make_part, make_table):
    share = source().beta(0.5, 3, ROWS)
    part = make_part(
        {"name": "plain", "kind": "bounded"},
        {"name": "wide", "kind": "bounded", "transform": {"kind": "logit", "low": -2, "high": 5}},
        {"name": "relative", "kind": "bounded", "relative_to": "gen"},
    )
    target = {"plain": share, "wide": 7 * share - 2, "relative": share}
    table = make_table(target, relative_to={"relative": np.clip(share + 0.1, 0, 1)})
    features, encoded, decoded = there_and_back(part, table)
    for name, values in target.items():
        np.testing.assert_allclose(decoded[name], values, atol=1e-5)
    for far in (-50.0, 50.0):
        beyond = features.decode_target(np.full(encoded.shape, far), table)
        assert 0 <= beyond["plain"].min() <= beyond["plain"].max() <= 1
        assert -2 <= beyond["wide"].min() <= beyond["wide"].max() <= 5
        assert share.min() <= beyond["relative"].min()
    assert features.blocks[0].chain.kinds == ["logit"]


def test_angles_stay_in_their_interval(make_part, make_table):
    gen = 2 * np.pi * MANY - np.pi
    reco = (gen + 0.3 * np.log(RATIO) + np.pi) % (2 * np.pi) - np.pi
    part = make_part(
        {"name": "phi", "kind": "angle", "relative_to": "g"}, {"name": "a", "kind": "angle"}
    )
    table = make_table({"phi": reco, "a": reco}, relative_to={"phi": gen})
    features, encoded, decoded = there_and_back(part, table)
    for name in ("phi", "a"):
        assert (decoded[name] >= -np.pi).all()
        assert (decoded[name] < np.pi).all()
        assert np.abs(np.exp(1j * decoded[name]) - np.exp(1j * reco)).max() < 1e-5
    far = features.decode_target(np.full(encoded.shape, 9.0), table)
    assert (np.abs(far["phi"]) <= np.pi).all()


def test_components_without_a_mixing_transform_go_their_own_ways(make_part, make_table):
    part = make_part({"name": ["x", "y"], "value": ["x", "y"], "relative_to": ["g", "h"]})
    table = make_table({"x": GEN, "y": RATIO}, relative_to={"x": GEN, "y": np.ones(ROWS)})
    features, _, decoded = there_and_back(part, table)
    assert features.target_names == ("y",)
    np.testing.assert_array_equal(decoded["x"], GEN)


def test_a_vector_may_be_a_copy_as_a_whole_or_in_part(make_part, make_table):
    spec = {
        "name": ["x", "y"],
        "value": ["x", "y"],
        "relative_to": ["g", "h"],
        "transform": [{"kind": "rotate", "given": {"angle": "phi"}}, "asinh"],
    }
    gen = {"x": GEN, "y": -GEN[::-1]}
    given = {"phi": MANY}
    whole = make_table({**gen, "z": RATIO}, relative_to=gen, given=given)
    features, _, decoded = there_and_back(make_part(spec, {"name": "z"}), whole)
    assert features.target_names == ("z",)
    np.testing.assert_array_equal(decoded["y"], gen["y"])
    some = {name: np.where(MANY < 0.2, column, column + 3 * RATIO) for name, column in gen.items()}
    table = make_table(some, relative_to=gen, given=given)
    features, _, decoded = there_and_back(make_part(spec), table)
    assert [len(gap.atoms) for gap in features.blocks[0].gaps] == [1, 1]
    for name, column in some.items():
        np.testing.assert_allclose(decoded[name], column, atol=1e-4)
        copied = MANY < 0.2
        np.testing.assert_allclose(decoded[name][copied], column[copied], atol=1e-9)


def test_the_reference_of_a_rescaling_is_read_at_fit_time_only(make_part, make_table):
    log_gen, log_reco = np.log(GEN), np.log(GEN * RATIO)
    rescale = {"gen": "g", "reference": "r", "reference_gen": "rg"}
    part = make_part({"name": "px", "transform": {"kind": "residual_rescale", "given": rescale}})
    given = {"g": GEN, "r": log_reco, "rg": log_gen}
    table = make_table({"px": GEN + 3 * np.log(RATIO)}, given=given)
    features, encoded, decoded = there_and_back(part, table)
    np.testing.assert_allclose(decoded["px"], table.target["px"], rtol=1e-6)
    simulated = make_table({"px": GEN}, given={"g": GEN})
    simulated.target.clear()
    np.testing.assert_array_equal(features.decode_target(encoded, simulated)["px"], decoded["px"])


def test_a_condition_may_read_another_column_but_no_noise(make_part, make_table):
    ratio = {"kind": "ratio", "given": {"gen": "g"}}
    part = make_part(
        {"name": "x"},
        condition=(
            {"name": "c", "value": "c", "transform": [ratio, "log"]},
            {"name": "one", "value": "1"},
        ),
    )
    columns = {"c": GEN * RATIO, "one": np.ones(ROWS)}
    table = make_table({"x": RATIO}, condition=columns, given={"g": GEN})
    features = PartFeatures.fit(part, table, 1)
    encoded = features.encode_condition(table)
    expected = np.log(RATIO)
    np.testing.assert_allclose(
        encoded[:, 0], (expected - expected.mean()) / expected.std(), atol=1e-5
    )
    assert not encoded[:, 1].any()
    assert "condition one is 1 in every row" in str(features.findings[0])
    noisy = make_part(
        {"name": "x"}, condition=({"name": "c", "value": "c", "transform": "dequantize"},)
    )
    with pytest.raises(StudyError, match="condition"):
        PartFeatures.fit(noisy, table, 1)


@pytest.mark.parametrize(
    ("spec", "values", "message"),
    [
        ({"transform": "log"}, RATIO - 1, r"target x, transform 1: log cannot take \d+ of"),
        ({"transform": "log"}, 0 * RATIO[:10] - np.arange(10) / 9, "log cannot take 9"),
        ({"transform": [{"kind": "threshold", "edge": 0}, "log"]}, RATIO / 9, "transform 2: log"),
        ({"kind": "integer"}, RATIO, "whole numbers"),
        ({"kind": "bounded"}, 2 * RATIO, "low and high"),
        (
            {"transform": {"kind": "threshold", "edge": 0.7}},
            np.maximum(RATIO, np.where(MANY < 0.005, 0.7 - 0.01 * MANY, 0)),
            "lower its option edge",
        ),
    ],
)
def test_values_that_a_transform_cannot_take_are_named(
    spec, values, message, make_part, make_table
):
    with pytest.raises(StudyError, match=message):
        PartFeatures.fit(make_part({"name": "x", **spec}), make_table({"x": values}), 1)


def test_a_condition_without_a_finite_value_is_named(make_part, make_table):
    part = make_part({"name": "x"}, condition=({"name": "c", "value": "c", "transform": "log"},))
    table = make_table({"x": RATIO}, condition={"c": np.zeros(ROWS)})
    with pytest.raises(StudyError, match="condition c, transform 1: log leaves no finite value"):
        PartFeatures.fit(part, table, 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 10])
def test_tiny_samples_do_not_break_the_fit(rows, wjet_part, make_wjet):
    table = make_wjet(rows, 9)
    features = PartFeatures.fit(wjet_part, table, 1)
    encoded = features.encode_target(table, 1)
    assert np.isfinite(encoded).all()
    assert np.isfinite(features.encode_condition(table)).all()
    decoded = features.decode_target(encoded, table)
    assert all(np.isfinite(column).all() for column in decoded.values())
