"""GEN that no detector could have seen: each policy does what it says, for whole events."""

import json

import numpy as np
import pytest
import uproot

from gen2reco import load_emulator, open_events, simulate, write_events
from gen2reco.emulator.chunk import BAD_INPUT, OUTSIDE_DOMAIN
from gen2reco.errors import EventFileError, StudyError
from gen2reco.events import Jagged, flat_columns, to_events

BAD = 5
"""The event that is spoilt."""
NOT_FINITE = "GEN not finite"


@pytest.fixture(scope="module")
def gen(hmumu_sample):
    """Flat columns of 60 sound events."""
    return flat_columns(next(iter(open_events(hmumu_sample).chunks(size=60))).events)


@pytest.fixture(scope="module")
def emulator(hmumu_model):
    return load_emulator(hmumu_model)


@pytest.fixture(scope="module")
def sound(emulator, gen):
    return emulator.simulate(to_events(gen))


def resized(columns, collection, number):
    """The spoilt event with so many objects of a collection, its own ones repeated."""
    changed = dict(columns)
    for name, column in columns.items():
        if name.startswith(f"{collection}_"):
            own = column.part(BAD, BAD + 1).content
            before, after = column.part(0, BAD), column.part(BAD + 1, len(column))
            content = np.concatenate([before.content, np.resize(own, number), after.content])
            counts = column.counts
            counts[BAD] = number
            changed[name] = Jagged(np.concatenate([[0], np.cumsum(counts)]), content)
    return changed


def put(columns, name, value, place=0):
    """One number of the spoilt event replaced."""
    column = columns[name]
    if isinstance(column, Jagged):
        content = column.content.copy()
        content[column.offsets[BAD] + place] = value
        return columns | {name: Jagged(column.offsets, content)}
    changed = column.copy()
    changed[BAD] = value
    return columns | {name: changed}


def assert_others_are_unchanged(made, sound):
    """Every event but the spoilt one has the same RECO to the last bit."""
    kept = made[made.event != sound.event[BAD]]
    expected = flat_columns(sound[np.arange(len(sound)) != BAD])
    for name, column in flat_columns(kept).items():
        other = expected[name]
        if isinstance(column, Jagged):
            assert np.array_equal(column.offsets, other.offsets), name
            assert np.array_equal(column.content, other.content), name
        else:
            assert np.array_equal(column, other), name


def assert_finite(made):
    for name, column in flat_columns(made).items():
        numbers = column.content if isinstance(column, Jagged) else column
        assert np.isfinite(np.asarray(numbers, float)).all(), name


class Files:
    """The way through files: events in, RECO file and its sidecar out."""

    def __init__(self, model, folder):
        self.model, self.folder = model, folder

    def simulate(self, columns, output="reco.root", **options):
        write_events(self.folder / "gen.parquet", [to_events(columns)])
        return simulate(
            self.model, self.folder / "gen.parquet", self.folder / output, chunk=25, **options
        )

    def sidecar(self, output="reco.root"):
        return json.loads((self.folder / f"{output}.json").read_text())

    def assert_nothing_written(self):
        names = {path.name for path in self.folder.iterdir()}
        assert names == {"gen.parquet", "gen.parquet.json"}


@pytest.fixture
def files(hmumu_model, tmp_path):
    return Files(hmumu_model, tmp_path)


@pytest.mark.parametrize("policy", ["error", "drop", "flag"])
@pytest.mark.parametrize("missing", [("GenJet",), ("GenPart",), ("GenJet", "GenPart")])
def test_an_event_without_gen_objects_is_an_event(emulator, gen, sound, missing, policy):
    columns = gen
    for collection in missing:
        columns = resized(columns, collection, 0)
    done = emulator.simulate_chunk(to_events(columns), policy=policy)
    assert len(done.events) == len(sound)
    assert not done.dropped
    assert NOT_FINITE not in done.flagged
    assert_finite(done.events)
    assert_others_are_unchanged(done.events, sound)
    if "GenPart" in missing:
        assert len(done.events.Muon[BAD]) == 0
    if "GenJet" in missing:
        assert set(done.events.Jet.genJetIdx[BAD].tolist()) <= {-1}, "only spurious ones"


@pytest.mark.parametrize("policy", ["error", "drop", "flag"])
def test_an_event_of_200_jets_is_simulated_and_marked(emulator, gen, sound, policy):
    done = emulator.simulate_chunk(to_events(resized(gen, "GenJet", 200)), policy=policy)
    assert not done.dropped
    assert_finite(done.events)
    assert_others_are_unchanged(done.events, sound)
    index = done.events.Jet.genJetIdx[BAD]
    matched = index[index >= 0].tolist()
    assert len(set(matched)) == len(matched) > 20
    assert max(matched) < 200
    assert done.events.gen2reco.flags[BAD] == OUTSIDE_DOMAIN


SPOILT = [
    ("GenJet_pt", np.nan),
    ("GenJet_eta", np.nan),
    ("GenJet_mass", np.nan),
    ("GenJet_leadMuonPt", np.nan),
    ("GenJet_pt", np.inf),
    ("GenJet_pt", 1e30),
    ("GenPart_pt", np.nan),
    ("GenMET_phi", np.nan),
]


