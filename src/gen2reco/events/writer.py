"""What every output format offers to `EventWriter`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gen2reco.events.layout import Columns


class Writer(ABC):
    """One file being written: `begin` once, `write` block after block, then `finish` or `abandon`.

    Attributes:
        format: "parquet", "nanoaod" or "rntuple".
    """

    format: str

    @abstractmethod
    def begin(self, columns: Columns) -> None:
        """Fix names and types of the columns; the columns may be empty."""

    @abstractmethod
    def write(self, columns: Columns) -> None:
        """Write one block of events: a row group, a basket per branch, a cluster."""

    @abstractmethod
    def finish(self, runs: Columns, blocks: Columns) -> None:
        """Complete the file.

        Args:
            runs: `run`, `genEventCount`, `genEventSumw`, `genEventSumw2`, one row per run.
            blocks: `run`, `luminosityBlock`, one row per luminosity block.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Let go of the file as it is."""
