"""The laws of transforms, for every kind: inversion, log-determinant, state, one row at a time."""

import json
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco.errors import EmulatorError, StudyError
from gen2reco.features.relative import wrap
from gen2reco.features.transforms import KINDS, SUPPLIED, parse, restore
from gen2reco.study import TransformSpec

ROWS = 3000


@dataclass(frozen=True)
class Case:
    """Training values of a kind and the interval in which it must hold, per component."""

    kind: str
    training: Any
    domain: list[tuple[float, float]]
    given: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    angles: tuple[int, ...] = ()
    smooth: bool = True

    @property
    def fitted(self):
        return KINDS[self.kind].fit(
            self.training, self.given, KINDS[self.kind].Options(**self.options)
        )


def columns(*parts: np.ndarray) -> np.ndarray:
    return np.stack(parts).T


SOURCE = np.random.default_rng(20)
NORMAL = columns(*SOURCE.standard_normal((2, ROWS))) * [1.0, 30.0] + [5.0, -100.0]
POSITIVE = np.exp(SOURCE.standard_normal((ROWS, 2)))
ANGLE = SOURCE.uniform(-np.pi, np.pi, (ROWS, 1))
SHARE = SOURCE.beta(0.5, 2.0, (ROWS, 1))
COUNT = SOURCE.poisson(7.0, (ROWS, 1)).astype(float)
MOMENTUM = columns(20 + SOURCE.exponential(20, ROWS), SOURCE.normal(0, 2, ROWS), ANGLE[:, 0])
VECTOR = SOURCE.normal(0, 30, (ROWS, 3))
HEAVY = SOURCE.standard_cauchy((ROWS, 2))
GEN = np.abs(SOURCE.normal(40, 10, ROWS)) + 1
NOISE = SOURCE.uniform(0.001, 0.999, (ROWS, 1))
FAR = (-1e6, 1e6)
ZEROS = np.where(SOURCE.uniform(size=(ROWS, 1)) < 0.2, 0.0, SHARE)
ONES = np.where(SOURCE.uniform(size=(ROWS, 1)) < 0.2, 1.0, SHARE)
FLAG = (SOURCE.uniform(size=(ROWS, 1)) < 0.3).astype(float)
SEEN = [(column.min(), column.max()) for column in HEAVY.T]

CASES = [
    Case("standardize", NORMAL, [FAR, FAR]),
    Case("log", POSITIVE, [(1e-12, 1e12)] * 2),
    Case("asinh", HEAVY, [FAR, FAR]),
    Case("logit", SHARE, [(1e-12, 1 - 1e-12)]),
    Case("logit", 3 * SHARE - 1, [(-1 + 1e-12, 2 - 1e-12)], options={"low": -1.0, "high": 2.0}),
    Case("threshold", 15 + POSITIVE, [(15 + least, 1e6) for least in POSITIVE.min(axis=0)]),
    Case("threshold", 15 + POSITIVE, [(15 + 1e-9, 1e6)] * 2, options={"edge": 15.0}),
    Case("threshold_at", 1 + POSITIVE, [(1.0, 1e6)] * 2, given={"edge": GEN / 100}),
    Case(
        "soft_threshold_at",
        1 + POSITIVE,
        [(1.0, 1e6)] * 2,
        given={"edge": GEN / 100},
        options={"softness": 0.02},
    ),
    Case("quantile_normal", HEAVY, [FAR, FAR]),
    Case("quantile_normal", np.round(NORMAL, 1), [FAR, FAR], options={"knots": 200}),
    Case("ratio", POSITIVE, [(1e-9, 1e9)] * 2, given={"gen": GEN}),
    Case("difference", NORMAL, [FAR, FAR], given={"gen": GEN}),
    Case(
        "wrapped_difference", ANGLE, [(-np.pi, np.pi)], given={"gen": -ANGLE[::-1, 0]}, angles=(0,)
    ),
    Case(
        "residual_rescale",
        NORMAL,
        [FAR, FAR],
        given={"gen": GEN, "reference": NORMAL[:, 0], "reference_gen": NORMAL[:, 0] + GEN / 50},
    ),
    Case("rotate", NORMAL, [FAR, FAR], given={"angle": ANGLE[:, 0]}),
    Case("cartesian", MOMENTUM, [(1e-3, 7e3), (-9, 9), (-np.pi, np.pi)], angles=(2,)),
    Case("polar", VECTOR, [(-7e3, 7e3), (1e-2, 7e3), (-7e3, 7e3)]),
    Case("dequantize", COUNT, [(0, 15)], given={"noise": NOISE}),
    Case("categories", COUNT, [(0, 15)], given={"noise": NOISE}, smooth=False),
    Case("saturate", SHARE, [(0, 1)]),
    Case("saturate", SHARE, [(-0.5, 2)], options={"low": -0.5, "high": 2.0}),
    Case("arctan", HEAVY, SEEN),
    Case("arctan", HEAVY, SEEN, options={"centre": 1.0, "scale": 10.0}),
    Case("smear", ZEROS, [(1e-9, 1)], given={"noise": NOISE}, smooth=False),
    Case(
        "smear",
        ONES,
        [(0, 1 - 1e-9)],
        given={"noise": NOISE},
        options={"at": 1.0, "to": 1.3, "width": 0.1, "edge": 1.0},
        smooth=False,
    ),
    Case("jitter", COUNT, [(0, 15)], given={"noise": NOISE}, smooth=False),
    Case("jitter", FLAG, [(0, 1)], given={"noise": NOISE}, options={"width": 0.4}, smooth=False),
]
WHOLE = {"dequantize", "categories", "jitter"}
GAUSSIAN = {"smear", "jitter"}
"""Their log-determinant is no slope: test_gaussian_noise_keeps_probabilities says what it is."""


