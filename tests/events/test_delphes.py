import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen2reco.errors import EventFileError
from gen2reco.events import open_events
from gen2reco.events.delphes import is_hadron, is_prompt, nano_name


def branch(*lists, dtype="f4"):
    return ak.values_astype(ak.Array(list(lists)), np.dtype(dtype))


PARTICLES = {
    # event 0: two beams -> W (24) -> mu nu; a b hadron (521) -> mu.  event 1: nothing.  event 2: a
    # lone tau -> mu.
    "Particle.PID": branch([2212, 2212, 24, 13, -14, 521, 13], [], [15, 13], dtype="i4"),
    "Particle.Status": branch([4, 4, 22, 1, 1, 2, 1], [], [2, 1], dtype="i4"),
    "Particle.M1": branch([-1, -1, 0, 2, 2, 0, 5], [], [-1, 0], dtype="i4"),
    "Particle.PT": branch([0, 0, 50, 30, 20, 9, 3], [], [20, 8]),
    "Particle.Mass": branch([0.938, 0.938, 80, 0.1, 0, 5.3, 0.1], [], [1.8, 0.1]),
}
BRANCHES = PARTICLES | {
    "Event.Number": branch([7], [7], [8], dtype="i8"),
    "Event.Weight": branch([1.0], [-1.0], [0.5]),
    "Event.ScalePDF": branch([90.0], [91.0], [92.0]),
    "Jet.PT": branch([50, 30], [], [40]),
    "Jet.BTag": branch([3, 2], [], [1], dtype="u4"),
    "Jet.NCharged": branch([4, 5], [], [6], dtype="i4"),
    "Jet.fBits": branch([1, 2], [], [3], dtype="u4"),
    "Muon.PT": branch([29], [], []),
    "Muon.IsolationVar": branch([0.1], [], []),
    "MissingET.MET": branch([20], [5], [7]),
    "MissingET.Phi": branch([0.1], [0.2], [0.3]),
    "GenMissingET.MET": branch([21], [6], [8]),
    "ScalarHT.HT": branch([80], [1], [40]),
}


def write(path, branches):
    """Split branches with one counter per collection (`Jet_size`), as Delphes writes them."""
    with uproot.recreate(path) as file:
        tree = file.mktree(
            "Delphes",
            {name: f"var * {array.layout.content.dtype}" for name, array in branches.items()},
            counter_name=lambda name: name.partition(".")[0] + "_size",
        )
        tree.extend(branches)
    return path


@pytest.fixture
def delphes(tmp_path):
    """Such a file, in which the bytes of `Jet.fBits` are spoilt: whoever reads them fails."""
    path = write(tmp_path / "delphes.root", BRANCHES)
    with uproot.open(path) as file:
        bits = file["Delphes/Jet.fBits"]
        seek, size = int(bits.member("fBasketSeek")[0]), int(bits.member("fBasketBytes")[0])
    content = bytearray(path.read_bytes())
    content[seek : seek + size] = b"\xff" * size
    path.write_bytes(content)
    with uproot.open(path) as file, pytest.raises(Exception):  # noqa: B017, PT011
        file["Delphes/Jet.fBits"].array()
    return path


def test_everything_but_status_words_is_read_under_nanoaod_names(delphes):
    source = open_events(delphes)
    assert source.files[0].format == "delphes"
    assert source.entries == 3
    assert not [name for name in source.columns if "bits" in name.lower() or name.endswith("_size")]
    events = next(iter(source))
    assert events.Jet.pt.tolist() == [[50, 30], [], [40]]
    assert events.Jet.nCharged.tolist() == [[4, 5], [], [6]]
    assert events.MET.pt.tolist() == [20, 5, 7]
    assert events.MET.phi.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert events.GenMET.pt.tolist() == [21, 6, 8]
    assert events.ScalarHT.ht.tolist() == [80, 1, 40]
    assert events.genWeight.tolist() == [1, -1, 0.5]
    assert events.Generator.scalePDF.tolist() == [90, 91, 92]
    assert events.GenPart.pdgId[2].tolist() == [15, 13]
    assert events.GenPart.genPartIdxMother[2].tolist() == [-1, 0]


def test_the_first_working_point_is_the_flag(delphes):
    events = next(iter(open_events(delphes)))
    assert events.Jet.btag.tolist() == [[True, False], [], [True]]
    assert str(events.Jet.btag.type) == "3 * var * bool"


def test_masses_that_delphes_does_not_store(delphes):
    events = next(iter(open_events(delphes)))
    assert events.Muon.mass.tolist() == [[pytest.approx(0.10566, abs=1e-5)], [], []]
    assert events.Muon.pfRelIso04_all.tolist() == [[pytest.approx(0.1)], [], []]


def test_prompt_particles(delphes):
    prompt = next(iter(open_events(delphes))).GenPart.isPrompt
    assert prompt[0].tolist() == [True, True, True, True, True, True, False]
    assert prompt[2].tolist() == [True, True]
    ranged = next(open_events(delphes).chunks(columns=["GenPart_isPrompt"], start=2)).events
    assert ranged.GenPart.isPrompt.tolist() == [[True, True]]


