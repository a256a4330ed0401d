"""Reference events inside the artifact: a copy that reproduces them here works here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.emulator.artifact import REFERENCE, unpacked
from gen2reco.errors import EmulatorError
from gen2reco.events import open_events, write_events
from gen2reco.events.layout import Jagged, flat_columns, to_events

if TYPE_CHECKING:
    import awkward as ak

    from gen2reco.emulator.emulator import Emulator
    from gen2reco.events.layout import Columns

SEED = 20101835
"""Of everything that is compared with reference events."""
PREFIX = "Made"
"""Prefix of what the emulator made, so that in the file it stands beside the GEN collections."""


@dataclass(frozen=True)
class ReferenceCheck:
    """Outcome of reproducing the reference events.

    Attributes:
        events: number of reference RECO events.
        identical: whether every number is the same to the last bit.
        largest: largest difference over a column's spread (its standard deviation).
        column: where that is.
    """

    events: int
    identical: bool
    largest: float
    column: str

    @property
    def passed(self) -> bool:
        """Same numbers up to rounding of other processors and library versions."""
        return self.identical or self.largest < 1e-3


def write_reference(emulator: Emulator, folder: Path, gen: ak.Array) -> None:
    """Write GEN events, each of which gives a RECO event, and what the emulator makes of them."""
    made = emulator.simulate(gen, seed=SEED, policy="flag")
    assert len(made) == len(gen), "reference events must not be dropped"
    columns = flat_columns(gen) | {
        f"{PREFIX}{name}": values for name, values in flat_columns(made).items()
    }
    write_events(folder / REFERENCE, [to_events(columns)])


def read_reference(path: str | Path) -> tuple[ak.Array, Columns]:
    """Read the reference events of a saved emulator.

    Args:
        path: its folder or zip file.

    Returns:
        GEN events [events], and what the emulator made of them: columns by name.

    Raises:
        EmulatorError: it holds none.
    """
    with unpacked(Path(path)) as folder:
        file = folder / REFERENCE
        if not file.is_file():
            raise EmulatorError(
                f"{path} holds no {REFERENCE}, the events on which an emulator is checked; train it"
                " with gen2reco train"
            )
        stored = flat_columns(next(iter(open_events(file))))
    gen = {name: values for name, values in stored.items() if not name.startswith(PREFIX)}
    made = {name.removeprefix(PREFIX): stored[name] for name in stored if name not in gen}
    return to_events(gen), made


def check_reference(emulator: Emulator, path: str | Path) -> ReferenceCheck:
    """Simulate the reference events of the folder or zip file of an emulator again and compare.

    Raises:
        EmulatorError: it holds no reference events.
    """
    gen, stored = read_reference(path)
    made = flat_columns(emulator.simulate(gen, seed=SEED, policy="flag"))
    identical, largest, where = True, 0.0, ""
    for name, values in stored.items():
        before, now = _content(values), _content(made[name])
        if len(before) != len(now):
            return ReferenceCheck(
                len(made["event"]), identical=False, largest=float("inf"), column=name
            )
        if np.array_equal(before, now, equal_nan=True):
            continue
        identical = False
        spread = float(np.std(before)) or 1.0
        difference = (
            float(np.max(np.abs(before.astype(np.float64) - now.astype(np.float64)))) / spread
        )
        if difference > largest:
            largest, where = difference, name
    return ReferenceCheck(len(made["event"]), identical, largest, where)


def _content(values: np.ndarray | Jagged) -> np.ndarray:
    return values.content if isinstance(values, Jagged) else np.asarray(values)