def each_case(test):
    return pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind} {case.options}")(
        test
    )


def within(case: Case, unit: np.ndarray) -> np.ndarray:
    """Map numbers in [0, 1] to the domain: a third each near one end, evenly, near the other."""
    low, high = np.array(case.domain, float).T
    width = high - low
    third = np.floor(3 * unit).clip(0, 2)
    rest = 3 * unit - third
    tiny = 10.0 ** (-13 * rest)
    values = np.select(
        [third == 0, third == 1], [low + width * tiny, low + width * rest], high - width * tiny
    ).clip(low, high)
    return np.floor(values) if case.kind in WHOLE else values


def close(case: Case, found: np.ndarray, wanted: np.ndarray) -> None:
    """Float32 accuracy: of the value itself, or of the typical size of the quantity."""
    error = np.abs(found - wanted)
    for j in case.angles:
        error[:, j] = np.abs(wrap(found[:, j] - wanted[:, j]))
    scale = np.abs(case.training).mean(axis=0)
    size = np.abs(wanted).max(axis=1, keepdims=True) if wanted.shape[1] > 1 else np.abs(wanted)
    assert (error <= 1e-7 * (size + 1e-3 * scale)).all(), np.max(error / (size + 1e-3 * scale))


def test_every_kind_is_here():
    assert {case.kind for case in CASES} == set(KINDS)


@each_case
def test_training_values_come_back(case):
    transform = case.fitted
    encoded = transform.forward(case.training, case.given)
    assert encoded.shape == case.training.shape
    assert np.isfinite(encoded).all()
    close(case, transform.inverse(encoded, case.given), case.training)


@each_case
def test_edges_and_tails_come_back(case):
    transform = case.fitted
    rows = {name: column[:40] for name, column in case.given.items()}
    width = len(case.domain)

    @settings(max_examples=25, deadline=None, database=None)
    @given(st.lists(st.floats(0, 1), min_size=40 * width, max_size=40 * width))
    def check(unit):
        values = within(case, np.array(unit).reshape(40, width))
        encoded = transform.forward(values, rows)
        assert np.isfinite(encoded).all()
        close(case, transform.inverse(encoded, rows), values)

    check()


