"""An emulator inside an analysis that dask or coffea runs: partitions of plain awkward arrays.

    python examples/dask_partitions.py model 'gen-*.parquet'

`simulate` is a function of the events it is given, so it can stand in any place that has GEN events
as awkward arrays: in a `map_partitions`, or in the `process` of a coffea processor. RECO of an
event does not depend on how the events are partitioned.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

import awkward as ak
import dask.bag as db
import hist

import gen2reco

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTITION = 5000


@lru_cache
def emulator(path: str) -> gen2reco.Emulator:
    """Load the emulator once in each process, not once for each partition."""
    return gen2reco.load_emulator(path)


def partitions(files: str) -> list[tuple[str, int, int]]:
    """Cut files into ranges of entries, from their metadata."""
    source = gen2reco.open_events(files)
    return [
        (str(file.path), start, min(start + PARTITION, file.entries))
        for file in source.files
        for start in range(0, file.entries, PARTITION)
    ]


def read(model: str, ranges: Iterable[tuple[str, int, int]]) -> Iterable[ak.Array]:
    """Read the GEN columns that the emulator needs, as plain awkward arrays."""
    for path, start, stop in ranges:
        source = gen2reco.open_events(path)
        columns = emulator(model).columns_needed(source)
        for chunk in source.chunks(PARTITION, columns, start, stop):
            yield chunk.events


class JetProcessor:
    """What a coffea processor is: `process` makes a result of events, results are added up."""

    def __init__(self, model: str) -> None:
        self.model = model

    def process(self, events: ak.Array) -> hist.Hist:
        """Turn GEN events into RECO events and fill the pt of their jets."""
        reco = emulator(self.model).simulate(events, seed=7, policy="flag")
        pt = reco.Jet.pt
        made = hist.Hist.new.Reg(40, 0, 200, name="pt", label="jet pt [GeV]").Weight()
        weight, _ = ak.broadcast_arrays(reco.weight, pt)
        made.fill(ak.flatten(pt).to_numpy(), weight=ak.flatten(weight).to_numpy())
        return made

    def postprocess(self, accumulated: hist.Hist) -> hist.Hist:
        """Return the sum of all partitions."""
        return accumulated


def main(model: str, files: str, *, cluster: bool = False) -> hist.Hist:
    """Fill one histogram from all partitions."""
    processor = JetProcessor(model)

    def partition(ranges: Iterable[tuple[str, int, int]]) -> list[hist.Hist]:
        return [processor.process(events) for events in read(model, ranges)]

    bag = db.from_sequence(partitions(files), partition_size=1).map_partitions(partition)
    # With a `distributed.Client` this runs on its workers; here, one partition after the other.
    filled = bag.compute(**({} if cluster else {"scheduler": "sync"}))
    total = processor.postprocess(sum(filled[1:], start=filled[0]))
    print(f"{total.sum().value:.0f} jets in {len(filled)} partitions")
    return total


if __name__ == "__main__":
    main(*sys.argv[1:3])
