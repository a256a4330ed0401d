"""Several processes that fit one model: each takes its share of every batch.

Under `torchrun` every process deals the same batches in the same order, computes the gradient of
its own rows, and steps with the sum of all: for losses that are weighted means over rows that is
the step of one process with the whole batch. Which rows are its own is either a slice of each
batch, where all processes hold all rows, or the rows that it has read. torch's
DistributedDataParallel averages gradients of `forward`, with equal weights; families here have
named losses, and rows have weights.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import distributed

from gen2reco.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from gen2reco.models.protocol import Batch, Model

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Group:
    """The processes of a fit.

    Attributes:
        rank: number of this one, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is one process only."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def span(self, count: int) -> tuple[int, int]:
        """Return which of `count` things in a row are this process's: the first, and the end."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def share(self, batch: Batch) -> Batch:
        """Return this process's slice of a batch that all processes hold."""
        mine = slice(*self.span(len(batch.weight)))
        return batch.map(lambda tensor: tensor[mine])

    def check_model(self, model: Model) -> None:
        """Refuse a model whose loss is no sum over rows.

        Raises:
            TrainingError: the loss of a row depends on the others in its batch.
        """
        if not self.alone and model.couples_rows:
            raise TrainingError(
                f"{type(model).__name__} compares or normalises the rows of a batch with each"
                " other, and several processes would do so with a share each: another fit than"
                " that of one process. Train it in one process, or its members and parts side by"
                " side with --workers"
            )

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes."""
        found = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in found])
        distributed.all_reduce(together)
        pieces = torch.split(together, [gradient.numel() for gradient in found])
        for gradient, total in zip(found, pieces, strict=True):
            gradient.copy_(total.view_as(gradient))

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a number over all processes."""
        summed = value.clone()
        distributed.all_reduce(summed)
        return summed

    def gathered(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the rows [n, ...] of all processes one after the other, in all of them."""
        if self.alone:
            return rows
        counts = [int(count) for count in self.objects(len(rows))]
        plain = rows.view(np.uint8) if rows.dtype == np.bool_ else rows
        sent = torch.zeros((max(counts), *plain.shape[1:]), dtype=_tensor_of(plain[:0]).dtype)
        sent[: len(plain)] = _tensor_of(plain)
        received = [torch.empty_like(sent) for _ in counts]
        distributed.all_gather(received, sent)
        parts = [part[:count].numpy() for part, count in zip(received, counts, strict=True)]
        joined = np.concatenate(parts)
        return joined.view(np.bool_) if rows.dtype == np.bool_ else joined

    def objects(self, thing: Thing) -> list[Thing]:
        """Return small things of all processes, in all of them."""
        if self.alone:
            return [thing]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, thing)
        return found

    def of_first(self, values: Sequence[float]) -> list[float]:
        """Return numbers of the first process, so that all decide alike."""
        numbers = torch.tensor(list(values), dtype=torch.float64)
        distributed.broadcast(numbers, 0)
        return numbers.tolist()

    def check_agree(self, what: str, value: int) -> None:
        """Refuse to go on where processes differ.

        Raises:
            TrainingError: another process has another number.
        """
        (wanted,) = self.of_first([value])
        apart = self.total(torch.tensor(abs(wanted - value)))
        if float(apart):
            raise TrainingError(
                f"the checkpoints of the processes differ in {what}: a kill came between them."
                " Train with overwrite"
            )


def pieces(mine: Batch, net: float, spare: Batch) -> list[tuple[Batch, float]]:
    """Return rows of a batch by the sign of their weights, each with its share of the batch.

    A loss is a weighted mean. That of rows whose signed weights cancel is not defined, while those
    of either sign are; summed with their shares over all processes they make the loss of the batch.

    Args:
        mine: this process's rows of the batch; there may be none.
        net: sum of weights of the whole batch.
        spare: a row that stands in where there are none, with a share of 0.
    """
    found = []
    for here in (mine.weight > 0, mine.weight < 0):
        if bool(here.all()) and len(here):
            return [(mine, float(mine.weight.double().sum()) / net)]
        if bool(here.any()):
            part = mine.map(lambda tensor, here=here: tensor[here])  # type: ignore[misc]
            found.append((part, float(part.weight.double().sum()) / net))
    return found or [(spare, 0.0)]


def current_group() -> Group:
    """Return the group that `torchrun` has started this process in, or that of one process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Group()
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend)
    return Group(distributed.get_rank(), distributed.get_world_size())


def _tensor_of(rows: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows))
