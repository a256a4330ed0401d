"""What every benchmark shares: where results go, the machine and its matrix-product speed."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MODELS = ROOT / "benchmarks" / "models"
"""Emulators and reports; one that is there is not made again."""
REFERENCE = ROOT.parent / "shared" / "data"
DELPHES_EVENTS_PER_SECOND = {"wjet": 380.0, "hmumu": 300.0}
"""Delphes 3.5, CMS card; the core's 2048 x 2048 float32 product runs at DELPHES_GFLOPS."""
DELPHES_GFLOPS = (74.0, 87.0)


def reference_sample(name: str) -> Path:
    """Path of a reference sample; leaves with a plain sentence where it is absent."""
    path = REFERENCE / f"{name}.parquet"
    if not path.is_file():
        raise SystemExit(f"this benchmark needs the reference sample {path}, which is not there")
    return path


def judged(report: Path, digest: str) -> bool:
    """Whether a report on the emulator with this digest is there."""
    file = report / "report.json"
    if not file.is_file():
        return False
    return bool(json.loads(file.read_text(encoding="utf-8"))["provenance"]["emulator"] == digest)


def say(line: str) -> None:
    """Say what goes on, on standard error."""
    print(line, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Processor, cores and library versions."""
    import torch

    names = ("gen2reco", "torch", "numpy", "numba", "awkward", "uproot", "pyarrow")
    return {
        "processor": platform.processor() or platform.machine(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def gflops(repeats: int = 7) -> float:
    """Speed of a 2048 x 2048 float32 matrix product on one thread, GFLOP/s, median of `repeats`."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size = 2048
    left, right = torch.rand(size, size), torch.rand(size, size)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - begin)
    torch.set_num_threads(threads)
    return 2 * size**3 / median(times) / 1e9


def peak_memory() -> float:
    """Peak memory of this program in MB; `ru_maxrss` would count the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def delphes_rate(study: str, speed: float) -> float:
    """Delphes' events/s for a study on a core whose matrix product runs at `speed` GFLOP/s.

    Inside the range in which the figure was taken it stands as it is; a faster or slower core
    scales it.
    """
    low, high = DELPHES_GFLOPS
    scale = speed / high if speed > high else speed / low if speed < low else 1.0
    return DELPHES_EVENTS_PER_SECOND[study] * scale


def record(name: str, result: dict[str, Any]) -> Path:
    """Write a result with the machine it was taken on to `benchmarks/results/NAME.json`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"benchmark": name, "machine": machine(), **result}
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
    return path
