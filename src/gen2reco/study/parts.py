"""A part of a study: one factor of p(RECO | GEN), with its rows, columns, model and output."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from gen2reco.study.basis import FILE_NAME, Block, Expression, check_name
from gen2reco.study.columns import Condition, Target, reads
from gen2reco.study.judging import Judging
from gen2reco.study.rows import Rows

PRESENCE = ".presence"
"""Behind a part's name: the name of the part that says which of its objects there are."""
NUMBER = "how_many"
"""Target of such a part."""
CONSTITUENT = ("pt", "eta", "phi", "pdgId", "charge")
"""What a constituent has in rows of kind set: names of the targets, in this order."""
OF_GEN = "gen_"
"""Before these names: those of the conditions."""
WHERE = "where"
"""In the place of a field: which of the listed objects are written."""
OF_EVENT = ""
"""Name under which `output` keeps the columns of the event that belong to no collection."""


def column_name(collection: str, field: str) -> str:
    """Return the flat column that a field of `output` is written to."""
    return f"{collection}_{field}" if collection else field


class Presence(Block):
    """How many RECO objects a row has: 0 or 1 per GEN object, any number of spurious ones."""

    condition: tuple[Condition, ...] = Field(
        default=(), description="what the number depends on; empty: the conditions of the part"
    )
    model: dict[str, Any] = Field(default={"kind": "classifier"}, description="family and settings")
    training: dict[str, Any] = Field(
        default={}, description="settings that differ from those of the study's `training`"
    )


