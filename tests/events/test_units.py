import numpy as np
import pytest

from gen2reco.errors import StudyError
from gen2reco.events import Jagged, open_events, to_events, write_events
from gen2reco.events.units import is_momentum, mev_to_gev


@pytest.mark.parametrize(
    "name", ["Jet_pt", "Jet_mass", "MET_sumEt", "Generator_scalePDF", "GenPart_energy", "Tower_et"]
)
def test_momentum_like(name):
    assert is_momentum(name)


@pytest.mark.parametrize(
    "name", ["Jet_eta", "Jet_ptD", "GenPart_m2", "event", "Muon_pfRelIso04_all", "Muon_dz"]
)
def test_not_momentum_like(name):
    assert not is_momentum(name)


def test_precision_is_kept():
    columns = mev_to_gev(
        {"a_pt": np.array([1500], np.float32), "b_e": Jagged(np.array([0, 1]), np.array([2000]))}
    )
    assert columns["a_pt"].dtype == np.float32
    assert columns["b_e"].content.tolist() == [2.0]


def test_files_in_mev_are_read_in_gev(tmp_path):
    events = to_events(
        {
            "MET_pt": np.array([30000.0]),
            "MET_phi": np.array([3.0]),
            "Jet_pt": (np.array([0, 1]), np.array([25000.0])),
        }
    )
    write_events(tmp_path / "mev.parquet", [events])
    read = next(iter(open_events(tmp_path / "mev.parquet", units="MeV")))
    assert read.MET.pt.tolist() == pytest.approx([30])
    assert read.Jet.pt.tolist() == [[pytest.approx(25)]]
    assert read.MET.phi.tolist() == [3.0]
    assert next(iter(open_events(tmp_path / "mev.parquet"))).MET.pt.tolist() == [30000]


def test_an_unknown_unit_is_refused(tmp_path):
    with pytest.raises(StudyError, match="Did you mean 'MeV'"):
        open_events(tmp_path / "no.parquet", units="mev")
