"""Many splits of the Z gamma sample, a flow for each: `python benchmarks/zgamma_worlds.py`.

The split is a hash of the events' numbers, so that numbers dealt to the events anew make another
split. In every such world the flow is trained on the world's training part with the settings of its
study, and the m_lly spectra of training part, test part and of ten times as many generated events
are kept (`benchmarks/models/zgamma/worlds`). Some worlds have an ensemble of bootstraps, and some
flows are judged on the world's test part as `zgamma.py` does. Events of one world's test part are
in the training part of others: worlds are independent splits of one sample, not independent
samples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gen2reco import load_study, train
from gen2reco.rows.splits import TEST, TRAIN, VALIDATION
from record import RESULTS, record, reference_sample
from zgamma import BARS, MODELS, SUMMARISED
from zgamma_judging import FLOW, full_features, judged, made_features, taken, test_halves

if TYPE_CHECKING:
    from gen2reco import Emulator

FOLDER = MODELS / "worlds"
EDGES = np.linspace(110.0, 190.0, 17)
"""Bins of m_lly, GeV."""
FACTOR = 10
"""Generated events over those of training."""
WORLDS, ENSEMBLES, JUDGED = 16, 2, 4
"""How many there are, have bootstraps, and are judged: the first ones."""
BOOTSTRAPS = 6
IDS = ("run", "luminosityBlock", "event")


def spectrum(values: np.ndarray) -> np.ndarray:
    return np.histogram(values, EDGES)[0].astype(float)


def renumbered(world: int, path: Path) -> None:
    """The sample with its events' numbers dealt anew."""
    table = pq.read_table(reference_sample("zgamma"))
    order = pa.array(np.random.default_rng([8, world]).permutation(len(table)))
    for name in IDS:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), table[name].take(order))
    pq.write_table(table, path)


def lived(world: int, null: dict[str, Any]) -> dict[str, Any]:
    """Spectra of a world, and the figures of its flow if it is to be judged."""
    members = 1 + (BOOTSTRAPS if world <= ENSEMBLES else 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        renumbered(world, path)
        study = load_study(FLOW, {"training.seed": world, "training.members": members})
        emulator = train(study, path, Path(folder) / "model").emulator
        full, part, half = full_features(path)
    number = FACTOR * int(np.count_nonzero(part == TRAIN))
    made = [
        spectrum(made_features(of_member(emulator, k), number, seed=100 * world + k)["m_lly"])
        for k in range(members)
    ]
    found: dict[str, Any] = {
        "training": spectrum(full["m_lly"][part == TRAIN]).tolist(),
        "test": spectrum(full["m_lly"][part == TEST]).tolist(),
        "generated": [one.tolist() for one in made],
    }
    if world <= JUDGED:
        validation = taken(full, np.flatnonzero(part == VALIDATION))
        one = judged(of_member(emulator, 0), validation, test_halves(full, part, half), null)
        found["judged"] = {key: one[key] for key in SUMMARISED}
    return found


def of_member(emulator: Emulator, member: int) -> Emulator:
    """An emulator of one member of an ensemble."""
    parts = tuple(replace(one, members=(one.members[member],)) for one in emulator.parts)
    return replace(emulator, parts=parts)


def worlds() -> list[dict[str, Any]]:
    """All worlds that were lived."""
    files = sorted(FOLDER.glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def summary(found: list[dict[str, Any]], null: dict[str, Any]) -> dict[str, Any]:
    """Figures of the judged flows beside the null of fold 1, whose test part is as large."""
    figures: dict[str, Any] = {"worlds": len(found)}
    for key in SUMMARISED:
        values = [one[key] for one in found]
        figures[key] = float(np.mean(values))
        figures[f"{key}_spread"] = float(np.std(values, ddof=1))
    largest = [one["spearman_largest"] for one in found]
    return figures | {
        "ks_over_null": figures["mean_ks"] / null["mean_ks"],
        "spearman_over_null": figures["spearman"] / null["spearman"],
        "c2st_excess": figures["auc"] - null["auc"],
        "c2st_excess_of_the_worst": max(one["auc"] for one in found) - null["auc"],
        "spearman_largest_95_of_null": null["spearman_largest_95"],
        "worlds_with_largest_inside": sum(x < null["spearman_largest_95"] for x in largest),
        "worlds_with_ks_below_bar": sum(
            one["mean_ks"] < BARS["flow_ks_over_null"] * null["mean_ks"] for one in found
        ),
        "worlds_with_spearman_below_bar": sum(
            one["spearman"] < BARS["flow_spearman_over_null"] * null["spearman"] for one in found
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=WORLDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "zgamma_fold_1.json"
    if not file.is_file():
        raise SystemExit("first run: python benchmarks/zgamma.py --fold 1 (its null is used here)")
    null = json.loads(file.read_text(encoding="utf-8"))["null"]
    for world in range(1, arguments.worlds + 1):
        path = FOLDER / f"{world}.json"
        if not path.is_file():
            found = lived(world, null)
            path.write_text(json.dumps(found), encoding="utf-8")
            print(world, found.get("judged", ""), flush=True)
    of_flows = [one["judged"] for one in worlds() if "judged" in one]
    if len(of_flows) > 1:
        record("zgamma_worlds", {"bars": BARS, "flow": summary(of_flows, null)})


if __name__ == "__main__":
    main()
