"""The command line: thin commands over the functions of the same name.

Nothing heavy is imported before a verb runs.

Exit codes: 0 success, 1 other gen2reco errors, 2 wrong command line, 3 study, 4 event files,
5 emulator, 6 training, 7 output exists, 8 samples that cannot be compared, 9 a check failed,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gen2reco import __version__
from gen2reco.cli.exporting import export
from gen2reco.cli.judging import compare, score, validate
from gen2reco.cli.learning import demo, init, train, tune
from gen2reco.cli.looking import info, schema
from gen2reco.cli.making import generate, simulate, unfold
from gen2reco.cli.spreading import merge, status, submit
from gen2reco.errors import Gen2RecoError


class _Verbs(TyperGroup):
    """The verbs. Of an interrupt typer leaves the exit code alone, and no word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write("gen2reco: interrupted\n")
            raise SystemExit(130) from None


app = typer.Typer(
    cls=_Verbs,
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


VERBS = (
    *(init, demo, train, tune, simulate, generate, submit, status, merge, export, unfold),
    *(validate, compare, score, info, schema),
)
for verb in VERBS:
    app.command()(verb)