@each_case
def test_log_det_is_that_of_autograd(case):
    transform = case.fitted
    unit = np.random.default_rng(3).uniform(0.34, 0.66, (200, len(case.domain)))
    values = np.concatenate([case.training[:200], within(case, unit)])
    rows = {name: np.concatenate([column[:200]] * 2) for name, column in case.given.items()}
    ours = transform.log_det(values, rows)
    assert ours.shape == (400,)
    inputs = torch.tensor(values, requires_grad=True)
    given_ = {name: torch.tensor(column) for name, column in rows.items()}
    outputs = transform.forward(inputs, given_)
    np.testing.assert_allclose(
        outputs.detach().numpy(), transform.forward(values, rows), atol=1e-12, rtol=1e-10
    )
    np.testing.assert_allclose(
        transform.log_det(torch.tensor(values), given_).numpy(), ours, atol=1e-11
    )
    back = transform.inverse(outputs.detach(), given_).numpy()
    np.testing.assert_allclose(
        back, transform.inverse(outputs.detach().numpy(), rows), atol=1e-9, rtol=1e-9
    )
    if not case.smooth:
        assert case.kind in GAUSSIAN or not ours.any()
        return
    jacobian = torch.stack(
        [
            torch.autograd.grad(outputs[:, j].sum(), inputs, retain_graph=True)[0]
            for j in range(outputs.shape[1])
        ],
        dim=1,
    )
    np.testing.assert_allclose(ours, torch.linalg.slogdet(jacobian)[1].numpy(), atol=1e-7)


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if not (KINDS[case.kind].components or case.angles or case.kind in WHOLE)
    ],
    ids=lambda case: f"{case.kind} {case.options}",
)
def test_one_column_is_mapped_monotonically(case):
    transform = case.fitted
    rows = {name: np.full(500, column[0]) for name, column in case.given.items()}
    low, high = np.array(case.domain).T
    values = np.linspace(low, high, 500)
    assert (np.diff(transform.forward(values, rows), axis=0) > 0).all()


@each_case
def test_state_is_the_transform(case):
    transform = case.fitted
    state = json.loads(json.dumps(transform.state(), allow_nan=False))
    again = restore(state)
    assert again == transform
    assert again.state() == transform.state()
    encoded = transform.forward(case.training, case.given)
    np.testing.assert_array_equal(again.forward(case.training, case.given), encoded)


@each_case
def test_rows_do_not_see_each_other(case):
    transform = case.fitted
    encoded = transform.forward(case.training, case.given)
    back = transform.inverse(encoded, case.given)
    for size in (1, 3, 17):
        part = {name: np.ascontiguousarray(column[:size]) for name, column in case.given.items()}
        some = transform.forward(columns(*case.training[:size].T), part)
        np.testing.assert_array_equal(some, encoded[:size])
        np.testing.assert_array_equal(transform.inverse(some, part), back[:size])


@each_case
def test_a_constant_column_does_not_divide_by_zero(case):
    same = np.repeat(case.training[:1], 50, axis=0)
    rows = {name: np.repeat(column[:1], 50, axis=0) for name, column in case.given.items()}
    transform = KINDS[case.kind].fit(same, rows, KINDS[case.kind].Options(**case.options))
    encoded = transform.forward(same, rows)
    assert np.isfinite(encoded).all()
    assert np.isfinite(transform.log_det(same, rows)).all()
    np.testing.assert_allclose(transform.inverse(encoded, rows), same, rtol=1e-9, atol=1e-9)
    one = KINDS[case.kind].fit(
        same[:1],
        {name: column[:1] for name, column in rows.items()},
        KINDS[case.kind].Options(**case.options),
    )
    assert np.isfinite(one.forward(same, rows)).all()


def fit(kind: str, values: np.ndarray, **options: Any) -> Any:
    return KINDS[kind].fit(values, {}, KINDS[kind].Options(**options))


def test_one_absurd_row_does_not_squeeze_the_others():
    values = np.append(np.random.default_rng(1).standard_normal(999), 1e9)[:, None]
    for kind in ("standardize", "asinh", "quantile_normal"):
        encoded = fit(kind, values).forward(values, {})[:-1]
        assert 0.5 < encoded.std() < 2, kind


