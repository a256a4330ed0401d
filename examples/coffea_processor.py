"""An emulator inside a coffea processor: GEN events of NanoAOD files in, a histogram of RECO out.

    python examples/coffea_processor.py model gen-*.root

coffea reads the files, cuts them into chunks and hands each to `process` as an array of events;
`simulate` takes it as it is. With `processor.DaskExecutor(client=...)` in the place of the
`IterativeExecutor`, chunks go to the workers of a Dask cluster. RECO of an event does not depend on
the chunks.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

import awkward as ak
import hist
from coffea import processor
from coffea.nanoevents import NanoAODSchema

import gen2reco

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK = 5000


class GenSchema(NanoAODSchema):
    """NanoAOD without a warning for each column that a file of GEN events lacks."""

    warn_missing_crossrefs = False


@lru_cache
def emulator(path: str) -> gen2reco.Emulator:
    """Load the emulator once in each process, not once for each chunk."""
    return gen2reco.load_emulator(path)


class JetProcessor(processor.ProcessorABC):
    """Simulates the detector and fills the pt of RECO jets."""

    def __init__(self, model: str) -> None:
        self.model = model

    def process(self, events: ak.Array) -> dict[str, hist.Hist]:
        """Turn a chunk of GEN events into RECO events."""
        reco = emulator(self.model).simulate(events, seed=7, policy="flag")
        made = hist.Hist.new.Reg(40, 0, 200, name="pt", label="jet pt [GeV]").Weight()
        weight, pt = ak.broadcast_arrays(reco.weight, reco.Jet.pt)
        made.fill(ak.flatten(pt).to_numpy(), weight=ak.flatten(weight).to_numpy())
        return {"pt": made}

    def postprocess(self, accumulated: dict[str, hist.Hist]) -> dict[str, hist.Hist]:
        """Return the sums of all chunks."""
        return accumulated


def main(model: str, files: Sequence[str]) -> hist.Hist:
    """Fill one histogram from all files."""
    run = processor.Runner(
        executor=processor.IterativeExecutor(status=False),
        pre_executor=processor.IterativeExecutor(status=False),
        schema=GenSchema,
        chunksize=CHUNK,
    )
    fileset = {"gen": {"files": dict.fromkeys(files, "Events")}}
    total = run(fileset, processor_instance=JetProcessor(model))["pt"]
    print(f"{total.sum().value:.0f} jets")
    return total


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
