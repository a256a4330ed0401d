"""The command line: thin commands over the functions of the same name."""

from gen2reco.cli.app import app, main

__all__ = ["app", "main"]
