"""Exported networks: written whole, described, and reproduced by programs without gen2reco."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gen2reco import export, load_emulator, open_events
from gen2reco.errors import EmulatorError, OutputExistsError, StudyError
from gen2reco.portable.reference import drawn_rows
from gen2reco.study import NUMBER

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def onnx(small_emulator, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "exported"
    return export(small_emulator, path, file_format="onnx")


def test_the_document_says_what_goes_in_and_out(onnx, small_emulator):
    document = json.loads((onnx.path / "export.json").read_text())
    assert document["model"] == load_emulator(small_emulator).digest
    (part,) = document["parts"]
    assert part["noise"] == {"normal": 7, "uniform": 1}
    assert part["reco"][:2] == ["mu_pt", "mu_eta"]
    assert {"name": "gen_jet_pt", "expression": "gen_jet.pt"} in part["gen"]
    assert part["check"]["beyond"] == 0
    assert part["check"]["largest"] <= 1e-5
    assert part["check"]["rows"] > 2000
    assert part["precision"] == part["check"]["precision"]
    head, *rows = (onnx.path / "event.csv").read_text().splitlines()
    assert len(rows) == 500
    assert len(head.split(",")) == len(part["gen"]) + 8 + len(part["reco"])


def test_onnx_runtime_takes_any_number_of_rows_and_knows_what_they_are(onnx):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        onnx.path / "event.onnx", providers=["CPUExecutionProvider"]
    )
    facts = json.loads(session.get_modelmeta().custom_metadata_map["gen2reco"])
    names = {one.name: one.shape for one in session.get_inputs()}
    assert names["gen"][1] == len(facts["gen"])
    assert not isinstance(names["gen"][0], int)
    for rows in (1, 3000):
        gen = np.full((rows, len(facts["gen"])), 1.5, np.float32)
        (reco,) = session.run(None, {"gen": gen, "noise": np.full((rows, 8), 0.5, np.float32)})
        assert reco.shape == (rows, len(facts["reco"]))
        assert np.isfinite(reco).all()


def test_the_example_runs_without_gen2reco(onnx):
    script = EXAMPLES / "onnx_runtime.py"
    assert "gen2reco" not in {
        line.split()[1] for line in script.read_text().splitlines() if line.startswith("import")
    }
    done = subprocess.run(
        [sys.executable, script, onnx.path, "event"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "500 reference rows" in done.stdout
    assert "jet_mass" in done.stdout


def test_what_cannot_be_is_refused(onnx, small_emulator, tmp_path):
    with pytest.raises(OutputExistsError):
        export(small_emulator, onnx.path, file_format="onnx")
    with pytest.raises(StudyError, match="Did you mean 'onnx'"):
        export(small_emulator, tmp_path / "out", file_format="onx")
    with pytest.raises(StudyError, match="Did you mean 'float64'"):
        export(small_emulator, tmp_path / "out", file_format="onnx", precision="float46")
    with pytest.raises(EmulatorError, match="no part 'evnt'"):
        export(small_emulator, tmp_path / "out", file_format="onnx", parts=["evnt"])
    with pytest.raises(EmulatorError, match="no member 2"):
        export(small_emulator, tmp_path / "out", file_format="onnx", member=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match="not an export"):
        export(small_emulator, tmp_path / "mine", file_format="onnx", overwrite=True)
    assert not (tmp_path / "out").exists()


def test_tables_hold_efficiencies_and_responses(hmumu_model, hmumu_sample, tmp_path):
    from correctionlib import CorrectionSet

    made = export(
        hmumu_model,
        tmp_path / "tables",
        file_format="correctionlib",
        files=hmumu_sample,
        parts=["jets", "jets.presence"],
    )
    assert "jets_efficiency" in made.files
    tables = CorrectionSet.from_file(str(made.path / "corrections.json"))
    efficiency = tables["jets_efficiency"]
    low, high = efficiency.evaluate("nominal", np.array([9.0, 100.0]), np.array([0.5, 0.5]))
    assert 0 <= low < high <= 1  # jets begin at 15 GeV
    assert 0 < efficiency.evaluate("error", 20.0, 0.5) < 0.1
    response = tables["jets_pt_response"]
    assert response.evaluate("median", 60.0, 0.3) == pytest.approx(1, abs=0.3)
    assert 0 < response.evaluate("width", 60.0, 0.3) < 0.5
    assert response.evaluate("width", 1e6, 99.0) > 0  # beyond the edges: the outer bins
    assert abs(tables["jets_phi_response"].evaluate("median", 60.0, 0.3)) < 0.1
    rows = drawn(hmumu_model, hmumu_sample)
    edges = {
        one["name"]: one["data"]["content"][0]["value"]["edges"]
        for one in json.loads((made.path / "corrections.json").read_text())["corrections"]
    }
    share, _, inside = binned_means(
        edges["jets_efficiency"], *rows["jets.presence"], lambda made, _: made[NUMBER]
    )
    nominal = efficiency.evaluate("nominal", *inside)
    np.testing.assert_allclose(nominal, share, rtol=1e-9)
    for name, of in {
        "pt": lambda made, table: made["pt"] / table.relative_to["pt"],
        "eta": lambda made, table: made["eta"] - table.relative_to["eta"],
    }.items():
        response = tables[f"jets_{name}_response"]
        _, medians, inside = binned_means(edges[f"jets_{name}_response"], *rows["jets"], of)
        found = response.evaluate("median", *inside)
        np.testing.assert_allclose(found, medians, rtol=1e-6, atol=1e-9)
    with pytest.raises(EmulatorError, match="Did you mean 'gen_pt'"):
        export(
            hmumu_model,
            tmp_path / "out",
            file_format="correctionlib",
            files=hmumu_sample,
            by=["gen_pts"],
            parts=["jets"],
        )
    with pytest.raises(StudyError, match="--input"):
        export(hmumu_model, tmp_path / "out", file_format="correctionlib")


def drawn(model, sample):
    """Part -> its rows and what is drawn for them, as the tables are made of."""
    emulator = load_emulator(model)
    source = open_events(sample)
    (chunk,) = source.chunks(10**6, emulator.columns_needed(source))
    found = drawn_rows(emulator, chunk.events, replicas=1)
    return {name: rows for name, (rows,) in found.items()}


def binned_means(edges, table, made, of):
    """Return mean and median of a quantity in the bins of a table with rows enough, and a place."""
    names = list(table.condition)[:2]
    assert len(set(table.weight)) == 1
    values = of(made, table)
    places = [table.condition[name] for name in names]
    means, medians, inside = [], [], []
    for bounds in itertools.product(*(itertools.pairwise(one) for one in edges)):
        rows = np.ones(len(values), bool)
        for place, (low, high), all_of in zip(places, bounds, edges, strict=True):
            rows &= (place >= low) & ((place < high) | ((high == all_of[-1]) & (place == high)))
        if rows.sum() >= 50:
            means.append(values[rows].mean())
            medians.append(np.quantile(values[rows], 0.5, method="hazen"))
            inside.append([(low + high) / 2 for low, high in bounds])
    assert len(means) > 20
    return means, medians, np.transpose(inside)


def test_numbers_in_float64_are_those_of_python_to_the_last_bit(small_emulator, tmp_path):
    """Were constants rounded to float32 on the way, as the exporter does, some would differ."""
    made = export(small_emulator, tmp_path / "exported", file_format="onnx", precision="float64")
    (agreement,) = made.agreements.values()
    assert agreement.precision == "float64"
    assert agreement.at_edges == 0
    assert agreement.largest < 3e-7


def headers_of_onnx_runtime():
    """Where the headers of its C++ API are: from `make headers`, or the system's."""
    for folder in (Path(sys.prefix) / "include" / "onnxruntime", Path("/usr/include/onnxruntime")):
        if (folder / "onnxruntime_cxx_api.h").is_file():
            return folder
    assert "CI" not in os.environ, "make headers"
    pytest.skip("the headers of ONNX Runtime are not here: make headers")


