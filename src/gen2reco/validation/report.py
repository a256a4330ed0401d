"""The report: self-contained HTML pages, report.json with every number, and PNGs for talks."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import math
import os
import tempfile
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from pydantic import TypeAdapter, ValidationError

from gen2reco.errors import SampleError
from gen2reco.validation import wording
from gen2reco.validation.classifier import cores
from gen2reco.validation.gallery import (
    gallery,
    set_gallery,
    streamed_gallery,
    transport_gallery,
)
from gen2reco.validation.labels import split_unit
from gen2reco.validation.object_verdict import region_pull
from gen2reco.validation.pictures import png_bytes, svg_bytes
from gen2reco.validation.results import Assessment  # noqa: TC001 - pydantic reads annotations
from gen2reco.validation.set_records import SetComparison  # noqa: TC001 - as above
from gen2reco.validation.streamed import Streamed  # noqa: TC001 - as above
from gen2reco.validation.transport import Transport  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Everything a page shows, and the pages of the parts behind it.

    Attributes:
        assessment: the comparison.
        title: heading of the page.
        provenance: what was compared: files, digests, versions, seeds; values may be nested.
        histories: records of each training by name, one per epoch.
        domain: share of GEN rows outside the training domain, by GEN quantity or as a whole.
        storage: bytes per event by format, for example RECO and GEN.
        parts: pages of the emulator's parts by name, in order; they have none of their own.
        sets: jets as sets of particles, where the study has such.
        streamed: distributions of all events, where these are more than those judged.
        transport: what the map does, where it was learned without pairs.
    """

    assessment: Assessment
    title: str = "FullSim and FastSim"
    provenance: dict[str, Any] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    domain: dict[str, float] = field(default_factory=dict)
    storage: dict[str, float] = field(default_factory=dict)
    parts: dict[str, Report] = field(default_factory=dict)
    sets: SetComparison | None = None
    streamed: Streamed | None = None
    transport: Transport | None = None


def write_report(
    assessment: Assessment,
    folder: str | Path,
    *,
    title: str = "FullSim and FastSim",
    provenance: Mapping[str, Any] | None = None,
    histories: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    domain: Mapping[str, float] | None = None,
    storage: Mapping[str, float] | None = None,
    parts: Mapping[str, Report] | None = None,
    streamed: Streamed | None = None,
    png: bool = True,
) -> Path:
    """Write index.html, a page per part, report.json and plots/*.png into a folder.

    A page needs no other file and no network; the same arguments give the same bytes.

    Args:
        assessment: what `assess` found.
        folder: made where it does not exist; files of an earlier report are replaced.
        title: heading of the page.
        provenance: what was compared; values may be nested mappings and lists.
        histories: per training, its records by epoch (`epoch`, `train`, `validation`, `monitor`).
        domain: share of GEN rows outside the training domain, by name.
        storage: bytes per event, by name; `RECO` is what the others are compared with.
        parts: what stands on the pages of the parts, `part-<name>.html`, by name.
        streamed: distributions of all events.
        png: also write every plot as PNG.

    Returns:
        Path of the first page.
    """
    plain = to_plain(
        {
            "provenance": dict(provenance or {}),
            "histories": {k: [dict(r) for r in v] for k, v in (histories or {}).items()},
            "domain": dict(domain or {}),
            "storage": dict(storage or {}),
        }
    )
    report = Report(assessment, title, **plain, parts=dict(parts or {}), streamed=streamed)
    return render(report, Path(folder), png=png)


def render(report: Report, folder: Path, *, png: bool = True) -> Path:
    """Write a report, also one that was read back from report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    _place(folder / "report.json", _json(report))
    pages = [(part, f"part-{name}", report.title) for name, part in report.parts.items()]
    # drawing takes longer than all numbers did, and a page knows nothing of the others
    workers = min(cores(), 1 + len(pages))
    written: list[Path] = Parallel(n_jobs=workers)(
        delayed(_page)(one, folder, name, back=back, png=png)
        for one, name, back in [(report, "index", ""), *pages]
    )
    return written[0]


def _page(report: Report, folder: Path, name: str, *, back: str, png: bool) -> Path:
    """Draw the plots of one page and write it; the plots of a part lie in a folder of their own."""
    pictures = Path("plots") if name == "index" else Path("plots") / name
    figures: dict[str, list[dict[str, Any]]] = {}
    drawn = [gallery(report.assessment, report.histories)]
    drawn += [set_gallery(report.sets)] if report.sets else []
    drawn += [transport_gallery(report.transport)] if report.transport else []
    drawn += [streamed_gallery(report.streamed)] if report.streamed else []
    for plot in chain(*drawn):
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
            (folder / pictures).mkdir(parents=True, exist_ok=True)
            _place(folder / pictures / f"{plot.name}.png", png_bytes(figure))
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            a=report.assessment,
            figures=figures,
            png=png,
            back=back,
            folder=pictures.as_posix(),
        )
    )
    target = folder / f"{name}.html"
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
    """One line per entry of an assessment: compact, and two reports can be compared."""
    tree = {"format": FORMAT, **to_plain(report)}
    return (_lines(tree, "") + "\n").encode("utf-8")


def _lines(tree: dict[str, Any], indent: str) -> str:
    """JSON of a report, the assessment last and entry by entry, then the parts in the same way."""
    assessment, parts = tree.pop("assessment"), tree.pop("parts")
    lines = _entries(tree)
    lines.append(f'"assessment": {_block(_entries(assessment), indent + "  ")}')
    if parts:
        pages = [
            f"{json.dumps(name)}: {_lines(part, indent + '    ')}" for name, part in parts.items()
        ]
        lines.append(f'"parts": {_block(pages, indent + "  ")}')
    return _block(lines, indent)


def _entries(tree: dict[str, Any]) -> list[str]:
    return [f"{json.dumps(key)}: {json.dumps(v, allow_nan=False)}" for key, v in tree.items()]


def _block(lines: list[str], indent: str) -> str:
    return "{\n" + ",\n".join(f"{indent}  {line}" for line in lines) + f"\n{indent}}}"


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
        "largest_ratio": wording.largest_ratio,
        "closure_p": wording.closure_p,
        "region_pull": region_pull,
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