def test_asinh_reads_median_and_width():
    values = np.random.default_rng(1).normal(3.0, 0.2, (100_000, 1))
    transform = fit("asinh", values)
    assert transform.centre[0] == pytest.approx(3.0, abs=0.003)
    assert transform.width[0] == pytest.approx(0.2 * 0.9945, rel=0.01)


def test_quantile_normal_gives_a_normal_distribution_and_smooth_slopes():
    values = np.random.default_rng(1).gamma(0.7, 1.0, (100_000, 1))
    transform = fit("quantile_normal", values)
    encoded = transform.forward(values, {})[:, 0]
    for p in (0.001, 0.01, 0.16, 0.5, 0.84, 0.99, 0.999):
        expected = np.quantile(np.random.default_rng(2).standard_normal(1_000_000), p)
        assert np.quantile(encoded, p) == pytest.approx(expected, abs=0.03)
    knots = np.array(transform.curves[0][0])
    assert len(knots) == 33
    slopes = [
        transform.log_det((knots + side * 1e-9 * np.diff(knots).min())[:, None], {})
        for side in (-1, 1)
    ]
    np.testing.assert_allclose(*slopes, atol=1e-4)


def test_a_fitted_threshold_lies_just_below_the_smallest_value():
    values = 15 + np.random.default_rng(1).exponential(20.0, (50_000, 1))
    edge = fit("threshold", values).edge[0]
    assert 0 < values.min() - edge < 0.002
    assert 14.998 < edge < 15.001


def test_a_soft_threshold_keeps_values_far_above_and_none_below():
    """A muon of 1.4 % resolution keeps it, whether it has 12 or 40 GeV where RECO begins at 10."""
    spec = TransformSpec.model_validate(
        {"kind": "soft_threshold_at", "softness": 0.02, "given": {"edge": "10 / gen.pt"}}
    )
    kind, options = parse(spec, 1, "")
    given = {"edge": np.array([10 / 12, 10 / 40])}
    values = np.array([[1.01], [0.99]])
    soft = kind.fit(values, given, options)
    assert soft.forward(values, given) == pytest.approx(values, abs=0.02 * np.exp(-8))
    far_below = soft.inverse(np.array([[-3.0], [-3.0]]), given)
    assert (far_below[:, 0] >= given["edge"]).all()
    with pytest.raises(StudyError, match="1 of 2 values, the first in row 0: lower its edge"):
        kind.fit(np.array([[0.8], [0.99]]), given, options)


def test_residual_rescaling_is_that_of_the_source():
    source = np.random.default_rng(1)
    gen = source.normal(0, 30, 20_000)
    reco = gen + source.normal(0, 4, 20_000)
    log_gen = source.normal(2, 0.5, 20_000)
    log_reco = log_gen + source.normal(0, 0.3, 20_000)
    rows = {"gen": gen, "reference": log_reco, "reference_gen": log_gen}
    transform = KINDS["residual_rescale"].fit(reco[:, None], rows, None)
    factor = (log_reco - log_gen).std() / log_reco.std() * reco.std() / (reco - gen).std()
    assert transform.factor[0] == pytest.approx(factor, rel=1e-12)
    rescaled = transform.forward(reco[:, None], {"gen": gen})[:, 0]
    share = (rescaled - gen).std() / reco.std()
    assert share == pytest.approx((log_reco - log_gen).std() / log_reco.std(), rel=1e-12)


def test_a_tiny_gen_value_makes_no_absurd_ratio():
    gen = np.append(np.full(99, 8.0), 1e-6)
    transform = KINDS["ratio"].fit(gen[:, None], {"gen": gen}, None)
    assert transform.forward(np.array([[5.0]]), {"gen": np.array([1e-6])})[0, 0] == 5 / 8e-3
    assert transform.forward(np.array([[5.0]]), {"gen": np.array([0.0])})[0, 0] == 5 / 8e-3


