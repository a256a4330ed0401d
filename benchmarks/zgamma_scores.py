"""Scores that find a resonance: `python benchmarks/zgamma_scores.py`, after `zgamma.py`.

Scores the test part of the background and all of the resonance with the emulators of seed 1, and
with the flow trained again with 0.1 and 1 % of signal among the background.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gen2reco import load_emulator, load_study, score, train
from gen2reco.rows.splits import TEST, split
from gen2reco.training import show_progress
from record import ROOT, record, reference_sample
from zgamma import FLOW, MODELS, VAES

PICTURES = ROOT / "benchmarks" / "models" / "zgamma" / "pictures"
SHARES = (0.001, 0.01)
INJECTED = (FLOW,)
FIRST = 10_000_000
"""Run number of injected signal, away from those of the background."""


def figures(
    model: Path, background: Path, signal: Path, split_of: str, name: str, *, ceiling: bool = False
) -> dict[str, Any]:
    """AUC and efficiencies of every score of an emulator."""
    with tempfile.TemporaryDirectory() as folder:
        scored = score(
            model, background, Path(folder) / "scores.parquet", signal=signal, sculpted="m_lly",
            split_of=split_of, pictures=PICTURES / name, ceiling=ceiling,
        )  # fmt: skip
    return {
        one.name: {
            "auc": one.auc, "auc_error": one.auc_error,
            "signal_at_1_percent": one.efficiency["1% background"],
            "signal_at_1_percent_error": one.efficiency_error["1% background"],
            "signal_at_10_percent": one.efficiency["10% background"],
            "sculpting": one.sculpting, "sculpting_null": one.sculpting_null,
        }
        for one in scored.found
    }  # fmt: skip


def injected(share: float, folder: Path) -> tuple[Path, Path]:
    """Background with a share of signal events among it, and the signal that was left out."""
    background = pq.read_table(reference_sample("zgamma"))
    signal = pq.read_table(reference_sample("hzgamma"), columns=background.column_names)
    run = pa.array(np.full(len(signal), FIRST), background.schema.field("run").type)
    signal = signal.set_column(0, background.schema.field("run"), run)
    # Shares of the selected events: the resonance passes more often than its background.
    number = round(share * len(background))
    mixed, kept = folder / "mixed.parquet", folder / "signal.parquet"
    pq.write_table(pa.concat_tables([background, signal.slice(0, number)]), mixed)
    pq.write_table(signal.slice(number), kept)
    return mixed, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-injection", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    background, signal = reference_sample("zgamma"), reference_sample("hzgamma")
    found: dict[str, Any] = {}
    for name in (FLOW, *VAES):
        model = MODELS / f"{name}-1"
        if model.exists():
            found[name] = figures(model, background, signal, "auto", name, ceiling=name == FLOW)
            print(name, {key: round(value["auc"], 3) for key, value in found[name].items()})
            for key in [key for key in found[name] if key.startswith("supervised")]:
                found.setdefault("ceiling", {})[key] = found[name].pop(key)
    mixed_figures: dict[str, Any] = {}
    record("zgamma_scores", {"models": found, "trained_with_signal": mixed_figures})
    for share in () if arguments.no_injection else SHARES:
        with tempfile.TemporaryDirectory() as folder:
            mixed, kept = injected(share, Path(folder))
            for name in INJECTED:
                model = MODELS / f"{name}-injected-{share:g}"
                if not model.exists():
                    with show_progress() as progress:
                        train(load_study(name), mixed, model, resume=True, progress=progress)
                assert load_emulator(model)
                test = test_part(Path(folder))
                one = figures(model, test, kept, "all", model.name)
                mixed_figures[f"{name}, {share:.1%} signal"] = {
                    key: value for key, value in one.items() if not key.startswith("supervised")
                }
                record("zgamma_scores", {"models": found, "trained_with_signal": mixed_figures})
                print(name, share, {key: round(value["auc"], 3) for key, value in one.items()})
    record("zgamma_scores", {"models": found, "trained_with_signal": mixed_figures})


def test_part(folder: Path) -> Path:
    """The background's test part in a file of its own."""
    table = pq.read_table(reference_sample("zgamma"))
    keys = {name: table[name].to_numpy() for name in ("run", "luminosityBlock", "event")}
    path = folder / "test.parquet"
    pq.write_table(table.filter(split(keys, load_study(FLOW).split) == TEST), path)
    return path


if __name__ == "__main__":
    main()
