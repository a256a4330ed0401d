"""Where a report goes: a folder that appears whole and replaces nothing but a report."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from gen2reco.errors import OutputExistsError
from gen2reco.events.publish import (
    publish_folder,
    refuse_below_file,
    refuse_foreign,
    remove_stale,
    temporary_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def check_free(output: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError where something stands that must not be replaced."""
    refuse_below_file(output)
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists; choose another --output or give --overwrite")
    refuse_foreign(output, "report.json", "a report")


def place_report(output: Path, overwrite: bool, write: Callable[[Path], Any]) -> None:
    """Write a report beside its final place and move it there, so that it appears whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(output.parent)
    folder = temporary_name(output)
    folder.mkdir(mode=0o700)
    try:
        write(folder)
        folder.chmod(0o755)
        check_free(output, overwrite=overwrite)
        publish_folder(folder, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
