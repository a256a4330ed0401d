"""What verbs print, and how settings are read."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gen2reco.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable


def say(line: str) -> None:
    """Print a line about what goes on, on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def overrides(
    settings: list[str], option: str = "--set", example: str = "training.epochs=40"
) -> dict[str, Any]:
    """Return what an option gave as KEY=VALUE, by key, the values read as YAML."""
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise StudyError(
                f"{option} wants KEY=VALUE, not {setting!r}; for example {option} {example}"
            )
        try:
            values[key] = YAML(typ="safe").load(text)
        except YAMLError:
            raise StudyError(f"{option} {key}: {text!r} is not a YAML value") from None
    return values


def show(result: Any, as_json: bool, drop: tuple[str, ...] = ()) -> None:
    """Print the result of a verb; `drop` names fields that are not for JSON."""
    if as_json:
        typer.echo(json.dumps(_plain(result, drop), indent=1, allow_nan=False))
    else:
        typer.echo(str(result))


def _plain(value: Any, drop: tuple[str, ...] = ()) -> Any:
    convert: Callable[[], Any] | None = getattr(value, "as_dict", None)
    if convert is not None:
        return _plain(convert())
    if is_dataclass(value) and not isinstance(value, type):
        fields = {
            name: getattr(value, name) for name in value.__dataclass_fields__ if name not in drop
        }
        return {
            name: _plain(
                asdict(item) if is_dataclass(item) and not isinstance(item, type) else item
            )
            for name, item in fields.items()
        }
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):  # noqa: PLR0124
        return None
    return str(value) if isinstance(value, Path) else value
