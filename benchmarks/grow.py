"""Tile a sample to any size, new run numbers: `python benchmarks/grow.py SAMPLE EVENTS OUTPUT`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 100_000


def grow(sample: Path, events: int, output: Path, columns: list[str] | None = None) -> None:
    """Write `events` events in row groups of 100 000: copies of `sample` with other run numbers."""
    source = pq.read_table(sample, columns=columns)
    run = source.schema.get_field_index("run")
    written = copy = 0
    with pq.ParquetWriter(output, source.schema, compression="zstd") as writer:
        while written < events:
            piece = source.slice(0, min(source.num_rows, events - written))
            shifted = pa.compute.add(piece["run"], pa.scalar(1000 * copy, piece["run"].type))
            writer.write_table(
                piece.set_column(run, source.schema.field(run), shifted), row_group_size=ROWS
            )
            written += piece.num_rows
            copy += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sample", type=Path)
    parser.add_argument("events", type=int)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    grow(arguments.sample, arguments.events, arguments.output)


if __name__ == "__main__":
    main()
