"""Model families, one file each under one protocol; `kind` in a study picks the family."""

from gen2reco.models.families import (
    build,
    check_rows_of,
    config_schema,
    monitored,
    parse,
    plain_sides,
    representation,
    runs_back,
    takes_levels,
)

__all__ = [
    "build",
    "check_rows_of",
    "config_schema",
    "monitored",
    "parse",
    "plain_sides",
    "representation",
    "runs_back",
    "takes_levels",
]
