import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco.errors import StudyError
from gen2reco.events import Jagged, to_events
from gen2reco.rows.expressions import Namespace


@pytest.fixture
def names(four_events):
    define = {
        "mu": "leading(Muon)",
        "jets_away": "where(Jet, delta_r(mu) > 0.5)",
        "jet": "leading(jets_away)",
        "both": "mass(mu, jet)",
    }
    return Namespace(four_events, define)


def numbers(names, expression):
    column = names.evaluate(expression)
    return [float(v) if ok else None for v, ok in zip(column.values, column.valid, strict=True)]


def test_missing_is_nan_as_a_number_whatever_the_type(names):
    for expression in ("mu.charge", "mu.pt", "mu.pt > 50"):
        column = names.evaluate(expression)
        found = column.numbers()
        assert found.dtype == np.float64
        assert np.isnan(found).tolist() == (~column.valid).tolist() == [False, True, True, False]


def close(found, expected):
    """The same entries are missing, the others agree."""
    assert [x is None for x in found] == [x is None for x in expected]
    there = [(x, y) for x, y in zip(found, expected, strict=True) if y is not None]
    np.testing.assert_allclose(*np.array(there).reshape(-1, 2).T, rtol=1e-6, atol=1e-12)
    return True


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("mu.pt", [40, None, None, 60]),
        ("jet.pt", [50, None, None, 30]),  # no muon: no distance to it, so no jet is away from it
        ("MET.pt + genWeight * 2", [22, 28, 7, 42]),
        ("MET_pt", [20, 30, 5, 40]),
        ("-MET.pt ** 2", [-400, -900, -25, -1600]),
        ("7 % 4 + 7 / 2", [6.5] * 4),
        ("count(Jet)", [3, 1, 0, 2]),
        ("2 * pi", [2 * np.pi] * 4),
        ("mu.pt > 50", [0, None, None, 1]),
        ("20 < MET.pt <= 40", [0, 1, 0, 1]),
        ("mu.charge in (-1, 7)", [0, None, None, 0]),
        ("mu.charge not in (-1, 7)", [1, None, None, 1]),
        ("not mu.pt > 50", [1, None, None, 0]),
        ("is_missing(mu) or mu.pt > 50", [0, 1, 1, 1]),
        ("exists(mu) and mu.pt > 50", [0, 0, 0, 1]),
        ("mu.pt > 50 or MET.pt > 25", [0, 1, None, 1]),
        ("mu.pt > 50 and MET.pt > 25", [0, None, 0, 1]),
        ("True", [1] * 4),
        ("sum(Muon.tight)", [1, 0, 0, 2]),
        ("mu.tight + mu.tight", [2, None, None, 2]),
        ("1 / (MET.pt - 20)", [None, 0.1, -1 / 15, 0.05]),
        ("(MET.pt - 20) % (MET.pt - 20)", [None, 0, 0, 0]),
        ("(MET.pt - 30) ** 0.5", [None, 0, None, np.sqrt(10)]),
        ("(MET.pt - 30) ** -1", [-0.1, None, -1 / 25, 0.1]),
        ("log(leading(Jet).mass - 6)", [np.log(2), np.log(4), None, None]),
        ("9 ** 9 ** 9 > 1", [1] * 4),
    ],
)
def test_values(names, expression, expected):
    assert close(numbers(names, expression), expected)


def test_missing_values_are_nan_or_zero(names):
    column = names.evaluate("mu.pt")
    assert np.isnan(column.values[1])
    assert not names.evaluate("mu.charge").values[1]
    assert column.valid.tolist() == [True, False, False, True]


def test_numbers_keep_their_kind(names):
    assert names.evaluate("mu.pt").values.dtype == np.float64
    assert names.evaluate("-mu.charge").values.dtype == np.int64
    assert names.evaluate("mu.tight").values.dtype == np.bool_
    assert names.evaluate("0.10566").values.tolist() == [0.10566] * 4
    assert names.evaluate("3").values.dtype == np.int64


def test_narrow_integers_do_not_overflow(make_columns):
    columns = make_columns({"Jet_pt": [[1.0]]})
    columns["Jet_flavour"] = Jagged(np.array([0, 1]), np.array([-128], np.int8))
    columns["flags"] = np.array([255], np.uint8)
    columns["big"] = np.array([2**64 - 1], np.uint64)
    names = Namespace(columns)
    assert names.evaluate("abs(leading(Jet).flavour) + flags").values.tolist() == [383]
    assert names.evaluate("big").values.tolist() == [2**64 - 1]


