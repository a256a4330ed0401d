"""Unpaired rows: GEN of some events beside RECO of others, so that no true pair is ever learned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gen2reco.errors import TrainingError
from gen2reco.rows.splits import TRAIN, VALIDATION, known_pairs, split
from gen2reco.rows.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.study import Split


def join_sides(gen: Table, reco: Table, parts: Split, known: float = 0.0) -> Table:
    """Put GEN and RECO rows of different events side by side: one table whose rows are no pairs.

    But for a share of known ones: events that `splits.known_pairs` names stand beside themselves.

    Training rows stand beside training rows, validation rows beside validation rows. Of the longer
    side as many rows are taken as the shorter one has; the others are counted in `dropped`.

    Args:
        gen: rows with conditions, of `build_table` with `side="gen"`.
        reco: rows with targets, of `build_table` with `side="reco"`.
        parts: how events are shared out.
        known: share of the events that are pairs.

    Returns:
        Rows with the keys of GEN.

    Raises:
        TrainingError: event weights differ; samples that are sorted to be compared have none.
    """
    if len(weights := np.unique(np.concatenate([gen.weight, reco.weight]))) > 1:
        raise TrainingError(
            f"part {gen.part}: unpaired rows need events of one weight, these have"
            f" {weights[0]:g} to {weights[-1]:g}; leave `input.weight` empty"
        )
    pieces: list[Table] = []
    for which in (TRAIN, VALIDATION):
        left, right = (table.take(split(table.keys, parts) == which) for table in (gen, reco))
        pairs = [known_pairs(table.keys, known) for table in (left, right)]
        if known:
            pieces.append(_beside(*_of_both(left.take(pairs[0]), right.take(pairs[1]))))
        left, right = left.take(~pairs[0]), right.take(~pairs[1])
        rows = slice(min(len(left), len(right)))
        pieces.append(_beside(left.take(rows), right.take(rows)))
    joined = Table.concatenate(pieces)
    dropped = {
        f"{side}: {reason}": count
        for side, table in (("GEN", gen), ("RECO", reco))
        for reason, count in _left_out(table, len(joined), parts).items()
    }
    return replace(joined, dropped=dropped)


def join_chunks(
    gen: Sequence[Table], reco: Sequence[Table], parts: Split, known: float = 0.0
) -> Table:
    """Do what `join_sides` does for the chunks of both sides."""
    return join_sides(Table.concatenate(gen), Table.concatenate(reco), parts, known)


def _of_both(gen: Table, reco: Table) -> tuple[Table, Table]:
    """Return the rows of those events that both sides have, in the order of GEN."""
    place = {key: row for row, key in enumerate(_ids(reco))}
    partner = np.array([place.get(key, -1) for key in _ids(gen)], np.int64)
    return gen.take(partner >= 0), reco.take(partner[partner >= 0])


def _ids(table: Table) -> list[tuple[int, int, int]]:
    columns = (table.keys.run, table.keys.luminosityBlock, table.keys.event)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _beside(gen: Table, reco: Table) -> Table:
    return replace(gen, target=reco.target, dropped={})


def _left_out(table: Table, used: int, parts: Split) -> dict[str, int]:
    learned = int(np.count_nonzero(split(table.keys, parts) <= VALIDATION))
    surplus = {"more rows than on the other side": learned - used} if learned > used else {}
    return table.dropped | surplus
