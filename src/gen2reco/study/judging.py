"""The blocks of a study that say how FullSim and FastSim are compared: rows of a part, events."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gen2reco.study.basis import Block, Expression


class Response(Block):
    """RECO relative to GEN, as it is judged."""

    reco: Expression
    gen: Expression
    kind: Literal["ratio", "difference", "angle"] = "difference"


class Judging(Block):
    """How the rows of a part are judged, beside the whole events; expressions per row.

    In rows of kind `object`, `gen` and `reco` are the objects of the row, `reco` with the fields
    that the part writes: those of the file in FullSim, those that were drawn in FastSim. In rows of
    kind `spurious` there is `reco` alone, in rows of kind `event` what the study defines.
    """

    quantities: dict[str, Expression] = Field(
        default={},
        description="RECO quantities to compare; empty: all fields that the part writes and that"
        " the files have, indices left out",
    )
    responses: dict[str, Response] = Field(
        default={}, description="RECO relative to GEN to compare; empty: targets with relative_to"
    )
    bins: dict[str, Expression] = Field(
        default={},
        description="GEN quantities against which efficiency, response and flags are shown",
    )
    groups: dict[str, Expression] = Field(
        default={}, description="classes of GEN objects that are judged apart: flavours"
    )
    flags: dict[str, Expression] = Field(
        default={}, description="RECO flags whose rate is judged per group and against the bins"
    )


class Validation(Block):
    """How FullSim and FastSim are compared."""

    select: Expression = Field(
        default="", description="final selection, applied to FullSim and FastSim alike"
    )
    quantities: dict[str, Expression] = Field(default={}, description="RECO quantities to compare")
    responses: dict[str, Response] = Field(
        default={}, description="RECO relative to GEN to compare"
    )
    regions: dict[str, Expression] = Field(
        default={},
        description="selections of an analysis: the number of events that pass is compared on the"
        " same GEN events",
    )
    gen: dict[str, Expression] = Field(
        default={},
        description="GEN quantities of the event that the classifier sees beside RECO; empty: the"
        " conditions of the only part",
    )
    labels: dict[str, str] = Field(
        default={}, description="axis labels (LaTeX between dollars), unit in brackets"
    )
    response_bins: dict[str, Expression] = Field(
        default={}, description="GEN quantities in whose bins scale and resolution are shown"
    )
