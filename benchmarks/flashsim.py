"""Fidelity of whole events and of jets: `python benchmarks/flashsim.py`.

Trains `hmumu` on H -> mu mu, `jets` and its baselines on ttbar, each on the training part, and
judges them on the test part: every part by itself, and whole events. The jets of ttbar are judged
on H -> mu mu too, a process that they never saw. Emulators and reports stay in `benchmarks/models`;
one that is there is not made again, an interrupted training goes on.

Both studies were still changed after figures on the test part of fold 0 had been seen. They are
therefore judged on the test parts of other folds, with emulators trained on the rest: `hmumu` on
those of folds 1 to 4 (the tables show fold 1 in full, `folds` has all four), `jets` on
those of folds 1 to 3. The baselines of `jets` and the `jets` beside them are those of fold 0.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco import Emulator, load_emulator, load_study, open_events, train, validate
from gen2reco.events.layout import flat_columns
from gen2reco.rows.expressions import Namespace
from gen2reco.rows.splits import TEST, halves, split
from gen2reco.study import Split
from gen2reco.training import show_progress
from gen2reco.validation.distances import wasserstein
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
    *(Task("jets", "ttbar", "ttbar", fold=fold) for fold in (1, 2, 3)),
    Task("jets", "ttbar", "hmumu"),
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
        "verdicts": {name: verdict(page)},
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


def verdict(page: dict[str, Any]) -> dict[str, Any]:
    """What a page of a report says in the end: its tests and the targets, those not met by name."""
    failing = [
        f"{check['name']} ({check['worst']})" if check["worst"] else check["name"]
        for check in page["checks"]
        if not check["agrees"]
    ]
    missed = [
        f"{target['name']} {target['value']:.3g} (limit {target['limit']:g})"
        for target in page["targets"]
        if not target["met"]
    ]
    return {
        "tests": len(page["checks"]),
        "tests that fail": ", ".join(failing) or "none",
        "targets not met": ", ".join(missed) or "none",
    }


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
        if task.fold and task.judged_on == task.trained_on:
            keep_folds(task, tables)
        if task.fold <= 1:
            keep(task, tables)


def full_against_full(names: tuple[str, ...], fold: int) -> dict[str, float]:
    """W1 of FullSim's two halves of the test events over the median of re-splits, by quantity.

    It shows what the GEN events of the halves do alone; FastSim has those of the second.
    """
    study = load_study("hmumu")
    kept: dict[str, tuple[list[Any], list[Any]]] = {name: ([], []) for name in names}
    for chunk in open_events(reference_sample("hmumu")).chunks():
        columns = flat_columns(chunk.events)
        space = Namespace(chunk.events, study.define)
        test = split(columns, Split(fold=fold)) == TEST
        test &= space.mask(study.validation.select, "validation.select")
        for name in names:
            found = space.evaluate(study.validation.quantities[name])
            for half, values in enumerate(kept[name]):
                values.append(found.values[test & found.valid & (halves(columns) == half)])
    ratios, rng = {}, np.random.default_rng(1)
    for name, sides in kept.items():
        first, second = map(np.concatenate, sides)
        both, half = np.concatenate([first, second]), min(len(first), len(second))
        orders = [rng.permutation(both)[: 2 * half] for _ in range(200)]
        null = np.median([wasserstein(*np.split(order, 2)) for order in orders])
        ratios[name] = float(wasserstein(first, second) / null)
    return ratios


def whole_events(name: str, fold: int, tables: dict[str, dict[str, Any]]) -> dict[str, Measured]:
    """The figures of `hmumu` on one fold, each with its error where it has one."""
    found: dict[str, Measured] = {}
    for page in (name, f"{name}, part muons", f"{name}, part jets"):
        found |= of_page(page, page.removeprefix(name).removeprefix(", part ") or "events", tables)
    masses = ("m_mumu", "m_jj", "deta_jj")
    for mass in masses:
        found[f"floor ratio, {mass}"] = (tables["floor_ratios"][name][f"quantity {mass}"], None)
    for mass, ratio in full_against_full(masses, fold).items():
        found[f"floor ratio, {mass}, FullSim of both halves"] = (ratio, None)
    spurious = tables["counts"][f"{name}, part spurious, n_spurious"]
    found["mean number of spurious jets"] = (spurious["ratio"], spurious["error"])
    for part in ("muons", "jets"):
        found |= of_efficiency(f"{name}, part {part}", part, tables)
    for region in ("dimuon", "vbf"):
        rate = tables["rates"][f"{name}, {region}, all"]
        found[f"events in {region}"] = (rate["ratio"], rate["error"])
    return found


def jets_of_ttbar(name: str, fold: int, tables: dict[str, dict[str, Any]]) -> dict[str, Measured]:
    """The figures of `jets` on one fold, each with its error where it has one."""
    del fold
    found = of_page(name, "jets of ttbar", tables) | of_efficiency(name, "jets of ttbar", tables)
    for outcome in ("found", "btag"):
        for flavour in ("all", "b", "c", "light"):
            rate = tables["rates"][f"{name}, {outcome}, {flavour}"]
            found[f"jets of ttbar, {outcome}, {flavour}"] = (rate["ratio"], rate["error"])
    return found


def of_page(page: str, label: str, tables: dict[str, dict[str, Any]]) -> dict[str, Measured]:
    """Headline figures of a page of the report."""
    row = tables["pages"][page]
    return {
        f"C2ST excess, {label}": (row["C2ST excess"], row["error"]),
        f"median floor ratio, {label}": (row["median floor ratio"], None),
        f"largest floor ratio, {label}": (row["largest"], None),
    }


def of_efficiency(page: str, label: str, tables: dict[str, dict[str, Any]]) -> dict[str, Measured]:
    """The worst of the efficiency's curves."""
    curves = [
        curve for key, curve in tables["closure"].items() if key.startswith(f"{page}, found, ")
    ]
    held = [curve["p (Holm)"] for curve in curves if curve["p (Holm)"] is not None]
    off = [curve["largest off 1"] for curve in curves if curve["largest off 1"] is not None]
    return {
        f"efficiency of {label}, smallest p (Holm)": (min(held), None),
        f"efficiency of {label}, bin furthest off": (max(off), None),
    }


