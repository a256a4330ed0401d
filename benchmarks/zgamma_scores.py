"""Scores that find a resonance: `python benchmarks/zgamma_scores.py`, after `zgamma.py`.

Scores the test part of the background and all of the resonance with the emulators of seed 1; with
emulators that were not shown m_lly (`zgamma_without.py`); and with emulators trained again with 0.1
and 1 % of signal among the background. What was scored before is not scored again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gen2reco import load_emulator, load_study, score, train
from gen2reco.rows.splits import TEST, split
from gen2reco.training import show_progress
from record import ROOT, record, reference_sample
from zgamma import MODELS, VAES
from zgamma_judging import FLOW, full_features
from zgamma_without import without_mass

if TYPE_CHECKING:
    from gen2reco.study import Study

    Figures = dict[str, dict[str, float]]

PICTURES = ROOT / "benchmarks" / "models" / "zgamma" / "pictures"
SHARES = (0.001, 0.01)
FIRST = 10_000_000
"""Run number of injected signal, away from those of the background."""


def figures(
    model: Path, background: Path, signal: Path, split_of: str, name: str, *, ceiling: bool = False
) -> Figures:
    """AUC and efficiencies of every score of an emulator, kept beside it."""
    kept = MODELS / "scores" / f"{name}.json"
    digest = load_emulator(model).digest
    if kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["digest"] == digest:
            return dict(found["scores"])
    with tempfile.TemporaryDirectory() as folder:
        scored = score(
            model, background, Path(folder) / "scores.parquet", signal=signal, sculpted="m_lly",
            split_of=split_of, pictures=PICTURES / name, ceiling=ceiling,
        )  # fmt: skip
    scores = {
        one.name: {
            "auc": one.auc, "auc_error": one.auc_error,
            "signal_at_1_percent": one.efficiency["1% background"],
            "signal_at_1_percent_error": one.efficiency_error["1% background"],
            "signal_at_10_percent": one.efficiency["10% background"],
            "signal_at_10_percent_error": one.efficiency_error["10% background"],
            "sculpting": one.sculpting, "sculpting_null": one.sculpting_null,
        }
        for one in scored.found
    }  # fmt: skip
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps({"digest": digest, "scores": scores}), encoding="utf-8")
    return scores


def flat(models: dict[str, Figures]) -> Figures:
    """One row for each model and score."""
    left = ("signal_at_1_percent_error", "signal_at_10_percent_error", "sculpting_null")
    return {
        f"{name}, {score_name}": {key: value for key, value in one.items() if key not in left}
        for name, scores in models.items()
        for score_name, one in scores.items()
    }


def trained(study: Study, sample: Path, name: str) -> Path:
    """Where an emulator is, trained if it was not there."""
    model = MODELS / name
    if not model.exists():
        with show_progress() as progress:
            train(study, sample, model, resume=True, progress=progress)
    return model


def injected(share: float, folder: Path) -> tuple[Path, Path]:
    """Background with signal among it, as a share of the selected events, and the other signal."""
    background = pq.read_table(reference_sample("zgamma"))
    signal = pq.read_table(reference_sample("hzgamma"), columns=background.column_names)
    run = pa.array(np.full(len(signal), FIRST), background.schema.field("run").type)
    signal = signal.set_column(0, background.schema.field("run"), run)
    selected = len(full_features("zgamma")[1]), len(full_features("hzgamma")[1])
    number = round(share * selected[0] / selected[1] * len(signal))
    mixed, kept = folder / "mixed.parquet", folder / "signal.parquet"
    pq.write_table(pa.concat_tables([background, signal.slice(0, number)]), mixed)
    pq.write_table(signal.slice(number), kept)
    return mixed, kept


def test_part(folder: Path) -> Path:
    """The background's test part in a file of its own."""
    table = pq.read_table(reference_sample("zgamma"))
    keys = {name: table[name].to_numpy() for name in ("run", "luminosityBlock", "event")}
    path = folder / "test.parquet"
    pq.write_table(table.filter(split(keys, load_study(FLOW).split) == TEST), path)
    return path


def with_signal(share: float, names: list[str]) -> dict[str, Figures]:
    """Figures of emulators that were trained with signal among the background."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        mixed, kept = injected(share, Path(folder))
        test = test_part(Path(folder))
        for name in names:
            model = trained(load_study(name), mixed, f"{name}-injected-{share:g}")
            found[name] = figures(model, test, kept, "all", model.name)
            print(name, share, {k: round(v["auc"], 3) for k, v in found[name].items()}, flush=True)
    return found


def by_share(of_share: dict[str, dict[str, Figures]]) -> dict[str, dict[str, float]]:
    """AUC of every score beside how much signal there was in training."""
    table: dict[str, dict[str, float]] = {}
    for share, models in of_share.items():
        for name, scores in models.items():
            for score_name, one in scores.items():
                row = table.setdefault(f"{name}, {score_name}", {})
                row |= {f"auc, {share}": one["auc"], f"error, {share}": one["auc_error"]}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[FLOW, *VAES], help="names of studies")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    background, signal = reference_sample("zgamma"), reference_sample("hzgamma")
    shown: dict[str, Figures] = {}
    blind: dict[str, Figures] = {}
    ceiling: Figures = {}
    for name in arguments.only:
        flow = name == FLOW
        model = MODELS / f"{name}-1"
        shown[name] = figures(model, background, signal, "auto", name, ceiling=flow)
        model = trained(without_mass(name), background, f"{name}-without-m_lly")
        blind[name] = figures(model, background, signal, "auto", model.name, ceiling=flow)
        print(
            name, *({k: round(v["auc"], 3) for k, v in one[name].items()} for one in (shown, blind))
        )
        if flow:
            ceiling = {
                "18 features": shown[name].pop("supervised"),
                "without m_lly and the ratio to it": shown[name].pop("supervised without m_lly"),
                "scale-free coordinates": blind[name].pop("supervised without m_lly"),
            }
            del blind[name]["supervised"]
    shares = {"none": shown}
    for share in SHARES:
        shares[f"{share:.1%}"] = with_signal(share, arguments.only)
        record(
            "zgamma_scores",
            {
                "ceiling": ceiling,
                "with_m_lly": flat(shown),
                "without_m_lly": flat(blind),
                "trained_with_signal": by_share(shares),
            },
        )


if __name__ == "__main__":
    main()
