"""The command line: thin commands over the functions of the same name.

Nothing heavy is imported before a verb runs.

Exit codes: 0 success, 1 other gen2reco errors, 2 wrong command line, 3 study, 4 event files,
5 emulator, 6 training, 7 output exists, 8 samples that cannot be compared, 9 a check failed,
130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen2reco import __version__
from gen2reco.errors import Gen2RecoError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK_FAILED = 9

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Learn p(RECO | GEN) from simulated events, then turn GEN events into RECO events,"
        " with proof."
    ),
)

Model = Annotated[Path, typer.Argument(help="A trained emulator: its folder or zip file.")]
Inputs = Annotated[list[str], typer.Argument(help="Files or globs of events.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="What to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]
Seed = Annotated[int, typer.Option("--seed", "-s", min=0, help="Seed of all random numbers.")]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="Fewer repetitions for errors and nulls; the report says so."),
]


def main() -> None:
    """Run the command line and turn errors into one message and an exit code."""
    # Threads that wait should sleep: on a shared machine, spinning ones take the core that the
    # work needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
        import logging  # noqa: PLC0415

        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        logging.getLogger("numba").setLevel(logging.WARNING)
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        app(arguments, prog_name="gen2reco")
    except Gen2RecoError as error:
        if debug:
            raise
        sys.stderr.write(f"gen2reco: error: {error}\n")
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except (OSError, MemoryError) as error:  # a full disk, a folder of somebody else
        if debug:
            raise
        sys.stderr.write(f"gen2reco: error: {error or 'out of memory; try a smaller --chunk'}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("gen2reco: interrupted\n")
        raise SystemExit(130) from None


def _version(show: bool) -> None:
    if show:
        typer.echo(f"gen2reco {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
    __: Annotated[bool, typer.Option("--debug", help="Show tracebacks and log messages.")] = False,
) -> None:
    pass


@app.command()
def init(
    sample: Annotated[str, typer.Argument(help="A file of yours, with GEN and RECO.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Study file to write; - for standard output.")
    ] = "-",
    overwrite: Overwrite = False,
) -> None:
    """Look into a file of events and write a commented study to start from."""
    from gen2reco.verbs.init import init as run  # noqa: PLC0415

    text = run(sample, None if output == "-" else output, overwrite=overwrite)
    if output == "-":
        typer.echo(text, nl=False)
    else:
        _say(f"wrote {output}; read it through, then: gen2reco train {output} -i {sample}")


@app.command()
def train(
    study: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped study (wjet).")
    ],
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            help="Files or globs of events; default: the sample bundled for the study.",
        ),
    ] = None,
    output: Output = Path("model"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: model.hidden=[128,128], training.epochs=40."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted run.")
    ] = False,
    overwrite: Overwrite = False,
    workers: Annotated[int, typer.Option(min=1, help="Ensemble members trained side by side.")] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard logs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a study's emulator."""
    from gen2reco.training import show_progress  # noqa: PLC0415
    from gen2reco.verbs.train import train as run  # noqa: PLC0415

    with show_progress() as progress:
        result = run(
            study,
            files or (),
            output,
            overrides=_overrides(settings or []),
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            tensorboard=tensorboard,
            progress=progress,
        )
    _print(result, as_json, drop=("emulator",))


