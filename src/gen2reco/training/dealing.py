"""What one process does with a batch: all of it, its slice, or the rows of it that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.training.devices import to_device
from gen2reco.training.feed import Feed, Share
from gen2reco.training.group import pieces

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from gen2reco.models.protocol import Batch
    from gen2reco.study import Training
    from gen2reco.training.group import Group


class Dealer:
    """Deals batches to the processes of a group, the same ones as to one process.

    Args:
        train: training rows: of this process alone if `shared`, else all.
        settings: of the fit.
        group: the processes of the fit.
        device: of the fit.
        member: of the ensemble.
        repeats: how often each of `train` enters an epoch.
        shared: whether `train` and `repeats` are of this process alone.

    Attributes:
        feed: deals the batches.
    """

    def __init__(
        self,
        train: Batch,
        settings: Training,
        *,
        group: Group,
        device: torch.device,
        member: int,
        repeats: NDArray[Any] | None,
        shared: bool,
    ) -> None:
        self._group = group
        self._shared = shared and not group.alone
        share = None
        if self._shared:
            first = sum(group.objects(len(train.weight))[: group.rank])
            share = Share(first, group.gathered(train.weight.numpy()))
            repeats = None if repeats is None else group.gathered(np.asarray(repeats))
        train = to_device(train, device)
        self._spare = train.map(lambda tensor: tensor[:1].clone())
        self._spare.weight.fill_(1.0)
        self.feed = Feed(
            train,
            batch=settings.batch,
            seed=settings.seed,
            member=member,
            max_rows=settings.max_rows,
            repeats=repeats,
            share=share,
        )

    def parts(self, position: int) -> list[tuple[Batch, float]]:
        """Return what this process has of a batch of the epoch, each with a factor on its loss.

        The sum over all processes is the loss of the batch; there are none of a batch whose weights
        cancel.
        """
        scale = self.feed.scale(position)
        if scale == 0:
            return []
        batch = self.feed.batch(position)
        if self._group.alone:
            return [(batch, scale)]
        mine = batch if self._shared else self._group.share(batch)
        own = pieces(mine, self.feed.net(position), self._spare)
        return [(piece, scale * share) for piece, share in own]
