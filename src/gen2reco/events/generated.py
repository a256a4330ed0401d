"""Count generated events and their weights per run, for `Runs` and for normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.events.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.events.layout import Columns

_BLOCK = 100_000  # sums go block by block, so that their last bit does not depend on the pieces


class Generated:
    """Running counts of events; pieces of any size give the same sums to the last bit.

    Attributes:
        entries: events so far.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._queue = Blocks()
        self._runs: dict[int, tuple[int, float, float]] = {}
        self._blocks: dict[tuple[int, int], None] = {}

    def add(self, run: np.ndarray, luminosity_block: np.ndarray, weight: np.ndarray) -> None:
        """Count events.

        Args:
            run: run numbers [events].
            luminosity_block: luminosity blocks [events].
            weight: event weights [events].
        """
        self.entries += len(run)
        columns: Columns = {"run": run, "block": luminosity_block, "weight": weight}
        self._queue.append(columns, len(run))
        while len(self._queue) >= _BLOCK:
            self._count(self._queue.take(_BLOCK))

    def _count(self, columns: Columns) -> None:
        run, block, weight = (np.asarray(columns[name]) for name in ("run", "block", "weight"))
        change = np.ones(len(run), np.bool_)
        change[1:] = (run[1:] != run[:-1]) | (block[1:] != block[:-1])
        first = np.flatnonzero(change)
        pairs = zip(run[first].tolist(), block[first].tolist(), strict=True)
        self._blocks.update(dict.fromkeys(pairs))
        runs, inverse = np.unique(run, return_inverse=True)
        counts = np.bincount(inverse, minlength=len(runs))
        sums = np.bincount(inverse, weight, minlength=len(runs))
        squares = np.bincount(inverse, weight * weight, minlength=len(runs))
        for i, number in enumerate(runs.tolist()):
            before = self._runs.get(number, (0, 0.0, 0.0))
            after = (int(counts[i]), float(sums[i]), float(squares[i]))
            self._runs[number] = (before[0] + after[0], before[1] + after[1], before[2] + after[2])

    def add_tables(
        self, runs: Mapping[str, Sequence[float]], blocks: Mapping[str, Sequence[float]]
    ) -> None:
        """Add what others have counted: columns as `tables` gives them."""
        counted = ("run", "genEventCount", "genEventSumw", "genEventSumw2")
        for run, count, total, squares in zip(*(runs[name] for name in counted), strict=True):
            before = self._runs.get(int(run), (0, 0.0, 0.0))
            self._runs[int(run)] = (
                before[0] + int(count), before[1] + total, before[2] + squares
            )  # fmt: skip
            self.entries += int(count)
        pairs = zip(blocks["run"], blocks["luminosityBlock"], strict=True)
        self._blocks.update(dict.fromkeys((int(run), int(block)) for run, block in pairs))

    def tables(self) -> tuple[Columns, Columns]:
        """Columns of `Runs` and of `LuminosityBlocks`, sorted."""
        if len(self._queue):
            self._count(self._queue.take(len(self._queue)))
        runs = sorted(self._runs)
        blocks = sorted(self._blocks)
        return (
            {
                "run": np.array(runs, np.uint32),
                "genEventCount": np.array([self._runs[run][0] for run in runs], np.int64),
                "genEventSumw": np.array([self._runs[run][1] for run in runs], np.float64),
                "genEventSumw2": np.array([self._runs[run][2] for run in runs], np.float64),
            },
            {
                "run": np.array([run for run, _ in blocks], np.uint32),
                "luminosityBlock": np.array([block for _, block in blocks], np.uint32),
            },
        )
