"""The command line as a newcomer meets it: wrong arguments included."""

import json
import re
import subprocess
import sys

import pytest

from gen2reco import cli, init, load_study, schema


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "gen2reco", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def failure(*arguments):
    """Exit code and the one message of a call that fails; never a traceback, nothing on stdout."""
    done = run(*arguments)
    assert "Traceback" not in done.stderr
    assert not done.stdout
    return done.returncode, done.stderr


def test_help_names_every_verb():
    shown = run("--help").stdout
    for verb in ("init", "demo", "train", "simulate", "validate", "compare", "info", "schema"):
        assert re.search(rf"^  {verb} ", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "wjat", "-o", "nowhere/model"), 3, "Did you mean 'wjet'"),
        (("train", "wjet", "--set", "training.epochs", "-o", "nowhere/model"), 3, "KEY=VALUE"),
        (
            ("tune", "zgamma-vae", "--space", "model.beta", "-o", "nowhere/tuning"),
            3,
            "--space wants KEY=VALUE, not 'model.beta'; for example --space 'model.latent={",
        ),
        (
            ("train", "wjet", "--set", "model.continuous.hiden=[8]", "-o", "nowhere/model"),
            3,
            "hidden",
        ),
        (("train", "wjet", "--set", "training.epoch=3", "-o", "nowhere/model"), 3, "epochs"),
        (
            ("train", "wjet", "-i", "no_such_file.root", "-o", "nowhere/model"),
            4,
            "no_such_file.root",
        ),
        (
            ("simulate", "no_model", "gen.root", "-o", "nowhere/reco.root"),
            5,
            "no emulator at no_model",
        ),
        (("info", "no_such_thing"), 5, "no_such_thing"),
        (("schema", "studdy"), 3, "'study'"),
        *(
            (("unfold", "model", "reco.parquet", "-o", "nowhere/gen.parquet", *given), 3, message)
            for given, message in (
                (("--method", "nonsense"), "--method is for unfolding with --simulation"),
                (("--iterations", "3"), "--iterations is for unfolding with --simulation"),
                (("--bootstraps", "3"), "--bootstraps is for unfolding with --simulation"),
                (("--simulation", "s", "--method", "x"), "omnifold or posterior, not 'x'"),
                (("--simulation", "s", "--draws", "3"), "--draws is for unfolding with an emul"),
                (("--simulation", "s", "-w", "2"), "--workers is for unfolding with an emulator"),
                (
                    ("--simulation", "s", "--method", "posterior", "--bootstraps", "2"),
                    "--bootstraps is for --method omnifold",
                ),
            )
        ),
        (("validate", "model", "x.parquet", "-w", "2"), 3, "say --scheduler local"),
        (("simulate",), 2, "Missing argument"),
        (("simulat",), 2, "No such command"),
    ],
)
def test_wrong_arguments_give_one_clear_message(arguments, code, message):
    found, shown = failure(*arguments)
    assert found == code
    assert message in shown


def test_an_existing_model_is_not_replaced(small_emulator):
    code, shown = failure("train", "wjet", "-o", small_emulator)
    assert code == 7
    assert "--overwrite" in shown


def test_an_interrupt_is_told(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("gen2reco.verbs.schema.schema", interrupted)
    monkeypatch.setattr(sys, "argv", ["gen2reco", "schema"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "gen2reco: interrupted\n"


def test_debug_shows_the_traceback():
    done = run("--debug", "info", "no_such_thing")
    assert "Traceback" in done.stderr


def test_simulate_prints_json_for_machines(small_emulator, gen_file, tmp_path):
    done = run("simulate", small_emulator, gen_file, "-o", tmp_path / "reco.parquet", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["read"] == 3000
    assert result["events"] + sum(result["dropped"].values()) == 3000


def test_info_describes_files_and_checks_emulators(small_emulator, gen_file):
    shown = run("info", gen_file).stdout
    assert "parquet" in shown
    assert "3000" in shown
    assert "GenJet: " in shown
    done = run("info", "--check", small_emulator)
    assert done.returncode == 0, done.stderr
    assert "reference events: identical" in done.stdout
    assert "mu_eta equals its GEN value in every row" in done.stdout


def test_init_writes_a_study_that_loads(gen_file, tmp_path):
    text = init(gen_file, tmp_path / "mine.yaml")
    study = load_study(tmp_path / "mine.yaml")
    assert text.startswith("# A starting study for gen.parquet")
    assert study.input.units == "GeV"
    assert set(study.parts[0].output) == {"Muon", "Jet", "MET"}
    done = run("init", gen_file, "-o", tmp_path / "mine.yaml")
    assert done.returncode == 7


@pytest.mark.slow
def test_the_study_of_init_trains_simulates_and_validates(gen_file, bundled, tmp_path):
    init(bundled, tmp_path / "mine.yaml")
    options = [
        part for one in ("epochs=2", "max_rows=4000") for part in ("--set", f"training.{one}")
    ]
    done = run("train", tmp_path / "mine.yaml", "-i", bundled, "-o", tmp_path / "model", *options)
    assert done.returncode == 0, done.stderr
    done = run("simulate", tmp_path / "model", gen_file, "-o", tmp_path / "reco.root")
    assert done.returncode == 0, done.stderr
    done = run("validate", tmp_path / "model", gen_file, "-o", tmp_path / "report", "--quick")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "index.html").is_file()


def test_schema_covers_study_and_families():
    document = schema()
    assert document["properties"]["parts"]
    text = json.dumps(document)
    for word in ("couplings", "latent", "relative_to", "learning_rate"):
        assert word in text
    assert "delta_r" in schema("expressions")