@app.command()
def simulate(
    model: Model,
    files: Inputs,
    output: Output,
    seed: Seed = 1,
    chunk: Annotated[int, typer.Option(min=1, help="GEN events per step.")] = 20_480,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=1, help="Processes, this one included.")
    ] = 1,
    oversample: Annotated[int, typer.Option(min=1, help="RECO events per GEN event.")] = 1,
    members: Annotated[
        int, typer.Option(min=1, help="Ensemble members, as a systematic uncertainty.")
    ] = 1,
    keep: Annotated[
        list[str] | None, typer.Option(help="GEN columns to carry along, e.g. 'GenJet_*'.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="For GEN values that are not finite: error, drop or flag.")
    ] = "error",
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="parquet, nanoaod or rntuple; default: by the suffix."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn files of GEN events into a file of RECO events."""
    from gen2reco.verbs.progress import event_progress  # noqa: PLC0415
    from gen2reco.verbs.simulate import simulate as run  # noqa: PLC0415

    with event_progress("simulate") as progress:
        result = run(
            model,
            files,
            output,
            seed=seed,
            chunk=chunk,
            workers=workers,
            oversample=oversample,
            members=members,
            keep=keep or (),
            policy=policy,
            file_format=file_format,
            overwrite=overwrite,
            progress=progress,
        )
    _print(result, as_json)


@app.command()
def unfold(
    model: Annotated[
        str,
        typer.Argument(
            help="A trained emulator of a study that unfolds; with --simulation, the study."
        ),
    ],
    files: Inputs,
    output: Output,
    draws: Annotated[int, typer.Option(min=1, help="GEN events per RECO event.")] = 1,
    simulation: Annotated[
        list[str] | None,
        typer.Option(help="Files or globs with GEN and RECO: unfold by iteration, with these."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="With --simulation: omnifold (weights on its GEN events) or posterior (a flow"
            " whose prior is removed, saved as OUTPUT.model)."
        ),
    ] = "omnifold",
    iterations: Annotated[
        int, typer.Option(min=0, help="With --simulation; 0: 5 for omnifold, 2 for posterior.")
    ] = 0,
    bootstraps: Annotated[
        int, typer.Option(min=0, help="omnifold: replicas, for covariances.")
    ] = 0,
    seed: Seed = 1,
    chunk: Annotated[int, typer.Option(min=1, help="RECO events per step.")] = 20_480,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes.")] = 1,
    members: Annotated[
        int, typer.Option(min=1, help="Ensemble members, as a systematic uncertainty.")
    ] = 1,
    keep: Annotated[
        list[str] | None, typer.Option(help="Columns to carry along, e.g. 'Electron_*'.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="For RECO values that are not finite: error, drop or flag.")
    ] = "error",
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="parquet, nanoaod or rntuple; default: by the suffix."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn files of RECO events into a file of GEN events, or weight simulated GEN to them."""
    from gen2reco.verbs.progress import event_progress  # noqa: PLC0415

    emulator: str | Path = model
    if simulation:
        if method not in {"omnifold", "posterior"}:
            raise StudyError(f"--method is omnifold or posterior, not {method!r}")
        if method == "omnifold":
            from gen2reco.verbs.reweight import reweight  # noqa: PLC0415

            weighted = reweight(
                model,
                files,
                simulation,
                output,
                iterations=iterations or 5,
                bootstraps=bootstraps,
                seed=seed,
                keep=keep or (),
                file_format=file_format,
                overwrite=overwrite,
                say=_say,
            )
            _print(weighted, as_json)
            return
        from gen2reco.verbs.prior import remove_prior  # noqa: PLC0415

        emulator = output.with_name(f"{output.name}.model")
        adapted = remove_prior(
            model,
            files,
            simulation,
            emulator,
            iterations=iterations or 2,
            overwrite=overwrite,
            say=_say,
        )
        _say(str(adapted))
    from gen2reco.verbs.unfold import unfold as run  # noqa: PLC0415

    with event_progress("unfold") as progress:
        result = run(
            emulator,
            files,
            output,
            draws=draws,
            seed=seed,
            chunk=chunk,
            workers=workers,
            members=members,
            keep=keep or (),
            policy=policy,
            file_format=file_format,
            overwrite=overwrite,
            progress=progress,
        )
    _print(result, as_json)


@app.command()
def validate(
    model: Model,
    files: Inputs,
    output: Output = Path("report"),
    split: Annotated[
        str,
        typer.Option(
            help="Events to judge on: auto (test part of the training files), test or all."
        ),
    ] = "auto",
    seed: Seed = 1,
    oversample: Annotated[
        int,
        typer.Option(help="FastSim events per GEN event; the report says what they gain.", min=1),
    ] = 1,
    quick: Quick = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Judge an emulator on events with GEN and RECO it was not trained on, and write a report."""
    from gen2reco.verbs.validate import validate as run  # noqa: PLC0415

    result = run(
        model,
        files,
        output,
        split=split,
        seed=seed,
        oversample=oversample,
        quick=quick,
        overwrite=overwrite,
        say=_say,
    )
    _print(result, as_json)


@app.command()
def compare(
    full: Annotated[str, typer.Argument(help="File or glob of the reference events (FullSim).")],
    fast: Annotated[str, typer.Argument(help="File or glob of the events to judge (FastSim).")],
    output: Output = Path("comparison"),
    study: Annotated[
        str,
        typer.Option(
            help="Study whose quantities and selection are used; default: the common columns."
        ),
    ] = "",
    quick: Quick = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare two files of RECO events and write a report."""
    from gen2reco.verbs.compare import compare as run  # noqa: PLC0415

    result = run(
        full, fast, output, study=study or None, quick=quick, overwrite=overwrite, say=_say
    )
    _print(result, as_json)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A trained emulator, or a file of events.")],
    check: Annotated[
        bool, typer.Option("--check", help="Reproduce the emulator's reference events here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what an emulator or a file of events holds."""
    from gen2reco.verbs.info import info as run  # noqa: PLC0415

    result = run(path, check=check)
    _print(result, as_json)
    if result.failed:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def schema(
    what: Annotated[
        str, typer.Argument(help="study, or expressions for the functions of the language.")
    ] = "study",
) -> None:
    """Print the JSON Schema of study files."""
    from gen2reco.verbs.schema import schema as run  # noqa: PLC0415

    typer.echo(json.dumps(run(what), indent=2))


@app.command()
def demo(
    output: Output = Path("demo"), overwrite: Overwrite = False, as_json: AsJson = False
) -> None:
    """Train on bundled W + jet events, simulate held-back ones, write the report: a few minutes."""
    from gen2reco.training import show_progress  # noqa: PLC0415
    from gen2reco.verbs.demo import demo as run  # noqa: PLC0415

    with show_progress() as progress:
        result = run(output, overwrite=overwrite, say=_say, progress=progress)
    _print(result, as_json)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _overrides(settings: list[str]) -> dict[str, Any]:
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise StudyError(
                f"--set wants KEY=VALUE, not {setting!r}; for example --set training.epochs=40"
            )
        try:
            values[key] = YAML(typ="safe").load(text)
        except YAMLError:
            raise StudyError(f"--set {key}: {text!r} is not a YAML value") from None
    return values


def _print(result: Any, as_json: bool, drop: tuple[str, ...] = ()) -> None:
    if as_json:
        typer.echo(json.dumps(_plain(result, drop), indent=1, allow_nan=False))
    else:
        typer.echo(str(result))


def _plain(value: Any, drop: tuple[str, ...] = ()) -> Any:
    convert: Callable[[], Any] | None = getattr(value, "as_dict", None)
    if convert is not None:
        return _plain(convert())
    if is_dataclass(value) and not isinstance(value, type):
        fields = {
            name: getattr(value, name) for name in value.__dataclass_fields__ if name not in drop
        }
        return {
            name: _plain(
                asdict(item) if is_dataclass(item) and not isinstance(item, type) else item
            )
            for name, item in fields.items()
        }
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):  # noqa: PLR0124
        return None
    return str(value) if isinstance(value, Path) else value