def test_whole_numbers_without_sign_have_differences(make_columns):
    columns = make_columns({"Jet_pt": [[1.0]]})
    columns["a"], columns["b"] = np.array([1], np.uint64), np.array([2], np.uint64)
    columns["big"] = np.array([2**64 - 1], np.uint64)
    names = Namespace(columns)
    assert names.evaluate("a - b").values.tolist() == [-1]
    assert names.evaluate("-a").values.tolist() == [-1]
    assert names.evaluate("big > a").values.tolist() == [True]
    for text in ("big - a", "1 + big % 2", "-big"):
        with pytest.raises(StudyError, match=r"computes with whole numbers beyond 2\*\*63 - 1"):
            names.evaluate(text)


def test_masks_take_missing_as_false(names):
    assert names.mask("mu.pt > 50").tolist() == [False, False, False, True]
    assert names.mask("not mu.pt > 50").tolist() == [True, False, False, False]
    assert names.mask("mu.pt").tolist() == [True, False, False, True]
    assert names.mask("").all()
    assert names.mask("  ").all()


def test_nan_stays_in_values_but_never_passes_a_mask(make_columns):
    names = Namespace(make_columns({"x": [1.0, np.nan, np.inf]}))
    assert names.evaluate("log(x)").valid.all()
    assert np.isnan(names.evaluate("log(x)").values[1])
    assert names.mask("x").tolist() == [True, False, True]
    assert names.mask("x > 0").tolist() == [True, False, True]


def test_no_warning_leaves_an_expression(names, recwarn):
    names.evaluate("log(leading(Jet).mass) / sqrt(mu.pt - 50) + exp(1000 * MET.pt) % 0")
    assert not recwarn.list


def test_objects_of_a_condition(names):
    assert numbers(names, "leading(Jet, delta_r(mu) < 0.5).pt") == [40, None, None, 60]
    assert numbers(names, "leading(Jet, mass > 4 and pt < 55).pt") == [50, None, None, None]
    assert numbers(names, "leading(Jet, MET.pt > 25).pt") == [None, 100, None, 60]
    assert numbers(names, "count(Jet, pt == max(pt))") == [1, 1, 0, 1]
    assert numbers(names, "count(Jet, False)") == [0] * 4


def test_condition_inside_a_condition(names):
    assert numbers(names, "count(Jet, count(Muon, pt > 20) == 2)") == [3, 0, 0, 2]


def test_condition_on_the_nearest_of_another_collection(names):
    away = numbers(names, "count(Jet, delta_r(Muon) > 0.4)")
    # Without muons every jet is away from them, unlike `delta_r(mu)` of a muon that is missing.
    assert away == [1, 1, 0, 1]


def test_a_jet_is_not_its_own_neighbour(names):
    distance = np.hypot(1.5, 1.1)
    assert numbers(names, "min(where(Jet, pt > 35).pt * 0 + delta_r(where(Jet, pt > 35), Jet))")[
        0
    ] == pytest.approx(distance, rel=1e-6)
    assert numbers(names, "count(Jet, delta_r(Jet) > 100)") == [0, 1, 0, 0]


def test_a_field_goes_before_a_definition(four_events):
    names = Namespace(four_events, {"pt": "MET.pt", "high": "where(Jet, pt > 45)"})
    assert numbers(names, "count(high)") == [1, 1, 0, 1]
    assert numbers(names, "pt") == [20, 30, 5, 40]


def test_a_definition_goes_before_a_column(four_events):
    names = Namespace(four_events, {"genWeight": "MET.pt"})
    assert numbers(names, "genWeight") == [20, 30, 5, 40]


def test_columns_without_a_collection(make_columns):
    columns = make_columns({"LHEPdfWeight": [[1.0, 3.0], []], "Generator_x1": [0.5, 0.25]})
    names = Namespace(columns)
    assert numbers(names, "sum(LHEPdfWeight)") == [4, 0]
    assert numbers(names, "Generator_x1 + Generator.x1") == [1, 0.5]


def test_full_names_of_lists(names):
    assert numbers(names, "max(Jet_pt * Jet.mass)") == [400, 1000, None, 360]


def test_awkward_events(four_events):
    names = Namespace(to_events(four_events), {"mu": "leading(Muon)"})
    assert numbers(names, "mu.pt") == [40, None, None, 60]


def test_events_cut_out_of_a_longer_array(four_events):
    names = Namespace(to_events(four_events)[2:], {"mu": "leading(Muon)"})
    assert numbers(names, "mu.pt") == [None, 60]


