"""`submit`, `status` and `merge`: one production on many machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen2reco.cli.looking import CHECK_FAILED
from gen2reco.cli.options import (
    AsJson,
    Chunk,
    Format,
    Keep,
    MaybeInputs,
    Members,
    Model,
    Output,
    Oversample,
    Overwrite,
    Policy,
    Seed,
)
from gen2reco.cli.output import show

Shards = Annotated[Path, typer.Argument(help="Folder of the shards.")]


def submit(
    model: Model,
    output: Output,
    shards: Annotated[int, typer.Option(min=1, help="Pieces with equal numbers of events.")],
    backend: Annotated[str, typer.Option(help="htcondor or slurm.")],
    files: MaybeInputs = None,
    per_job: Annotated[
        int, typer.Option(min=1, help="Shards that a job makes one after the other.")
    ] = 1,
    memory: Annotated[int, typer.Option(min=1, help="MB that a job asks for.")] = 2000,
    minutes: Annotated[int, typer.Option(min=0, help="Longest time of a job; 0: the site's.")] = 0,
    setup: Annotated[str, typer.Option(help="Shell line that a job runs first.")] = "",
    launcher: Annotated[
        str, typer.Option(help="Words before the command, such as 'apptainer exec image.sif'.")
    ] = "",
    extra: Annotated[
        list[str] | None, typer.Option(help="Lines for the submit file, as they are.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the files and submit nothing.")
    ] = False,
    seed: Seed = 1,
    chunk: Chunk = 20_480,
    oversample: Oversample = 1,
    members: Members = 1,
    keep: Keep = None,
    policy: Policy = "error",
    file_format: Format = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make the shards of a production jobs of a batch system; again: those not done yet."""
    from gen2reco.verbs.submit import submit as run  # noqa: PLC0415

    result = run(
        model,
        files or (),
        output,
        shards=shards,
        backend=backend,
        per_job=per_job,
        memory=memory,
        minutes=minutes,
        setup=setup,
        launcher=launcher,
        extra=extra or (),
        dry_run=dry_run,
        seed=seed,
        chunk=chunk,
        oversample=oversample,
        members=members,
        keep=keep or (),
        policy=policy,
        file_format=file_format,
        overwrite=overwrite,
    )
    show(result, as_json)


def status(
    folder: Shards,
    digests: Annotated[
        bool, typer.Option(help="Compare digests, which reads every file; else sizes.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Say which shards are done, missing or broken; exit code 9 unless all are done."""
    from gen2reco.verbs.status import status as run  # noqa: PLC0415

    result = run(folder, digests=digests)
    show(result, as_json)
    if not result.complete:
        raise typer.Exit(CHECK_FAILED)


def merge(
    folder: Shards,
    output: Output,
    file_format: Format = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Join all shards of a production into one file, with checks."""
    from gen2reco.verbs.merge import merge as run  # noqa: PLC0415
    from gen2reco.verbs.progress import event_progress  # noqa: PLC0415

    with event_progress("merge") as progress:
        result = run(
            folder, output, file_format=file_format, overwrite=overwrite, progress=progress
        )
    show(result, as_json)
