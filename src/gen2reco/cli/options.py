"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen2reco.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable


def refuse_given(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that would be ignored where they are given: StudyError."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise StudyError(f"--{name} is {why}")


Model = Annotated[Path, typer.Argument(help="A trained emulator: its folder or zip file.")]
Inputs = Annotated[list[str], typer.Argument(help="Files or globs of events.")]
MaybeInputs = Annotated[
    list[str] | None,
    typer.Argument(help="Files or globs of events; not needed where a manifest names them."),
]
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
Stream = Annotated[
    int,
    typer.Option(
        min=0,
        help="For samples larger than memory: distributions of all events, the rest of the report"
        " about so many of them.",
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        help="Address of a Dask scheduler whose workers do it, or local for --workers here."
    ),
]
LocalWorkers = Annotated[
    int, typer.Option("--workers", "-w", min=1, help="Processes, with --scheduler local.")
]
Chunk = Annotated[int, typer.Option("--chunk", min=1, help="Events per step.")]
Workers = Annotated[
    int, typer.Option("--workers", "-w", min=1, help="Processes, this one included.")
]
Oversample = Annotated[int, typer.Option("--oversample", min=1, help="RECO events per GEN event.")]
Members = Annotated[
    int, typer.Option("--members", min=1, help="Ensemble members, as a systematic uncertainty.")
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", help="Columns of the input to carry along, e.g. 'GenJet_*'."),
]
Policy = Annotated[
    str,
    typer.Option("--policy", help="For input values that are not finite: error, drop or flag."),
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="parquet, nanoaod or rntuple; default: by the suffix."),
]
