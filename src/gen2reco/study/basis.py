"""What every block of a study file rests on: strictness, names, expressions."""

from __future__ import annotations

import keyword
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""Names that become names of files and folders."""

Expression = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)
]
"""Text in the expression language of `gen2reco.rows.expressions`; a number stands for itself."""


def check_name(name: str) -> None:
    """Refuse a name that an expression could not use."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} cannot be used in expressions; take letters, digits and _")


class Block(BaseModel):
    """A frozen block of a study that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
