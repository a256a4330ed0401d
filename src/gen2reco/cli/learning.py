"""`init`, `train`, `demo`: from a sample to an emulator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gen2reco.cli.options import AsJson, Output, Overwrite, Scheduler
from gen2reco.cli.output import overrides, say, show
from gen2reco.errors import StudyError


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
        say(f"wrote {output}; read it through, then: gen2reco train {output} -i {sample}")


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
    scheduler: Scheduler = "",
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
            overrides=overrides(settings or []),
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            scheduler=scheduler,
            tensorboard=tensorboard,
            progress=progress,
        )
    if os.environ.get("RANK", "0") == "0":  # one of the processes of torchrun
        show(result, as_json, drop=("emulator",))


def tune(
    study: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped study (zgamma-vae).")
    ],
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            help="Files or globs of events; default: the sample bundled for the study.",
        ),
    ] = None,
    output: Output = Path("tuning"),
    trials: Annotated[int, typer.Option(min=1, help="Trials in all.")] = 40,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            help="A setting and its range: model.beta={low: 0.5, high: 2, log: true} or"
            " model.latent={choices: [8, 13]}; default: those usual for the family.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting before the search.")
    ] = None,
    monitor: Annotated[
        str,
        typer.Option(help="What counts on the validation rows: distributions or loss."),
    ] = "distributions",
    repeats: Annotated[
        int,
        typer.Option(min=1, help="Trainings of each trial, in other seeds; their mean counts."),
    ] = 1,
    seed: Annotated[
        int, typer.Option("--seed", "-s", min=0, help="Seed of the search, one per process.")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the trials that are there, or join in.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search the settings of a study, on its validation events, with Optuna."""
    from gen2reco.verbs.tune import tune as run  # noqa: PLC0415

    if monitor not in {"distributions", "loss"}:
        raise StudyError(f"--monitor is distributions or loss, not {monitor!r}")
    result = run(
        study,
        files or (),
        output,
        trials=trials,
        space=overrides(space, "--space", "'model.latent={choices: [8, 13]}'") if space else None,
        overrides=overrides(settings or []),
        monitor=monitor,  # type: ignore[arg-type]
        repeats=repeats,
        seed=seed,
        resume=resume,
        say=say,
    )
    show(result, as_json)


def demo(
    output: Output = Path("demo"), overwrite: Overwrite = False, as_json: AsJson = False
) -> None:
    """Train on bundled W + jet events, simulate all, judge on held-back ones: a few minutes."""
    from gen2reco.training import show_progress  # noqa: PLC0415
    from gen2reco.verbs.demo import demo as run  # noqa: PLC0415

    with show_progress() as progress:
        result = run(output, overwrite=overwrite, say=say, progress=progress)
    show(result, as_json)