ON_FOLDS = {"hmumu": whole_events, "jets": jets_of_ttbar}
"""Study -> its figures on one fold."""


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
    figures: dict[str, dict[str, float | None]] = dict(old.get("figures", {}))
    errors: dict[str, dict[str, float | None]] = dict(old.get("errors", {}))
    fold = f"fold {task.fold}"
    for name, (value, error) in ON_FOLDS[task.study](task.name, task.fold, tables).items():
        values = {**old.get("figures", {}).get(name, {}), fold: value}
        spread = {**old.get("errors", {}).get(name, {}), fold: error}
        folds = sorted(key for key in values if key.startswith("fold"))
        middle, its_error = mean([(values[key], spread[key]) for key in folds])
        figures[name] = {key: values[key] for key in folds} | {"mean": middle, "error": its_error}
        errors[name] = {key: spread[key] for key in folds}
    verdicts = {**old.get("verdicts", {}), **tables["verdicts"]}
    record("folds", {"figures": figures, "verdicts": verdicts, "errors": errors})


def keep(task: Task, tables: dict[str, dict[str, Any]]) -> None:
    """Put the figures of one task in the place of its earlier ones."""
    names = {other.name for other in TASKS}
    for name, held in (("flashsim", set(tables) - {"floor_ratios"}), ("floors", {"floor_ratios"})):
        file = RESULTS / f"{name}.json"
        old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        result: dict[str, Any] = {"bars": BARS} if name == "flashsim" else {}
        for table in sorted(held):
            others = {
                row: value
                for row, value in old.get(table, {}).items()
                if row.split(", ")[0] in names - {task.name}
            }
            result[table] = others | tables[table]
        record(name, result)


if __name__ == "__main__":
    main()
