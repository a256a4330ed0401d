"""Results of benchmarks as Markdown tables, whatever their JSON looks like."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ABSENT = "-"
MANY = 4
"""Longer lists of numbers are shown by their range."""
CURVE = 20
"""Still longer ones are curves, and not shown."""
LONG = 60
"""Longer texts are no entry of a table."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head = list(head)
    return "\n".join([line(head), line("---" for _ in head), *(line(row) for row in rows)])


def benchmark(folder: Path, name: str) -> str:
    """Return the figures of one benchmark, or a sentence that it has not been run.

    Args:
        folder: where the results lie.
        name: of the benchmark; the file is `NAME.json`.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return (
            f"*This benchmark has not been run: there is no `benchmarks/results/{name}.json`. "
            f"`python benchmarks/{name}.py` makes it.*"
        )
    document = json.loads(path.read_text(encoding="utf-8"))
    taken = taken_on(document.pop("machine", {}))
    document.pop("benchmark", None)
    plain = {key: value for key, value in document.items() if is_leaf(value)}
    parts = [taken, figures(plain)] if plain else [taken]
    parts += [
        f"**{spoken(key).capitalize()}**\n\n{figures(value)}"
        for key, value in document.items()
        if key not in plain
    ]
    return "\n\n".join(parts)


def taken_on(machine: dict[str, Any]) -> str:
    """Return one sentence on where figures come from."""
    facts = [str(machine[key]) for key in ("processor", "instruction_set") if key in machine]
    facts += [f"{machine['cores']} cores"] if "cores" in machine else []
    facts += [f"{name} {number}" for name, number in machine.get("versions", {}).items()]
    return f"*Taken on {', '.join(facts) or 'an unknown machine'}.*"


def figures(value: Any) -> str:
    """Return a part of a result: like records as one table, else names and values."""
    value = named(value)
    rows = list(value.values())
    if len(rows) > 1 and all(isinstance(row, dict) for row in rows):
        if all(is_leaf(item) for row in rows for item in row.values()):
            columns = list(dict.fromkeys(key for row in rows for key in row))
            lines = [
                [spoken(name), *(shown(row.get(key)) for key in columns)]
                for name, row in value.items()
            ]
            return table(["", *map(spoken, columns)], lines)
        if set.intersection(*(set(row) for row in rows)):
            return side_by_side(value)
    return table(["", ""], [[spoken(name), shown(item)] for name, item in leaves(value)])


def side_by_side(records: dict[str, dict[str, Any]]) -> str:
    """Return records that hold the same facts as tables with one column for each record."""
    facts: dict[str, dict[str, dict[str, Any]]] = {}
    texts = []
    for record, content in records.items():
        for key, item in content.items():
            if isinstance(item, str) and len(item) > LONG:
                texts.append(f"- {record}: {item}")
                continue
            title = "" if is_leaf(item) else key
            for name, leaf in leaves({key: item} if is_leaf(item) else named(item)):
                facts.setdefault(title, {}).setdefault(name, {})[record] = leaf
    parts = [
        table(
            [spoken(title), *records],
            [
                [spoken(name), *(shown(row.get(record)) for record in records)]
                for name, row in rows.items()
            ],
        )
        for title, rows in facts.items()
    ]
    return "\n\n".join([*parts, "\n".join(texts)]).strip()


def named(value: Any) -> dict[str, Any]:
    """Return a list of records as a mapping by their names or places; a mapping as it is."""
    if isinstance(value, dict):
        return value
    found = {}
    for place, item in enumerate(value, start=1):
        record = dict(item) if isinstance(item, dict) else {"value": item}
        found[str(record.pop("name", place))] = record
    return found


def is_leaf(value: Any) -> bool:
    """Tell whether a value fits into one cell: a scalar, or a list of scalars."""
    if isinstance(value, list):
        return not any(isinstance(item, dict | list) for item in value)
    return not isinstance(value, dict)


def leaves(value: dict[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the leaves of nested mappings, named by the way to them."""
    for key, item in value.items():
        name = f"{path}, {key}" if path else str(key)
        if isinstance(item, list) and len(item) > CURVE:
            continue
        if is_leaf(item):
            yield name, item
        else:
            yield from leaves(named(item), name)


def spoken(key: object) -> str:
    """Return a key of a result in words."""
    return str(key).replace("events_per_second", "events/s").replace("_", " ")


def shown(value: Any) -> str:
    """Return a figure with four digits, a flag as yes or no, a long list as its range."""
    match value:
        case None:
            text = ABSENT
        case bool():
            text = "yes" if value else "no"
        case list() if len(value) > MANY and all(isinstance(item, int | float) for item in value):
            text = f"{len(value)} values, {shown(min(value))} to {shown(max(value))}"
        case list():
            text = ", ".join(map(shown, value)) or "none"
        case float() if not math.isfinite(value):
            text = ABSENT
        case int() | float() if abs(value) >= 10_000:
            text = f"{value:,.0f}".replace(",", " ")
        case float():
            text = f"{value:.4g}"
        case _:
            text = str(value)
    return text
