"""Fixtures that every layer's tests may use."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with the large reference samples; where it is absent, tests skip and say so."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "wjet.parquet").is_file():
        pytest.skip(f"the reference samples are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def bundled() -> Path:
    """The W + jet sample that comes with the package."""
    from gen2reco.verbs.train import bundled_sample

    return bundled_sample("wjet")


@pytest.fixture(scope="session")
def gen_file(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3000 events of the bundled sample in a file other than that of training."""
    path = tmp_path_factory.mktemp("events") / "gen.parquet"
    pq.write_table(pq.read_table(bundled).slice(20_000, 3000), path)
    return path


@pytest.fixture(scope="session")
def small_emulator(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real but small emulator of `wjet` with an ensemble of two: some seconds of training."""
    from gen2reco import train

    path = tmp_path_factory.mktemp("emulator") / "model"
    overrides = {
        "training.epochs": 2,
        "training.members": 2,
        "training.max_rows": 6000,
        "model.couplings": 3,
        "model.hidden": [16, 16],
        "model.bins": 8,
    }
    train("wjet", bundled, path, overrides=overrides)
    return path
