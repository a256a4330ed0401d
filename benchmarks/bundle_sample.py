"""Cut the sample bundled with the package out of the W + jet reference sample.

`python benchmarks/bundle_sample.py` takes the first events of the file, with the columns that the
study `wjet` reads or writes, in at most 5 MB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = [
    "run", "luminosityBlock", "event", "GenMET_pt", "GenMET_phi", "MET_pt", "MET_phi",
    *(f"GenPart_{field}" for field in ("pt", "eta", "phi", "pdgId", "isPrompt")),
    *(f"GenJet_{field}" for field in ("pt", "eta", "phi", "mass")),
    *(f"Muon_{field}" for field in ("pt", "eta", "phi", "mass", "charge", "genPartIdx")),
    *(f"Jet_{field}" for field in ("pt", "eta", "phi", "mass", "genJetIdx")),
]  # fmt: skip
LIMIT = 5_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sample", type=Path, default=ROOT.parent / "shared" / "data" / "wjet.parquet"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "src" / "gen2reco" / "data" / "wjet.parquet"
    )
    parser.add_argument("--events", type=int, default=47_500)
    arguments = parser.parse_args()
    table = pq.read_table(arguments.sample, columns=COLUMNS).slice(0, arguments.events)
    floats = [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in table.schema
        if pa.types.is_floating(
            field.type.value_type if pa.types.is_list(field.type) else field.type
        )
    ]
    pq.write_table(
        table,
        arguments.output,
        compression="zstd",
        compression_level=19,
        use_dictionary=[field.name for field in table.schema if field.name not in floats],
        use_byte_stream_split=floats,
    )
    size = arguments.output.stat().st_size
    print(f"{arguments.output}: {table.num_rows} events, {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"larger than {LIMIT / 1e6:.0f} MB: take fewer --events")


if __name__ == "__main__":
    main()
