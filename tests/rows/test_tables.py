import time

import awkward as ak
import numpy as np
import pytest

from gen2reco.errors import EventFileError, StudyError
from gen2reco.events import Jagged, to_events
from gen2reco.rows.tables import (
    Table,
    build_table,
    columns_needed,
    columns_of,
    evaluate_output,
    output_columns_needed,
)
from gen2reco.study import Study, load_study

GEN = {"GenPart", "GenJet", "GenMET"}


@pytest.fixture(scope="module")
def wjet():
    return load_study("wjet")


def small(**changes):
    """A study of one quantity, for what `wjet` does not show."""
    part = {
        "condition": [{"name": "gen_pt", "value": "gen_mu.pt"}],
        "target": [{"name": "mu_pt", "value": "mu.pt", "relative_to": "gen_mu.pt"}],
        "output": {"Muon": {"pt": "mu_pt", "index": "index(gen_mu)"}},
    }
    define = {"gen_mu": "leading(GenPart)", "mu": "leading(Muon)"}
    return Study.model_validate(
        {"name": "small", "define": define, "parts": [part | changes.pop("part", {})]} | changes
    )


def gen_only(columns):
    ids = {"run", "luminosityBlock", "event", "genWeight"}
    return {n: c for n, c in columns.items() if n in ids or n.partition("_")[0] in GEN}


