"""`export`: an emulator for programs that are not gen2reco."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator import load_emulator
from gen2reco.emulator.reference import read_reference
from gen2reco.errors import EmulatorError, OutputExistsError, StudyError, nearest
from gen2reco.events import open_events
from gen2reco.events.publish import (
    publish_folder,
    refuse_foreign,
    remove_stale,
    temporary_name,
)
from gen2reco.extras import EXTRAS, require
from gen2reco.portable.corrections import Drawn, as_correction, axes_of
from gen2reco.portable.corrections import tables as binned_tables
from gen2reco.portable.network import PRECISIONS, write_network
from gen2reco.portable.reference import ALLOWED, drawn_rows, tables_of
from gen2reco.rows.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.emulator import Emulator, TrainedPart
    from gen2reco.portable.network import Choice
    from gen2reco.portable.reference import Agreement

FORMATS = ("onnx", "aoti", "correctionlib")
DOCUMENT = "export.json"
TABLES = "corrections.json"
TABLE_EVENTS = 100_000
"""GEN events that tables are averaged over, at most."""


@dataclass(frozen=True)
class Exported:
    """Outcome of `export`.

    Attributes:
        path: folder with what was written.
        format: "onnx", "aoti" or "correctionlib".
        files: what was written for each part, or each table.
        agreements: how far each part agrees with Python on reference rows.
    """

    path: Path
    format: str
    files: Mapping[str, str]
    agreements: Mapping[str, Agreement]

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.files)} files, format {self.format}"]
        for name, one in self.agreements.items():
            lines.append(
                f"  {self.files[name]}: {one.precision}, within {one.largest:.1e} of a 68 % width"
                f" of Python on {one.rows} rows ({one.at_edges} more at the edge of a category)"
            )
        if not self.agreements:
            lines = [f"{self.path}: {len(self.files)} tables: {', '.join(self.files)}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def export(
    model: str | Path,
    output: str | Path,
    *,
    file_format: str,
    files: Sequence[str | Path] | str | Path = (),
    by: Sequence[str] = (),
    parts: Sequence[str] = (),
    member: int = 0,
    precision: Choice = "auto",
    overwrite: bool = False,
) -> Exported:
    """Write the parts of an emulator as networks for other programs, each checked against Python.

    A network takes GEN features in physics units (`gen`, [rows, inputs]) and random numbers
    (`noise`, [rows, width]: standard normal ones, then uniform ones), and gives RECO features in
    physics units (`reco`, [rows, outputs]), all float32; the transforms are inside. `export.json`
    says what the columns are, `PART.csv` has reference rows with their answers.

    Format `correctionlib` writes tables instead, `corrections.json`: efficiencies and responses of
    objects in bins of two GEN quantities, averaged over the GEN events of `files`.

    Args:
        model: path of the emulator.
        output: folder to write.
        file_format: `onnx`, or `aoti`: compiled for this kind of processor; or
            `correctionlib`.
        files: for tables: files or globs with GEN events to average over; the first 100 000 are.
        by: for tables: the conditions of the axes; by default the first two of each part.
        parts: names of the parts to write; all by default, presences included.
        member: of the ensemble.
        precision: of the arithmetic in a network: `float32`, as in `simulate`; `float64`; `auto`
            takes float32 where it passes the check and float64 elsewhere. What goes in and comes
            out is float32 either way.
        overwrite: replace a folder that an export has written.

    Raises:
        EmulatorError: the emulator holds no reference events, a family cannot be exported, or the
            exported network differs from Python in the same precision by more than 1e-5 of a
            feature's 68 % width in any row.
        StudyError: an unknown format or precision.
        OutputExistsError: the output exists and `overwrite` is off.
        MissingExtraError: the packages of the format are not installed.
    """
    _check(file_format, precision)
    path = Path(output)
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; choose another --output or give --overwrite")
    refuse_foreign(path, DOCUMENT, "an export")
    emulator = load_emulator(model)
    chosen = [emulator.part(name) for name in parts] or list(emulator.parts)
    if not 0 <= member < emulator.members:
        raise EmulatorError(f"there is no member {member}; the emulator has {emulator.members}")
    if file_format != "correctionlib":
        tables = tables_of(emulator, read_reference(model)[0])
    elif not files:
        raise StudyError("tables are averages over GEN events: name files with --input")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    folder = temporary_name(path)
    folder.mkdir()
    try:
        document: dict[str, Any] = {
            "format": file_format,
            "study": emulator.study.name,
            "model": emulator.digest,
            "member": member,
            "allowed": ALLOWED,
            "versions": {name: version(name) for name in ("gen2reco", "torch", "numpy")},
            "parts": [],
        }
        agreements = {}
        if file_format == "correctionlib":
            document["parts"] = _tables(emulator, chosen, files, by, member, folder)
            chosen = []
        for trained in chosen:
            facts, agreements[trained.part.name] = write_network(
                trained,
                tables,
                folder,
                file_format=file_format,
                precision=precision,
                member=member,
            )
            document["parts"].append(facts)
        (folder / DOCUMENT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        publish_folder(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    written = {item["name"]: item["file"] for item in document["parts"]}
    return Exported(path, file_format, written, agreements)


def _check(file_format: str, precision: str) -> None:
    """Refuse a format or precision that is unknown, and a format whose packages are missing."""
    if file_format not in FORMATS:
        raise StudyError(
            f"format must be one of {', '.join(FORMATS)}, not {file_format!r}."
            f"{nearest(file_format, FORMATS)}"
        )
    if precision not in PRECISIONS:
        raise StudyError(
            f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}."
            f"{nearest(precision, PRECISIONS)}"
        )
    if file_format in EXTRAS:
        require(file_format, f"--format {file_format}")


def _tables(
    emulator: Emulator,
    chosen: Sequence[TrainedPart],
    files: Sequence[str | Path] | str | Path,
    by: Sequence[str],
    member: int,
    folder: Path,
) -> list[dict[str, Any]]:
    """Write efficiencies and responses as correctionlib's JSON and return what there is."""
    from correctionlib import CorrectionSet, schemav2  # noqa: PLC0415  (an extra)

    study = emulator.study
    source = open_events(files, tree=study.input.tree, units=study.input.units)
    pieces: dict[str, list[tuple[Table, dict[str, np.ndarray]]]] = {}
    for chunk in source.chunks(20_480, emulator.columns_needed(source), stop=TABLE_EVENTS):
        found = drawn_rows(emulator, chunk.events, replicas=1, member=member)
        for name, rows in found.items():
            pieces.setdefault(name, []).extend(rows)
    corrections, facts = [], []
    for trained in chosen:
        rows = pieces.get(trained.part.name, [])
        if not sum(len(table) for table, _ in rows):
            continue
        table = Table.concatenate([table for table, _ in rows])
        values = {name: np.concatenate([one[name] for _, one in rows]) for name in rows[0][1]}
        drawn = Drawn(trained.part, table, values)
        axes = axes_of(drawn, by)
        for name, (text, bins, edges) in binned_tables(drawn, axes).items():
            corrections.append(as_correction(name, text, bins, edges, axes))
            facts.append({"name": name, "file": TABLES, "by": list(axes), "values": list(bins)})
    if not corrections:
        raise EmulatorError("none of these parts has an efficiency or a response relative to GEN")
    text = schemav2.CorrectionSet(
        schema_version=2,
        description=f"gen2reco emulator {emulator.digest} of study {study.name}",
        corrections=corrections,
    ).model_dump_json(exclude_unset=True, indent=1)
    CorrectionSet.from_string(text)  # what cannot be read back is not written
    (folder / TABLES).write_text(text + "\n", encoding="utf-8")
    return facts
