"""Fidelity of whole events and of jets: `python benchmarks/flashsim.py`.

Trains `hmumu` on H -> mu mu, `jets` and its baselines on ttbar, each on the training part, and
judges them on the test part: every part by itself, and whole events. The jets of ttbar are judged
on H -> mu mu too, a process that they never saw. Emulators and reports stay in `benchmarks/models`;
one that is there is not made again, an interrupted training goes on.

Both studies were still changed after figures on the test part of fold 0 had been seen. They are
therefore judged on the test parts of other folds, with emulators trained on the rest: `hmumu` on
those of folds 1 to 4 (the tables show fold 1 in full, `folds` has all four), `jets` on that of
fold 1. The baselines of `jets` and the `jets` beside them are those of fold 0.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from gen2reco import Emulator, load_emulator, load_study, train, validate
from gen2reco.training import show_progress
from record import MODELS, RESULTS, judged, record, reference_sample, say

if TYPE_CHECKING:
    from pathlib import Path

Measured = tuple[float, float | None]
"""A value and its error."""

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
    fold: int = 0
    oversample: int = 1

    @property
    def name(self) -> str:
        """How results call it."""
        other = f" on {self.judged_on}" if self.judged_on != self.trained_on else ""
        return f"{self.study}{other}{f' fold {self.fold}' if self.fold else ''}"

    @property
    def model(self) -> Path:
        """Where its emulator is."""
        return MODELS / f"{self.study}{f'-fold-{self.fold}' if self.fold else ''}"

    @property
    def report(self) -> Path:
        """Where its report is."""
        return MODELS / f"{self.name.replace(' ', '-')}-report"


TASKS = (
    *(Task("hmumu", "hmumu", "hmumu", fold=fold, oversample=25) for fold in (1, 2, 3, 4)),
    Task("jets", "ttbar", "ttbar", fold=1),
    Task("jets", "ttbar", "hmumu", fold=1),
    Task("jets", "ttbar", "ttbar"),
    Task("jets-flashsim", "ttbar", "ttbar"),
    Task("jets-vae", "ttbar", "ttbar"),
)


def judged_alike(emulator: Emulator) -> Emulator:
    """The emulator, its jets judged in the terms of the study `jets`, whatever its own are."""
    study = emulator.study
    if not study.name.startswith("jets-"):
        return emulator
    terms = load_study("jets").parts[0].validation
    parts = tuple(part.model_copy(update={"validation": terms}) for part in study.parts)
    return replace(emulator, study=study.model_copy(update={"parts": parts}))


def page_tables(name: str, page: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of one page of a report: table -> row -> column -> figure."""
    ratios = {
        f"{quantity['group']} {quantity['name']}": quantity["floor_ratio"]["value"]
        for quantity in page["quantities"]
        if quantity["floor_ratio"]
    }
    worst = max(ratios, key=lambda key: ratios[key], default="")
    excess = (page["classifier"] or {}).get("excess") or {}
    tables: dict[str, dict[str, Any]] = {
        "pages": {
            name: {
                "rows": page["rows"],
                "C2ST excess": excess.get("value"),
                "error": excess.get("error"),
                "null 95 %": excess.get("null_95"),
                "median floor ratio": page["median_floor_ratio"]["value"],
                "largest": ratios.get(worst),
                "where": worst,
                "above 2": ", ".join(f"{k} {v:.2f}" for k, v in ratios.items() if v > 2),
                "every test passes": page["agrees"],
            }
        },
        "rates": {},
        "closure": {},
        "counts": {},
        "oversampling": {f"{name}, {g['name']}": {"gain": g["mean"]} for g in page["gains"]},
        "floor_ratios": {name: ratios},
    }
    for outcome in page["efficiencies"]:
        for rate in outcome["overall"]:
            tables["rates"][f"{name}, {outcome['name']}, {rate['group']}"] = {
                "rows": rate["rows"],
                "FullSim": rate["full"],
                "FastSim": rate["fast"],
                "ratio": rate["ratio"]["value"],
                "error": rate["ratio"]["error"],
                "p": rate["p"],
            }
        for curve in outcome["curves"]:
            key = f"{name}, {outcome['name']}, {curve['group']}, against {curve['by']}"
            tables["closure"][key] = {
                "chi2": curve["test"]["value"],
                "ndf": curve["test"]["ndf"],
                "p": curve["test"]["p"],
                "p (Holm)": curve["test"]["p_holm"],
                "largest off 1": curve["largest"]["value"],
                "bins with the statistics": curve["judged"],
            }
    for count in page["counts"]:
        tables["counts"][f"{name}, {count['name']}"] = {
            "mean FullSim": count["mean_full"]["value"],
            "mean FastSim": count["mean_fast"]["value"],
            "ratio": count["mean_ratio"]["value"],
            "error": count["mean_ratio"]["error"],
            "p of the mean": count["mean_p"],
            "p of the chi2": count["test"]["p"],
        }
    return tables


