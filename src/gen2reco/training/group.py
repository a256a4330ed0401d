"""Several processes that fit one model: each takes its share of every batch.

Under `torchrun` every process deals the same batches in the same order, computes the gradient of
its own rows, and steps with the sum of all: for losses that are weighted means over rows that is
the step of one process with the whole batch. torch's DistributedDataParallel averages gradients of
`forward`, with equal weights; families here have named losses, and rows have weights.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import distributed

from gen2reco.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from gen2reco.models.protocol import Batch


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

    def share(self, batch: Batch) -> tuple[Batch, float]:
        """Return this process's rows of a batch, and their share of its weight.

        Raises:
            TrainingError: a weight is negative, or there are fewer rows than processes.
        """
        rows = len(batch.weight)
        if rows < self.size:
            raise TrainingError(f"{rows} rows per batch are too few for {self.size} processes")
        if bool((batch.weight < 0).any()):
            raise TrainingError(
                "rows with negative weights are trained in one process: the rows of a share may"
                " cancel"
            )
        mine = slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)
        part = batch.map(lambda tensor: tensor[mine])
        return part, float(part.weight.sum() / batch.weight.sum())

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
