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


SMALL_WJET = {
    "training.epochs": 2,
    "training.members": 2,
    "training.max_rows": 6000,
    "model.categories.hidden": [16, 16],
    "model.continuous.couplings": 3,
    "model.continuous.hidden": [16, 16],
}
"""Changes to the study `wjet` that make its training short."""


@pytest.fixture(scope="session")
def small_wjet() -> dict[str, object]:
    """Changes to the study `wjet` for a short training, that of `small_emulator`."""
    return dict(SMALL_WJET)


@pytest.fixture(scope="session")
def small_emulator(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real but small emulator of `wjet` with an ensemble of two: some seconds of training."""
    from gen2reco import train

    path = tmp_path_factory.mktemp("emulator") / "model"
    train("wjet", bundled, path, overrides=SMALL_WJET)
    return path


QUICK_HMUMU = {
    "training.epochs": 2,
    "parts.0.presence.training": {"epochs": 2},
    "parts.1.presence.training": {"epochs": 2},
    "parts.2.presence.training": {"epochs": 2},
    "parts.2.training": {"epochs": 3},
    "parts.3.training": {"epochs": 2},
}
"""Changes to the study `hmumu` that make its training short; what comes out is poor but whole."""


@pytest.fixture(scope="session")
def quick_hmumu() -> dict[str, object]:
    """Changes to the study `hmumu` for a short training."""
    return dict(QUICK_HMUMU)


@pytest.fixture(scope="session")
def hmumu_sample() -> Path:
    """The H -> mu mu sample that comes with the package."""
    from gen2reco.verbs.train import bundled_sample

    return bundled_sample("hmumu")


@pytest.fixture(scope="session")
def hmumu_model(hmumu_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An emulator of whole H -> mu mu events in four parts, trained for some seconds."""
    from gen2reco import train

    path = tmp_path_factory.mktemp("hmumu") / "model"
    train("hmumu", hmumu_sample, path, overrides=QUICK_HMUMU)
    return path
