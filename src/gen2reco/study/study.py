"""The study as a whole: input, selection, definitions, and the parts that follow one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, model_validator

from gen2reco.errors import StudyError, nearest
from gen2reco.study.basis import FILE_NAME, Block, Expression, check_name
from gen2reco.study.blocks import Input, Split, Training
from gen2reco.study.judging import Validation
from gen2reco.study.parts import OF_EVENT, WHERE, Part, column_name

if TYPE_CHECKING:
    from collections.abc import Container


class Study(Block):
    """One study: input, selection, parts, training, validation."""

    name: str = Field(pattern=FILE_NAME)
    base: str = Field(
        default="",
        description="another study, shipped or by its path beside this file, whose blocks stand"
        " where this one has none",
    )
    set: dict[str, Any] = Field(
        default={},
        description="what differs within the blocks of `base`: `model.latent: 8`, as with `--set`",
    )
    description: str = ""
    direction: Literal["simulate", "unfold"] = Field(
        default="simulate",
        description="what the parts learn: RECO given GEN, for `simulate`, or GEN given RECO, for"
        " `unfold`",
    )
    input: Input = Input()
    select: Expression = Field(
        default="",
        description="which events are learned; RECO may appear here, simulate ignores it",
    )
    define: dict[str, Expression] = Field(
        default={}, description="named expressions, usable everywhere below"
    )
    parts: tuple[Part, ...] = Field(min_length=1)
    describe: dict[str, str] = Field(
        default={},
        description="column that is written (`Jet_btag`) -> what it means, kept in the output;"
        " names of NanoAOD have a meaning already",
    )
    split: Split = Split()
    training: Training = Training()
    validation: Validation = Validation()

    @model_validator(mode="before")
    @classmethod
    def _spurious_rows_follow_their_part(cls, tree: Any) -> Any:
        """Fill in `gen`, `reco` and `match` of rows that are left over by another part."""
        if not isinstance(tree, dict) or not isinstance(tree.get("parts"), list | tuple):
            return tree
        rows: dict[str, dict[str, Any]] = {
            str(part.get("name")): part["rows"]
            for part in tree["parts"]
            if isinstance(part, dict) and isinstance(part.get("rows"), dict)
        }
        objects = [name for name, one in rows.items() if one.get("kind") == "object"]
        parts = []
        for part in tree["parts"]:
            own = rows.get(str(part.get("name"))) if isinstance(part, dict) else None
            if own is not None and own.get("of"):
                other = str(own["of"])
                if other not in objects:
                    raise ValueError(
                        f"part {part['name']!r}: rows.of: {other!r} is no part with rows of kind"
                        f" 'object'.{nearest(other, objects)}"
                    )
                shared = {k: v for k, v in rows[other].items() if k in {"gen", "reco", "match"}}
                part = {**part, "rows": shared | own}  # noqa: PLW2901
            parts.append(part)
        return {**tree, "parts": parts}

    @model_validator(mode="after")
    def _names_are_sound(self) -> Study:
        for name in self.define:
            check_name(name)
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError(f"two parts have the same name: {', '.join(names)}")
        # The name of the last part stands for nothing: no part follows it.
        for name in sorted(set(names[:-1]) & set(self.define)):
            raise ValueError(f"{name!r} is both a part and a name under `define`")
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Study:
        written: dict[str, Part] = {}
        for part in self.parts:
            for collection, fields in part.output.items():
                first = written.setdefault(collection, part)
                known = first.output[collection]
                if first is not part and (
                    set(known) != set(fields) or "event" in {first.rows.kind, part.rows.kind}
                ):
                    raise ValueError(
                        f"parts {first.name!r} and {part.name!r} both write {collection}: both need"
                        " one row per object and the same fields"
                    )
        if len(self.parts) > 1 and any(part.rows.kind == "set" for part in self.parts):
            raise ValueError("a part with rows of kind 'set' stands alone in its study")
        for stage in self.stages:
            self.training_of(stage)
        return self

    @model_validator(mode="after")
    def _only_columns_that_are_written_are_described(self) -> Study:
        written = {
            column_name(collection, field)
            for part in self.parts
            for collection, fields in part.output.items()
            for field in fields
            if field != WHERE
        }
        for name in self.describe:
            if name not in written:
                hint = nearest(name, written)
                raise ValueError(f"describe: {name!r} is no column that a part writes.{hint}")
        return self

    def defined(self, columns: Container[str]) -> dict[str, str]:
        """Return `define` as it holds for a file with these columns.

        What a part writes as a column of the event stands there as it was made, whatever a
        definition of the same name would make of the rest of the file.
        """
        own = {name for part in self.parts for name in part.output.get(OF_EVENT, {})}
        return {
            name: text
            for name, text in self.define.items()
            if not (name in own and name in columns)
        }

    @property
    def generates(self) -> bool:
        """Whether it makes events from nothing: no part reads GEN."""
        return all(part.generates for part in self.parts)

    @property
    def given(self) -> str:
        """The side that conditions are made of: GEN, or RECO where the study unfolds."""
        return "RECO" if self.direction == "unfold" else "GEN"

    @property
    def made(self) -> str:
        """The side that is learned and written: RECO, or GEN where the study unfolds."""
        return "GEN" if self.direction == "unfold" else "RECO"

    @property
    def backward(self) -> Study:
        """The study from RECO to GEN that a family which runs both ways serves as well."""
        parts = tuple(part.backward for part in self.parts if part.unfolded)
        return self.model_copy(
            update={"direction": "unfold", "parts": parts, "describe": {}, "select": ""}
        )

    @property
    def stages(self) -> tuple[Part, ...]:
        """Everything that is fitted, in the order of simulation: the parts and their presence."""
        return tuple(stage for part in self.parts for stage in part.stages)

    def training_of(self, stage: Part) -> Training:
        """Return how a stage is fitted: the study's settings, and what the part sets otherwise."""
        try:
            return Training.model_validate({**self.training.model_dump(), **stage.training})
        except ValidationError as error:
            item = error.errors()[0]
            key = ".".join(str(step) for step in item["loc"])
            hint = nearest(key, Training.model_fields)
            raise ValueError(f"part {stage.name!r}, training.{key}: {item['msg']}.{hint}") from None

    def part(self, name: str) -> Part:
        """Return the part or stage called `name`; StudyError where there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        hint = nearest(name, [part.name for part in self.parts])
        raise StudyError(f"study {self.name!r} has no part {name!r}.{hint}")
