"""Extras: what is not installed is said before anything is read, with one exit code."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from gen2reco import cli, compare, export, open_events, simulate, train, tune, validate
from gen2reco.errors import MissingExtraError, StudyError
from gen2reco.extras import EXTRAS, require

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "tcp://127.0.0.1:1"


def test_the_modules_are_those_of_the_packages_that_an_extra_installs():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)["project"]["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        packages = [re.match(r"[\w.-]+", requirement).group() for requirement in declared[extra]]
        assert sorted(modules) == sorted(name.replace("-", "_") for name in packages), extra


@pytest.mark.parametrize(
    ("extra", "module"), [(extra, module) for extra in EXTRAS for module in EXTRAS[extra]]
)
def test_a_missing_package_is_said_with_what_installs_it(monkeypatch, extra, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"needs {module} .*'gen2reco\[{extra}\]'"):
        require(extra, "this")


def verbs(model, sample, scheduler):
    """Name -> extra and a call that needs it; outputs go to the current folder."""
    there = {"scheduler": scheduler}
    return {
        "train --tensorboard": (
            "tensorboard",
            lambda: train("wjet", sample, "out", tensorboard=True),
        ),
        "train --scheduler": ("dask", lambda: train("wjet", sample, "out", **there)),
        "simulate --scheduler": (
            "dask",
            lambda: simulate(model, sample, "out", shards=2, **there),
        ),
        "validate --scheduler": (
            "dask",
            lambda: validate(model, sample, "out", stream=600, **there),
        ),
        "compare --scheduler": (
            "dask",
            lambda: compare(sample, sample, "out", stream=600, **there),
        ),
        "tune": ("tune", lambda: tune("wjet", sample, "out")),
        "export onnx": ("onnx", lambda: export(model, "new/out", file_format="onnx")),
        "export correctionlib": (
            "correctionlib",
            lambda: export(model, "new/out", file_format="correctionlib", files=sample),
        ),
    }


@pytest.fixture
def reading_fails(monkeypatch, tmp_path):
    """No verb may open a file of events or leave anything in the current folder."""

    def refuse(*_, **__):
        raise AssertionError("events were opened")

    for module in ("inputs", "compare"):
        monkeypatch.setattr(sys.modules[f"gen2reco.verbs.{module}"], "open_events", refuse)
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", verbs("", "", ""))
def test_a_verb_finds_out_first_and_leaves_nothing(
    reading_fails, monkeypatch, small_emulator, bundled, name
):
    extra, call = verbs(small_emulator, bundled, "local")[name]
    for module in EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'gen2reco\[{extra}\]'"):
        call()


@pytest.mark.parametrize("name", [name for name in verbs("", "", "") if "scheduler" in name])
def test_a_scheduler_that_is_not_there_is_found_out_first(
    reading_fails, small_emulator, bundled, name
):
    import dask
    import distributed  # noqa: F401  (its defaults first)

    _, call = verbs(small_emulator, bundled, NOWHERE)[name]
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(StudyError, match="there is no scheduler at"),
    ):
        call()


def test_reading_hdf5_names_the_file(monkeypatch, tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"a\.h5: reading HDF5 needs h5py"):
        open_events(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("distributed", ["train", "wjet", "--scheduler", "local"]),
        ("tensorboard", ["train", "wjet", "--tensorboard"]),
        ("optuna", ["tune", "wjet"]),
        ("onnx_ir", ["export", "model", "--format", "onnx", "-o", "out"]),
        ("correctionlib", ["export", "model", "--format", "correctionlib", "-o", "out"]),
    ],
)
def test_every_missing_extra_has_the_same_exit_code(monkeypatch, capsys, tmp_path, module, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(sys, "argv", ["gen2reco", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == MissingExtraError.exit_code == 10
    assert f"needs {module}" in capsys.readouterr().err