def test_no_events(make_columns):
    names = Namespace(make_columns({"Jet_pt": [], "MET_pt": []}))
    assert names.evaluate("MET.pt").values.shape == (0,)
    assert names.mask("MET.pt > 3").shape == (0,)


def test_extra_numbers_go_before_definitions(four_events):
    names = Namespace(four_events, {"x": "MET.pt", "twice": "2 * x"}, {"x": np.arange(4.0)})
    assert numbers(names, "x") == [0, 1, 2, 3]
    assert numbers(names, "twice") == [0, 2, 4, 6]


def test_rows_of_events(four_events):
    rows = Namespace(four_events, {"mu": "leading(Muon)"}, None, np.array([3, 0, 0]))
    assert rows.size == 3
    assert numbers(rows, "mu.pt") == [60, 40, 40]
    assert rows.mask("count(Jet) > 2").tolist() == [False, True, True]


def test_lists_meet_numbers_per_row(four_events):
    names = Namespace(four_events)
    rows = names.rows(np.array([0, 0, 2, 3]), {"cut": np.array([45.0, 0.0, 0.0, 25.0])})
    assert numbers(rows, "count(Jet, pt > cut)") == [1, 3, 0, 2]
    assert numbers(rows, "leading(Jet, pt < cut).pt") == [40, None, None, None]
    assert numbers(rows, "sum(Jet.pt - cut)") == [-25, 110, 0, 40]
    assert numbers(rows, "max(where(Jet, pt > cut).mass)") == [8, 8, None, 6]


def test_what_belongs_to_events_is_computed_once(four_events, monkeypatch):
    calls = []
    original = Namespace._call

    def counted(self, parsed, node, scope):
        calls.append(parsed.keys[node])
        return original(self, parsed, node, scope)

    monkeypatch.setattr(Namespace, "_call", counted)
    names = Namespace(four_events, {"mu": "leading(Muon)"})
    rows = names.rows(np.array([0, 3]), {"x": np.zeros(2)})
    for _ in range(2):
        names.evaluate("mu.pt + leading(Muon).eta")
        rows.evaluate("mu.phi * x + leading(Muon).mass")
    assert calls == ["leading(Muon)"]


def test_only_what_is_asked_for_is_read(names):
    names.evaluate("mu.pt")
    assert names.columns_used == ["Muon_pt"]
    names.evaluate("MET.px")
    assert names.columns_used == ["MET_phi", "MET_pt", "Muon_pt"]


@pytest.mark.parametrize(
    ("expression", "message", "mark"),
    [
        ("leadin(Muon)", "unknown function 'leadin'. Did you mean 'leading'", "leadin"),
        ("1 + Muno.pt", "unknown name 'Muno'", "Muno"),
        ("1 + jett.pt", "Did you mean 'Jet' or 'jet'", "jett"),
        ("3 * mu.ptt", "Muon has no field 'ptt'. Did you mean 'pt'", "mu.ptt"),
        ("MET.eta", "MET has no field 'eta'", "MET.eta"),
        ("MET.pt.x", "'MET.pt' is a number", "MET.pt.x"),
        ("delta_r(mu, MET)", "MET has no field 'eta'", "MET)"),
        ("count(Jet, ptt > 3)", "unknown name 'ptt': no field of Jet", "ptt"),
        ("count(mu)", "count needs a collection", "mu"),
        ("count(MET.pt)", "count needs a collection", "MET.pt"),
        ("Muon", "'Muon' is a collection, not a number", "Muon"),
        ("mu", "'mu' is an object, not a number", "mu"),
        ("2 + Muon", "'Muon' is a collection", "Muon"),
        ("Muon.pt", "one number per object of Muon; pick one with leading", "Muon.pt"),
        ("leading(Muon, pt > 3, 4)", "3 arguments do not fit leading(collection", "leading"),
        ("where(Muon).pt", "do not fit where(collection, condition)", "where"),
        ("nth(Jet, 1.5).pt", "needs a whole number", "1.5"),
        ("nth(Jet, mu.pt).pt", "needs a whole number", "mu.pt"),
        ("nth(Jet, -1).pt", "needs a whole number", "-1"),
        ("sum(MET.pt)", "needs a number per object", "MET.pt"),
        ("sum(Jet.pt + Muon.pt)", "mixes different lists of objects", "Jet.pt"),
        ("delta_r(mu)", "inside a condition only", "delta_r"),
        ("nearest(Jet, Muon).pt", "needs a single object", "Muon)"),
        ("exists(Jet)", "takes an object", "Jet)"),
        ("mass(mu.pt)", "mass needs an object", "mu.pt"),
        ("leading + 1", "'leading' is a function: leading(collection", "leading"),
        ("(1, 2)", "stands only after `in`", "(1"),
        ("index(Jet)", "needs a single object", "Jet)"),
    ],
)
def test_errors_say_where_and_what(names, expression, message, mark):
    with pytest.raises(StudyError) as caught:
        names.evaluate(expression, "condition x")
    text = str(caught.value)
    assert text.startswith("condition x: ")
    assert message in text
    lines = text.split("\n")
    assert lines[-2].strip() == expression
    assert lines[-2][lines[-1].index("^") :].startswith(mark)


