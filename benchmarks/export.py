"""Exported networks beside Python on one core: `python benchmarks/export.py --model MODEL`.

Rows per second of the chain from GEN features to RECO features: Python as `simulate` runs it,
ONNX Runtime (float32 and float64) and AOTInductor, medians of interleaved repeats; and how far each
is from Python on reference rows, as at export. `--whole MODEL` exports every part of another
emulator, with the precision that the check asks for.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from record import gflops, record

BATCHES = (2048, 20_480)
REPEATS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="an emulator of wjet")
    parser.add_argument("--part", default="event")
    parser.add_argument("--whole", type=Path, help="an emulator of hmumu, of which all parts")
    arguments = parser.parse_args()
    import onnxruntime
    import torch

    from gen2reco import load_emulator
    from gen2reco.emulator.blocks import sample_rows
    from gen2reco.portable.chain import PartChain
    from gen2reco.portable.reference import reference_gen, references, tables_of

    torch.set_num_threads(1)
    emulator = load_emulator(arguments.model)
    trained = emulator.part(arguments.part)
    chain = PartChain(trained)
    table = tables_of(emulator, reference_gen(arguments.model), replicas=8)[arguments.part]
    rows = references(trained, chain, table)
    result: dict = {"model": emulator.digest, "part": arguments.part, "formats": {}}
    with tempfile.TemporaryDirectory() as scratch:
        files = exported(arguments.model, arguments.part, Path(scratch), result["formats"])
        if arguments.whole:
            result["whole_events"] = every_part(arguments.whole, Path(scratch) / "whole")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        sessions = {
            name: onnxruntime.InferenceSession(
                files[name], options, providers=["CPUExecutionProvider"]
            )
            for name in ("onnx", "onnx_float64")
        }
        network = torch._inductor.aoti_load_package(str(files["aoti"]))  # noqa: SLF001

        def python(index: np.ndarray) -> None:
            some = table.take(index)
            encoded = trained.features.encode_condition(some)
            sampled = sample_rows(trained.members[0], encoded, rows.noise[index])
            trained.features.decode_target(sampled, some)

        def onnx(index: np.ndarray, name: str = "onnx") -> None:
            sessions[name].run(None, {"gen": rows.gen[index], "noise": rows.noise[index]})

        def aoti(index: np.ndarray) -> None:
            with torch.inference_mode():
                network(torch.from_numpy(rows.gen[index]), torch.from_numpy(rows.noise[index]))

        runs = {
            "python": python,
            "onnx": onnx,
            "onnx_float64": partial(onnx, name="onnx_float64"),
            "aoti": aoti,
        }
        rates: dict = {}
        for batch in BATCHES:
            index = np.arange(batch) % len(rows.gen)
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for repeat in range(REPEATS + 1):
                for name, run in runs.items():
                    # CPU time of one thread: what else runs on the machine does not count.
                    begin = time.thread_time()
                    run(index)
                    if repeat:
                        seconds[name].append(time.thread_time() - begin)
            rates[str(batch)] = {name: batch / median(found) for name, found in seconds.items()}
    result |= {
        "rows_per_second": rates,
        "clock": "CPU time of the one thread",
        "load_average": os.getloadavg()[0],
        "gflops": gflops(3),
    }
    record("export", result)


def exported(model: Path, part: str, folder: Path, formats: dict) -> dict[str, Path]:
    """Export a part in each way, note how that went, and return the files."""
    from gen2reco import export

    files = {}
    for name, file_format, precision in (
        ("onnx", "onnx", "float32"),
        ("onnx_float64", "onnx", "float64"),
        ("aoti", "aoti", "float32"),
    ):
        begin = time.process_time()
        made = export(
            model, folder / name, file_format=file_format, precision=precision, parts=[part]
        )
        files[name] = made.path / made.files[part]
        formats[name] = {
            "export_cpu_seconds": time.process_time() - begin,
            "bytes": files[name].stat().st_size,
            "agreement": asdict(made.agreements[part]),
        }
        print(name, formats[name], flush=True)
    return files


def every_part(model: Path, folder: Path) -> dict:
    """Export all parts of an emulator and return how far each is from Python."""
    from gen2reco import export

    made = export(model, folder, file_format="onnx")
    print(made, flush=True)
    document = json.loads((folder / "export.json").read_text())
    return {part["name"]: figures_of(part) for part in document["parts"]}


def figures_of(part: dict) -> dict:
    """Return one row of a table: the check of a part, and float32 beside float64 in Python."""
    plain = part["float32_from_float64"]
    kept = ("precision", "rows", "at_edges", "beyond", "largest")
    return {name: part["check"][name] for name in kept} | {
        "float32_from_float64": plain["largest"],
        "of": plain["feature"],
        "float32_beyond": plain["beyond"],
    }


if __name__ == "__main__":
    main()