@pytest.mark.parametrize(("name", "value"), SPOILT)
def test_error_names_the_event_and_leaves_nothing(files, gen, name, value):
    with pytest.raises(EventFileError, match=rf"gen\.parquet, row {BAD}: .*(drop|flag)") as caught:
        files.simulate(put(gen, name, value, place=1 if name.startswith("GenJet") else 0))
    assert caught.value.row == BAD
    files.assert_nothing_written()


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(("name", "value"), SPOILT)
def test_drop_leaves_the_whole_event_out(emulator, gen, sound, name, value, copies):
    columns = put(gen, name, value)
    done = emulator.simulate_chunk(to_events(columns), policy="drop", oversample=copies)
    assert done.dropped == {NOT_FINITE: 1}
    assert NOT_FINITE not in done.flagged
    assert len(done.events) == copies * (len(sound) - 1)
    assert sound.event[BAD] not in done.events.event
    first = done.events[done.events.replica == 0]
    assert np.allclose(first.weight, 1 / copies)
    if copies == 1:
        assert_others_are_unchanged(first, sound)


@pytest.mark.parametrize(("name", "value"), SPOILT)
def test_flag_keeps_and_marks_the_event(emulator, gen, sound, name, value):
    done = emulator.simulate_chunk(to_events(put(gen, name, value)), policy="flag", oversample=2)
    assert len(done.events) == 2 * len(sound)
    assert done.flagged[NOT_FINITE] == 2
    marked = (flat_columns(done.events)["gen2reco_flags"] & BAD_INPUT) != 0
    assert np.array_equal(np.flatnonzero(marked), [2 * BAD, 2 * BAD + 1])
    assert_finite(done.events)


def test_the_sidecar_counts_what_the_policy_did(files, gen):
    columns = put(gen, "GenJet_pt", np.nan)
    dropped = files.simulate(columns, "drop.root", policy="drop", oversample=3)
    assert dropped.dropped == {NOT_FINITE: 1}
    sidecar = files.sidecar("drop.root")
    assert sidecar["dropped"] == {NOT_FINITE: 1}
    assert (sidecar["generated"], sidecar["entries"]) == (60, 3 * 59)
    assert sidecar["genEventCount"] == 60
    (files.folder / "gen.parquet").unlink()
    flagged = files.simulate(columns, "flag.root", policy="flag", oversample=3)
    assert flagged.flagged[NOT_FINITE] == files.sidecar("flag.root")["flagged"][NOT_FINITE] == 3


def test_objects_that_a_part_cannot_take_count_once_whatever_the_copies(emulator, gen):
    events = to_events(put(gen, "GenJet_pt", 0.0, place=1))
    once, often = (emulator.simulate_chunk(events, oversample=copies) for copies in (1, 4))
    assert once.dropped == often.dropped
    assert (
        once.dropped["jets: condition gen_muon_share has no value (gen.leadMuonPt / gen.pt)"] == 1
    )
    assert len(often.events) == 4 * len(gen["event"])


def test_all_events_dropped_is_a_file_without_events(files, gen):
    jets = gen["GenJet_pt"]
    spoilt = jets.content.copy()
    spoilt[jets.offsets[:-1]] = np.nan
    assert (jets.counts > 0).all()
    done = files.simulate(gen | {"GenJet_pt": Jagged(jets.offsets, spoilt)}, policy="drop")
    assert (done.events, done.dropped) == (0, {NOT_FINITE: 60})
    source = open_events(files.folder / "reco.root")
    assert source.entries == 0
    assert {"Muon_pt", "Jet_btag", "MET_phi", "weight"} <= set(source.columns)
    with uproot.open(files.folder / "reco.root") as file:
        assert file["Runs/genEventCount"].array().tolist() == [60]


@pytest.mark.parametrize("policy", ["error", "drop", "flag"])
@pytest.mark.parametrize(
    ("name", "spoilt", "same"),
    [("GenPart_pdgId", 99_999_999, 2112), ("GenPart_pdgId", 0, 2112)],
)
def test_a_particle_of_unknown_kind_is_one_that_no_part_asks_for(
    emulator, gen, name, spoilt, same, policy
):
    unknown, known = (
        emulator.simulate_chunk(to_events(put(gen, name, value)), policy=policy)
        for value in (spoilt, same)
    )
    assert not unknown.dropped
    assert_finite(unknown.events)
    assert_others_are_unchanged(unknown.events, known.events)
    assert unknown.events[BAD].tolist() == known.events[BAD].tolist()


@pytest.mark.parametrize("policy", ["error", "drop", "flag"])
@pytest.mark.parametrize(
    "missing", ["GenMET", "GenMET_pt", "GenMET_phi", "GenJet", "GenPart_pdgId"]
)
def test_a_missing_column_is_named_whatever_the_policy(files, gen, missing, policy):
    columns = {
        name: column
        for name, column in gen.items()
        if name != missing and not name.startswith(f"{missing}_")
    }
    said = {"GenMET_pt": "GenMET has no field 'px', which needs pt", "GenPart_pdgId": "'pdgId'"}
    with pytest.raises(StudyError, match=rf"gen\.parquet: .*{said.get(missing, missing[:6])}"):
        files.simulate(columns, policy=policy)
    files.assert_nothing_written()


def test_workers_leave_nothing_behind_either(files, gen):
    with pytest.raises(EventFileError, match=f"row {BAD}"):
        files.simulate(put(gen, "GenJet_pt", np.nan), workers=2)
    files.assert_nothing_written()


def test_gen_objects_that_are_not_found_do_not_mark_an_event(emulator, hmumu_sample):
    """A GEN jet that is a muon lies far from the jets that the response of jets was learned on."""
    gen = next(iter(open_events(hmumu_sample).chunks(size=500))).events
    done = emulator.simulate_chunk(gen)
    assert done.flagged["GEN outside the training domain"] < 0.5 * len(gen)
