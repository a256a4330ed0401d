"""Rows of a part: what one row is, and how GEN and RECO objects are paired."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gen2reco.study.basis import Block, Expression


class Match(Block):
    """How GEN and RECO objects of an event are paired one to one."""

    by: Literal["delta_r", "index"] = "delta_r"
    max_delta_r: float = Field(
        default=0.4, gt=0, description="largest distance of a pair, in radians"
    )
    min_pt_ratio: float = Field(
        default=0.0, ge=0, description="smallest RECO pt over GEN pt of a pair"
    )
    max_pt_ratio: float = Field(
        default=1e6, gt=0, description="largest RECO pt over GEN pt of a pair"
    )
    index: str = Field(
        default="",
        description="for `by: index`: field of the RECO collection that points to the GEN one",
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Match:
        if self.by == "index" and not self.index:
            raise ValueError("matching by index needs `index`, a field of the RECO collection")
        if self.min_pt_ratio > self.max_pt_ratio:
            raise ValueError("min_pt_ratio is above max_pt_ratio")
        return self


class Rows(Block):
    """What one row of a part's table is, and how its GEN and RECO sides belong together."""

    kind: Literal["event", "object", "spurious", "set"] = "event"
    pairing: Literal["paired", "unpaired", "none"] = "paired"
    gen: str = Field(
        default="",
        description="GEN collection of per-object rows (a collection or a name under `define`)",
    )
    reco: str = Field(default="", description="RECO collection of per-object rows")
    match: Match = Match()
    of: str = Field(
        default="",
        description="for kind spurious: the part whose `gen`, `reco` and `match` leave these RECO"
        " objects without a partner",
    )
    select_gen: Expression = Field(
        default="",
        description="for pairing unpaired: events whose GEN side is learned, within `select`",
    )
    select_reco: Expression = Field(
        default="",
        description="for pairing unpaired: events whose RECO side is learned, within `select`",
    )
    known_pairs: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="for pairing unpaired: share of the events whose two sides are learned together"
        " as pairs (calibration events, say); all others serve one side alone",
    )
    size: int = Field(
        default=100,
        ge=1,
        le=500,
        description="for kind set: constituents of a row on either side at most, the hardest ones",
    )
    number: str = Field(
        default="",
        description="for kind set: column that numbers the rows of one event (jets, where every"
        " row of the files is a jet); empty: one row per event",
    )
    counts: bool = Field(
        default=False,
        description="learn how many RECO objects a row has (0 or 1 per GEN object; the spurious"
        " ones of an event) instead of what they are like; `presence` of a part adds such a part",
    )

    @model_validator(mode="after")
    def _sides_are_of_events(self) -> Rows:
        if self.pairing == "unpaired" and self.kind != "event":
            raise ValueError("pairing 'unpaired' is for rows of kind 'event'")
        if self.pairing != "unpaired" and (self.select_gen or self.select_reco):
            raise ValueError(
                "select_gen and select_reco are for pairing 'unpaired'; else use the study's select"
            )
        if self.pairing != "unpaired" and self.known_pairs:
            raise ValueError("known_pairs is for pairing 'unpaired'; else all pairs are known")
        return self

    @model_validator(mode="after")
    def _objects_need_collections(self) -> Rows:
        if self.kind in {"object", "spurious", "set"} and not (self.gen and self.reco):
            other = ", or `of`" if self.kind == "spurious" else ""
            raise ValueError(f"rows of kind {self.kind!r} need both `gen` and `reco`{other}")
        if self.counts and self.kind not in {"object", "spurious"}:
            raise ValueError("`counts` is for rows of kind 'object' or 'spurious'")
        if self.number and self.kind != "set":
            raise ValueError("`number` is for rows of kind 'set'")
        return self

    @property
    def per_event(self) -> bool:
        """Whether an entry of the files is one row."""
        return self.kind in {"event", "set"}
