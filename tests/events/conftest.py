"""Small events of NanoAOD shape, and what several test files do with them."""

from collections.abc import Callable, Mapping

import awkward as ak
import numpy as np
import pytest

from gen2reco.events import Jagged, flat_columns, to_events
from gen2reco.events.layout import Column, Columns


@pytest.fixture
def make_events() -> Callable[..., ak.Array]:
    """Events with 0 to 3 muons, jets and GEN particles each, a MET and a weight."""

    def make(entries: int = 50, seed: int = 1, first: int = 0) -> ak.Array:
        rng = np.random.default_rng(seed)

        def jagged(counts: np.ndarray, content: np.ndarray) -> Jagged:
            return Jagged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), content)

        columns: Columns = {
            "run": np.full(entries, 1, np.uint32),
            "luminosityBlock": (1 + np.arange(first, first + entries) // 20).astype(np.uint32),
            "event": np.arange(first, first + entries).astype(np.uint64),
            "genWeight": np.where(rng.random(entries) < 0.1, -1, 1).astype(np.float32),
        }
        gen = rng.integers(1, 4, entries)
        columns["GenPart_pdgId"] = jagged(
            gen, rng.choice([-13, 13, 22], gen.sum()).astype(np.int32)
        )
        for name, mass in (("GenPart", 0.10566), ("Muon", 0.10566), ("Jet", 5.0)):
            counts = gen if name == "GenPart" else rng.integers(0, 4, entries)
            size = int(counts.sum())
            columns[f"{name}_pt"] = jagged(counts, rng.exponential(30, size).astype(np.float32))
            columns[f"{name}_eta"] = jagged(counts, rng.normal(0, 1, size).astype(np.float32))
            columns[f"{name}_phi"] = jagged(counts, rng.uniform(-3, 3, size).astype(np.float32))
            columns[f"{name}_mass"] = jagged(counts, np.full(size, mass, np.float32))
        muons = columns["Muon_pt"]
        assert isinstance(muons, Jagged)
        index = rng.integers(-1, 2, len(muons.content)).astype(np.int16)
        owner_size = np.repeat(gen, muons.counts)
        columns["Muon_genPartIdx"] = Jagged(
            muons.offsets, np.minimum(index, owner_size - 1).astype(np.int16)
        )
        columns["Muon_charge"] = Jagged(
            muons.offsets, rng.choice([-1, 1], len(index)).astype(np.int32)
        )
        jets = columns["Jet_pt"]
        assert isinstance(jets, Jagged)
        columns["Jet_btag"] = Jagged(jets.offsets, rng.random(len(jets.content)) < 0.3)
        columns["MET_pt"] = rng.exponential(30, entries).astype(np.float32)
        columns["MET_phi"] = rng.uniform(-3, 3, entries).astype(np.float32)
        return to_events(columns)

    return make


@pytest.fixture
def same_columns() -> Callable[[object, object], None]:
    """Assert that two sets of events have the same columns with the same types and bits."""

    def flat(events: object) -> Mapping[str, Column]:
        return events if isinstance(events, Mapping) else flat_columns(events)

    def check(first: object, second: object) -> None:
        one, two = flat(first), flat(second)
        assert set(one) == set(two)
        for name, column in one.items():
            other = two[name]
            assert isinstance(column, Jagged) == isinstance(other, Jagged), name
            if isinstance(column, Jagged) and isinstance(other, Jagged):
                np.testing.assert_array_equal(column.offsets, other.offsets, err_msg=name)
            one_content = column.content if isinstance(column, Jagged) else column
            two_content = other.content if isinstance(other, Jagged) else other
            assert one_content.dtype == two_content.dtype, name
            np.testing.assert_array_equal(one_content, two_content, err_msg=name)

    return check