def test_a_cpp_program_reproduces_the_reference_rows_with_onnx_runtime(onnx, tmp_path):
    import onnxruntime

    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    linked = tmp_path / "libonnxruntime.so.1"  # the name that programs look for
    linked.symlink_to(library)
    program = tmp_path / "emulator"
    subprocess.run(
        [
            shutil.which("g++"),
            "-std=c++17",
            f"-I{headers_of_onnx_runtime()}",
            EXAMPLES / "cpp" / "onnx_runtime.cpp",
            linked,
            f"-Wl,-rpath,{tmp_path}",
            "-o",
            program,
        ],
        check=True,
    )
    reproduces(program, onnx.path / "event.onnx", onnx.path / "event.csv", tmp_path)


def reproduces(program, network, rows, folder):
    done = subprocess.run([program, network, rows], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("500 rows, largest difference")
    # It looks: other random numbers in the file give another answer.
    text = rows.read_text().splitlines()
    first = text[1].split(",")
    place = text[0].split(",").index("noise.0")
    first[place] = str(float(first[place]) + 1)
    other = folder / "other.csv"
    other.write_text("\n".join([text[0], ",".join(first), *text[2:]]) + "\n")
    assert subprocess.run([program, network, other], capture_output=True, check=False).returncode


@pytest.mark.slow
def test_a_cpp_program_reproduces_the_reference_rows(small_emulator, tmp_path):
    """Compiles the network, then the example with the headers of the installed torch."""
    made = export(small_emulator, tmp_path / "exported", file_format="aoti", member=1)
    assert made.agreements["event"].passed
    home = Path(torch.__file__).parent
    program = tmp_path / "emulator"
    subprocess.run(
        [
            shutil.which("g++"),
            "-std=c++20",
            f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
            f"-I{home}/include",
            f"-I{home}/include/torch/csrc/api/include",
            EXAMPLES / "cpp" / "emulator.cpp",
            f"-L{home}/lib",
            "-ltorch",
            "-ltorch_cpu",
            "-lc10",
            f"-Wl,-rpath,{home}/lib",
            "-o",
            program,
        ],
        check=True,
    )
    reproduces(program, made.path / "event.pt2", made.path / "event.csv", tmp_path)
