"""Every function of the language, against numbers worked out by hand."""

import re

import numpy as np
import pytest

from gen2reco.rows.expressions import Namespace
from gen2reco.rows.functions import FUNCTIONS

# Two massless objects back to back in phi, one soft one beside the first, an event with nothing.
LISTS = {
    "Obj_pt": [[40.0, 30.0, 10.0], []],
    "Obj_eta": [[0.0, 1.0, 0.0], []],
    "Obj_phi": [[0.5, 0.5 + np.pi, 0.7], []],
    "Obj_flags": [[5, 2, 0], []],
    "MET_pt": [20.0, 8.0],
    "MET_phi": [0.5 + np.pi / 2, 0.0],
    "x": [-4.0, 0.25],
    "y": [3.0, 0.0],
}
A, B, SOFT = "leading(Obj)", "subleading(Obj)", "nth(Obj, 2)"
PZ = 30 * np.sinh(1.0)
ENERGY = 40 + 30 * np.cosh(1.0)

CASES = {
    "leading": (f"{A}.pt", [40, None]),
    "subleading": (f"{B}.pt", [30, None]),
    "nth": (f"{SOFT}.pt", [10, None]),
    "where": ("count(where(Obj, eta < 0.5))", [2, 0]),
    "count": ("count(Obj, pt > 20)", [2, 0]),
    "nearest": (f"nearest(where(Obj, pt < 35), {A}).pt", [10, None]),
    "sum": ("sum(Obj.pt)", [80, 0]),
    "min": ("min(Obj.pt) + min(x, y, 1)", [6, None]),
    "max": ("max(Obj.pt) + max(x, y)", [43, None]),
    "any": ("any(Obj.eta > 0.5)", [1, 0]),
    "all": ("all(Obj.pt > 5)", [1, 1]),
    "delta_phi": (f"abs(delta_phi({A}, {B}))", [np.pi, None]),
    "delta_eta": (f"delta_eta({A}, {B})", [-1, None]),
    "delta_r": (f"delta_r({B}, {A})", [np.hypot(1, np.pi), None]),
    "transverse_mass": (f"transverse_mass({A}, MET)", [40, None]),
    "px": (f"px({A}, {B})", [10 * np.cos(0.5), None]),
    "py": (f"py({A}, {B})", [10 * np.sin(0.5), None]),
    "pz": (f"pz({A}, {B}, MET)", [PZ, None]),
    "pt": (f"pt({A}, {B})", [10, None]),
    "eta": (f"eta({A}, {B})", [np.arcsinh(PZ / 10), None]),
    "phi": (f"phi({A}, {B})", [0.5, None]),
    "energy": (f"energy({A}, {B})", [ENERGY, None]),
    "mass": (f"mass({A}, {B})", [np.sqrt(ENERGY**2 - PZ**2 - 100), None]),
    "rapidity": (f"rapidity({A}, {B})", [0.5 * np.log((ENERGY + PZ) / (ENERGY - PZ)), None]),
    "index": (f"index({B})", [1, -1]),
    "exists": (f"exists({A})", [1, 0]),
    "is_missing": ("is_missing(log(x))", [1, 0]),
    "abs": ("abs(x)", [4, 0.25]),
    "sign": ("sign(x)", [-1, 1]),
    "floor": ("floor(x / 3)", [-2, 0]),
    "sqrt": ("sqrt(x)", [None, 0.5]),
    "exp": ("exp(y)", [np.exp(3), 1]),
    "log": ("log(y)", [np.log(3), None]),
    "log10": ("log10(x)", [None, np.log10(0.25)]),
    "sin": ("sin(x)", [np.sin(-4), np.sin(0.25)]),
    "cos": ("cos(x)", [np.cos(-4), np.cos(0.25)]),
    "tan": ("tan(x)", [np.tan(-4), np.tan(0.25)]),
    "atan": ("atan(x)", [np.arctan(-4), np.arctan(0.25)]),
    "atan2": ("atan2(y, x)", [np.arctan2(3, -4), 0]),
    "sinh": ("sinh(y)", [np.sinh(3), 0]),
    "cosh": ("cosh(y)", [np.cosh(3), 1]),
    "tanh": ("tanh(y)", [np.tanh(3), 0]),
    "asinh": ("asinh(x)", [np.arcsinh(-4), np.arcsinh(0.25)]),
    "hypot": ("hypot(x, y)", [5, 0.25]),
    "if_else": (f"if_else(exists({A}), {A}.pt, -1)", [40, -1]),
    "bit": (f"bit({A}.flags, 2)", [1, None]),
}


