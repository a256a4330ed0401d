"""Flat columns of small events, written as lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gen2reco.events import Jagged


def jagged(lists: list[list[Any]], dtype: Any = np.float32) -> Jagged:
    offsets = np.concatenate([[0], np.cumsum([len(item) for item in lists])]).astype(np.int64)
    return Jagged(offsets, np.array([x for item in lists for x in item], dtype))


def flat(lists: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Columns from lists: a list per event makes a Jagged; flags and integers keep their kind."""
    columns: dict[str, Any] = {}
    for name, values in lists.items():
        nested = bool(values) and isinstance(values[0], list)
        one = next((x for item in values for x in item), 0.0) if nested else (values or [0.0])[0]
        dtype = {bool: np.bool_, int: np.int32}.get(type(one), np.float32)
        columns[name] = jagged(values, dtype) if nested else np.array(values, dtype)
    return columns


@dataclass(frozen=True)
class Files:
    """What a file has, as `columns_needed` wants to know it."""

    columns: tuple[str, ...]
    is_list: Mapping[str, bool]
    unfit: Mapping[str, str] = field(default_factory=dict)


@pytest.fixture
def make_columns() -> Callable[[Mapping[str, list[Any]]], dict[str, Any]]:
    return flat


@pytest.fixture
def available() -> Callable[[Mapping[str, Any]], Files]:
    def make(columns: Mapping[str, Any]) -> Files:
        is_list = {name: isinstance(column, Jagged) for name, column in columns.items()}
        return Files(tuple(columns), is_list)

    return make


@pytest.fixture
def four_events() -> dict[str, Any]:
    """Four events: an ordinary one, one without muons, one without anything, a crowded one."""
    return flat(
        {
            "run": [1, 1, 1, 1],
            "luminosityBlock": [1, 1, 1, 1],
            "event": [10, 11, 12, 13],
            "genWeight": [1.0, -1.0, 1.0, 1.0],
            "MET_pt": [20.0, 30.0, 5.0, 40.0],
            "MET_phi": [1.0, -2.0, 0.5, 3.0],
            "Muon_pt": [[40.0, 25.0], [], [], [30.0, 60.0, 10.0]],
            "Muon_eta": [[0.5, -1.0], [], [], [2.0, -0.5, 0.0]],
            "Muon_phi": [[0.0, 2.0], [], [], [3.1, -3.1, 1.0]],
            "Muon_mass": [[0.1, 0.1], [], [], [0.1, 0.1, 0.1]],
            "Muon_charge": [[1, -1], [], [], [-1, 1, 1]],
            "Muon_tight": [[True, False], [], [], [True, True, False]],
            "Jet_pt": [[40.0, 50.0, 20.0], [100.0], [], [60.0, 30.0]],
            "Jet_eta": [[0.5, 2.0, -1.0], [0.0], [], [-0.5, 1.0]],
            "Jet_phi": [[0.1, -1.0, 2.1], [1.0], [], [3.1, 0.0]],
            "Jet_mass": [[5.0, 8.0, 0.0], [10.0], [], [6.0, 4.0]],
        }
    )


@pytest.fixture
def wjet_columns() -> Callable[..., dict[str, Any]]:
    """Events shaped as those of the `wjet` study; some lack a muon or a jet on either side."""

    def make(entries: int = 200, seed: int = 1) -> dict[str, Any]:
        rng = np.random.default_rng(seed)

        def collection(name: str, most: int, **more: Callable[[int], Any]) -> dict[str, Any]:
            counts = rng.integers(0, most + 1, entries)
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            n = int(offsets[-1])
            fields = {
                "pt": rng.exponential(30, n).astype(np.float32) + 10,
                "eta": rng.normal(0, 1.5, n).astype(np.float32),
                "phi": rng.uniform(-np.pi, np.pi, n).astype(np.float32),
                "mass": rng.exponential(5, n).astype(np.float32) + 0.1,
                **{field: fill(n) for field, fill in more.items()},
            }
            return {f"{name}_{field}": Jagged(offsets, x) for field, x in fields.items()}

        columns: dict[str, Any] = {
            "run": np.ones(entries, np.uint32),
            "luminosityBlock": np.ones(entries, np.uint32),
            "event": np.arange(100, 100 + entries, dtype=np.uint64),
            "genWeight": rng.choice([1.0, -1.0], entries),
        }
        for name in ("GenMET", "MET"):
            columns[f"{name}_pt"] = rng.exponential(30, entries).astype(np.float32)
            columns[f"{name}_phi"] = rng.uniform(-np.pi, np.pi, entries).astype(np.float32)
        columns |= collection(
            "GenPart",
            4,
            pdgId=lambda n: rng.choice(np.array([13, -13, 22], np.int32), n),
            isPrompt=lambda n: rng.random(n) < 0.7,
        )
        columns |= collection("GenJet", 5)
        columns |= collection("Jet", 4)
        columns |= collection("Muon", 2, charge=lambda n: rng.choice(np.array([1, -1], np.int8), n))
        return columns

    return make