@given(st.floats(-1e4, 1e4))
def test_wrapped_angles_lie_in_the_half_open_interval(angle):
    wrapped = wrap(np.array([angle]))
    assert -np.pi <= wrapped[0] < np.pi
    assert abs(np.exp(1j * wrapped[0]) - np.exp(1j * angle)) < 1e-10
    assert wrap(wrapped)[0] == wrapped[0]


def test_wrapping_keeps_ends_and_zero():
    ends = np.array([-np.pi, 0.0, 3.141592653589, np.pi, np.nextafter(-np.pi, -4)])
    wrapped = wrap(ends)
    np.testing.assert_array_equal(wrapped[:3], ends[:3])
    assert wrapped[3] == -np.pi
    assert -np.pi <= wrapped[4] < np.pi


def test_whole_numbers_and_categories_come_back_as_they_are():
    values = np.array([[-3.0], [11.0], [22.0], [11.0]])
    rows = {"noise": np.array([[0.001], [0.999], [0.5], [0.3]])}
    for kind in sorted(WHOLE):
        transform = KINDS[kind].fit(values, rows, KINDS[kind].Options())
        encoded = np.float32(transform.forward(values, rows)).astype(float)
        np.testing.assert_array_equal(transform.inverse(encoded, {}), values)
        ends = transform.inverse(np.array([[-1e9], [1e9]]), {})
        np.testing.assert_array_equal(ends, [[-3.0], [22.0]])
    unseen = (
        KINDS["categories"]
        .fit(values, rows, None)
        .forward(np.array([[12.0], [99.0]]), {"noise": rows["noise"][:2]})
    )
    np.testing.assert_allclose(unseen, [[2.001], [2.999]])


def test_saturation_acts_on_both_ways():
    transform = fit("saturate", np.array([[0.5], [9.0]]), high=7.0)
    values = np.array([[-1.0], [0.5], [7.0], [9.0]])
    for bounded in (transform.forward(values, {}), transform.inverse(values, {})):
        np.testing.assert_array_equal(bounded, [[0.0], [0.5], [7.0], [7.0]])


def test_arctan_ends_where_training_does():
    values = np.random.default_rng(1).standard_cauchy((5000, 1))
    transform = fit("arctan", values)
    assert transform.scale[0] == pytest.approx(1 / np.tan(np.pi * 0.34), rel=0.05)
    np.testing.assert_allclose(
        transform.inverse(np.array([[-9.0], [1.58], [9.0]]), {}),
        [values.min(axis=0), values.max(axis=0), values.max(axis=0)],
        rtol=1e-6,
    )
    # As FlashSim does it for the pt ratio of muons: arctan(10 (x - 1)).
    given_ = fit("arctan", values, centre=1.0, scale=10.0)
    assert given_.forward(np.array([[1.1]]), {})[0, 0] == pytest.approx(np.pi / 4)


def test_a_point_mass_becomes_a_narrow_gaussian():
    values = np.repeat([[0.0], [0.3]], 20_000, axis=0)
    noise = np.random.default_rng(1).uniform(size=(len(values), 1))
    options = {"to": -0.5, "width": 0.1, "edge": -0.1}
    transform = KINDS["smear"].fit(values, {}, KINDS["smear"].Options(**options))
    encoded = transform.forward(values, {"noise": noise})
    np.testing.assert_array_equal(encoded[20_000:], values[20_000:])
    assert encoded[:20_000].mean() == pytest.approx(-0.5, abs=0.003)
    assert encoded[:20_000].std() == pytest.approx(0.1, abs=0.003)
    assert encoded[:20_000].max() < -0.1
    beyond = np.array([[-9.0], [-0.1001], [-0.0999]])
    np.testing.assert_array_equal(transform.inverse(beyond, {}), [[0.0], [0.0], [-0.0999]])
    # A value on that side of the edge is lost to the point mass already on the way there.
    lost = transform.forward(np.array([[-0.3]]), {"noise": np.array([[0.999]])})
    assert transform.inverse(lost, {})[0, 0] == 0.0