def report_tables(task: Task, report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of a whole report, all pages of it."""
    pages = {task.name: report} | {
        f"{task.name}, part {part}": page for part, page in report.get("parts", {}).items()
    }
    joined: dict[str, dict[str, Any]] = {}
    for name, page in pages.items():
        for table, rows in page_tables(name, page["assessment"]).items():
            joined.setdefault(table, {}).update(rows)
    return joined


def emulator_row(emulator: Any) -> dict[str, Any]:
    """Size and cost of an emulator."""
    return {
        "training rows": sum(rows["training"] for rows in emulator.provenance["rows"].values()),
        "parameters": sum(
            parameter.numel()
            for trained in emulator.parts
            for parameter in trained.members[0].parameters()
        ),
        "training seconds": emulator.provenance["seconds"],
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
                    overrides={"split.fold": task.fold},
                    resume=not arguments.again,
                    overwrite=arguments.again,
                    workers=arguments.workers,
                    progress=progress,
                )
        emulator = load_emulator(task.model)
        if not judged(task.report, emulator.digest):
            print(
                validate(
                    judged_alike(emulator),
                    reference_sample(task.judged_on),
                    task.report,
                    oversample=task.oversample,
                    quick=arguments.quick and "-" in task.study,
                    overwrite=True,
                    say=say,
                )
            )
        report = json.loads((task.report / "report.json").read_text(encoding="utf-8"))
        tables = report_tables(task, report) | {"emulators": {task.name: emulator_row(emulator)}}
        if task.study == "hmumu":
            keep_folds(task, tables)
        if task.study != "hmumu" or task.fold == 1:
            keep(task, tables)


def fold_row(name: str, tables: dict[str, dict[str, Any]]) -> dict[str, Measured]:
    """The figures of one fold of whole events, each with its error where it has one."""
    pages, ratios = tables["pages"], tables["floor_ratios"]
    found: dict[str, Measured] = {}
    for page in (name, f"{name}, part muons", f"{name}, part jets"):
        kind = page.removeprefix(name).removeprefix(", part ") or "events"
        found[f"C2ST excess, {kind}"] = (pages[page]["C2ST excess"], pages[page]["error"])
        found[f"median floor ratio, {kind}"] = (pages[page]["median floor ratio"], None)
        found[f"largest floor ratio, {kind}"] = (pages[page]["largest"], None)
    for mass in ("m_mumu", "m_jj"):
        found[f"floor ratio, {mass}"] = (ratios[name][f"quantity {mass}"], None)
    spurious = tables["counts"][f"{name}, part spurious, n_spurious"]
    found["mean number of spurious jets"] = (spurious["ratio"], spurious["error"])
    for region in ("dimuon", "vbf"):
        rate = tables["rates"][f"{name}, {region}, all"]
        found[f"events in {region}"] = (rate["ratio"], rate["error"])
    return found


def mean(measured: list[Measured]) -> Measured:
    """Mean of a figure over folds: weighted by errors, or with the scatter as error."""
    values = [value for value, _ in measured]
    errors = [error for _, error in measured if error]
    if len(errors) == len(values):
        weights = [error**-2 for error in errors]
        pairs = zip(values, weights, strict=True)
        return sum(v * w for v, w in pairs) / sum(weights), sum(weights) ** -0.5
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def keep_folds(task: Task, tables: dict[str, dict[str, Any]]) -> None:
    """Put the figures of one fold beside those of the others, and take the means."""
    file = RESULTS / "folds.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    figures: dict[str, dict[str, float | None]] = {}
    errors: dict[str, dict[str, float | None]] = {}
    fold = f"fold {task.fold}"
    for name, (value, error) in fold_row(task.name, tables).items():
        values = {**old.get("figures", {}).get(name, {}), fold: value}
        spread = {**old.get("errors", {}).get(name, {}), fold: error}
        folds = sorted(key for key in values if key.startswith("fold"))
        middle, its_error = mean([(values[key], spread[key]) for key in folds])
        figures[name] = {key: values[key] for key in folds} | {"mean": middle, "error": its_error}
        errors[name] = {key: spread[key] for key in folds}
    record("folds", {"figures": figures, "errors": errors})


def keep(task: Task, tables: dict[str, dict[str, Any]]) -> None:
    """Put the figures of one task in the place of its earlier ones."""
    for name, held in (("flashsim", set(tables) - {"floor_ratios"}), ("floors", {"floor_ratios"})):
        file = RESULTS / f"{name}.json"
        old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        result: dict[str, Any] = {"bars": BARS} if name == "flashsim" else {}
        for table in sorted(held):
            others = {
                row: value
                for row, value in old.get(table, {}).items()
                if row != task.name and not row.startswith(f"{task.name}, ")
            }
            result[table] = others | tables[table]
        record(name, result)


if __name__ == "__main__":
    main()