@pytest.fixture
def names(make_columns):
    return Namespace(make_columns(LISTS))


def check(names, expression, expected):
    column = names.evaluate(expression)
    assert column.valid.tolist() == [x is not None for x in expected]
    there = [(v, x) for v, x in zip(column.values, expected, strict=True) if x is not None]
    np.testing.assert_allclose(*np.array(there).reshape(-1, 2).T, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_function(names, name):
    check(names, *CASES[name])


def test_every_function_is_tested_and_described():
    assert set(CASES) == set(FUNCTIONS)
    for name, function in FUNCTIONS.items():
        assert re.match(rf"{name}\(.+\)", function.usage)
        assert function.summary
        assert 1 <= function.few <= function.many


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (
            "mass(Obj)",
            [
                np.sqrt(
                    (ENERGY + 10) ** 2
                    - PZ**2
                    - np.hypot(10 + 10 * np.cos(0.2), 10 * np.sin(0.2)) ** 2
                ),
                0,
            ],
        ),
        ("pt(Obj, MET)", [np.hypot(10 + 10 * np.cos(0.2), 20 + 10 * np.sin(0.2)), 8]),
        ("energy(MET)", [20, 8]),
        ("eta(Obj)", [np.arcsinh(PZ / np.hypot(10 + 10 * np.cos(0.2), 10 * np.sin(0.2))), None]),
        ("MET.px", [-20 * np.sin(0.5), 8]),
        ("MET.pz + MET.mass", [0, 0]),
        ("leading(Obj).energy", [40, None]),
        ("sum(abs(Obj.px))", [70 * np.cos(0.5) + 10 * np.cos(0.7), 0]),
        ("count(Obj, delta_phi(leading(Obj)) > 0.1)", [1, 0]),
        ("count(Obj, delta_eta(leading(Obj)) > 0.1)", [1, 0]),
        ("min(delta_r(where(Obj, pt < 35), leading(Obj)))", [0.2, None]),
        ("any(Obj.pt > 35 and Obj.eta > 0.5)", [0, 0]),
        ("max(where(Obj, pt > 100).pt)", [None, None]),
        ("if_else(x > 0, log(x), log(y))", [np.log(3), np.log(0.25)]),
        ("if_else(log(x) > 0, 1, 2)", [None, 2]),
        ("is_missing(x)", [0, 0]),
        ("index(leading(where(Obj, pt < 35)))", [1, -1]),
        ("index(MET)", [0, 0]),
        ("hypot(x, log(y))", [np.hypot(-4, np.log(3)), None]),
    ],
)
def test_combinations(names, expression, expected):
    check(names, expression, expected)


def test_cartesian_columns_give_the_polar_ones(make_columns):
    names = Namespace(
        make_columns(
            {"P_px": [[3.0]], "P_py": [[4.0]], "P_pz": [[5 * np.sinh(0.7)]], "P_energy": [[9.0]]}
        )
    )
    p = "leading(P)"
    mass = np.sqrt(81 - 25 * np.cosh(0.7) ** 2)
    for field, expected in {
        "pt": 5,
        "phi": np.arctan2(4, 3),
        "eta": 0.7,
        "mass": mass,
    }.items():
        assert names.evaluate(f"{p}.{field}").values[0] == pytest.approx(expected, rel=1e-6)


def test_equal_pt_the_first_of_the_list_leads(make_columns):
    names = Namespace(make_columns({"J_pt": [[5.0, 7.0, 7.0, 7.0]], "J_n": [[0, 1, 2, 3]]}))
    found = [names.evaluate(f"nth(J, {k}).n").values[0] for k in range(4)]
    assert found == [1, 2, 3, 0]


def test_nan_pt_is_noticed_as_the_leading_object(make_columns):
    names = Namespace(make_columns({"J_pt": [[5.0, np.nan, 7.0]]}))
    assert names.evaluate("index(leading(J))").values[0] == 1
    assert np.isnan(names.evaluate("leading(J).pt").values[0])
