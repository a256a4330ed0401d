"""Training, validation and test parts, halves and folds: by event, from a hash of its key alone.

Adding files or reordering events never moves an event to another part, and all rows of an event
stay together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rng import Keys, hash_fraction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gen2reco.study import Split

TRAIN, VALIDATION, TEST = 0, 1, 2
"""What `split` returns."""

GEN_SIDE, RECO_SIDE = 0, 1
"""What `sides` returns."""


def split(keys: Keys | Mapping[str, Any], parts: Split) -> NDArray[np.int8]:
    """Return TRAIN, VALIDATION or TEST for each row.

    Args:
        keys: the rows, or columns `run`, `luminosityBlock` and `event`.
        parts: their shares of the events; 70 %, 10 % and 20 % unless the study says otherwise.
    """
    place = (hash_fraction(keys, "split") + parts.fold * parts.test) % 1.0
    edges = (parts.train, round(parts.train + parts.validation, 9))
    return np.searchsorted(edges, place, side="right").astype(np.int8)


def halves(keys: Keys | Mapping[str, Any]) -> NDArray[np.int8]:
    """Return 0 or 1 for each row: two halves of disjoint events, independent of `split`."""
    return (hash_fraction(keys, "halves") >= 0.5).astype(np.int8)


def sides(keys: Keys | Mapping[str, Any]) -> NDArray[np.int8]:
    """Return GEN_SIDE or RECO_SIDE for each row: which half of its event unpaired rows may use.

    Independent of `split`, `halves` and `folds`.
    """
    return (hash_fraction(keys, "sides") >= 0.5).astype(np.int8)


def known_pairs(keys: Keys | Mapping[str, Any], share: float) -> NDArray[np.bool_]:
    """Return which rows serve unpaired rows as pairs: a share of the events, whatever their side.

    Independent of `split`, `sides`, `halves` and `folds`.
    """
    return hash_fraction(keys, "known pairs") < share


def folds(keys: Keys | Mapping[str, Any], count: int, salt: str = "folds") -> NDArray[np.int8]:
    """Return 0 to `count` - 1 for each row: disjoint events, independent of `split` and `halves`.

    Args:
        keys: the rows, or columns `run`, `luminosityBlock` and `event`.
        count: number of folds, 2 to 127.
        salt: another text gives other folds.
    """
    if not 2 <= count <= 127:
        raise ValueError(f"2 to 127 folds, not {count}")
    return np.floor(hash_fraction(keys, salt) * count).astype(np.int8)