class Part(Block):
    """One factor of p(RECO | GEN): its rows, features, model, and the columns it writes.

    Expressions of a part may use the parts before it by name: `jets` is then the collection of
    what part `jets` made, with its targets and conditions as fields, and for a target `pt` the GEN
    value it is relative to as `pt_gen`.
    """

    name: str = Field(default="event", pattern=FILE_NAME)
    rows: Rows = Rows()
    condition: tuple[Condition, ...] = ()
    target: tuple[Target, ...] = Field(min_length=1)
    output: dict[str, dict[str, Expression | tuple[Expression, ...]]] = Field(
        default={},
        description="RECO collections to write: field -> expression on target names and GEN; in"
        " rows of kind event a list of expressions writes several objects, by falling pt, and of"
        " these the ones that a condition under `where` holds for; an"
        " expression in the place of the fields writes a column of the event with that name",
    )
    unfolded: dict[str, dict[str, Expression | tuple[Expression, ...]]] = Field(
        default={},
        description="GEN collections that `unfold` writes, of a family that runs both ways: field"
        " -> expression on condition names, or a list of them, by falling pt",
    )
    model: dict[str, Any] = Field(
        default={"kind": "flow"}, description="family and its settings; see `gen2reco schema`"
    )
    presence: Presence | None = Field(
        default=None,
        description="learn which GEN objects are found, or how many spurious objects an event has;"
        " without it, every GEN object of the part is taken as found",
    )
    training: dict[str, Any] = Field(
        default={}, description="settings that differ from those of the study's `training`"
    )
    validation: Judging = Field(default=Judging(), description="how its rows are judged")

    @field_validator("output", mode="before")
    @classmethod
    def _columns_of_the_event_stand_together(cls, output: Any) -> Any:
        """Collect expressions in the place of fields under the empty name."""
        if not isinstance(output, dict):
            return output
        alone = {name: text for name, text in output.items() if not isinstance(text, dict)}
        if not alone:
            return output
        for name in alone:
            check_name(str(name))
        fields = {name: text for name, text in output.items() if name not in alone}
        return fields | {OF_EVENT: fields.get(OF_EVENT, {}) | alone}

    @property
    def written(self) -> list[tuple[str, str]]:
        """Collection and field of everything it writes."""
        return [
            (collection, name)
            for collection, of in self.output.items()
            for name in of
            if name != WHERE
        ]

    @property
    def generates(self) -> bool:
        """Whether its rows depend on nothing: no GEN, no part before it."""
        given = any(target.relative_to or reads(target.transform) for target in self.target)
        return self.rows.kind == "event" and not (self.condition or given)

    @property
    def stages(self) -> tuple[Part, ...]:
        """What is fitted and simulated for this part, in order: its presence, then itself."""
        if self.presence is None:
            return (self,)
        number = Part(
            name=f"{self.name}{PRESENCE}",
            rows=self.rows.model_copy(update={"counts": True}),
            condition=self.presence.condition or self.condition,
            target=(Target(name=(NUMBER,), value=(NUMBER,), kind="category"),),
            model=self.presence.model,
            training=self.presence.training,
        )
        return (number, self)

    @property
    def backward(self) -> Part:
        """The part from RECO to GEN: conditions and targets have changed places."""
        return Part(
            name=f"{self.name}-unfolded",
            rows=self.rows.model_copy(update={"pairing": "paired"}),
            condition=tuple(
                Condition(name=name, value=value)
                for target in self.target
                for name, value in zip(target.name, target.value, strict=True)
            ),
            target=tuple(Target(name=(c.name,), value=(c.value,)) for c in self.condition),
            output=self.unfolded,
            model=self.model,
        )

    @model_validator(mode="after")
    def _presence_fits_the_rows(self) -> Part:
        if self.presence is not None and self.rows.kind not in {"object", "spurious"}:
            raise ValueError("`presence` is for rows of kind 'object' or 'spurious'")
        if self.rows.kind == "spurious" and self.presence is None and not self.rows.counts:
            raise ValueError("rows of kind 'spurious' need `presence`: how many there are")
        return self

    @model_validator(mode="after")
    def _objects_are_whole(self) -> Part:
        if self.unfolded and self.rows.kind != "event":
            raise ValueError("`unfolded` is for rows of kind 'event'")
        for collection, fields in (*self.output.items(), *self.unfolded.items()):
            counts = {len(text) for text in fields.values() if not isinstance(text, str)}
            if counts and self.rows.kind != "event":
                raise ValueError(f"output {collection}: lists are for rows of kind 'event'")
            if len(counts) > 1 or 0 in counts:
                raise ValueError(
                    f"output {collection}: its fields list different numbers of objects"
                )
            if WHERE in fields and not counts:
                raise ValueError(f"output {collection}.{WHERE}: it chooses among listed objects")
        return self

    @model_validator(mode="after")
    def _sets_have_constituents(self) -> Part:
        if self.rows.kind != "set":
            return self
        if self.rows.pairing != "paired":
            raise ValueError("rows of kind 'set' have pairing 'paired'")
        gen = tuple(f"{OF_GEN}{name}" for name in CONSTITUENT)
        sides = {
            "condition": (gen, tuple(item.name for item in self.condition)),
            "target": (CONSTITUENT, tuple(name for item in self.target for name in item.name)),
        }
        for side, (wanted, seen) in sides.items():
            if wanted != seen:
                raise ValueError(
                    f"rows of kind 'set' need under `{side}`, in this order: {', '.join(wanted)}"
                    f" (seen: {', '.join(seen) or 'nothing'})"
                )
        items: list[Condition | Target] = [*self.condition, *self.target]
        if any(item.transform for item in items) or any(item.relative_to for item in self.target):
            raise ValueError(
                "constituents in rows of kind 'set' are encoded by the family: leave out"
                " `transform` and `relative_to`"
            )
        return self

    @model_validator(mode="after")
    def _columns_of_the_event_are_numbers(self) -> Part:
        alone = self.output.get(OF_EVENT, {})
        several = [name for name, text in alone.items() if not isinstance(text, str)]
        if several:
            raise ValueError(f"output {several[0]}: a column of the event is one expression")
        if alone and self.rows.kind != "event":
            raise ValueError(
                f"output {', '.join(alone)}: columns of the event are for rows of kind 'event'"
            )
        return self

    @model_validator(mode="after")
    def _rows_without_gen_know_none(self) -> Part:
        if self.rows.pairing == "none" and not self.generates:
            raise ValueError(
                f"part {self.name}: with pairing 'none' there is no GEN, so it has no conditions,"
                " and no target is relative to anything or has transforms with `given`"
            )
        return self

    @model_validator(mode="after")
    def _unpaired_targets_know_no_gen(self) -> Part:
        if self.rows.pairing != "unpaired":
            return self
        for target in self.target:
            if target.relative_to or any(spec.given for spec in target.transform):
                raise ValueError(
                    f"target {', '.join(target.name)}: unpaired rows have no partner, so a target"
                    " can neither be relative to GEN nor have transforms with `given`"
                )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Part:
        names = [c.name for c in self.condition] + [n for t in self.target for n in t.name]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(
                f"the same name is used twice among condition and target: {', '.join(twice)}"
            )
        return self