def test_against_a_loop_over_events(wjet, wjet_columns):
    """The table of the shipped study has the numbers that a physicist's loop would give."""
    columns = wjet_columns(300)
    table = build_table(wjet, wjet.parts[0], to_events(columns), targets=True)
    rows = []
    for event, record in enumerate(to_events(columns).to_list()):
        muons = [g for g in record["GenPart"] if abs(g["pdgId"]) == 13 and g["isPrompt"]]
        gen_mu, mu = hardest(muons), hardest(record["Muon"])
        gen_jet = hardest([j for j in record["GenJet"] if gen_mu and dr(j, gen_mu) > 0.5])
        jet = hardest([j for j in record["Jet"] if mu and dr(j, mu) > 0.5])
        others = [j for j in record["GenJet"] if gen_mu and dr(j, gen_mu) > 0.5 and j != gen_jet]
        if gen_jet and jet:
            rows.append((event, gen_mu, gen_jet, mu, jet, record["MET"], hardest(others)))
    assert table.entry.tolist() == [row[0] for row in rows]
    assert len(rows) > 50
    second = [float(bool(r[6]) and dr(r[4], r[6]) < min(0.4, dr(r[4], r[2]))) for r in rows]
    for name, expected in {
        "gen_mu_pt": [r[1]["pt"] for r in rows],
        "gen_jet_mass": [max(r[2]["mass"], 0.3) for r in rows],
        "gen_jet2_pt": [r[6]["pt"] if r[6] else 6 for r in rows],
        "gen_jet2_deta": [r[6]["eta"] - r[2]["eta"] if r[6] else 0 for r in rows],
        "gen_jet_cos": [np.cos(r[2]["phi"] - r[1]["phi"]) for r in rows],
    }.items():
        np.testing.assert_allclose(table.condition[name], expected, rtol=1e-5, atol=1e-6)
    for name, expected in {
        "mu_eta": [r[3]["eta"] for r in rows],
        "jet_pt": [r[4]["pt"] for r in rows],
        "second": second,
        "jet_eta": [r[4]["eta"] - (step(r) if s else 0) for r, s in zip(rows, second, strict=True)],
        "met_x": [r[5]["pt"] * np.cos(r[5]["phi"]) for r in rows],
    }.items():
        np.testing.assert_allclose(table.target[name], expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(table.relative_to["jet_pt"], [r[2]["pt"] for r in rows])
    np.testing.assert_allclose(table.given["gen_jet.phi"], [r[2]["phi"] for r in rows])
    turn = np.array([r[2]["phi"] - r[1]["phi"] for r in rows])
    np.testing.assert_allclose(np.cos(table.condition["gen_jet_dphi"]), np.cos(turn), atol=1e-6)
    assert np.abs(table.condition["gen_jet_dphi"]).max() <= np.pi


def step(row):
    return row[6]["eta"] - row[2]["eta"]


def hardest(objects):
    return max(objects, key=lambda o: o["pt"], default=None)


def dr(a, b):
    turn = (a["phi"] - b["phi"] + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(a["eta"] - b["eta"], turn)


def test_what_a_table_holds(wjet, wjet_columns):
    part = wjet.parts[0]
    table = build_table(wjet, part, wjet_columns(), targets=True)
    assert table.part == "event"
    assert list(table.condition) == [item.name for item in part.condition]
    assert list(table.target) == [name for item in part.target for name in item.name]
    assert list(table.relative_to) == list(table.target)
    assert list(table.given) == ["14.999 / gen_jet.pt", "gen_jet.phi"]
    assert table.keys.event.tolist() == (100 + table.entry).tolist()
    assert not table.keys.object.any()
    assert (table.weight == 1).all()
    assert not table.nonfinite.any()
    assert len(table) + sum(table.dropped.values()) == 200
    assert set(table.dropped) == {"not selected", "gen_mu is missing", "gen_jet is missing"}
    for block in (table.condition, table.target, table.relative_to, table.given):
        assert {column.dtype for column in block.values()} == {np.dtype(np.float64)}


def test_simulation_reads_gen_alone(wjet, wjet_columns, available):
    columns = wjet_columns()
    part = wjet.parts[0]
    needed = columns_needed(wjet, part, available(columns), targets=False)
    assert {n.partition("_")[0] for n in needed} == GEN | {"run", "luminosityBlock", "event"}
    assert "GenPart_mass" not in needed
    table = build_table(wjet, part, {n: columns[n] for n in needed}, targets=False)
    assert table.target == {}
    assert set(table.dropped) == {"gen_mu is missing", "gen_jet is missing"}
    learned = build_table(wjet, part, columns, targets=True)
    assert set(learned.entry) < set(table.entry)
    again = table.take(np.isin(table.entry, learned.entry))
    for name, column in again.condition.items():
        assert (column == learned.condition[name]).all()


def test_training_reads_what_it_uses(wjet, wjet_columns, available):
    needed = columns_needed(wjet, wjet.parts[0], available(wjet_columns(5)), targets=True)
    assert {"Muon_pt", "Muon_eta", "Muon_phi", "Jet_mass", "MET_pt", "event"} <= set(needed)
    assert "Muon_charge" not in needed
    assert "genWeight" not in needed


def test_columns_that_the_file_lacks(wjet, wjet_columns, available):
    columns = gen_only(wjet_columns(5))
    with pytest.raises(StudyError, match=r"define mu: unknown name 'Muon'"):
        columns_needed(wjet, wjet.parts[0], available(columns), targets=True)
    del columns["GenJet_mass"], columns["GenJet_phi"]
    with pytest.raises(StudyError, match="GenJet has no field 'phi'"):
        columns_needed(wjet, wjet.parts[0], available(columns), targets=False)
    with pytest.raises(StudyError, match="part event, condition gen_jet_pt: define gen_jet"):
        build_table(wjet, wjet.parts[0], columns, targets=False)


def test_output_of_a_part(wjet, wjet_columns, available):
    columns = gen_only(wjet_columns())
    part = wjet.parts[0]
    assert {n.partition("_")[0] for n in output_columns_needed(wjet, part, available(columns))} == {
        "GenPart",
        "GenJet",
    }
    table = build_table(wjet, part, columns, targets=False)
    drawn = {name: np.arange(len(table), dtype=np.float64) for name in table.relative_to}
    drawn["second"] = np.arange(len(table)) % 2.0
    out = evaluate_output(wjet, part, columns, table, drawn)
    assert set(out) == {"Muon", "Jet", "MET"}
    assert (out["Muon"]["pt"] == drawn["mu_pt"]).all()
    assert (out["Muon"]["mass"] == 0.10566).all()
    assert out["MET"]["pt"] == pytest.approx(np.sqrt(2) * drawn["met_x"])
    assert out["Muon"]["charge"].dtype == np.int64
    for name, prefix in (("Muon", "GenPart"), ("Jet", "GenJet")):
        index = out[name][f"gen{'Part' if name == 'Muon' else 'Jet'}Idx"]
        pt = columns[f"{prefix}_pt"]
        found = pt.content[pt.offsets[table.entry] + index]
        if name == "Muon":
            assert (found == table.relative_to["mu_pt"]).all()
        else:  # the second GEN jet where the flag says so and there is one
            there = table.condition["gen_jet2_pt"] > 6
            other = there & (drawn["second"] == 1)
            assert 0 < other.sum() < len(other)
            gen_pt = np.where(other, table.condition["gen_jet2_pt"], table.relative_to["jet_pt"])
            assert (found == gen_pt).all()
            eta = drawn["jet_eta"] + np.where(other, table.condition["gen_jet2_deta"], 0)
            np.testing.assert_allclose(out["Jet"]["eta"], eta)
            assert np.abs(out["Jet"]["phi"]).max() <= np.pi
    pdg = columns["GenPart_pdgId"]
    charge = -np.sign(pdg.content[pdg.offsets[table.entry] + out["Muon"]["genPartIdx"]])
    assert (out["Muon"]["charge"] == charge).all()


def test_output_without_the_kept_namespace_and_for_copies(wjet, wjet_columns):
    columns = gen_only(wjet_columns())
    part = wjet.parts[0]
    table = build_table(wjet, part, columns, targets=False)
    twice = table.take(np.repeat(np.arange(len(table)), 2))
    drawn = {name: np.ones(len(twice)) for name in table.relative_to}
    kept = evaluate_output(wjet, part, columns, twice, drawn)
    fresh = evaluate_output(wjet, part, dict(columns), Table.concatenate([twice]), drawn)
    for name, fields in kept.items():
        for field, values in fields.items():
            assert (values == fresh[name][field]).all()
    assert len(kept["Muon"]["charge"]) == len(twice)


def test_generated_names_go_before_definitions(wjet_columns):
    study = small(
        define={
            "gen_mu": "leading(GenPart)",
            "mu": "leading(Muon)",
            "mu_pt": "1",
            "up": "2 * mu_pt",
        },
        part={"output": {"Muon": {"pt": "up"}}},
    )
    columns = wjet_columns(20)
    table = build_table(study, study.parts[0], columns, targets=False)
    out = evaluate_output(
        study, study.parts[0], columns, table, {"mu_pt": table.condition["gen_pt"]}
    )
    assert (out["Muon"]["pt"] == 2 * table.condition["gen_pt"]).all()


def test_generated_flags_and_integers(wjet_columns):
    study = small(
        part={
            "target": [
                {"name": "tight", "value": "mu.charge > 0", "kind": "flag"},
                {"name": "hits", "value": "mu.charge", "kind": "integer"},
            ],
            "output": {"Muon": {"tight": "tight", "loose": "not tight", "hits": "hits + 1"}},
        }
    )
    columns = wjet_columns(30)
    table = build_table(study, study.parts[0], columns, targets=False)
    drawn = {"tight": np.linspace(0, 1, len(table)), "hits": np.full(len(table), 3.2)}
    muon = evaluate_output(study, study.parts[0], columns, table, drawn)["Muon"]
    assert muon["tight"].dtype == bool
    assert (muon["loose"] == (drawn["tight"] <= 0.5)).all()
    assert muon["hits"].tolist() == [4] * len(table)


def test_output_without_a_value(wjet_columns):
    study = small(part={"output": {"Muon": {"pt": "log(mu_pt)"}}})
    columns = wjet_columns(30)
    table = build_table(study, study.parts[0], columns, targets=False)
    drawn = np.ones(len(table))
    drawn[3] = -1
    with pytest.raises(StudyError, match=r"output Muon.pt: `log\(mu_pt\)` has no value in 1 rows"):
        evaluate_output(study, study.parts[0], columns, table, {"mu_pt": drawn})


def test_reasons_name_the_missing_object(make_columns):
    study = small(part={"condition": [{"name": "log_m", "value": "log(gen_mu.mass) + GenMET.pt"}]})
    columns = make_columns(
        {
            "run": [1, 1, 1, 1],
            "luminosityBlock": [1, 1, 1, 1],
            "event": [1, 2, 3, 4],
            "GenMET_pt": [1.0, 1.0, 1.0, 1.0],
            "GenPart_pt": [[3.0], [], [3.0], [4.0]],
            "GenPart_mass": [[1.0], [], [0.0], [1.0]],
            "Muon_pt": [[1.0], [1.0], [1.0], []],
        }
    )
    table = build_table(study, study.parts[0], columns, targets=True)
    assert table.entry.tolist() == [0]
    assert table.dropped == {
        "gen_mu is missing": 1,
        "condition log_m has no value (log(gen_mu.mass) + GenMET.pt)": 1,
        "mu is missing": 1,
    }


def test_weights(wjet_columns, available):
    columns = wjet_columns()
    study = small(input={"weight": "genWeight"})
    assert "genWeight" in columns_needed(study, study.parts[0], available(columns), targets=False)
    table = build_table(study, study.parts[0], columns, targets=False)
    assert (table.weight == columns["genWeight"][table.entry]).all()
    assert (table.weight < 0).any()
    study = small(input={"weight": "genweight"})
    with pytest.raises(StudyError, match=r"input.weight: unknown name 'genweight'.*'genWeight'"):
        build_table(study, study.parts[0], columns, targets=False)


def spoiled(columns, column, event, value):
    """Copy of the columns with the first entry of an event replaced."""
    stored = columns[column]
    if isinstance(stored, Jagged):
        content = stored.content.copy()
        content[stored.offsets[event]] = value
        return columns | {column: Jagged(stored.offsets, content)}
    content = stored.copy()
    content[event] = value
    return columns | {column: content}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_not_finite_are_marked_in_simulation(wjet_columns, value):
    study = small(part={"condition": [{"name": "gen_met", "value": "GenMET.pt"}]})
    columns = wjet_columns()
    sound = build_table(study, study.parts[0], columns, targets=False)
    event = int(sound.entry[7])
    table = build_table(
        study, study.parts[0], spoiled(columns, "GenMET_pt", event, value), targets=False
    )
    assert len(table) == len(sound)
    assert table.entry[table.nonfinite].tolist() == [event]
    assert table.offender(7) == "condition gen_met"
    assert table.offender(8) == ""


def test_nan_beside_the_chosen_object_is_marked_too(wjet, wjet_columns):
    """NaN fails every condition, so the choice among the jets of that event cannot be trusted."""
    columns = wjet_columns()
    sound = build_table(wjet, wjet.parts[0], columns, targets=False)
    jets = columns["GenJet_eta"]
    event = next(int(e) for e in sound.entry if jets.offsets[e + 1] - jets.offsets[e] > 3)
    table = build_table(
        wjet, wjet.parts[0], spoiled(columns, "GenJet_eta", event, np.nan), targets=False
    )
    row = table.entry.tolist().index(event)
    assert table.nonfinite[row]
    assert "GenJet_eta" in table.offender(row) or "gen_jet" in table.offender(row)
    assert np.count_nonzero(table.nonfinite) == 1


def test_training_leaves_such_rows_out_and_says_so(wjet, wjet_columns, caplog):
    columns = wjet_columns()
    sound = build_table(wjet, wjet.parts[0], columns, targets=True)
    event = int(sound.entry[3])
    table = build_table(
        wjet,
        wjet.parts[0],
        spoiled(columns, "MET_pt", event, np.inf),
        targets=True,
        where="a.parquet",
    )
    assert table.entry.tolist() == [e for e in sound.entry if e != event]
    assert table.dropped["target met_x is not finite"] == 1
    assert f"a.parquet: target met_x is not finite in 1 rows, first in event {event}" in caplog.text
    assert not table.offenders


def test_take_and_concatenate(wjet, wjet_columns):
    part = wjet.parts[0]
    one = build_table(wjet, part, wjet_columns(100, 1), targets=True)
    columns = spoiled(gen_only(wjet_columns(100, 2)), "GenMET_pt", slice(None), np.nan)
    two = build_table(wjet, part, columns, targets=False)
    assert two.nonfinite.all()
    half = one.take(one.keys.event % 2 == 0)
    assert len(half) == len(half.condition["gen_mu_pt"]) == len(half.keys) == len(half.weight)
    assert half.dropped == one.dropped
    both = Table.concatenate([one, half])
    assert len(both) == len(one) + len(half)
    assert (both.target["jet_pt"] == np.r_[one.target["jet_pt"], half.target["jet_pt"]]).all()
    assert both.dropped == {reason: 2 * count for reason, count in one.dropped.items()}
    gen = build_table(wjet, part, gen_only(wjet_columns(100, 1)), targets=False)
    joined = Table.concatenate([gen, two])
    assert joined.nonfinite.tolist() == [False] * len(gen) + [True] * len(two)
    with pytest.raises(ValueError, match="no tables"):
        Table.concatenate([])


def test_no_events_at_all(wjet, wjet_columns):
    columns = {
        name: column.part(0, 0) if isinstance(column, Jagged) else column[:0]
        for name, column in wjet_columns(5).items()
    }
    for events in (columns, to_events(columns)):
        for targets in (True, False):
            table = build_table(wjet, wjet.parts[0], events, targets=targets)
            assert len(table) == 0
            assert table.dropped == {}


def test_chunks_make_no_difference(wjet, wjet_columns):
    events = to_events(wjet_columns())
    whole = build_table(wjet, wjet.parts[0], events, targets=False)
    for size in (1, 7):
        pieces = [
            build_table(wjet, wjet.parts[0], events[start : start + size], targets=False)
            for start in range(0, len(events), size)
        ]
        joined = Table.concatenate(pieces)
        assert (joined.keys.event == whole.keys.event).all()
        for name, column in whole.condition.items():
            assert (joined.condition[name] == column).all()
        assert joined.dropped == whole.dropped


def test_events_without_ids(wjet, wjet_columns):
    columns = wjet_columns(5)
    del columns["event"]
    with pytest.raises(EventFileError, match="branch event: there is no such column"):
        build_table(wjet, wjet.parts[0], columns, targets=False)


def test_columns_of_expressions(wjet, wjet_columns, available):
    files = available(wjet_columns(5))
    assert columns_of(["MET.pt > 3", "", "mu.pt"], wjet.define, files) == ["MET_pt", "Muon_pt"]
    with pytest.raises(StudyError, match=r"expression `mu.ptt`: Muon has no field"):
        columns_of(["mu.ptt"], wjet.define, files)


def test_given_columns_of_reco_serve_the_fit_alone(wjet_columns, available):
    study = load_study("wjet-quantile")
    part = study.parts[0]
    columns = wjet_columns()
    learned = build_table(study, part, columns, targets=True)
    assert "log(jet.mass)" in learned.given
    assert (np.exp(learned.given["log(jet.mass)"]) > 0).all()
    table = build_table(study, part, gen_only(columns), targets=False)
    assert "log(jet.mass)" not in table.given
    assert {"gen_mu.px", "log(gen_jet.mass)", "GenMET.px"} <= set(table.given)
    needed = columns_needed(study, part, available(columns), targets=False)
    assert not any(name.startswith(("Jet_", "Muon_", "MET_")) for name in needed)


def test_sets_need_collections():
    with pytest.raises(ValueError, match="rows of kind 'set' need both `gen` and `reco`"):
        small(part={"rows": {"kind": "set"}})


@pytest.mark.slow
def test_speed_on_the_reference_sample(wjet, reference_data):
    """GEN rows of W + jet, one thread: at least 400 000 events/s of processor time."""
    columns = ["run", "luminosityBlock", "event", "GenMET_pt", "GenMET_phi"]
    columns += [f"GenPart_{field}" for field in ("pt", "eta", "phi", "pdgId", "isPrompt")]
    columns += [f"GenJet_{field}" for field in ("pt", "eta", "phi", "mass")]
    table = ak.from_parquet(reference_data / "wjet.parquet", columns=columns)
    flat = {}
    for name in columns:
        column = table[name]
        if column.ndim == 1:
            flat[name] = ak.to_numpy(ak.drop_none(column))
        else:
            counts = ak.to_numpy(ak.num(column))
            offsets = np.concatenate([[0], np.cumsum(counts)])
            flat[name] = Jagged(offsets, np.asarray(ak.to_numpy(ak.flatten(column))))
    events = to_events(flat)
    spent = []
    for _ in range(5):
        begin = time.process_time()
        made = build_table(wjet, wjet.parts[0], events, targets=False)
        spent.append(time.process_time() - begin)
    assert len(made) > 169_000
    assert len(events) / min(spent) > 400_000
