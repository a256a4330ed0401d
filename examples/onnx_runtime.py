"""An emulator without gen2reco: ONNX Runtime and numpy draw RECO features for GEN features.

    gen2reco export model --format onnx -o exported
    python examples/onnx_runtime.py exported event

The reference rows beside the network stand for the GEN features of a framework; the random numbers
are drawn here.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main(folder: Path, part: str) -> None:
    """Draw RECO features for the reference rows of a part, once as stored and once anew."""
    document = json.loads((folder / "export.json").read_text())
    facts = next(item for item in document["parts"] if item["name"] == part)
    session = onnxruntime.InferenceSession(
        folder / facts["file"], providers=["CPUExecutionProvider"]
    )
    with (folder / f"{part}.csv").open() as file:
        names = file.readline().strip().split(",")
        rows = np.loadtxt(file, np.float32, delimiter=",", ndmin=2)
    gen, noise, reco = (
        rows[:, [name.startswith(side) for name in names]] for side in ("gen.", "noise.", "reco.")
    )

    # The stored random numbers give the stored answers.
    (again,) = session.run(None, {"gen": gen, "noise": noise})
    width = np.quantile(reco, 0.84, axis=0) - np.quantile(reco, 0.16, axis=0)
    apart = np.abs(again - reco).max(axis=0) / np.where(width > 0, width, 1)
    print(f"{len(rows)} reference rows, largest difference {apart.max():.1e} of a 68 % width")

    # New ones give new RECO features of the same GEN: standard normal numbers, then uniform ones.
    draw = np.random.default_rng(1)
    normal = draw.standard_normal((len(gen), facts["noise"]["normal"]), np.float32)
    uniform = draw.random((len(gen), facts["noise"]["uniform"]), np.float32)
    (made,) = session.run(None, {"gen": gen, "noise": np.concatenate([normal, uniform], 1)})
    for name, before, after in zip(facts["reco"], reco.T, made.T, strict=True):
        print(
            f"{name:>12}: median {np.median(before):9.4g} as stored, {np.median(after):9.4g} anew"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
