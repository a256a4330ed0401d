"""The features of a part: there and back, on columns like those of W + jet."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gen2reco.errors import EmulatorError, StudyError
from gen2reco.events import open_events
from gen2reco.features import PartFeatures, check_transforms
from gen2reco.features.conditions import REACH
from gen2reco.rng import Keys
from gen2reco.rows.tables import Table, build_table, columns_needed
from gen2reco.study import Part, load_study


@pytest.fixture(scope="module")
def features(wjet_part, wjet_table) -> PartFeatures:
    return PartFeatures.fit(wjet_part, wjet_table, 1)


def assert_back(found: dict[str, np.ndarray], table: Table, part: Part) -> None:
    """Everything comes back to float32 accuracy: of the value, of GEN, of the distance to GEN."""
    kinds = {name: target.kind for target in part.target for name in target.name}
    vectors = {name: target.name for target in part.target for name in target.name}
    assert list(found) == list(kinds)
    for name, wanted in table.target.items():
        error = np.abs(found[name] - wanted)
        if kinds[name] == "angle":
            error = np.minimum(error, 2 * np.pi - error)
        gen = table.relative_to.get(name, np.zeros(len(table)))
        distance = np.zeros(len(table))
        for other in vectors[name]:
            there = table.relative_to.get(other, np.zeros(len(table)))
            distance = np.maximum(distance, np.abs(table.target[other] - there))
        width = np.quantile(np.abs(wanted - gen), 0.68)
        allowed = 5e-6 * (distance + width) + 1e-7 * np.abs(wanted)
        assert (error <= allowed).all(), (name, np.max(error / allowed))


@pytest.mark.parametrize("levels", [False, True])
def test_processes_with_rows_of_their_own_fit_what_one_with_all_does(wjet_part, wjet_table, levels):
    """Two threads stand for two processes; neither sees the table of the other."""
    cut = len(wjet_table) // 3
    shares = [wjet_table.take(slice(0, cut)), wjet_table.take(slice(cut, None))]
    columns: list = [None, None]
    meet = threading.Barrier(2, timeout=60)

    def fit(rank):
        def gather(column):
            columns[rank] = column
            meet.wait()
            joined = np.concatenate(columns)
            meet.wait()
            return joined

        return PartFeatures.fit(wjet_part, shares[rank], 1, levels=levels, gather=gather)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(fit, (0, 1)))
    whole = PartFeatures.fit(wjet_part, wjet_table, 1, levels=levels)
    assert found[0].state() == found[1].state() == whole.state()


def test_training_rows_come_back(features, wjet_part, wjet_table):
    encoded = features.encode_target(wjet_table, 1)
    assert encoded.dtype == np.float32
    decoded = features.decode_target(encoded, wjet_table)
    assert_back(decoded, wjet_table, wjet_part)
    for name in ("mu_eta", "mu_phi"):
        np.testing.assert_array_equal(decoded[name], wjet_table.target[name])
    zero = wjet_table.target["jet_mass"] == 0
    np.testing.assert_array_equal(decoded["jet_mass"] == 0, zero)


def test_other_rows_come_back(features, wjet_part, make_wjet):
    other = make_wjet(20_000, 2)
    inside = np.ones(len(other), bool)
    encoded = features.encode_target(other, 5)
    column = 0
    for block in features.blocks:
        for j in range(len(block.encoded)):
            inside &= (encoded[:, column] > block.low[j]) & (encoded[:, column] < block.high[j])
            column += 1
    assert inside.mean() > 0.999
    kept = other.take(inside)
    assert_back(features.decode_target(encoded[inside], kept), kept, wjet_part)


def test_what_the_model_sees(features, wjet_table):
    assert features.shape[:3] == (7, 11, ())
    assert features.target_names == (
        *("mu_pt", "jet_pt", "jet_eta", "jet_phi", "jet_mass", "met_x", "met_y"),
    )
    assert features.condition_names[:2] == ("gen_mu_pt", "gen_mu_eta")
    target = features.encode_target(wjet_table, 1)
    condition = features.encode_condition(wjet_table)
    assert (target.dtype, condition.dtype) == (np.float32, np.float32)
    assert (target.shape, condition.shape) == ((20_000, 7), (20_000, 11))
    assert np.isfinite(target).all()
    assert np.isfinite(condition).all()
    np.testing.assert_allclose(target.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(target.std(axis=0), 1, atol=1e-2)
    np.testing.assert_allclose(condition.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(condition.std(axis=0), 1, atol=1e-2)
    assert np.abs(target).max() < 6
    assert np.abs(condition).max() <= REACH


def test_copies_and_point_masses_are_reported(features):
    found = {(finding.what, finding.column): finding for finding in features.findings}
    assert set(found) == {("copy", "mu_eta"), ("copy", "mu_phi"), ("point mass", "jet_mass")}
    assert "copied, not learned" in str(found["copy", "mu_eta"])
    assert str(found["point mass", "jet_mass"]).startswith("jet_mass is exactly 0 in 0.3")
    how = {row["column"]: row for row in features.describe()}
    assert how["mu_phi"]["how"] == "copy"
    assert how["jet_mass"]["how"] == "learned, point mass at 0"
    assert how["met_x"]["transforms"] == "rotate, asinh"
    assert how["gen_met"]["transforms"] == "log"
    assert how["jet_phi"]["relative"] == "wrapped_difference"


@pytest.mark.parametrize("size", [1, 7, 1000, 5001])
def test_a_row_does_not_depend_on_its_batch(features, wjet_table, size):
    target = features.encode_target(wjet_table, 1)
    condition = features.encode_condition(wjet_table)
    decoded = features.decode_target(target, wjet_table)
    log_det = features.log_det(wjet_table, 1)
    for start in (0, 4090, 20_000 - size):
        rows = np.arange(start, start + size)
        part = wjet_table.take(rows)
        np.testing.assert_array_equal(features.encode_target(part, 1), target[rows])
        np.testing.assert_array_equal(features.encode_condition(part), condition[rows])
        np.testing.assert_array_equal(features.log_det(part, 1), log_det[rows])
        for name, column in features.decode_target(target[rows], part).items():
            np.testing.assert_array_equal(column, decoded[name][rows])


def test_no_rows_give_no_rows(features, wjet_table):
    nothing = wjet_table.take(slice(0, 0))
    assert features.encode_condition(nothing).shape == (0, 11)
    assert features.encode_target(nothing, 1).shape == (0, 7)
    decoded = features.decode_target(np.empty((0, 7), np.float32), nothing)
    assert all(column.shape == (0,) for column in decoded.values())
    assert features.outside_domain(nothing).shape == (0,)


def test_state_is_the_features(features, wjet_part, wjet_table):
    state = json.loads(json.dumps(features.state(), allow_nan=False))
    again = PartFeatures.from_state(wjet_part, state)
    assert again == features
    assert again.state() == features.state()
    encoded = features.encode_target(wjet_table, 1)
    np.testing.assert_array_equal(again.encode_target(wjet_table, 1), encoded)
    np.testing.assert_array_equal(
        again.encode_condition(wjet_table), features.encode_condition(wjet_table)
    )
    back = again.decode_target(encoded, wjet_table)
    for name, column in features.decode_target(encoded, wjet_table).items():
        np.testing.assert_array_equal(back[name], column)


def test_features_of_another_part_are_refused(features, make_part):
    with pytest.raises(EmulatorError, match="not those of part event"):
        PartFeatures.from_state(make_part({"name": "tau_pt"}), features.state())


@pytest.mark.parametrize("value", [1e30, np.inf, 40.0, -40.0, -1e30, -np.inf])
def test_decoding_never_gives_infinities(features, wjet_table, value):
    decoded = features.decode_target(np.full((20_000, 7), value, np.float32), wjet_table)
    for name, column in decoded.items():
        assert np.isfinite(column).all(), name
        gen, seen = wjet_table.relative_to[name], wjet_table.target[name]
        if name.endswith(("_pt", "_mass")):
            gen = np.maximum(gen, 0.1)
            assert (column <= 2 * np.max(seen / gen) * gen).all(), name
        elif not name.endswith("_phi"):
            far = np.sqrt(2) * np.abs(seen - gen).max()
            assert (np.abs(column - gen) <= 2 * far).all(), name


def test_a_model_that_gives_nan_is_named(features, wjet_table):
    few = wjet_table.take(np.arange(3))
    encoded = np.zeros((3, 7), np.float32)
    encoded[1, 2] = np.nan
    with pytest.raises(EmulatorError, match="NaN for jet_eta"):
        features.decode_target(encoded, few)
    with pytest.raises(ValueError, match="expected"):
        features.decode_target(np.zeros((3, 6), np.float32), few)


def test_gen_outside_training_is_flagged(features, wjet_table):
    assert not features.outside_domain(wjet_table).any()
    few = wjet_table.take(np.arange(6))
    few.condition["gen_mu_pt"][1] = 14_000.0
    few.condition["gen_jet_eta"][2] = -9.0
    few.condition["gen_met"][3] = np.nan
    assert features.outside_domain(few).tolist() == [False, True, True, True, False, False]


def test_gen_that_is_no_number_counts_as_the_median(features, wjet_table):
    few, typical = wjet_table.take(np.arange(5)), wjet_table.take(np.arange(5))
    for name, side in [
        ("gen_jet_pt", "condition"),
        ("jet_pt", "relative_to"),
        ("gen_mu.phi", "given"),
    ]:
        getattr(few, side)[name][:3] = [np.nan, np.inf, -1e13]
        getattr(typical, side)[name][:3] = features.ranges[side, name].median
    condition = features.encode_condition(few)
    np.testing.assert_array_equal(condition, features.encode_condition(typical))
    zeros = np.zeros((5, 7), np.float32)
    for name, column in features.decode_target(zeros, few).items():
        np.testing.assert_array_equal(column, features.decode_target(zeros, typical)[name])


def test_gen_far_outside_stays_near_what_the_model_knows(features, wjet_table):
    few = wjet_table.take(np.arange(2))
    for name in few.condition:
        few.condition[name][:] = [1e11, -1e11]
    encoded = features.encode_condition(few)
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= REACH


def test_ranges_describe_the_training_domain(features, wjet_table):
    pt = wjet_table.condition["gen_mu_pt"]
    found = features.ranges["condition", "gen_mu_pt"]
    assert (found.low, found.high, found.median) == (pt.min(), pt.max(), np.median(pt))
    assert found.core == tuple(np.quantile(pt, [0.001, 0.999]))
    assert sum(found.counts) == pytest.approx(0.998 * len(pt), abs=3)


def test_log_det_is_the_slope_of_the_encoding(features, wjet_part, make_wjet):
    table = make_wjet(300, 4)
    log_det = features.log_det(table, 1)
    learned = [name for name in table.target if name not in {"mu_eta", "mu_phi"}]
    matrix = np.empty((len(table), 7, 7))
    for j, name in enumerate(learned):
        step = 1e-6 * np.maximum(np.abs(table.target[name]), 0.1)
        sides = []
        for sign in (1, -1):
            moved = {**table.target, name: table.target[name] + sign * step}
            sides.append(encoded_exactly(features, table, moved))
        matrix[:, :, j] = (sides[0] - sides[1]) / (2 * step)[:, None]
    smooth = table.target["jet_mass"] > 0.01
    np.testing.assert_allclose(np.linalg.slogdet(matrix)[1][smooth], log_det[smooth], atol=1e-4)


def encoded_exactly(features, table, target) -> np.ndarray:
    """Encode in double precision, by the blocks themselves."""
    moved = Table(**{**vars(table), "target": target})
    parts = []
    for _, _, block, reco, columns in features._learned(moved, 1):
        with np.errstate(all="ignore"):
            parts.append(block.encode(reco, columns))
    return np.concatenate(parts, axis=1)


def test_log_det_of_a_point_mass_is_its_interval(make_part, make_table):
    values = np.random.default_rng(1).exponential(1, 5000)
    values[:1000] = 0.0
    part = make_part({"name": "iso", "kind": "positive"})
    table = make_table({"iso": values})
    features = PartFeatures.fit(part, table, 1)
    (atom,) = features.blocks[0].gaps[0].atoms
    deviation = features.blocks[0].final.deviation[0]
    log_det = features.log_det(table, 1)
    np.testing.assert_allclose(log_det[:1000], np.log(atom.width / deviation))
    np.testing.assert_allclose(log_det[1000:], -np.log(deviation))
    inside = features.encode_target(table, 1)[:1000, 0]
    assert np.ptp(inside) == pytest.approx(atom.width / deviation, rel=0.01)


def test_without_standardising_gen_is_as_the_transforms_give_it(wjet_part, wjet_table):
    features = PartFeatures.fit(wjet_part, wjet_table, 1, plain={"condition"})
    condition = features.encode_condition(wjet_table)
    np.testing.assert_allclose(
        condition[:, 0], np.log(wjet_table.condition["gen_mu_pt"]), rtol=1e-6
    )
    np.testing.assert_array_equal(condition[:, 1], np.float32(wjet_table.condition["gen_mu_eta"]))
    encoded = features.encode_target(wjet_table, 1)
    ratio = np.log(wjet_table.target["mu_pt"] / wjet_table.relative_to["mu_pt"])
    centre, width = np.median(ratio), np.diff(np.quantile(ratio, [0.16, 0.84]))[0] / 2
    compressed = np.arcsinh((ratio - centre) / width)
    expected = (compressed - compressed.mean()) / compressed.std()
    np.testing.assert_allclose(encoded[:, 0], expected, atol=1e-4)
    assert_back(features.decode_target(encoded, wjet_table), wjet_table, wjet_part)
    again = PartFeatures.from_state(wjet_part, features.state())
    assert again == features
    far = features.decode_target(np.full((20_000, 7), 1e30), wjet_table)
    assert all(np.isfinite(column).all() for column in far.values())


def test_validation_may_hold_values_that_training_did_not(make_part, make_table):
    source = np.random.default_rng(1)
    part = make_part({"name": "m", "kind": "positive", "transform": "log"})
    features = PartFeatures.fit(part, make_table({"m": source.exponential(1, 5000)}), 1)
    unseen = make_table({"m": np.array([0.0, 1e-9, 50.0])})
    encoded = features.encode_target(unseen, 1)
    assert np.isfinite(encoded).all()
    assert encoded[0, 0] == np.float32(features.blocks[0].low[0])


def test_noise_is_a_function_of_row_and_seed(features, wjet_table):
    zero = np.flatnonzero(wjet_table.target["jet_mass"] == 0)
    encoded = features.encode_target(wjet_table, 1)[zero, 4]
    assert len(np.unique(encoded)) == len(zero)
    assert not np.array_equal(features.encode_target(wjet_table, 2)[zero, 4], encoded)
    shuffled = wjet_table.take(np.arange(len(wjet_table))[::-1])
    np.testing.assert_array_equal(
        features.encode_target(shuffled, 1)[::-1], features.encode_target(wjet_table, 1)
    )


def test_mistakes_are_found_before_events_are_read(make_part):
    with pytest.raises(StudyError, match=r"condition gen_x, transform 1.*'log'"):
        check_transforms(
            make_part(
                {"name": "x"}, condition=({"name": "gen_x", "value": "x", "transform": "lg"},)
            )
        )
    with pytest.raises(StudyError, match="target x, transform 2"):
        check_transforms(make_part({"name": "x", "transform": ["asinh", "rotate"]}))
    with pytest.raises(StudyError, match="category cannot be relative"):
        check_transforms(make_part({"name": "x", "kind": "category", "relative_to": "y"}))


def test_no_training_rows_are_an_error(wjet_part, wjet_table):
    with pytest.raises(StudyError, match="no rows"):
        PartFeatures.fit(wjet_part, wjet_table.take(slice(0, 0)), 1)


def test_decoding_and_encoding_take_little_time(features, make_wjet):
    table = make_wjet(100_000, 3)
    encoded = features.encode_target(table, 1)
    times = []
    for _ in range(5):
        start = time.process_time()
        features.encode_condition(table)
        features.decode_target(encoded, table)
        times.append(time.process_time() - start)
    assert min(times) / len(table) < 1.5e-6


@pytest.mark.slow
def test_the_reference_sample(reference_data):
    study = load_study("wjet")
    part = study.parts[0]
    source = open_events(reference_data / "wjet.parquet")
    columns = columns_needed(study, part, source, targets=True)
    table = Table.concatenate(
        [
            build_table(study, part, chunk.events, targets=True)
            for chunk in source.chunks(columns=columns)
        ]
    )
    features = PartFeatures.fit(part, table, 1, levels=True)
    found = {(finding.what, finding.column) for finding in features.findings}
    copies = {("copy", "mu_eta"), ("copy", "mu_phi")}
    assert {one for one in found if one[0] != "tail"} == copies | {("point mass", "jet_mass")}
    assert features.shape[:3] == (9, 19, (2, 2))
    assert 0.03 < table.target["second"].mean() < 0.05
    encoded = features.encode_target(table, 1)
    assert (np.abs(encoded) > 6).mean() < 1e-3
    decoded = features.decode_target(encoded, table)
    np.testing.assert_array_equal(decoded["jet_mass"] == 0, table.target["jet_mass"] == 0)
    np.testing.assert_array_equal(decoded["second"], table.target["second"])
    assert_back(decoded, table, part)
    assert isinstance(table.keys, Keys)
