"""Fidelity of whole events and of jets: `python benchmarks/flashsim.py`.

Trains `hmumu` on H -> mu mu, `jets` and its baselines on ttbar, each on the training part, and
judges them on the test part: every part by itself, and whole events. The jets of ttbar are judged
on H -> mu mu too, a process that they never saw. Emulators and reports stay in `benchmarks/models`;
one that is there is not made again, an interrupted training goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gen2reco import load_emulator, train, validate
from gen2reco.training import show_progress
from record import RESULTS, ROOT, record, reference_sample

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ROOT / "benchmarks" / "models"
BARS = {
    "c2st_excess": 0.02,
    "median_floor_ratio": 1.5,
    "largest_floor_ratio": 3.0,
    "efficiency_p": 0.01,
    "efficiency_ratio": 0.02,
    "btag_ratio": 0.03,
    "spurious_mean": 0.03,
    "mass_floor_ratio": 1.8,
    "region_pull": 2.0,
}


@dataclass(frozen=True)
class Task:
    """One emulator judged on one sample."""

    study: str
    trained_on: str
    judged_on: str
    oversample: int = 1

    @property
    def name(self) -> str:
        """How results call it."""
        other = f" on {self.judged_on}" if self.judged_on != self.trained_on else ""
        return f"{self.study}{other}"

    @property
    def model(self) -> Path:
        """Where its emulator is."""
        return MODELS / self.study

    @property
    def report(self) -> Path:
        """Where its report is."""
        return MODELS / f"{self.name.replace(' ', '-')}-report"


TASKS = (
    Task("hmumu", "hmumu", "hmumu", oversample=25),
    Task("jets", "ttbar", "ttbar"),
    Task("jets", "ttbar", "hmumu"),
    Task("jets-flashsim", "ttbar", "ttbar"),
    Task("jets-vae", "ttbar", "ttbar"),
)


def page_summary(page: dict[str, Any]) -> dict[str, Any]:
    """The headline figures of one page of a report."""
    ratios = {
        f"{quantity['group']} {quantity['name']}": quantity["floor_ratio"]["value"]
        for quantity in page["quantities"]
        if quantity["floor_ratio"]
    }
    classifier = page["classifier"] or {}
    return {
        "headline": page["headline"],
        "agrees": page["agrees"],
        "rows": page["rows"],
        "events": page["events"],
        "targets": {target["name"]: target for target in page["targets"]},
        "c2st_excess": classifier.get("excess"),
        "c2st_p": classifier.get("p"),
        "floor_ratios": ratios,
        "median_floor_ratio": page["median_floor_ratio"],
        "outcomes": [outcome_summary(outcome) for outcome in page["efficiencies"]],
        "counts": [
            {
                key: count[key]
                for key in ("name", "test", "mean_full", "mean_fast", "mean_ratio", "mean_p")
            }
            for count in page["counts"]
        ],
        "gains": {gain["name"]: gain["mean"] for gain in page["gains"]},
    }


def outcome_summary(outcome: dict[str, Any]) -> dict[str, Any]:
    """An efficiency, a tag or a region: totals per group, and the tests of its curves."""
    curves = outcome["curves"]
    return {
        "name": outcome["name"],
        "kind": outcome["kind"],
        "overall": outcome["overall"],
        "curves": [
            {key: curve[key] for key in curve if not isinstance(curve[key], list)}
            for curve in curves
        ],
        "calibration": (outcome["reliability"] or {}).get("calibration"),
    }


def summary(task: Task, report: dict[str, Any], emulator: Any) -> dict[str, Any]:
    """The figures of one report, whole events and parts."""
    provenance = emulator.provenance
    return {
        "study": task.study,
        "trained_on": f"{task.trained_on}.parquet",
        "judged_on": f"{task.judged_on}.parquet",
        "rows": provenance["rows"],
        "training_seconds": provenance["seconds"],
        "parameters": {
            trained.part.name: sum(p.numel() for p in trained.members[0].parameters())
            for trained in emulator.parts
        },
        "page": page_summary(report["assessment"]),
        "parts": {name: page_summary(part["assessment"]) for name, part in report["parts"].items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of tasks; default: all")
    parser.add_argument("--again", action="store_true", help="train again what is there")
    parser.add_argument("--workers", type=int, default=1, help="parts trained side by side")
    parser.add_argument("--quick", action="store_true", help="judge the baselines with fewer seeds")
    arguments = parser.parse_args()
    names = [task.name for task in TASKS]
    if unknown := set(arguments.only or ()) - set(names):
        raise SystemExit(f"no task {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for task in TASKS:
        if arguments.only and task.name not in arguments.only:
            continue
        sample = reference_sample(task.trained_on)
        if arguments.again or not task.model.exists():
            with show_progress() as progress:
                train(
                    task.study,
                    sample,
                    task.model,
                    resume=not arguments.again,
                    overwrite=arguments.again,
                    workers=arguments.workers,
                    progress=progress,
                )
        emulator = load_emulator(task.model)
        if not judged(task.report, emulator.digest):
            print(
                validate(
                    task.model,
                    reference_sample(task.judged_on),
                    task.report,
                    oversample=task.oversample,
                    quick=arguments.quick and "-" in task.study,
                    overwrite=True,
                    say=say,
                )
            )
        report = json.loads((task.report / "report.json").read_text(encoding="utf-8"))
        results = earlier() | {task.name: summary(task, report, emulator)}
        record("flashsim", {"bars": BARS, "tasks": results})


def judged(report: Path, digest: str) -> bool:
    """Whether a report on the emulator with this digest is there."""
    file = report / "report.json"
    if not file.is_file():
        return False
    return bool(json.loads(file.read_text(encoding="utf-8"))["provenance"]["emulator"] == digest)


def earlier() -> dict[str, Any]:
    """Results of tasks that were judged before."""
    file = RESULTS / "flashsim.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))["tasks"]) if file.is_file() else {}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
