"""Training rows in memory, dealt in batches in an order that (seed, member, epoch) alone decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gen2reco.errors import TrainingError
from gen2reco.models.protocol import Batch, Shape
from gen2reco.rng import hash64

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

LEAST_NET_WEIGHT = 1e-3
"""A batch whose signed weights cancel to less than this share has no defined weighted mean."""


def check_rows(rows: Batch, shape: Shape, what: str, *, some: bool = False) -> Batch:
    """Return `rows` as contiguous float32 once it is sure that a model of `shape` can learn them.

    Args:
        rows: encoded rows.
        shape: of the model.
        what: they are, for messages.
        some: whether they are some of the rows only, whose weights may cancel.

    Raises:
        TrainingError: no rows, wrong shapes, values that are not finite, or weights whose sum is
            not positive.
    """
    count = len(rows.weight)
    if count == 0:
        raise TrainingError(
            f"there are no {what} rows; is the selection of the study too tight for these files?"
        )
    wanted = {"target": (count, shape.targets), "condition": (count, shape.conditions)}
    for side, sizes in {**wanted, "weight": (count,)}.items():
        values: Tensor = getattr(rows, side)
        if tuple(values.shape) != sizes:
            raise TrainingError(
                f"the {side} of the {what} rows is {list(values.shape)}, "
                f"the model needs {list(sizes)}"
            )
        bad = ~torch.isfinite(values)
        if bool(bad.any()):
            place = bad.nonzero()[0].tolist()
            column = f", column {place[1]}" if len(place) > 1 else ""
            raise TrainingError(
                f"{int(bad.sum())} values in the {side} of the {what} rows are not finite, "
                f"the first in row {place[0]}{column}; look for missing or absurd values there"
            )
    net = float(rows.weight.double().sum())
    if not some and net <= LEAST_NET_WEIGHT * float(rows.weight.double().abs().sum()):
        raise TrainingError(
            f"the weights of the {what} rows sum to {net:.6g}; training needs a clearly "
            "positive sum. Check `input.weight` of the study"
        )
    return Batch(
        rows.target.detach().float().contiguous(),
        rows.condition.detach().float().contiguous(),
        rows.weight.detach().float().contiguous(),
        rows.known,
    )


def generator(*purpose: str | int) -> np.random.Generator:
    """Return numpy's Philox generator for a purpose, e.g. ("order", seed, member, epoch)."""
    return np.random.Generator(np.random.Philox(key=hash64("gen2reco.training", *purpose)))


@dataclass(frozen=True)
class Share:
    """What a process that holds some of the rows knows of all of them.

    Attributes:
        first: place of its first row among all.
        weight: of all rows, float32.
    """

    first: int
    weight: NDArray[np.float32]


class Feed:
    """Deals the training rows in batches of equal size, in a new order every epoch.

    The last, incomplete batch of an epoch is left out: its rows differ from epoch to epoch, and
    every step then has the same size and noise. Fewer rows than one batch make one batch of all
    rows. Batches share one buffer: a batch is valid until the next one is asked for.

    With a share of the rows the batches are those of all rows, and what comes out is the part of
    each that is held here.

    Attributes:
        rows: rows per epoch before the incomplete batch is left out; repeated rows count as often
            as they occur.
        size: rows per batch.
        steps: batches per epoch.
    """

    def __init__(
        self,
        data: Batch,
        *,
        batch: int,
        seed: int,
        member: int,
        max_rows: int = 0,
        repeats: NDArray[Any] | None = None,
        share: Share | None = None,
    ) -> None:
        self._data, self._share = data, share
        self._purpose = (seed, member)
        every = data.weight.cpu().numpy() if share is None else share.weight
        available = len(every)
        index = np.arange(available)
        if 0 < max_rows < available:
            index = np.sort(generator("subset", seed).permutation(available)[:max_rows])
        if repeats is not None:
            index = np.repeat(index, _as_counts(repeats, available)[index])
        if len(index) == 0:
            raise TrainingError(
                "every training row has zero repeats: nothing is left to learn from"
            )
        self._index = index
        self._whole = len(index) == available and repeats is None
        self.rows = len(index)
        self.size = min(batch, self.rows)
        self.steps = self.rows // self.size
        weight = every.astype(np.float64)[index]
        self._weight = None if bool(np.all(weight == weight[0])) else weight
        self._mean = float(weight.mean())
        if self._mean <= LEAST_NET_WEIGHT * float(np.abs(weight).mean()):
            raise TrainingError(
                "the weights of the chosen training rows do not sum to a positive number"
            )
        device = data.weight.device
        self._buffer = Batch(
            torch.empty((self.size, data.target.shape[1]), device=device),
            torch.empty((self.size, data.condition.shape[1]), device=device),
            torch.full((self.size,), float(weight[0]), device=device),
            None if data.known is None else data.known[: self.size].clone(),
        )
        self._order = torch.empty(0, dtype=torch.int64)
        self._scale: list[float] = []
        self._net: list[float] = []

    def start(self, epoch: int) -> None:
        """Draw the order of `epoch` (from 0)."""
        order = generator("order", *self._purpose, epoch).permutation(self.rows)
        order = order[: self.steps * self.size]
        if self._weight is not None:
            dealt = self._weight[order].reshape(self.steps, self.size)
            net, gross = dealt.sum(1), np.abs(dealt).sum(1)
            scale = np.where(
                np.abs(net) > LEAST_NET_WEIGHT * gross, net / (self.size * self._mean), 0.0
            )
            self._scale, self._net = scale.tolist(), net.tolist()
        index = order if self._whole else self._index[order]
        self._order = torch.from_numpy(index).to(self._data.weight.device)

    def batch(self, position: int) -> Batch:
        """Return batch number `position` of the current epoch; of a share what is held of it."""
        rows = self._order[position * self.size : (position + 1) * self.size]
        into = self._buffer
        if self._share is not None:
            rows = rows - self._share.first
            rows = rows[(rows >= 0) & (rows < len(self._data.weight))]
            into = into.map(lambda tensor: tensor[: len(rows)])
        torch.index_select(self._data.target, 0, rows, out=into.target)
        torch.index_select(self._data.condition, 0, rows, out=into.condition)
        if self._weight is not None:
            torch.index_select(self._data.weight, 0, rows, out=into.weight)
        if self._data.known is not None and into.known is not None:
            torch.index_select(self._data.known, 0, rows, out=into.known)
        return into

    def net(self, position: int) -> float:
        """Return the sum of weights of the whole batch, whatever is held of it."""
        return self._net[position] if self._weight is not None else self.size * self._mean

    @property
    def dealt(self) -> int:
        """Batches of the current epoch that are not skipped."""
        return self.steps - self._scale.count(0.0)

    def scale(self, position: int) -> float:
        """Return the factor that makes a batch's weighted mean unbiased for the whole sample.

        A model divides by the sum of weights of the batch. With signed weights that sum fluctuates,
        even in sign; multiplied by (its sum) / (its expected sum), the loss is sum(w v) over a
        constant. 0 stands for a batch whose weights cancel: it has no defined mean and is skipped.
        """
        return self._scale[position] if self._weight is not None else 1.0


def _as_counts(repeats: NDArray[Any], rows: int) -> NDArray[np.int64]:
    counts = np.asarray(repeats)
    if counts.shape != (rows,) or not bool(np.all((counts >= 0) & (counts == np.floor(counts)))):
        raise TrainingError(
            f"`repeats` must be {rows} whole numbers from 0, one per training row, "
            f"not {counts.dtype} of shape {list(counts.shape)}"
        )
    return counts.astype(np.int64)
