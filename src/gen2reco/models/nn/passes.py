"""The flow's passes in compiled mode: sampling, density, and the density's gradient.

Rows are worked on in blocks of as many columns as a core's own cache holds. A block runs through
all couplings in buffers that serve again for the next block, and its gradient follows its way
there at once. Only the matrix products are PyTorch's.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen2reco.models.nn.blocks import Density, Layer, Learning, Sampling, Settings
from gen2reco.models.nn.coupling import unpack
from gen2reco.models.nn.lanes import LANES
from gen2reco.models.nn.threads import over_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.models.nn.coupling import Coupling

CACHE = 1 << 18
"""Raw spline parameters in a block: 1 MiB, what a core's own cache holds."""

MOST_COLUMNS = 512
"""Columns of a block beyond which products gain nothing and buffers fall out of the cache."""


class Passes:
    """Sampling, density and gradients of couplings over a normal base, float32 on the CPU.

    Args:
        couplings: from target space to noise.
        networks: their networks' numbers, as `pack` lays them out.
        location: of the base, [targets]; `log_scale` likewise.
        bins: pieces of each spline.
        bound: splines act on [-bound, bound].
        activation: between hidden layers.
    """

    def __init__(
        self,
        couplings: Sequence[Coupling],
        networks: Tensor,
        location: Tensor,
        log_scale: Tensor,
        *,
        bins: int,
        bound: float,
        activation: str,
    ) -> None:
        unpacked = unpack(networks.detach(), [coupling.shapes for coupling in couplings])
        self._layers = [Layer(*pair) for pair in zip(couplings, unpacked, strict=True)]
        base = location.detach(), log_scale.detach()
        self._settings = Settings(*base, bins, bound, activation)
        self._constant = 0.5 * len(location) * math.log(2.0 * math.pi)
        self._sizes = [len(networks), len(location), len(log_scale)]
        self._made = _Made()

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return targets [rows, targets] from noise of the same shape."""
        size = self._columns(len(noise))
        location = self._settings.location[:, None]
        scale = torch.exp(self._settings.log_scale)[:, None]
        with torch.inference_mode(False):
            sampled = torch.empty(noise.shape)

        def work(_: int, start: int, stop: int) -> None:
            block = self._made.get(Sampling, self._layers, self._settings, size)
            block.load(noise, condition, start, stop)
            torch.addcmul(location, block.state, scale, out=block.state)
            block.run()
            sampled[start:stop] = block.state[:, : stop - start].t()

        over_blocks(work, len(noise), size)
        return sampled

    def density(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise that gives `target`, [rows, targets], and log p(target), [rows]."""
        size = self._columns(len(target))
        with torch.inference_mode(False):
            noise, log_prob = torch.empty(target.shape), torch.empty(len(target))

        def work(_: int, start: int, stop: int) -> None:
            block = self._made.get(Density, self._layers, self._settings, size)
            block.load(target, condition, start, stop)
            block.run()
            width = stop - start
            torch.sub(block.log_prob[0, :width], self._constant, out=log_prob[start:stop])
            noise[start:stop] = block.state[:, :width].t()

        over_blocks(work, len(target), size)
        return noise, log_prob

    def gradients(
        self,
        target: Tensor,
        condition: Tensor,
        upstream: Tensor,
        *,
        dropout: float,
        of_rows: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor]:
        """Return log p and the gradients of sum(upstream * log p).

        Args:
            target: encoded RECO, [rows, targets].
            condition: encoded GEN, [rows, conditions].
            upstream: [rows].
            dropout: share of hidden numbers left out.
            of_rows: whether the gradients of target and condition are wanted too.

        Returns:
            log p [rows]; gradients of networks, location and log scale; of target and of
            condition, empty unless wanted.
        """
        size = self._columns(len(target), learning=True)
        blocks = max(1, -(-len(target) // size))
        log_prob = torch.empty(len(target))
        by_target = torch.empty(target.shape if of_rows else 0)
        by_condition = torch.empty(condition.shape if of_rows else 0)
        by_block = self._made.gradients(blocks, sum(self._sizes))
        seeds = torch.randint(1 << 31, (blocks,)) if dropout else torch.zeros(blocks).long()
        options = {"dropout": dropout, "of_rows": of_rows}

        def work(number: int, start: int, stop: int) -> None:
            block = self._made.get(Learning, self._layers, self._settings, size, **options)
            width = stop - start
            block.seed[0] = seeds[number]
            block.load(target, condition, start, stop)
            block.upstream[0, :width] = upstream[start:stop]
            block.upstream[0, width:] = 0.0
            block.run()
            torch.sub(block.log_prob[0, :width], self._constant, out=log_prob[start:stop])
            by_block[number] = block.flat
            if of_rows:
                by_target[start:stop] = block.gradient[:, :width].t()
                by_condition[start:stop] = block.by_condition[:, :width].t()

        over_blocks(work, len(target), size)
        # Summed in the blocks' order, whichever thread was first.
        total = by_block[0].clone()
        for part in by_block[1:]:
            total += part
        return log_prob, torch.split(total, self._sizes), by_target, by_condition

    def _columns(self, rows: int, *, learning: bool = False) -> int:
        """Columns of a block, by the network's size and the number of rows, never by threads."""
        outputs = max(layer.outputs for layer in self._layers)
        size = max(64, min(MOST_COLUMNS, _power_of_two(CACHE // outputs)))
        if learning:
            # Even a small batch should occupy two cores.
            size = min(size, max(128, _power_of_two(rows // 2)))
        return min(size, max(1, -(-rows // LANES)) * LANES)


class _Made(threading.local):
    """What each thread has made for itself and uses again."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Any, ...], Any] = {}
        self._gradients = torch.empty(0, 0)

    def get(
        self, kind: Any, layers: list[Layer], settings: Settings, size: int, **options: Any
    ) -> Any:
        """Return this thread's block of a kind and size."""
        key = (kind, size, *options.values())
        if key not in self._blocks:
            # Outside inference mode, since training may use what sampling made.
            with torch.inference_mode(False), torch.no_grad():
                self._blocks[key] = kind(layers, settings, size, **options)
        return self._blocks[key]

    def gradients(self, blocks: int, parameters: int) -> Tensor:
        """Return room for the gradients of so many blocks, the same as last time if possible."""
        if self._gradients.shape != (blocks, parameters):
            self._gradients = torch.empty(blocks, parameters)
        return self._gradients


def _power_of_two(number: int) -> int:
    """Return the largest power of two that is not above `number`, at least 1."""
    return 1 << max(number, 1).bit_length() - 1
