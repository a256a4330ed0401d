"""Model families, one file each under one protocol; `kind` in a study picks the family."""

from gen2reco.models.families import (
    build,
    config_schema,
    parse,
    plain_sides,
    runs_back,
    takes_levels,
)

__all__ = ["build", "config_schema", "parse", "plain_sides", "runs_back", "takes_levels"]
