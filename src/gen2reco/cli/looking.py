"""`info` and `schema`: what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gen2reco.cli.options import AsJson, Tree
from gen2reco.cli.output import show

CHECK_FAILED = 9


def info(
    path: Annotated[Path, typer.Argument(help="A trained emulator, or a file of events.")],
    check: Annotated[
        bool, typer.Option("--check", help="Reproduce the emulator's reference events here.")
    ] = False,
    tree: Tree = "",
    as_json: AsJson = False,
) -> None:
    """Say what an emulator or a file of events holds."""
    from gen2reco.verbs.info import info as run  # noqa: PLC0415

    result = run(path, check=check, tree=tree)
    show(result, as_json)
    if result.failed:
        raise typer.Exit(CHECK_FAILED)


def schema(
    what: Annotated[
        str, typer.Argument(help="study, or expressions for the functions of the language.")
    ] = "study",
) -> None:
    """Print the JSON Schema of study files."""
    from gen2reco.verbs.schema import schema as run  # noqa: PLC0415

    typer.echo(json.dumps(run(what), indent=2))
