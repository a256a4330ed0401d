"""The tables of the documentation are made from the code and from the benchmarks' results."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from gen2reco import errors
from gen2reco.cli import app
from gen2reco.features.transforms import KINDS
from gen2reco.models import parse
from gen2reco.rows.functions import FUNCTIONS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generated():
    """The module of docs/ that makes tables."""
    sys.path.insert(0, str(DOCS))
    try:
        yield importlib.import_module("generated")
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def figures(generated):
    return sys.modules["figures"]


def test_tables_from_code_are_complete(generated):
    functions = generated.functions()
    assert all(f"`{function.usage}`" in functions for function in FUNCTIONS.values())
    transforms = generated.transforms()
    assert all(f"| `{kind}` |" in transforms for kind in KINDS)
    assert "| `members` | whole number | `1` |" in generated.block("Training")


@pytest.mark.parametrize("kind", ["flashsim", "flow", "quantile", "vae"])
def test_every_family_is_shown_with_its_settings(generated, kind):
    assert f"`kind: {kind}`" in generated.families()
    for setting in type(parse({"kind": kind})).model_fields:
        assert setting == "kind" or f"| `{setting}` |" in generated.families()


def test_every_command_is_shown_with_its_options(generated):
    shown = generated.commands()
    for name, command in typer.main.get_command(app).commands.items():
        assert f"$ gen2reco {name} --help" in shown
        assert all(flag in shown for param in command.params for flag in param.opts)


def test_exit_codes_are_those_of_the_errors(generated):
    text = generated.exit_codes()
    for error in (
        errors.StudyError,
        errors.EventFileError,
        errors.OutputExistsError,
        errors.MissingExtraError,
    ):
        assert f"| {error.exit_code} | `{error.__name__}` |" in text


def test_help_is_what_the_page_shows(generated):
    printed = subprocess.run(
        [sys.executable, "-m", "gen2reco", "simulate", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for option in re.findall(r"--[a-z]+", printed.stdout):
        assert option in generated.commands()


def test_absent_benchmarks_are_said_to_be_absent(figures, tmp_path):
    assert "has not been run" in figures.benchmark(tmp_path, "fidelity")


def test_benchmark_results_become_tables(figures, tmp_path):
    result = {
        "benchmark": "toy",
        "machine": {"processor": "x86_64", "cores": 2, "versions": {"torch": "2.13.0"}},
        "met": True,
        "rate": 123456.7,
        "lines": {"small": {"ours": 3.14159, "theirs": None}, "large": {"ours": 1}},
        "studies": {
            "flow": {
                "rows": 10,
                "headline": "x" * 80,
                "c2st": {"excess": 0.004, "curve": [0.0] * 101},
            },
            "other": {"rows": 20, "headline": "y" * 80, "c2st": {"excess": 0.05}},
        },
        "all": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    (tmp_path / "toy.json").write_text(json.dumps(result), encoding="utf-8")
    text = figures.benchmark(tmp_path, "toy")
    assert "*Taken on x86_64, 2 cores, torch 2.13.0.*" in text
    assert "| met | yes |" in text
    assert "| rate | 123 457 |" in text
    assert "| all | 5 values, 1 to 5 |" in text
    assert "|  | ours | theirs |" in text
    assert "| small | 3.142 | - |" in text
    assert "| rows | 10 | 20 |" in text
    assert "| excess | 0.004 | 0.05 |" in text
    assert f"- flow: {'x' * 80}" in text
    assert "curve" not in text


def test_every_picture_says_what_is_seen_and_is_shown_once(generated):
    assert set(generated.PICTURES) == {path.stem for path in (DOCS / "images").glob("*.png")}
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    asked = re.findall(r"\{generated\} pictures (.+)$", page, re.MULTILINE)
    assert asked
    named = [name for line in asked for name in line.split()]
    assert sorted(named) == sorted(generated.PICTURES), "each on the page once"
    for name in named:
        assert f"![{generated.PICTURES[name]}](/images/{name}.png)" in generated.pictures(name)


def test_results_that_are_there_can_be_shown(generated):
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        shown = generated.benchmark(path.stem)
        assert "*Taken on" in shown
        assert "unknown machine" not in shown, path.stem
        assert f"benchmark {path.stem}\n" in (DOCS / "results.md").read_text(encoding="utf-8")
