"""Columns of a part: conditions and targets, and the transforms that act on them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gen2reco.study.basis import Block, Expression, check_name


class TransformSpec(BaseModel):
    """One invertible transform: its kind, columns it is conditioned on, and its own options."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str
    given: dict[str, Expression] = Field(
        default={}, description="per-row columns the transform reads, by role"
    )

    @property
    def options(self) -> dict[str, Any]:
        """Everything but `kind` and `given`."""
        return dict(self.model_extra or {})


def _as_specs(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return [{"kind": item} if isinstance(item, str) else item for item in items]


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Transforms = Annotated[tuple[TransformSpec, ...], BeforeValidator(_as_specs)]
Expressions = Annotated[tuple[Expression, ...], BeforeValidator(_as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


def reads(specs: tuple[TransformSpec, ...]) -> bool:
    """Return whether one of some transforms reads a column."""
    return any(spec.given for spec in specs)


Atom = Annotated[float, Field(allow_inf_nan=False)]
Atoms = Annotated[tuple[Atom, ...], BeforeValidator(_as_tuple)]


class Condition(Block):
    """One GEN quantity that the model sees."""

    name: str
    value: Expression
    transform: Transforms = ()


class Target(Block):
    """One RECO quantity that the model learns, or two or three that a transform mixes.

    With `relative_to`, the model learns the ratio to it (`kind: positive`), the wrapped difference
    (`angle`) or the difference (`continuous`). Transforms act on that, in the order given.
    """

    name: Names
    value: Expressions
    kind: Literal["continuous", "positive", "bounded", "angle", "integer", "flag", "category"] = (
        "continuous"
    )
    relative_to: Expressions = ()
    transform: Transforms = ()
    atoms: Atoms = Field(
        default=(),
        description="values taken exactly in part of the rows, beside those that are found: of"
        " `value`, or relative to GEN with `relative_to`; before the transforms",
    )

    @model_validator(mode="after")
    def _components_agree(self) -> Target:
        for name in self.name:
            check_name(name)
        if self.atoms and self.kind in {"flag", "category"}:
            raise ValueError(f"a {self.kind} takes each of its values exactly; leave out `atoms`")
        if len(set(self.atoms)) < len(self.atoms):
            raise ValueError("the same value is listed twice under atoms")
        if len(self.name) != len(self.value):
            raise ValueError(f"{len(self.name)} names but {len(self.value)} values")
        if self.relative_to and len(self.relative_to) != len(self.value):
            raise ValueError(
                f"{len(self.relative_to)} entries under relative_to but {len(self.value)} values"
            )
        return self
