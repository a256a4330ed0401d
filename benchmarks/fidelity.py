"""Fidelity of the W + jet emulators on the reference sample: `python benchmarks/fidelity.py`.

Trains the flow (`wjet`), the quantile regressor of arXiv:2010.01835 (`wjet-quantile`) and its
ablations on the training part, and judges each on the test part. Emulators and reports stay in
`benchmarks/models`; one that is there is not trained again, an interrupted training goes on.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from gen2reco import Study, load_emulator, load_study, train, validate
from gen2reco.training import show_progress
from record import MODELS, RESULTS, judged, record, reference_sample, say

BARS = {
    "c2st_excess": 0.006,
    "median_floor_ratio": 1.3,
    "largest_floor_ratio": 3.0,
    "coverage_p": 0.01,
    "decile": 0.01,
}


def studies() -> dict[str, Study]:
    """The flow, the faithful regressor, the source's two ablations of it (alone and together)."""
    faithful = load_study("wjet-quantile")
    return {
        "wjet": load_study("wjet"),
        # The study answers a test that an earlier one had failed on the usual test events: others.
        **{f"wjet, fold {fold}": load_study("wjet", {"split.fold": fold}) for fold in (1, 2)},
        "wjet-quantile": faithful,
        "wjet-quantile, plain residuals": without_rescaling(faithful),
        "wjet-quantile, jet mass": with_plain_mass(faithful),
        "wjet-quantile, jet mass, plain residuals": without_rescaling(with_plain_mass(faithful)),
    }


def without_rescaling(study: Study) -> Study:
    """The same study with RECO - GEN of each quantity left in its own spread."""
    tree = study.model_dump(mode="json")
    for target in tree["parts"][0]["target"]:
        target["transform"] = [
            one for one in target["transform"] if one["kind"] != "residual_rescale"
        ]
    return Study.model_validate(tree)


def with_plain_mass(study: Study) -> Study:
    """The same study with the jet mass as target in the place of its logarithm."""
    tree = study.model_dump(mode="json")
    part = tree["parts"][0]
    (target,) = (one for one in part["target"] if one["name"] == ["log_jet_mass"])
    target["value"] = ["jet.mass"]
    for transform in target["transform"]:
        transform["given"]["gen"] = "gen_jet.mass"
    part["output"]["Jet"]["mass"] = "max(0, log_jet_mass)"
    return Study.model_validate(tree)


def summary(name: str, report: dict[str, Any], provenance: Any) -> dict[str, Any]:
    """The headline figures of one report."""
    classifier = report["classifier"]
    targets = {target["name"]: target for target in report["targets"]}
    ratios = {
        f"{quantity['group']} {quantity['name']}": quantity["floor_ratio"]["value"]
        for quantity in report["quantities"]
        if quantity["floor_ratio"]
    }
    return {
        "study": name,
        "rows": provenance["rows"],
        "judged": report["rows"],
        "training_seconds": provenance["seconds"],
        "quick": report["settings"]["quick"],
        "agrees": report["agrees"],
        "headline": report["headline"],
        "targets": targets,
        "c2st": {
            key: classifier[key]
            for key in classifier
            if key
            not in {
                "false_positive",
                "true_positive",
                "null_true_positive",
                "null_spread",
                "features",
            }
        },
        "floor_ratios": ratios,
        "coverage": {
            pit["name"]: {
                "p": pit["test"]["p"],
                "p_holm": pit["test"]["p_holm"],
                "deviation": pit["deviation"],
            }
            for pit in report["coverage"]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of studies; default: all")
    parser.add_argument("--again", action="store_true", help="train again what is there")
    parser.add_argument("--quick", action="store_true", help="judge the baselines with fewer seeds")
    arguments = parser.parse_args()
    sample = reference_sample("wjet")
    for name, study in studies().items():
        if arguments.only and name not in arguments.only:
            continue
        model = MODELS / name.replace(", ", "-").replace(" ", "-")
        report = model.with_name(f"{model.name}-report")
        if arguments.again or not model.exists():
            with show_progress() as progress:
                train(
                    study,
                    sample,
                    model,
                    resume=not arguments.again,
                    overwrite=arguments.again,
                    progress=progress,
                )
        emulator = load_emulator(model)
        if not judged(report, emulator.digest):
            quick = arguments.quick and name != "wjet"
            print(validate(model, sample, report, quick=quick, overwrite=True, say=say))
        found = json.loads((report / "report.json").read_text(encoding="utf-8"))["assessment"]
        results = earlier() | {name: summary(name, found, emulator.provenance)}
        record("fidelity", {"sample": "wjet.parquet", "bars": BARS, "studies": results})


def earlier() -> dict[str, Any]:
    """Results of studies that were judged before."""
    file = RESULTS / "fidelity.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))["studies"]) if file.is_file() else {}


if __name__ == "__main__":
    main()