def test_ids_come_from_the_file_and_the_entry(delphes, tmp_path):
    source = open_events(delphes)
    digest = source.files[0].digest()
    events = next(iter(source))
    assert events.event.tolist() == [0, 1, 2]
    assert set(events.run.tolist()) == {int(digest[-8:], 16)}
    assert set(events.luminosityBlock.tolist()) == {int(digest[-16:-8], 16)}
    assert events.Event.number.tolist() == [7, 7, 8]
    moved = tmp_path / "other.root"
    moved.write_bytes(delphes.read_bytes())
    assert next(iter(open_events(moved))).run.tolist() == events.run.tolist()


def test_long_chains_and_loops_of_mothers_end():
    size = 3000
    pdg = np.full(size, 21)
    pdg[0] = 511
    chain = np.arange(-1, size - 1)
    offsets = np.array([0, size])
    prompt = is_prompt(offsets, pdg, chain, np.ones(size))
    assert prompt[0]
    assert not prompt[1:].any()
    loop = (np.arange(10) + 1) % 10
    assert is_prompt(np.array([0, 10]), np.full(10, 21), loop, np.ones(10)).all()
    assert is_prompt(np.array([0, 2]), np.array([13, 13]), np.array([7, 99]), np.ones(2)).all()


def test_hadrons_by_code():
    hadrons = np.array([111, -211, 130, 310, 2212, 521, 5122, 10441, 9010221])
    others = np.array([1, 21, 23, -13, 2203, 1103, 1000022, 9900012, 5100039, 1000010020])
    assert is_hadron(hadrons).all()
    assert not is_hadron(others).any()


@pytest.mark.parametrize(
    ("collection", "leaf", "name"),
    [
        ("Particle", "PID", "GenPart_pdgId"),
        ("Electron", "EhadOverEem", "Electron_ehadOverEem"),
        ("Track", "D0", "Track_d0"),
        ("PuppiMissingET", "MET", "PuppiMissingET_pt"),
        ("Event", "Weight", "genWeight"),
    ],
)
def test_names(collection, leaf, name):
    assert nano_name(collection, leaf) == name


def test_a_single_that_is_not_single_names_branch_and_row(tmp_path):
    path = write(
        tmp_path / "a.root",
        {"Jet.PT": branch([1.0], [2.0]), "MissingET.MET": branch([1.0], [1.0, 2.0])},
    )
    with pytest.raises(EventFileError, match="branch MET_pt, row 1: 2 entries"):
        next(iter(open_events(path)))


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=15), st.integers(1, 20))
def test_any_shape_is_read_back(tmp_path, counts, size):
    jets = ak.unflatten(np.arange(sum(counts), dtype="f4"), counts)
    met = ak.unflatten(np.arange(len(counts), dtype="f4"), [1] * len(counts))
    path = write(tmp_path / "shape.root", {"Jet.PT": jets, "MissingET.MET": met})
    chunks = list(open_events(path).chunks(size))
    assert [pt for chunk in chunks for pt in chunk.events.Jet.pt.tolist()] == jets.tolist()
    assert [value for chunk in chunks for value in chunk.events.MET.pt] == list(range(len(counts)))
    assert [number for chunk in chunks for number in chunk.events.event] == list(range(len(counts)))


@pytest.mark.slow
def test_a_file_that_delphes_wrote(reference_data):
    source = open_events(reference_data / "delphes_ttbar.root")
    assert source.files[0].format == "delphes"
    assert source.entries == 40
    assert "Track_particle" in source.files[0].unusable
    columns = [
        *("run", "event", "genWeight", "MET_pt", "GenMET_phi", "ScalarHT_ht", "Generator_scalePDF"),
        *("GenPart_pt", "GenPart_eta", "GenPart_phi", "GenPart_pdgId", "GenPart_status"),
        *("GenPart_isPrompt", "Jet_pt", "Jet_btag", "Jet_tau2"),
        *("Electron_mass", "Electron_pt", "Electron_eta", "Electron_phi"),
    ]  # fmt: skip
    events = ak.concatenate([chunk.events for chunk in source.chunks(size=7, columns=columns)])
    assert len(events) == 40
    assert ak.all(events.Jet.pt > 15)
    assert 0.05 < ak.mean(events.Jet.btag) < 0.6
    # Each isolated electron lies where a prompt GEN electron is; decays of hadrons are not prompt.
    particles = events.GenPart[(abs(events.GenPart.pdgId) == 11) & (events.GenPart.status == 1)]
    prompt = particles[particles.isPrompt]
    pairs = ak.cartesian({"e": events.Electron, "g": prompt}, nested=True)
    close = ak.any(np.hypot(pairs.e.eta - pairs.g.eta, pairs.e.phi - pairs.g.phi) < 0.01, axis=-1)
    assert ak.mean(close) > 0.9
    assert ak.all(ak.num(prompt) <= ak.num(particles))
    pions = events.GenPart[(events.GenPart.pdgId == 22) & (events.GenPart.status == 1)]
    assert ak.mean(pions.isPrompt) < 0.1
