"""Cut the samples bundled with the package out of the reference samples.

`python benchmarks/bundle_sample.py wjet` takes the first events of the file, with the columns that
the study reads or writes. All bundled samples together stay below 8 MB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
WJET = [
    "run", "luminosityBlock", "event", "GenMET_pt", "GenMET_phi", "MET_pt", "MET_phi",
    *(f"GenPart_{field}" for field in ("pt", "eta", "phi", "pdgId", "isPrompt")),
    *(f"GenJet_{field}" for field in ("pt", "eta", "phi", "mass")),
    *(f"Muon_{field}" for field in ("pt", "eta", "phi", "mass", "charge", "genPartIdx")),
    *(f"Jet_{field}" for field in ("pt", "eta", "phi", "mass", "genJetIdx")),
]  # fmt: skip
PARTICLES = [
    "run", "luminosityBlock", "event", "jet",
    *(
        f"{side}PFCand_{field}"
        for side in ("Gen", "")
        for field in ("pt", "eta", "phi", "pdgId", "charge")
    ),
]  # fmt: skip
COLUMNS = {"wjet": WJET, "wjets-particles": PARTICLES}
LEFT_OUT = {"Generator_scalePDF", "GenPart_fromTau", "Jet_deltaEta", "Jet_deltaPhi"}
EVENTS = {"wjet": 47_500, "hmumu": 4_000, "wjets-particles": 1_600}
LIMIT = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=sorted(EVENTS))
    parser.add_argument("--events", type=int, help="default: as bundled")
    arguments = parser.parse_args()
    name = f"{arguments.study}.parquet"
    sample = ROOT.parent / "shared" / "data" / name.replace("-", "_")
    output = ROOT / "src" / "gen2reco" / "data" / name
    stored = pq.read_schema(sample).names
    columns = COLUMNS.get(arguments.study) or [c for c in stored if c not in LEFT_OUT]
    events = arguments.events or EVENTS[arguments.study]
    table = pq.read_table(sample, columns=columns).slice(0, events)
    floats = [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in table.schema
        if pa.types.is_floating(
            field.type.value_type if pa.types.is_list(field.type) else field.type
        )
    ]
    pq.write_table(
        table,
        output,
        compression="zstd",
        compression_level=19,
        use_dictionary=[field.name for field in table.schema if field.name not in floats],
        use_byte_stream_split=floats,
    )
    print(f"{output}: {table.num_rows} events, {output.stat().st_size / 1e6:.2f} MB")
    size = sum(file.stat().st_size for file in output.parent.glob("*.parquet"))
    if size > LIMIT:
        raise SystemExit(f"{size / 1e6:.1f} MB in all, more than {LIMIT / 1e6:.0f}: fewer --events")


if __name__ == "__main__":
    main()