@pytest.mark.parametrize(
    ("kind", "value", "options", "interval"),
    [
        ("dequantize", 2.0, {}, (2.0, 3.0)),
        ("jitter", 2.0, {"width": 0.3}, (1.5, 2.5)),
        ("smear", 0.0, {"to": -0.4, "width": 0.7, "edge": -0.2}, (-np.inf, -0.2)),
        ("smear", 0.0, {"to": 0.4, "width": 0.5, "edge": 0.1}, (0.1, np.inf)),
    ],
)
def test_gaussian_noise_keeps_probabilities(kind, value, options, interval):
    # A density of the encoded value is the probability of the exact one, on average over noise.
    noise = (np.arange(1_000_000) + 0.5)[:, None] / 1_000_000
    values = np.full_like(noise, value)
    rows = {"noise": noise}
    transform = KINDS[kind].fit(values, rows, KINDS[kind].Options(**options))
    encoded = transform.forward(values, rows)[:, 0]
    density = NormalDist(0.3, 0.8)
    log_p = -0.5 * ((encoded - 0.3) / 0.8) ** 2 - np.log(0.8 * np.sqrt(2 * np.pi))
    found = np.exp(log_p + transform.log_det(values, rows)).mean()
    low, high = (density.cdf(end) for end in interval)
    assert found == pytest.approx(high - low, rel=2e-3)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("log", [[1.0], [-2.0]], "log cannot take 1 of 2 values, the first in row 1.*asinh"),
        ("logit", [[0.5], [1.5]], "logit cannot take 1 of 2"),
        ("logit", [[-0.5], [0.5]], "row 0.*low and high"),
        ("dequantize", [[1.0], [1.5]], "whole numbers, row 1"),
        ("categories", [[float(k)] for k in range(300)], "300 categories"),
        ("jitter", [[1.0], [1.5]], "whole numbers, row 1"),
    ],
)
def test_values_that_do_not_fit_are_named(kind, values, message):
    with pytest.raises(StudyError, match=message):
        fit(kind, np.array(values))


def test_a_threshold_above_a_value_is_named():
    with pytest.raises(StudyError, match="lower its option edge"):
        fit("threshold", np.array([[14.0], [16.0]]), edge=15.0)


@pytest.mark.parametrize(
    ("spec", "components", "message"),
    [
        ({"kind": "asin"}, 1, "no transform 'asin'. Did you mean 'asinh'"),
        ({"kind": "xyz"}, 1, "Known kinds: arctan, asinh, "),
        ({"kind": "logit", "hi": 1}, 1, "logit has no option 'hi'.*'high'"),
        ({"kind": "asinh", "width": 1}, 1, "asinh has no option 'width'. It has nothing"),
        ({"kind": "logit", "low": "a"}, 1, "option low"),
        ({"kind": "logit", "low": 2.0}, 1, "must lie below high"),
        ({"kind": "quantile_normal", "knots": 1}, 1, "option knots"),
        ({"kind": "rotate", "given": {"angle": "phi"}}, 1, "acts on 2 components, here are 1"),
        ({"kind": "rotate"}, 2, "rotate needs angle under `given`"),
        ({"kind": "rotate", "given": {"angel": "phi"}}, 2, "'angel'.*'angle'"),
        ({"kind": "dequantize", "given": {"noise": "x"}}, 1, "no use for 'noise'"),
        ({"kind": "saturate", "low": 2.0}, 1, "must lie below high"),
        ({"kind": "arctan", "scale": 0}, 1, "must be above 0"),
        ({"kind": "smear", "to": 0.5, "edge": 0.5}, 1, "must not lie at the centre"),
        ({"kind": "smear", "width": 0}, 1, "option width"),
    ],
)
def test_mistakes_in_a_study_are_explained(spec, components, message):
    with pytest.raises(StudyError, match=message) as caught:
        parse(TransformSpec(**spec), components, "part event, target x")
    assert "part event, target x" in str(caught.value)


def test_an_unknown_saved_kind_is_an_error():
    with pytest.raises(EmulatorError, match="no transform 'later'"):
        restore({"kind": "later"})


def test_supplied_roles_cannot_be_expressions():
    assert all(name.startswith("<") for name in SUPPLIED.values())
