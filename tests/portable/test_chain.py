"""A part as one network: the same numbers as `simulate`, for every transform and point mass."""

import numpy as np
import pytest
import torch

from gen2reco import load_emulator
from gen2reco.emulator.reference import read_reference
from gen2reco.errors import EmulatorError
from gen2reco.portable.chain import PartChain
from gen2reco.portable.program import captured
from gen2reco.portable.reference import (
    References,
    compare,
    references,
    rounding,
    tables_of,
)


@pytest.fixture(scope="module")
def whole_events(hmumu_model):
    emulator = load_emulator(hmumu_model)
    return emulator, tables_of(emulator, read_reference(hmumu_model)[0], replicas=2)


PARTS = ("muons", "jets", "jets.presence", "spurious", "spurious.presence", "met")


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_whole_events_agree_with_python(whole_events, name, precision):
    emulator, tables = whole_events
    trained = emulator.part(name)
    chain = PartChain(trained, precision=precision)
    rows = references(trained, chain, tables[name])
    assert len(np.unique(rows.noise[:, 0])) > 0.99 * len(rows.noise)
    if precision == "float64":
        assert not rows.edge.any()
        assert next(trained.members[0].parameters()).dtype == torch.float32  # a copy

    def run(gen, noise):
        with torch.inference_mode():
            return chain(torch.from_numpy(gen), torch.from_numpy(noise)).numpy()

    found = compare(chain, rows, run)
    assert found.rows > 20
    assert found.largest < 1e-5
    assert found.precision == precision


def test_float32_is_off_by_what_its_rounding_makes(whole_events):
    emulator, tables = whole_events
    found = rounding(emulator.part("jets"), tables["jets"], 0)
    assert 0 < found.largest < 1e-3
    assert found.precision == "float32"


def test_inputs_are_named_once_and_values_that_are_no_numbers_are_mended(small_emulator):
    emulator = load_emulator(small_emulator)
    chain = PartChain(emulator.part("event"))
    expressions = [one.expression for one in chain.inputs]
    assert len(set(expressions)) == len(expressions)
    (pt,) = (one for one in chain.inputs if one.expression == "gen_jet.pt")
    assert pt.columns == (("condition", "gen_jet_pt"), ("relative_to", "jet_pt"))
    tables = tables_of(emulator, read_reference(small_emulator)[0], replicas=1)
    rows = references(emulator.part("event"), chain, tables["event"])
    gen = torch.from_numpy(rows.gen.copy())
    gen[:, expressions.index("gen_jet.pt")] = float("nan")
    made = chain(gen, torch.from_numpy(rows.noise))
    assert torch.isfinite(made).all()


def test_a_captured_program_takes_any_number_of_rows(small_emulator):
    emulator = load_emulator(small_emulator)
    trained = emulator.part("event")
    chain = PartChain(trained)
    tables = tables_of(emulator, read_reference(small_emulator)[0], replicas=1)
    rows = references(trained, chain, tables["event"])
    program = captured(chain).module()
    for count in (1, 7, len(rows.gen)):
        made = program(torch.from_numpy(rows.gen[:count]), torch.from_numpy(rows.noise[:count]))
        assert torch.allclose(made, torch.from_numpy(rows.reco[:count]), rtol=1e-4, atol=1e-4)


def test_an_interrupt_that_finds_torch_half_imported_stays_one(small_emulator, monkeypatch):
    chain = PartChain(load_emulator(small_emulator).part("event"))

    def interrupted(*_, **__):
        monkeypatch.delattr(torch._dynamo, "exc")
        raise InterruptedError

    monkeypatch.setattr(torch.export, "export", interrupted)
    with pytest.raises(InterruptedError):
        captured(chain)


def test_a_network_that_differs_is_refused(small_emulator):
    chain = PartChain(load_emulator(small_emulator).part("event"))
    reco = np.random.default_rng(1).normal(size=(200, len(chain.outputs))).astype(np.float32)
    edge = np.arange(200) == 3
    rows = References(reco, reco, reco, edge)
    off = reco.copy()
    off[3] += 1  # at an edge: not compared
    assert compare(chain, rows, lambda *_: off).largest == 0
    off[7, 4] += 1e-3
    with pytest.raises(EmulatorError, match=f"in {chain.outputs[4]}"):
        compare(chain, rows, lambda *_: off)
    off[7, 4] = reco[7, 4] + 8e-5  # one row is enough
    with pytest.raises(EmulatorError, match="1e-05 in 1 of 199 rows"):
        compare(chain, rows, lambda *_: off)
    off[:, 4] = reco[:, 4] = reco[:, 4] + np.where(np.arange(200) == 7, 1e3, 0)
    off[7, 4] += 1e-3  # far out in a tail nothing else is allowed
    with pytest.raises(EmulatorError, match="1e-05 in 1 of 199 rows"):
        compare(chain, rows, lambda *_: off)
    off[7, 4] = np.nan
    with pytest.raises(EmulatorError, match="differs"):
        compare(chain, rows, lambda *_: off)
    many = References(reco, reco, reco, np.arange(200) < 10)
    with pytest.raises(EmulatorError, match="10 more are at the edge"):
        compare(chain, many, lambda *_: reco)
