"""Format of the saved emulator, and how older formats become the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gen2reco.errors import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = 1
"""Format number that this version writes."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Format number -> function that turns such a document into one of the next number.

Empty while there is one format; every entry comes with a golden file under `tests/emulator/golden`.
"""


def migrate(document: dict[str, Any], shown: str) -> dict[str, Any]:
    """Bring a document to the current format.

    Args:
        document: content of `emulator.json`.
        shown: name of the emulator for messages.

    Raises:
        EmulatorError: the format is unknown, or newer than this version.
    """
    number = document.get("format")
    if not isinstance(number, int) or number > FORMAT:
        raise EmulatorError(
            f"{shown} has format {number!r}; this gen2reco reads up to {FORMAT}."
            " Install a newer gen2reco."
        )
    while number < FORMAT:
        if number not in MIGRATIONS:
            raise EmulatorError(
                f"{shown} has format {number}, which this gen2reco no longer reads. Train it again."
            )
        document = MIGRATIONS[number](document)
        number += 1
    return document
