"""`validate`: judge an emulator on events it was not trained on, and write the report."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator import Emulator, load_emulator
from gen2reco.errors import OutputExistsError, StudyError
from gen2reco.events import open_events, write_events
from gen2reco.rows.splits import halves
from gen2reco.validation import Rate, Settings, assess, write_report
from gen2reco.verbs.samples import closure, coverage, emulated, identity, read_judged, to_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    import awkward as ak

    from gen2reco.rows.tables import Table
    from gen2reco.validation import Assessment, Quantity, Sample

CLOSURE_REPLICAS = 5
COVERAGE_ROWS = 50_000
"""At most so many rows are drawn 99 times for the coverage test."""
QUICK_COVERAGE_ROWS = 4_000


@dataclass(frozen=True)
class Validated:
    """Outcome of `validate` or `compare`: everything measured, and the folder of the report."""

    assessment: Assessment
    folder: Path

    @property
    def page(self) -> Path:
        """The report, one self-contained HTML file."""
        return self.folder / "index.html"

    def as_dict(self) -> dict[str, Any]:
        """Return `report.json` as it was written."""
        return json.loads((self.folder / "report.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"{headline_table(self.assessment)}\nreport: {self.page}"

    def _repr_html_(self) -> str:
        return (
            f"<pre>{escape(headline_table(self.assessment))}</pre><a href='{self.page}'>report</a>"
        )


def validate(
    model: Emulator | str | Path,
    files: Any,
    output: str | Path = "report",
    *,
    split: str = "auto",
    seed: int = 1,
    quick: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Validated:
    """Compare what an emulator makes of GEN with the RECO of other events, and write a report.

    FullSim is the RECO of half A of the events, FastSim is emulated from the GEN of half B: no GEN
    event is on both sides. Every metric stands beside its null, FullSim against FullSim.

    Args:
        model: an emulator or its path.
        files: files or globs of events with GEN and RECO.
        output: folder of the report.
        split: `auto` takes the test part where a file is one the emulator was trained on (by
            digest), else all events; `test` and `all` force one of them.
        seed: seed of the emulated events.
        quick: fewer repetitions for errors and nulls; the report says so.
        overwrite: replace an existing report.
        say: receives a line at the start of each step.

    Raises:
        OutputExistsError: the report exists and `overwrite` is off.
        StudyError: the study judges nothing, or has a part that is not one row per event.
        EventFileError, EmulatorError: a file or the emulator cannot be used.
    """
    output = Path(output)
    check_free(output, overwrite=overwrite)
    emulator = model if isinstance(model, Emulator) else load_emulator(model)
    study = emulator.study
    if len(emulator.parts) != 1 or study.parts[0].rows.kind != "event":
        raise StudyError("validate judges studies of one part with one row per event")
    if not study.validation.quantities:
        raise StudyError(
            f"study {study.name!r} has no validation.quantities, so there is nothing to judge"
        )
    source = open_events(files, tree=study.input.tree, units=study.input.units)
    learned = {file["sha256"] for file in emulator.provenance.get("files", [])}
    test_only = split == "test" or (
        split == "auto" and any(file.digest() in learned for file in source.files)
    )
    say(f"reading {'the test part of ' if test_only else ''}{source.entries} events")
    events, table, dropped = read_judged(emulator, source, test_only=test_only)
    samples = _samples(emulator, events, table, seed, quick, say)
    settings = Settings.for_demo(seed=seed) if quick else Settings(seed=seed)
    say("closure on the same GEN events, and coverage")
    replicas = [
        emulated(emulator, events, seed=seed + 1000 + number) for number in range(CLOSURE_REPLICAS)
    ]
    rows = np.arange(min(len(table), QUICK_COVERAGE_ROWS if quick else COVERAGE_ROWS))
    labels = dict(study.validation.labels)
    say("comparing distributions, correlations, response; training classifiers")
    assessment = assess(
        samples.full,
        samples.half,
        samples.fast,
        coverage=coverage(emulator, table.take(rows), seed=seed),
        closure=closure(study, events, replicas, table.weight),
        rates={"final selection": samples.rate} if study.validation.select else None,
        labels=labels,
        kinds={name: response.kind for name, response in study.validation.responses.items()},
        response_bins=list(study.validation.response_bins),
        not_judged=_not_judged(study.select, dropped),
        settings=settings,
    )
    say("drawing the report")
    _write(emulator, assessment, output, source, table, replicas[0], test_only, overwrite)
    return Validated(assessment, output)


@dataclass(frozen=True)
class _Samples:
    full: Sample
    half: np.ndarray
    fast: list[Sample]
    rate: Rate


def _samples(
    emulator: Emulator,
    events: ak.Array,
    table: Table,
    seed: int,
    quick: bool,
    say: Callable[[str], None],
) -> _Samples:
    study = emulator.study
    everything = np.arange(len(events))
    full = to_sample(
        study, events, everything, table.condition, identity=identity(emulator, events, table)
    )
    half = halves(table.keys)
    b = np.flatnonzero(half == 1)
    members = emulator.members
    fast = []
    say(f"emulating {len(b)} events" + (f" with {members} members" if members > 1 else ""))
    table_b = table.take(b)
    identity_b = identity(emulator, events[b], table_b)
    for number in range(1 if quick else 5):
        count = members if number == 0 else 1
        made = emulated(emulator, events[b], seed=seed + number, members=count)
        same = None if identity_b is None else identity_b[np.repeat(np.arange(len(b)), count)]
        origin = np.repeat(b, count)
        fast.append(to_sample(study, made, origin, table.condition, identity=same))
    in_a = half[full.event] == 0
    nominal = fast[0].nominal()
    rate = Rate(
        full=(float(full.weight[in_a].sum()), float(table.weight[half == 0].sum())),
        fast=(float(nominal.weight.sum()), float(table.weight[b].sum())),
        full_squared=(
            float((full.weight[in_a] ** 2).sum()),
            float((table.weight[half == 0] ** 2).sum()),
        ),
        fast_squared=(float((nominal.weight**2).sum()), float((table.weight[b] ** 2).sum())),
    )
    return _Samples(full, half[full.event], fast, rate)


def _not_judged(select: str, dropped: dict[str, int]) -> list[str]:
    sentences = []
    if select:
        sentences.append(
            "Efficiencies: the emulator learned, and is judged on,"
            f" events that pass `{select}` in RECO."
        )
    if dropped:
        left_out = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
        sentences.append(f"Events without a row in GEN and RECO ({left_out}).")
    sentences.append("Events of other processes, generators or detectors than those of the sample.")
    return sentences


def _write(
    emulator: Emulator,
    assessment: Assessment,
    output: Path,
    source: Any,
    table: Table,
    made: ak.Array,
    test_only: bool,
    overwrite: bool,
) -> None:
    study, trained = emulator.study, emulator.parts[0]
    outside = trained.features.outside_domain(table)
    with tempfile.TemporaryDirectory() as scratch:
        reco = [
            name
            for name in made.fields
            if name in {*trained.part.output, "run", "luminosityBlock", "event"}
        ]
        stored = Path(scratch) / "reco.parquet"
        write_events(stored, [made[reco]])
        per_event = stored.stat().st_size / max(len(made), 1)
    provenance = {
        "study": f"{study.name}: {study.description}" if study.description else study.name,
        "emulator": emulator.digest,
        "judged on": ", ".join(f"{file.path.name} ({file.entries} events)" for file in source.files)
        + (", the test part" if test_only else ""),
        "judged rows": len(table),
        "outside the training domain": f"{np.mean(outside):.2%} of the GEN events",
        "trained on": ", ".join(file["name"] for file in emulator.provenance.get("files", [])),
        "rows": emulator.provenance.get("rows", {}),
        "found at fit time": emulator.provenance.get("findings", {}),
        "training health": emulator.provenance.get("advice", {}),
        "stored RECO (Parquet)": f"{per_event:.0f} bytes per event",
        "training time": f"{emulator.provenance.get('seconds', 0):.0f} s",
        "versions": emulator.provenance.get("versions", {}),
    }
    histories = {
        f"{part}, member {member}": history
        for part, members in emulator.provenance.get("history", {}).items()
        for member, history in enumerate(members)
    }
    place_report(
        output,
        overwrite,
        lambda folder: write_report(
            assessment,
            folder,
            title=f"{study.name}: FullSim and FastSim",
            provenance=provenance,
            histories=histories,
        ),
    )


def check_free(output: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError where a report stands and must not be replaced."""
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists; choose another --output or give --overwrite")


def place_report(output: Path, overwrite: bool, write: Callable[[Path], Any]) -> None:
    """Write a report beside its final place and move it there, so that it appears whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        write(folder)
        folder.chmod(0o755)
        check_free(output, overwrite=overwrite)
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
