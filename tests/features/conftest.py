"""Small tables in the shape of W + jet, for the tests of features."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gen2reco.rng import Keys
from gen2reco.rows.tables import Table
from gen2reco.study import Part


def stored(values: np.ndarray) -> np.ndarray:
    """Round to 14 bits of mantissa, as the samples are stored."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, 14)), exponent - 14)


def wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def wjet_like(rows: int, seed: int) -> Table:
    """GEN and RECO columns that behave like those of the reference sample."""
    source = np.random.default_rng(seed)
    normal, uniform = source.standard_normal, source.uniform

    def heavy(width: float) -> np.ndarray:
        return width * normal(rows) * np.exp(0.6 * np.abs(normal(rows)))

    gen = {
        "mu_pt": stored(16 + source.exponential(25, rows)),
        "mu_eta": stored(uniform(-2.4, 2.4, rows)),
        "mu_phi": stored(uniform(-np.pi, np.pi, rows)),
        "jet_pt": stored(10 + source.exponential(30, rows)),
        "jet_eta": stored(1.5 * normal(rows)),
        "jet_phi": stored(uniform(-np.pi, np.pi, rows)),
        "jet_mass": stored(np.exp(2 + 0.5 * normal(rows))),
        "met_x": 30 * normal(rows),
        "met_y": 30 * normal(rows),
    }
    if rows > 2:
        gen["jet_mass"][:2] = [0.0, 1e-6]
    target = {
        "mu_pt": stored(gen["mu_pt"] * np.exp(0.01 * normal(rows))),
        "mu_eta": gen["mu_eta"].copy(),
        "mu_phi": gen["mu_phi"].copy(),
        "jet_pt": stored(gen["jet_pt"] * np.exp(heavy(0.08))),
        "jet_eta": stored(gen["jet_eta"] + heavy(0.02)),
        "jet_phi": stored(wrapped(gen["jet_phi"] + heavy(0.02))),
        "jet_mass": stored(gen["jet_mass"] * np.exp(heavy(0.2))),
        "met_x": gen["met_x"] + heavy(10),
        "met_y": gen["met_y"] + heavy(10),
    }
    target["jet_mass"][uniform(size=rows) < 0.003] = 0.0
    met = np.arctan2(gen["met_y"], gen["met_x"])
    toward_jet, toward_met = gen["jet_phi"] - gen["mu_phi"], met - gen["mu_phi"]
    condition = {
        **{f"gen_{name}": gen[name] for name in ("mu_pt", "mu_eta", "jet_pt", "jet_eta")},
        "gen_jet_mass": gen["jet_mass"],
        "gen_met": np.hypot(gen["met_x"], gen["met_y"]),
        "gen_jet_dphi": wrapped(toward_jet),
        "gen_jet_sin": np.sin(toward_jet),
        "gen_jet_cos": np.cos(toward_jet),
        "gen_met_sin": np.sin(toward_met),
        "gen_met_cos": np.cos(toward_met),
    }
    return table_of(
        target, relative_to=gen, condition=condition, given={"gen_mu.phi": gen["mu_phi"]}, seed=seed
    )


def table_of(
    target: dict[str, np.ndarray],
    *,
    relative_to: dict[str, np.ndarray] | None = None,
    condition: dict[str, np.ndarray] | None = None,
    given: dict[str, np.ndarray] | None = None,
    seed: int = 0,
) -> Table:
    rows = len(next(iter(target.values())))
    one = np.ones(rows, np.uint32)
    keys = Keys(one, one * (1 + seed), np.arange(rows, dtype=np.uint64), np.zeros(rows, np.uint16))
    return Table(
        part="event",
        keys=keys,
        weight=np.ones(rows),
        entry=np.arange(rows),
        condition=condition or {},
        target=target,
        relative_to=relative_to or {},
        given=given or {},
    )


def part_of(*targets: dict[str, Any], condition: tuple[dict[str, Any], ...] = ()) -> Part:
    filled = [{**target, "value": target.get("value", target["name"])} for target in targets]
    return Part.model_validate({"name": "event", "target": filled, "condition": condition})


def wjet_like_part() -> Part:
    """The part that learns the columns of `wjet_like`: copies, ratios, angles, a rotated vector."""
    logarithmic = ("gen_mu_pt", "gen_jet_pt", "gen_jet_mass", "gen_met")
    names = ("gen_mu_pt", "gen_mu_eta", "gen_jet_pt", "gen_jet_eta", "gen_jet_mass", "gen_met")
    turns = ("gen_jet_dphi", "gen_jet_sin", "gen_jet_cos", "gen_met_sin", "gen_met_cos")
    condition = [
        {"name": name, "value": name, "transform": "log" if name in logarithmic else []}
        for name in (*names, *turns)
    ]
    target: list[dict[str, Any]] = []
    for thing in ("mu", "jet"):
        for field, kind, transform in (
            ("pt", "positive", ["log", "asinh"]),
            ("eta", "continuous", ["asinh"]),
            ("phi", "angle", ["asinh"]),
        ):
            name, relative = f"{thing}_{field}", f"gen_{thing}.{field}"
            one = {"name": name, "value": name, "kind": kind, "relative_to": relative}
            target.append({**one, "transform": transform})
    mass = {"name": "jet_mass", "value": "jet.mass", "kind": "positive"}
    target.append({**mass, "relative_to": "gen_jet.mass", "transform": ["log", "asinh"]})
    rotate = {"kind": "rotate", "given": {"angle": "gen_mu.phi"}}
    met = {"name": ["met_x", "met_y"], "value": ["MET.px", "MET.py"]}
    relative_to = ["GenMET.px", "GenMET.py"]
    target.append({**met, "relative_to": relative_to, "transform": [rotate, "asinh"]})
    return Part.model_validate({"name": "event", "condition": condition, "target": target})


@pytest.fixture(scope="session")
def wjet_part() -> Part:
    return wjet_like_part()


@pytest.fixture(scope="session")
def wjet_table() -> Table:
    return wjet_like(20_000, 1)


@pytest.fixture(scope="session")
def make_wjet() -> Callable[[int, int], Table]:
    return wjet_like


@pytest.fixture(scope="session")
def make_table() -> Callable[..., Table]:
    return table_of


@pytest.fixture(scope="session")
def make_part() -> Callable[..., Part]:
    return part_of
