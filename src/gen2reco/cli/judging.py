"""`validate`, `compare` and `score`: how good it is, and how strange events are to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen2reco.cli.options import (
    AsJson,
    Inputs,
    LocalWorkers,
    Model,
    Output,
    Overwrite,
    Quick,
    Scheduler,
    Seed,
    Stream,
)
from gen2reco.cli.output import say, show


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
    stream: Stream = 0,
    scheduler: Scheduler = "",
    workers: LocalWorkers = 1,
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
        stream=stream,
        scheduler=scheduler,
        workers=workers,
        overwrite=overwrite,
        say=say,
    )
    show(result, as_json)


def score(
    model: Model,
    files: Inputs,
    output: Output = Path("scores.parquet"),
    signal: Annotated[
        list[str] | None,
        typer.Option(help="Files or globs of signal: measure how well each score finds it."),
    ] = None,
    sculpted: Annotated[
        str, typer.Option(help="Quantity of the study that a cut must not sculpt, e.g. m_lly.")
    ] = "",
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for ROC curves, latent space and the sculpted quantity."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(help="Events to score: auto (test part of the training files), test or all."),
    ] = "auto",
    seed: Seed = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Tell how unlike its training events each event is, and how well that finds a signal."""
    from gen2reco.verbs.score import score as run  # noqa: PLC0415

    result = run(
        model,
        files,
        output,
        signal=signal or (),
        sculpted=sculpted,
        pictures=pictures,
        split_of=split,
        seed=seed,
        overwrite=overwrite,
        say=say,
    )
    show(result, as_json)


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
    stream: Stream = 0,
    scheduler: Scheduler = "",
    workers: LocalWorkers = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare two files of RECO events and write a report."""
    from gen2reco.verbs.compare import compare as run  # noqa: PLC0415

    result = run(
        full,
        fast,
        output,
        study=study or None,
        quick=quick,
        stream=stream,
        scheduler=scheduler,
        workers=workers,
        overwrite=overwrite,
        say=say,
    )
    show(result, as_json)
