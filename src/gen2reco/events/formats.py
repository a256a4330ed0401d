"""Which output formats there are, and which one a name asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen2reco.errors import EventFileError, nearest
from gen2reco.events.parquet import ParquetWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gen2reco.events.writer import Writer

FORMATS = ("parquet", "nanoaod", "rntuple")


def make_writer(name: str, path: Path, descriptions: Mapping[str, str]) -> Writer:
    """Start a file of a known format."""
    if name == "parquet":
        return ParquetWriter(path, descriptions)
    from gen2reco.events.nanoaod import RNTupleWriter, TreeWriter  # noqa: PLC0415  (needs uproot)

    return (TreeWriter if name == "nanoaod" else RNTupleWriter)(path, descriptions)


def output_format(path: Path, name: str | None = None) -> str:
    """Name of the format: the one asked for, else by the suffix.

    Raises:
        EventFileError: no such format, or a suffix that names none.
    """
    if name is not None:
        if name not in FORMATS:
            message = (
                f"unknown format {name!r}; there are {', '.join(FORMATS)}.{nearest(name, FORMATS)}"
            )
            raise EventFileError(message, file=str(path))
        return name
    if path.name.endswith(".rntuple.root"):
        return "rntuple"
    known = {".parquet": "parquet", ".pq": "parquet", ".root": "nanoaod"}
    if path.suffix not in known:
        message = (
            f"the suffix {path.suffix!r} names no format; use .parquet, .root or .rntuple.root"
        )
        raise EventFileError(message, file=str(path))
    return known[path.suffix]
