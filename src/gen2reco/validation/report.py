"""The report: one self-contained HTML page, report.json with every number, and PNGs for talks."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import math
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter, ValidationError

from gen2reco.errors import SampleError
from gen2reco.validation import wording
from gen2reco.validation.gallery import gallery
from gen2reco.validation.labels import split_unit
from gen2reco.validation.pictures import png_bytes, svg_bytes
from gen2reco.validation.results import Assessment  # noqa: TC001 - pydantic reads annotations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Everything the page shows.

    Attributes:
        assessment: the comparison.
        title: heading of the page.
        provenance: what was compared: files, digests, versions, seeds; values may be nested.
        histories: records of each training by name, one per epoch.
        domain: share of GEN rows outside the training domain, by GEN quantity or as a whole.
        storage: bytes per event by format, for example RECO and GEN.
    """

    assessment: Assessment
    title: str = "FullSim and FastSim"
    provenance: dict[str, Any] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    domain: dict[str, float] = field(default_factory=dict)
    storage: dict[str, float] = field(default_factory=dict)


def write_report(
    assessment: Assessment,
    folder: str | Path,
    *,
    title: str = "FullSim and FastSim",
    provenance: Mapping[str, Any] | None = None,
    histories: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    domain: Mapping[str, float] | None = None,
    storage: Mapping[str, float] | None = None,
    png: bool = True,
) -> Path:
    """Write index.html, report.json and plots/*.png into a folder.

    The page needs no other file and no network; the same arguments give the same bytes.

    Args:
        assessment: what `assess` found.
        folder: made where it does not exist; files of an earlier report are replaced.
        title: heading of the page.
        provenance: what was compared; values may be nested mappings and lists.
        histories: per training, its records by epoch (`epoch`, `train`, `validation`, `monitor`).
        domain: share of GEN rows outside the training domain, by name.
        storage: bytes per event, by name; `RECO` is what the others are compared with.
        png: also write every plot as PNG.

    Returns:
        Path of the page.
    """
    plain = to_plain(
        {
            "provenance": dict(provenance or {}),
            "histories": {k: [dict(r) for r in v] for k, v in (histories or {}).items()},
            "domain": dict(domain or {}),
            "storage": dict(storage or {}),
        }
    )
    return render(Report(assessment, title, **plain), Path(folder), png=png)


def render(report: Report, folder: Path, *, png: bool = True) -> Path:
    """Write a report, also one that was read back from report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    _place(folder / "report.json", _json(report))
    figures: dict[str, list[dict[str, Any]]] = {}
    for plot in gallery(report.assessment, report.histories):
        figure = plot.draw()
        svg = svg_bytes(figure)
        width, height = figure.get_size_inches() * 72
        figures.setdefault(plot.section, []).append(
            {
                "name": plot.name,
                "caption": plot.caption,
                "alt": plot.alt,
                "size": plot.size,
                "source": "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii"),
                "width": round(width),
                "height": round(height),
            }
        )
        if png:
            (folder / "plots").mkdir(exist_ok=True)
            _place(folder / "plots" / f"{plot.name}.png", png_bytes(figure))
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(report=report, a=report.assessment, figures=figures, png=png)
    )
    target = folder / "index.html"
    _place(target, page.encode("utf-8"))
    log.info("wrote %s (%.1f MB)", target, len(page) / 1e6)
    return target


def read_report(path: str | Path) -> Report:
    """Read report.json back, so that the page can be drawn again or reports compared.

    Raises:
        SampleError: the file is not a report of this format.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "report.json"
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        if tree.get("format") != FORMAT:
            raise SampleError(
                f"{file} has report format {tree.get('format')!r}, this version reads {FORMAT}; "
                "make the report again"
            )
        del tree["format"]
        return TypeAdapter(Report).validate_python(tree)
    except (OSError, ValueError, ValidationError, AttributeError) as error:
        raise SampleError(f"{file} is not a report: {error}") from error


def to_plain(value: Any) -> Any:
    """Turn records into what JSON holds; numbers that do not exist become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _json(report: Report) -> bytes:
    """One line per entry of the assessment: compact, and two reports can be compared."""
    tree = {"format": FORMAT, **to_plain(report)}
    assessment = tree.pop("assessment")
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in tree.items()
    ]
    inner = [
        f"    {json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in assessment.items()
    ]
    lines.append('  "assessment": {\n' + ",\n".join(inner) + "\n  }")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gen2reco.validation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "ratio": wording.ratio,
        "p": wording.p_value,
        "unit": lambda label: split_unit(label)[1],
        "target": lambda value, t: (wording.p_value if " p " in t.name else wording.number)(value),
        "anchor": lambda text: re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-"),
    }
    environment.globals |= {"pm": wording.plus_minus}
    return environment


def _place(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