def test_errors_name_the_definitions_on_the_way(four_events):
    names = Namespace(four_events, {"mu": "leading(Muno)", "pair": "mass(mu, MET)"})
    with pytest.raises(StudyError, match=r"quantity m: define pair: define mu: .*'Muno'"):
        names.evaluate("pair", "quantity m")


def test_definitions_that_go_round_in_a_circle(four_events):
    names = Namespace(four_events, {"a": "b + 1", "b": "2 * c", "c": "a", "d": "1"})
    with pytest.raises(StudyError, match="circle: a -> b -> c -> a"):
        names.evaluate("a")
    with pytest.raises(StudyError, match="circle: b -> c -> a -> b"):
        names.evaluate("b")
    assert numbers(names, "d") == [1] * 4


def test_broken_definitions_are_told_even_if_unused(four_events):
    with pytest.raises(StudyError, match="define a: cannot be read"):
        Namespace(four_events, {"a": "1 +"})


def test_lists_of_one_collection_must_agree(make_columns):
    columns = make_columns({"Jet_pt": [[1.0, 2.0]], "Jet_eta": [[1.0]]})
    with pytest.raises(Exception, match="branch Jet_eta: has 1 objects where Jet has 2"):
        Namespace(columns).evaluate("sum(Jet.eta)")


def test_collections_can_be_asked_for(names):
    assert names.collection("jets_away").frame.offsets.tolist() == [0, 2, 2, 2, 3]
    assert names.collection("jets_away").positions.tolist() == [1, 2, 5]
    with pytest.raises(StudyError, match="is not a collection"):
        names.collection("mu")


def test_missing_objects_are_found(names):
    (mu, mu_missing), (jet, jet_missing) = names.missing_objects("jet.pt / jet.mass + mu.pt")[::-1]
    assert (mu, jet) == ("mu", "jet")
    assert mu_missing.tolist() == jet_missing.tolist() == [False, True, True, False]


objects = st.lists(
    st.tuples(st.floats(1, 100, width=32), st.floats(-3, 3, width=32), st.floats(-3, 3, width=32)),
    max_size=4,
)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(objects, objects), min_size=1, max_size=6))
def test_against_a_loop_over_events(events):
    """The columnar answers are those of a plain loop, for any lists."""
    columns = {}
    for name, side in (("Jet", 0), ("Muon", 1)):
        counts = [len(event[side]) for event in events]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        table = np.array([o for event in events for o in event[side]], np.float32).reshape(-1, 3)
        for i, field in enumerate(("pt", "eta", "phi")):
            columns[f"{name}_{field}"] = Jagged(offsets, table[:, i].copy())
    names = Namespace(columns, {"mu": "leading(Muon)", "far": "where(Jet, delta_r(mu) > 1)"})
    leading, far, second, near = [], [], [], []
    for jets, muons in events:
        best = max(muons, key=lambda o: o[0], default=None)
        away = [j for j in jets if best and dr(j, best) > 1]
        ranked = sorted(jets, key=lambda o: -o[0])
        leading.append(max((j[0] for j in away), default=None))
        far.append(len(away))
        second.append(ranked[1][0] if len(ranked) > 1 else None)
        near.append(min((dr(j, best) for j in jets), default=None) if best else None)
    assert numbers(names, "leading(far).pt") == leading
    assert numbers(names, "count(far)") == far
    assert numbers(names, "subleading(Jet).pt") == second
    assert close(numbers(names, "delta_r(nearest(Jet, mu), mu)"), near)


def dr(a, b):
    turn = (a[2] - b[2] + np.pi) % (2 * np.pi) - np.pi
    return float(np.hypot(a[1] - b[1], turn))
