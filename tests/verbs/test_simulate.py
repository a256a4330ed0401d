import importlib
import json
import multiprocessing
from multiprocessing.connection import wait

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen2reco import load_emulator, open_events, simulate
from gen2reco.errors import (
    EmulatorError,
    EventFileError,
    OutputExistsError,
    StudyError,
    WorkerError,
)
from gen2reco.events.layout import flat_columns
from gen2reco.workers import Crew

REPLICA_KEY = ("replica", "event", "luminosityBlock", "run")


def read(path):
    return ak.concatenate(list(open_events(path)))


def ordered(events):
    """Events sorted by key, so that files in another order compare equal."""
    return events[np.lexsort(tuple(np.asarray(events[name]) for name in REPLICA_KEY))]


def with_column(source, target, name, change):
    """Copy a Parquet file with one column changed."""
    table = pq.read_table(source)
    index = table.schema.get_field_index(name)
    values = change(table[name].to_pylist())
    pq.write_table(
        table.set_column(
            index, table.schema.field(index), pa.array(values, table.schema.field(index).type)
        ),
        target,
    )
    return target


@pytest.fixture(scope="module")
def reco(small_emulator, gen_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("reco") / "reco.parquet"
    simulate(small_emulator, gen_file, path, chunk=1000)
    return path


def test_jets_begin_where_those_of_the_sample_do_and_know_their_gen_jet(reco, gen_file):
    made, given = read(reco), read(gen_file)
    jet = ak.flatten(made.Jet)
    assert ak.min(jet.pt) >= 14.99
    assert ak.max(abs(jet.phi)) <= np.float32(np.pi)
    gen = given[np.searchsorted(given.event, made.event)]
    assert ak.all(gen.event == made.event)
    jets = gen.GenJet
    index = jet.genJetIdx
    assert ak.all(index >= 0)
    assert ak.all(index < ak.num(jets))
    partner = ak.flatten(jets[ak.singletons(index)])
    by_pt = ak.argsort(ak.argsort(jets.pt, ascending=False))
    rank = ak.flatten(by_pt[ak.singletons(index)])
    # the hardest is the muon's where that has a GEN jet; then come the leading and the second one
    assert ak.max(rank) <= 3
    turn = (jet.phi - partner.phi + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(jet.eta - partner.eta, turn) < 0.5
    assert ak.mean(near) > 0.9


def test_output_has_nanoaod_names_and_types(reco):
    events = read(reco)
    assert {"run", "luminosityBlock", "event", "replica", "weight", "Muon", "Jet", "MET"} < set(
        events.fields
    )
    assert "gen2reco_flags" in open_events(reco).columns
    assert set(events.Muon.fields) == {"pt", "eta", "phi", "mass", "charge", "genPartIdx"}
    assert set(events.Jet.fields) == {"pt", "eta", "phi", "mass", "genJetIdx"}
    assert set(events.MET.fields) == {"pt", "phi"}
    assert ak.all(ak.num(events.Muon) == 1)
    assert ak.all(ak.num(events.Jet) == 1)
    assert ak.to_numpy(ak.flatten(events.Muon.charge)).dtype == np.int8
    assert set(ak.flatten(events.Muon.charge)) == {-1, 1}


def test_every_number_is_finite_and_physical(reco):
    events = read(reco)
    for column in (events.Muon.pt, events.Jet.pt, events.MET.pt, events.Jet.mass):
        assert np.all(np.isfinite(ak.flatten(column, axis=None)))
        assert ak.all(column >= 0)
    assert ak.all(abs(events.Jet.phi) <= np.pi + 1e-6)


def test_muon_directions_and_links_are_those_of_gen(reco, gen_file):
    events, gen = read(reco), read(gen_file)
    gen = gen[np.isin(np.asarray(gen.event), np.asarray(events.event))]
    linked = gen.GenPart[events.Muon.genPartIdx]
    assert ak.all(abs(linked.pdgId) == 13)
    assert ak.all(events.Muon.eta == linked.eta)
    assert ak.all(events.Muon.phi == linked.phi)
    assert ak.all(events.Muon.charge == -np.sign(linked.pdgId))


@pytest.mark.parametrize("chunk", [7, 1000, 100_000])
def test_chunks_do_not_change_a_byte(small_emulator, gen_file, reco, tmp_path, chunk):
    path = tmp_path / "reco.parquet"
    simulate(small_emulator, gen_file, path, chunk=chunk)
    assert path.read_bytes() == reco.read_bytes()


def test_chunks_of_one_event(small_emulator, gen_file, tmp_path):
    pq.write_table(pq.read_table(gen_file).slice(0, 40), tmp_path / "gen.parquet")
    simulate(small_emulator, tmp_path / "gen.parquet", tmp_path / "all.parquet")
    simulate(small_emulator, tmp_path / "gen.parquet", tmp_path / "one.parquet", chunk=1)
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_workers_do_not_change_a_byte(small_emulator, gen_file, reco, tmp_path, monkeypatch):
    """This process waits for a sign of the other before each chunk, so that both have some."""
    module = importlib.import_module("gen2reco.verbs.stream")
    crews, mine = [], []
    original = module._worker

    def crew(*args, **options):
        crews.append(Crew(*args, **options))
        return crews[0]

    def patient(*args):
        work = original(*args)

        def late(task, report):
            wait([worker.channel.fileno() for worker in crews[0]._workers], timeout=200)
            mine.append(task[2])
            work(task, report)

        return late

    monkeypatch.setattr(module, "Crew", crew)
    monkeypatch.setattr(module, "_worker", patient)
    path = tmp_path / "reco.parquet"
    result = simulate(small_emulator, gen_file, path, chunk=300, workers=2)
    assert 1 <= len(mine) < 10
    assert path.read_bytes() == reco.read_bytes()
    assert result.read == 3000


def test_a_killed_worker_is_one_clear_error_and_leaves_no_file(small_emulator, gen_file, tmp_path):
    killed = []

    def kill_one(done, entries):
        if not killed:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()
            killed[0].join()

    with pytest.raises(WorkerError, match=r"killed by SIGKILL.*try again with fewer workers"):
        simulate(
            small_emulator,
            gen_file,
            tmp_path / "reco.parquet",
            chunk=50,
            workers=2,
            progress=kill_one,
        )
    assert killed
    assert list(tmp_path.iterdir()) == []


def test_workers_name_the_first_bad_event(small_emulator, gen_file, tmp_path):
    def change(values):
        return [float("nan") if i in (517, 2900) else value for i, value in enumerate(values)]

    broken = with_column(gen_file, tmp_path / "broken.parquet", "GenMET_pt", change)
    with pytest.raises(EventFileError, match=r"broken\.parquet, row 517"):
        simulate(small_emulator, broken, tmp_path / "reco.parquet", chunk=100, workers=2)


def test_shuffled_files_give_the_same_events(small_emulator, gen_file, reco, tmp_path):
    table = pq.read_table(gen_file)
    files = []
    for number, start in enumerate(range(0, 3000, 1000)):
        files.append(tmp_path / f"gen-{number}.parquet")
        pq.write_table(table.slice(start, 1000), files[-1])
    simulate(small_emulator, files[::-1], tmp_path / "reco.parquet")
    assert ak.array_equal(ordered(read(tmp_path / "reco.parquet")), ordered(read(reco)))


def test_seed_changes_the_response_and_nothing_else(small_emulator, gen_file, reco, tmp_path):
    simulate(small_emulator, gen_file, tmp_path / "reco.parquet", seed=2)
    one, two = read(reco), read(tmp_path / "reco.parquet")
    assert ak.all(one.event == two.event)
    assert ak.mean(one.Jet.pt == two.Jet.pt) < 0.01


def test_oversampling_repeats_events_with_new_responses(small_emulator, gen_file, reco, tmp_path):
    simulate(small_emulator, gen_file, tmp_path / "reco.parquet", oversample=3)
    one, three = read(reco), read(tmp_path / "reco.parquet")
    assert len(three) == 3 * len(one)
    assert three.replica[:6].to_list() == [0, 1, 2, 0, 1, 2]
    assert np.allclose(three.weight, 1 / 3)
    assert ak.array_equal(three.Jet[three.replica == 0], one.Jet)
    assert ak.mean(three.Jet.pt[three.replica == 1] == one.Jet.pt) < 0.01


def test_members_share_noise_but_not_weights(small_emulator, gen_file, reco, tmp_path):
    simulate(small_emulator, gen_file, tmp_path / "reco.parquet", members=2)
    both, one = read(tmp_path / "reco.parquet"), read(reco)
    assert ak.array_equal(both.Jet[both.member == 0], one.Jet)
    ratio = ak.flatten(both.Jet.pt[both.member == 1] / one.Jet.pt)
    assert 0 < np.median(np.abs(ratio - 1)) < 0.2
    with pytest.raises(EmulatorError, match="3 members, the emulator has 2"):
        simulate(small_emulator, gen_file, tmp_path / "more.parquet", members=3)


def test_kept_columns_are_carried_along(small_emulator, gen_file, tmp_path):
    simulate(small_emulator, gen_file, tmp_path / "reco.parquet", keep=["GenJet_*", "GenMET_pt"])
    events = read(tmp_path / "reco.parquet")
    gen = read(gen_file)
    gen = gen[np.isin(np.asarray(gen.event), np.asarray(events.event))]
    assert ak.array_equal(events.GenJet.pt, gen.GenJet.pt)
    assert ak.array_equal(events.GenMET.pt, gen.GenMET.pt)
    with pytest.raises(EventFileError, match="no column matches --keep 'GenJets_\\*'"):
        simulate(small_emulator, gen_file, tmp_path / "more.parquet", keep=["GenJets_*"])


def test_kept_columns_of_two_types_name_the_input(small_emulator, gen_file, tmp_path):
    table = pq.read_table(gen_file).slice(0, 60)
    pq.write_table(table.slice(0, 30), tmp_path / "a.parquet")
    place = table.schema.get_field_index("GenMET_pt")
    wide = table["GenMET_pt"].cast(pa.float64())
    pq.write_table(table.set_column(place, "GenMET_pt", wide).slice(30), tmp_path / "b.parquet")
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(
        EventFileError, match=r"b\.parquet, branch GenMET_pt: float64 where earlier.* float32"
    ):
        simulate(small_emulator, files, tmp_path / "reco.parquet", keep=["GenMET_*"])


def test_root_output_counts_every_gen_event(small_emulator, gen_file, tmp_path):
    import uproot

    result = simulate(small_emulator, gen_file, tmp_path / "reco.root")
    with uproot.open(tmp_path / "reco.root") as file:
        assert file["Events"].num_entries == result.events
        assert sum(file["Runs"]["genEventCount"].array()) == 3000 == result.read
    assert result.events + sum(result.dropped.values()) == 3000


@pytest.mark.parametrize(
    ("name", "workers"),
    [("reco.parquet", 1), ("reco.root", 1), ("reco.rntuple.root", 1), ("reco.parquet", 2)],
)
def test_a_file_without_events_gives_all_columns(small_emulator, gen_file, tmp_path, name, workers):
    pq.write_table(pq.read_table(gen_file).slice(0, 0), tmp_path / "none.parquet")
    options = {"keep": ["GenJet_*", "GenMET_pt"], "workers": workers}
    made = simulate(small_emulator, tmp_path / "none.parquet", tmp_path / name, **options)
    simulate(small_emulator, gen_file, tmp_path / f"some-{name}", **options)
    assert (made.read, made.events) == (0, 0)
    none, some = open_events(tmp_path / name), open_events(tmp_path / f"some-{name}")
    assert (none.entries, none.is_list) == (0, some.is_list)
    assert json.loads((tmp_path / f"{name}.json").read_text())["generated"] == 0


def test_sidecar_says_what_was_done(small_emulator, gen_file, reco):
    sidecar = json.loads(reco.with_name("reco.parquet.json").read_text())
    assert sidecar["entries"] == len(read(reco))
    assert sidecar["model"] == load_emulator(small_emulator).digest
    assert sidecar["generated"] == 3000
    assert sidecar["seed"] == 1


def test_an_existing_output_is_left_alone(small_emulator, gen_file, tmp_path):
    path = tmp_path / "reco.parquet"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        simulate(small_emulator, gen_file, path)
    assert path.read_text() == "mine"
    simulate(small_emulator, gen_file, path, overwrite=True)
    assert len(read(path)) > 0


class TestBadGen:
    @pytest.fixture
    def broken(self, gen_file, tmp_path):
        def change(values):
            values[17] = float("nan")
            return values

        return with_column(gen_file, tmp_path / "broken.parquet", "GenMET_pt", change)

    def test_error_names_file_quantity_and_row(self, small_emulator, broken, tmp_path):
        with pytest.raises(
            EventFileError, match=r"broken\.parquet.*row 17.*(gen_met|GenMET).*NaN.*--policy"
        ):
            simulate(small_emulator, broken, tmp_path / "reco.parquet")
        assert not list(tmp_path.glob("*reco*"))

    def test_drop_leaves_the_event_out_and_counts_it(
        self, small_emulator, broken, gen_file, reco, tmp_path
    ):
        result = simulate(small_emulator, broken, tmp_path / "reco.parquet", policy="drop")
        assert result.dropped["GEN not finite"] == 1
        bad = read(gen_file).event[17]
        one, less = read(reco), read(tmp_path / "reco.parquet")
        assert ak.array_equal(less.Jet, one.Jet[one.event != bad])

    def test_flag_keeps_the_event_and_marks_it(self, small_emulator, broken, reco, tmp_path):
        result = simulate(small_emulator, broken, tmp_path / "reco.parquet", policy="flag")
        assert result.flagged["GEN not finite"] == 1
        assert len(read(tmp_path / "reco.parquet")) == len(read(reco))

    def test_unknown_policy(self, small_emulator, gen_file, tmp_path):
        with pytest.raises(StudyError, match="error, drop, flag"):
            simulate(small_emulator, gen_file, tmp_path / "reco.parquet", policy="ignore")

    def test_absurd_values_are_flagged_as_outside_the_domain(
        self, small_emulator, gen_file, tmp_path
    ):
        absurd = with_column(
            gen_file, tmp_path / "absurd.parquet", "GenMET_pt", lambda values: [1e7, *values[1:]]
        )
        simulate(small_emulator, absurd, tmp_path / "reco.parquet")
        events = read(tmp_path / "reco.parquet")
        assert np.all(np.isfinite(events.MET.pt))
        flags = flat_columns(events)["gen2reco_flags"]
        first = np.asarray(events.event) == read(gen_file).event[0]
        assert np.all(np.asarray(flags)[first] & 1)


def test_a_missing_column_is_named(small_emulator, gen_file, tmp_path):
    table = pq.read_table(gen_file).drop_columns(["GenMET_phi"])
    pq.write_table(table, tmp_path / "gen.parquet")
    with pytest.raises((EventFileError, StudyError), match="GenMET"):
        simulate(small_emulator, tmp_path / "gen.parquet", tmp_path / "reco.parquet")


def test_an_array_in_memory_gives_the_same_events(small_emulator, gen_file, reco):
    made = load_emulator(small_emulator).simulate(read(gen_file))
    stored = read(reco)
    assert ak.array_equal(made.Jet.pt, stored.Jet.pt)
    assert ak.array_equal(made.MET.phi, stored.MET.phi)
