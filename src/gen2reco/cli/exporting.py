"""`export`: an emulator for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from gen2reco.cli.options import AsJson, Model, Output, Overwrite
from gen2reco.cli.output import show


def export(
    model: Model,
    output: Output,
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx for ONNX Runtime, aoti for C++ with libtorch alone, correctionlib for tables"
            " of efficiencies and responses.",
        ),
    ],
    files: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="For tables: files or globs of GEN events."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="For tables: a condition of an axis; default: the first two."),
    ] = None,
    parts: Annotated[
        list[str] | None, typer.Option("--part", help="A part to write; default: all.")
    ] = None,
    member: Annotated[int, typer.Option(min=0, help="Member of the ensemble.")] = 0,
    precision: Annotated[
        str,
        typer.Option(
            help="Of a network's arithmetic: float32 as in simulate, float64, or auto: float64 for"
            " parts whose float32 network does not pass the check."
        ),
    ] = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write an emulator's parts as networks for other programs, checked against Python."""
    from gen2reco.verbs.export import export as run  # noqa: PLC0415

    result = run(
        model,
        output,
        file_format=file_format,
        files=files or (),
        by=by or (),
        parts=parts or (),
        member=member,
        precision=precision,  # type: ignore[arg-type]
        overwrite=overwrite,
    )
    show(result, as_json)
