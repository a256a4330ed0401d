"""Two array libraries, one formula: transforms act on numpy arrays and on torch tensors.

numpy arrays are the daily case and never import torch. Tensors let autograd check every
log-determinant, and let a chain of transforms become part of an exported network.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Array = Any
"""A float64 numpy array or a torch tensor; which of the two decides what comes back."""


def library(values: Array) -> Any:
    """Return the module whose functions act on `values`: numpy, or torch for tensors."""
    return np if isinstance(values, np.ndarray) else sys.modules["torch"]


def like(values: Array, numbers: Sequence[float]) -> Array:
    """Return plain numbers as an array [k] of the kind, precision and place of `values`."""
    if isinstance(values, np.ndarray):
        return np.asarray(numbers, values.dtype)
    return library(values).as_tensor(numbers, dtype=values.dtype, device=values.device)


def log_above_zero(values: Array) -> Array:
    """Return the logarithm of values, -inf at and below zero."""
    lib = library(values)
    return lib.log(lib.clip(values, 0.0, math.inf))


def role(given: Mapping[str, Array], name: str) -> Array:
    """Return a `given` column as [n, 1] or [n, k], ready to meet values [n, k]."""
    column = given[name]
    return column[:, None] if column.ndim == 1 else column


def position(edges: Array, values: Array) -> Array:
    """Return the number of sorted edges [m] that are smaller than each value, as indices."""
    if isinstance(values, np.ndarray):
        return np.searchsorted(edges, values)
    return (edges < values[..., None]).sum(-1)  # of which every exported format knows the parts
