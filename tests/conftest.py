"""Fixtures that every layer's tests may use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with the large reference samples; a test that needs it is skipped, saying so, where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "wjet.parquet").is_file():
        pytest.skip(f"the reference samples are not at {folder}")
    return folder
