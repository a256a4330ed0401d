"""`validate`: judge an emulator on events it was not trained on, and write the report."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.emulator import Emulator, as_emulator
from gen2reco.errors import StudyError, nearest
from gen2reco.events import open_events, write_events
from gen2reco.rows.table import IDS
from gen2reco.validation import Report, render
from gen2reco.validation.streamed import Streaming
from gen2reco.verbs.event_samples import outside_domain
from gen2reco.verbs.inputs import naming, refuse_negative
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.judging import Judging, histories_of, too_few
from gen2reco.verbs.report_folder import check_free, place_report
from gen2reco.verbs.spread import check_streamed, reading_there
from gen2reco.verbs.streamed import origins_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gen2reco.validation import Assessment, Quantity
    from gen2reco.validation.streamed import Streamed

SPLITS = ("auto", "test", "all")


@dataclass(frozen=True)
class Validated:
    """Outcome of `validate` or `compare`: everything measured, and the folder of the report.

    Attributes:
        assessment: of the whole events, or of the only part.
        folder: of the report.
        parts: of each part, where the emulator has several.
        streamed: distributions of all events, where they were streamed.
    """

    assessment: Assessment
    folder: Path
    parts: Mapping[str, Assessment] = field(default_factory=dict)
    streamed: Streamed | None = None

    @property
    def page(self) -> Path:
        """The report's first page, a self-contained HTML file."""
        return self.folder / "index.html"

    def as_dict(self) -> dict[str, Any]:
        """Return `report.json` as it was written."""
        return json.loads((self.folder / "report.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def __str__(self) -> str:
        lines = [headline_table(self.assessment)]
        lines += [f"\npart {name}: {headline_table(one)}" for name, one in self.parts.items()]
        lines += [f"\n{self.streamed}"] if self.streamed else []
        return "\n".join([*lines, f"report: {self.page}"])

    def _repr_html_(self) -> str:
        text = str(self).rpartition("\n")[0]
        return f"<pre>{escape(text)}</pre><a href='{self.page}'>report</a>"


def validate(
    model: Emulator | str | Path,
    files: Any,
    output: str | Path = "report",
    *,
    split: str = "auto",
    seed: int = 1,
    oversample: int = 1,
    quick: bool = False,
    stream: int = 0,
    scheduler: str = "",
    workers: int = 1,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Validated:
    """Compare what an emulator makes of GEN with the RECO of other events, and write a report.

    FullSim is the RECO of half A of the events, FastSim is emulated from the GEN of half B: no GEN
    event is on both sides. Every metric stands beside its null, FullSim against FullSim.

    Every part of an emulator is judged by itself, given the RECO objects of the file where it
    depends on parts before it, and all of them together on whole events.

    Args:
        model: an emulator or its path.
        files: files or globs of events with GEN and RECO.
        output: folder of the report.
        split: `auto` takes the test part where a file is one the emulator was trained on (by
            digest), else all events; `test` and `all` force one of them.
        seed: seed of the emulated events.
        oversample: FastSim events per GEN event, all of which enter the histograms; the report then
            says what they gain.
        quick: fewer repetitions for errors and nulls; the report says so.
        stream: for samples larger than memory: the distributions are those of all events, as
            sketches (`streamed.json`); everything else is about so many of them, chosen by their
            keys. 0: all events, in memory.
        scheduler: address of a Dask scheduler (`tcp://host:8786`) whose workers read and simulate
            what is streamed, or `local` for a cluster of `workers` processes here. The figures are
            those without it.
        workers: processes of a local cluster.
        overwrite: replace an existing report.
        say: receives a line at the start of each step.

    Raises:
        OutputExistsError: the report exists and `overwrite` is off.
        StudyError: the study judges nothing, or an expression or an option is wrong.
        EventFileError, EmulatorError: a file or the emulator cannot be used.
        WorkerError: a scheduler was lost.
    """
    output = Path(output)
    refuse_negative(seed)
    check_streamed(scheduler, stream, workers)
    if split not in SPLITS:
        raise StudyError(
            f"split must be one of {', '.join(SPLITS)}, not {split!r}.{nearest(split, SPLITS)}"
        )
    check_free(output, overwrite=overwrite)
    emulator = as_emulator(model)
    study = emulator.study
    source = open_events(files, tree=study.input.tree, units=study.input.units)
    learned = {file["sha256"] for file in emulator.provenance.get("files", [])}
    test_only = split == "test" or (
        split == "auto" and any(file.digest() in learned for file in source.files)
    )
    say(f"reading {'the test part of ' if test_only else ''}{source.entries} events")
    streaming = Streaming(origins_of(study), study.validation.labels)
    judged_events = max(1.0, source.entries * (study.split.test if test_only else 1.0))
    with (
        reading_there(scheduler, workers, model, emulator) as there,
        naming(source, "these events cannot be judged"),
    ):
        judged = read_judged(
            emulator,
            source,
            test_only=test_only,
            share=stream / judged_events if stream else 1.0,
            streaming=streaming if stream else None,
            seed=seed,
            there=there,
        )
    whole = bool(study.validation.quantities) or len(study.parts) > 1
    separate = [part for part in study.parts if len(study.parts) > 1 or not whole]
    run = Judging(emulator, judged, seed, oversample, quick, say)
    pages: dict[str, Report] = {}
    left_out: list[str] = []
    streamed = streaming.result(len(judged.events)) if stream else None
    if streamed:
        left_out.append(
            "Beyond distributions, which are under `All events` and in streamed.json:"
            f" {sum(streamed.events[:2])} events but for {len(judged.events)} of them."
        )
    for part in separate:
        reason = too_few(judged, part)
        if reason:
            left_out.append(reason)
        else:
            pages[part.name] = run.part(part)
    if not (whole or pages):
        raise StudyError(f"nothing can be judged: {' '.join(left_out)}")
    if whole:
        pages |= run.way_back()
    first = run.events(left_out) if whole else next(iter(pages.values()))
    say("drawing the report")
    report = Report(
        first.assessment,
        title=f"{study.name}: FullSim and FastSim",
        provenance=_provenance(run, test_only),
        histories=histories_of(emulator) if not whole or len(study.parts) == 1 else {},
        domain=first.domain,
        parts=pages if whole else {},
        sets=first.sets,
        streamed=streamed,
        transport=first.transport,
    )

    def write(folder: Path) -> None:
        render(report, folder)
        if streamed:
            streamed.write(folder)

    place_report(output, overwrite, write)
    parts = {name: page.assessment for name, page in report.parts.items()}
    return Validated(first.assessment, output, parts, streamed)


def _provenance(run: Judging, test_only: bool) -> dict[str, Any]:
    emulator, judged = run.emulator, run.judged
    study, known = emulator.study, emulator.provenance
    made = emulator.simulate_chunk(judged.events, seed=run.seed, policy="error").events
    written = {collection for part in study.parts for collection in part.output}
    reco = [name for name in made.fields if name in {*written, *IDS}]
    with tempfile.TemporaryDirectory() as scratch:
        stored = Path(scratch) / "reco.parquet"
        write_events(stored, [made[reco]])
        per_event = stored.stat().st_size / max(len(made), 1)
    return {
        "study": f"{study.name}: {study.description}" if study.description else study.name,
        "emulator": emulator.digest,
        "judged on": ", ".join(
            f"{file.path.name} ({file.entries} events)" for file in judged.source.files
        )
        + (", the test part" if test_only else ""),
        "judged rows": len(judged.events)
        if len(study.parts) == 1
        else {name: len(table) for name, table in judged.tables.items()},
        "outside the training domain": f"{outside_domain(made):.2%} of the GEN events",
        "trained on": ", ".join(file["name"] for file in known.get("files", [])),
        "rows": known.get("rows", {}),
        "found at fit time": known.get("findings", {}),
        "training health": known.get("advice", {}),
        "stored RECO (Parquet)": f"{per_event:.0f} bytes per event",
        "training time": f"{known.get('seconds', 0):.0f} s",
        "versions": known.get("versions", {}),
    }


def headline_table(assessment: Assessment) -> str:
    """Return the verdict and one line per target and quantity, as plain text."""
    lines = [assessment.headline, ""]
    lines += [
        f"{'met    ' if target.met else 'NOT met'}  {target.name}: {target.value:.3g}"
        f" (asked {target.limit:g})"
        for target in assessment.targets
    ]
    lines += ["", f"{'quantity':<24}{'W1':>12}{'floor ratio':>18}  verdict"]
    lines += [_row(quantity) for quantity in assessment.quantities]
    return "\n".join(lines)


def _row(quantity: Quantity) -> str:
    name = quantity.name if quantity.group == "quantity" else f"{quantity.name} response"
    if quantity.w1 is None or quantity.floor_ratio is None:
        return f"{name:<24}{'':>12}{'':>18}  {quantity.word}"
    ratio = f"{quantity.floor_ratio.value:.2f} +- {quantity.floor_ratio.error:.2f}"
    return f"{name:<24}{quantity.w1.value:>12.4g}{ratio:>18}  {quantity.word}"
