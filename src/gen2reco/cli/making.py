"""`simulate`, `unfold` and `generate`: from events to events, or from none."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gen2reco.cli.options import (
    AsJson,
    Chunk,
    Format,
    Inputs,
    Keep,
    MaybeInputs,
    Members,
    Model,
    Output,
    Oversample,
    Overwrite,
    Policy,
    Seed,
    Workers,
    refuse_given,
)
from gen2reco.cli.output import say, show
from gen2reco.errors import StudyError

_ITERATED = ("method", "iterations")
_STREAMED = ("draws", "chunk", "workers", "members", "policy")
"""Options of `unfold` for its iterations, and for the emulator that it ends with."""


def simulate(
    model: Model,
    output: Output,
    files: MaybeInputs = None,
    seed: Seed = 1,
    chunk: Chunk = 20_480,
    workers: Workers = 1,
    oversample: Oversample = 1,
    members: Members = 1,
    keep: Keep = None,
    policy: Policy = "error",
    file_format: Format = None,
    shard: Annotated[
        str,
        typer.Option(
            help="I/N: only piece I, from 0, of N with equal numbers of events; OUTPUT is a folder."
        ),
    ] = "",
    scheduler: Annotated[
        str,
        typer.Option(
            help="Address of a Dask scheduler that makes all shards, or local for --workers here."
        ),
    ] = "",
    shards: Annotated[
        int, typer.Option(min=0, help="With --scheduler: pieces; OUTPUT is a folder.")
    ] = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn files of GEN events into a file of RECO events."""
    if not files and not shard and not scheduler:
        raise typer.BadParameter("Missing argument 'FILES...'.")
    from gen2reco.verbs.progress import event_progress  # noqa: PLC0415
    from gen2reco.verbs.simulate import simulate as run  # noqa: PLC0415

    with event_progress("simulate") as progress:
        result = run(
            model,
            files or (),
            output,
            shard=shard,
            scheduler=scheduler,
            shards=shards,
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
    show(result, as_json)


def generate(
    model: Model,
    output: Output,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many events.")],
    seed: Seed = 1,
    first: Annotated[
        int, typer.Option(min=0, help="Number of the first event: go on behind another job.")
    ] = 0,
    chunk: Chunk = 20_480,
    workers: Workers = 1,
    members: Members = 1,
    file_format: Format = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a file of events from an emulator that reads no GEN."""
    from gen2reco.verbs.generate import generate as run  # noqa: PLC0415
    from gen2reco.verbs.progress import event_progress  # noqa: PLC0415

    with event_progress("generate") as progress:
        result = run(
            model,
            number,
            output,
            seed=seed,
            first=first,
            chunk=chunk,
            workers=workers,
            members=members,
            file_format=file_format,
            overwrite=overwrite,
            progress=progress,
        )
    show(result, as_json)


def unfold(
    context: typer.Context,
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
    chunk: Chunk = 20_480,
    workers: Workers = 1,
    members: Members = 1,
    keep: Keep = None,
    policy: Policy = "error",
    file_format: Format = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn files of RECO events into a file of GEN events, or weight simulated GEN to them."""
    if not simulation:
        refuse_given(context, (*_ITERATED, "bootstraps"), "for unfolding with --simulation")
    elif method == "omnifold":
        refuse_given(context, _STREAMED, "for unfolding with an emulator, not for omnifold")
    elif method == "posterior":
        refuse_given(context, ("bootstraps",), "for --method omnifold")
    else:
        raise StudyError(f"--method is omnifold or posterior, not {method!r}")
    common: dict[str, Any] = {
        "seed": seed,
        "keep": keep or (),
        "file_format": file_format,
        "overwrite": overwrite,
    }
    if simulation and method == "omnifold":
        from gen2reco.verbs.reweight import reweight  # noqa: PLC0415

        weighted = reweight(
            model,
            files,
            simulation,
            output,
            iterations=iterations or 5,
            bootstraps=bootstraps,
            say=say,
            **common,
        )
        show(weighted, as_json)
        return
    from gen2reco.verbs.progress import event_progress  # noqa: PLC0415

    with event_progress("unfold") as progress:
        common |= {
            "draws": draws,
            "chunk": chunk,
            "workers": workers,
            "members": members,
            "policy": policy,
            "progress": progress,
        }
        if simulation:
            from gen2reco.verbs.prior import unfold_without_prior  # noqa: PLC0415

            result = unfold_without_prior(
                model, files, simulation, output, iterations=iterations or 2, say=say, **common
            )
        else:
            from gen2reco.verbs.unfold import unfold as run  # noqa: PLC0415

            result = run(model, files, output, **common)
    show(result, as_json)
