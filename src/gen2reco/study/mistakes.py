"""Mistakes in a YAML file in words: the line, what is wrong there, the nearest right name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruamel.yaml.comments import CommentedMap

from gen2reco.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError


def explain(
    error: ValidationError,
    tree: CommentedMap,
    schema: dict[str, Any],
    *,
    file: str,
    overrides: Mapping[str, Any],
) -> str:
    """Return one line per mistake: place in the file, what is wrong, the nearest right name.

    Args:
        error: what pydantic found.
        tree: the YAML as it was read, which knows its lines.
        schema: JSON schema of the whole file.
        file: its path.
        overrides: dotted key -> value, set on top of the file.
    """
    found = [(_location(item["loc"]), item) for item in error.errors()]
    lines = []
    for location, item in found:
        # A list counts as too short when its entries are wrong: only the entries are worth naming.
        inner = any(other[: len(location)] == location != other for other, _ in found)
        if item["type"] == "too_short" and inner:
            continue
        place = ".".join(str(step) for step in location) or "the study"
        line = _line(tree, location)
        where = f"{file}, line {line}" if line else file
        if any(place == key or place.startswith(f"{key}.") for key in overrides):
            where = "a setting given beside the file"
        if item["type"] == "extra_forbidden":
            allowed = allowed_keys(location[:-1], schema, schema)
            hint = nearest(str(location[-1]), allowed) or f" Allowed here: {', '.join(allowed)}."
            lines.append(f"{where}: unknown key {place!r}.{hint}")
        elif item["type"] == "missing":
            lines.append(f"{where}: {place!r} is missing")
        else:
            seen = item["input"]
            seen = "" if isinstance(seen, dict | list) else f" (seen: {seen!r:.80})"
            lines.append(f"{where}: {place}: {item['msg'].removeprefix('Value error, ')}{seen}")
    return "\n".join(lines)


def _location(steps: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the place of a mistake in the file, without the validators on the way."""
    return tuple(step for step in steps if not str(step).startswith("function-"))


def _line(tree: Any, location: tuple[int | str, ...]) -> int:
    """Return the line, from 1, of the place or of the innermost block around it that is there."""
    line = 0
    node = tree
    for step in location:
        try:
            marks = node.lc.key(step) if isinstance(node, CommentedMap) else node.lc.item(step)
            line = marks[0] + 1
            node = node[step]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def allowed_keys(
    path: tuple[int | str, ...], block: dict[str, Any], schema: dict[str, Any]
) -> list[str]:
    """Return the keys allowed at a place in a block.

    Args:
        path: keys and numbers of entries that lead there.
        block: schema of the block.
        schema: JSON schema that holds the definitions.
    """
    node = block
    for step in path:
        node = _deref(node, schema)
        if isinstance(step, int):
            items = node.get("items") or (node.get("prefixItems") or [{}])[0]
            node = items if isinstance(items, dict) else {}
        else:
            node = node.get("properties", {}).get(step) or node.get("additionalProperties") or {}
            node = node if isinstance(node, dict) else {}
    return sorted(_deref(node, schema).get("properties", {}))


def _deref(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]  # type: ignore[no-any-return]
    return node
