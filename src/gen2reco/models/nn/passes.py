"""The flow's passes in compiled mode: sampling, density, and the density's gradient, block by block.

Everything is feature-major and stays in the processor's cache: a block is as many columns as fit, it runs through all
couplings in buffers that are used again for the next block, and the gradient of a block follows its forward pass at
once. Only the matrix products are PyTorch's. Columns are padded to whole vectors with zeros.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gen2reco.models.nn import kernels
from gen2reco.models.nn.lanes import LANES
from gen2reco.models.nn.threads import over_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.models.nn.coupling import Coupling

CACHE = 1 << 18
"""Numbers of raw spline parameters in a block: 1 MiB, what a core's own cache holds."""

TRAINING_COLUMNS = 512
"""Most columns of a block in training, so that the default batch of 1024 occupies two cores."""

_LOG_2PI = math.log(2.0 * math.pi)


class _Layers:
    """What a pass needs of one coupling, looked up once per call."""

    def __init__(self, coupling: Coupling) -> None:
        self.kept, self.moved = coupling.kept, coupling.moved
        self.weights: list[Tensor] = [layer.weight for layer in coupling.layers]
        self.biases: list[Tensor] = [layer.bias for layer in coupling.layers]
        self.widths = [weight.shape[0] for weight in self.weights[:-1]]
        self.inputs, self.outputs = self.weights[0].shape[1], self.weights[-1].shape[0]


class _Buffers(threading.local):
    """Named float32 matrices of one thread, kept from block to block."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def get(self, name: str, rows: int, columns: int) -> Tensor:
        held = self._held.get(name)
        if held is None or held.shape[0] < rows or held.shape[1] != columns:
            # Made outside inference mode, since training may use the same buffer afterwards.
            with torch.inference_mode(False):
                held = self._held[name] = torch.zeros(rows, columns)
        return held[:rows]


_buffers = _Buffers()


class Passes:
    """Sampling, density and gradients of couplings over a normal base, for float32 on the CPU.

    Args:
        couplings: from target space to noise.
        location: of the base, [targets]; `log_scale` likewise.
    """

    def __init__(
        self,
        couplings: Sequence[Coupling],
        location: Tensor,
        log_scale: Tensor,
        *,
        bins: int,
        bound: float,
        activation: str,
        dropout: float,
    ) -> None:
        self.layers = [_Layers(coupling) for coupling in couplings]
        self.location, self.log_scale = location[:, None], log_scale[:, None]
        self.bins, self.bound, self.activation, self.dropout = bins, bound, activation, dropout
        self.targets = len(location)
        self.parameters = [p for layer in self.layers for pair in zip(layer.weights, layer.biases) for p in pair]
        self.parameters += [location, log_scale]
        self.outputs = max(layer.outputs for layer in self.layers)

    def columns(self, rows: int, most: int = 2048) -> int:
        """Columns of a block: a power of two that depends on the network alone, unless there are fewer rows."""
        fitting = 1 << max(CACHE // self.outputs, 128).bit_length() - 1
        return min(fitting, most, -(-rows // LANES) * LANES)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return targets [rows, targets] from noise of the same shape."""
        inverse = kernels.spline_inverse(self.bins, self.bound)
        activate = kernels.activate(self.activation)
        size = self.columns(len(noise))
        with torch.inference_mode(False):
            sampled = torch.empty(noise.shape)

        def block(_: int, start: int, stop: int) -> None:
            state, inputs = self._load(noise, condition, start, stop, size)
            state.mul_(torch.exp(self.log_scale)).add_(self.location)
            for layer in reversed(self.layers):
                raw = self._raw(layer, state, inputs, activate)
                inverse(raw, layer.biases[-1], state, layer.moved, len(layer.moved), size)
            sampled[start:stop] = state[:, : stop - start].t()

        over_blocks(block, len(noise), size)
        return sampled

    def density(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise that gives `target`, [rows, targets], and log p(target | condition), [rows]."""
        forward = kernels.spline_forward(self.bins, self.bound, keep=False)
        activate = kernels.activate(self.activation)
        size = self.columns(len(target))
        with torch.inference_mode(False):
            noise, log_prob = torch.empty(target.shape), torch.empty(len(target))

        def block(_: int, start: int, stop: int) -> None:
            state, inputs = self._load(target, condition, start, stop, size)
            log_slope = _buffers.get("log_slope", 1, size).zero_()
            for layer in self.layers:
                raw = self._raw(layer, state, inputs, activate)
                forward(
                    raw, layer.biases[-1], state, log_slope, log_slope, layer.moved, len(layer.moved), size
                )
            pull = (state - self.location) * torch.exp(-self.log_scale)
            log_prob[start:stop] = self._log_prob(log_slope, pull)[: stop - start]
            noise[start:stop] = pull[:, : stop - start].t()

        over_blocks(block, len(target), size)
        return noise, log_prob

    def gradients(
        self, target: Tensor, condition: Tensor, upstream: Tensor, *, of_rows: bool = False
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Return log p and the gradients of sum(upstream * log p).

        Args:
            target: [rows, targets]; condition: [rows, conditions].
            upstream: [rows].
            of_rows: whether the gradients of target and condition are wanted too.

        Returns:
            log p [rows]; gradients of `parameters`; of target and of condition, empty unless wanted.
        """
        size = self.columns(len(target), TRAINING_COLUMNS)
        blocks = -(-len(target) // size)
        shapes = [p.shape for p in self.parameters]
        log_prob = torch.empty(len(target))
        # Each block has its own gradients, summed in order: the sum does not know how many threads there were.
        sums = torch.empty(blocks, sum(shape.numel() for shape in shapes))
        by_target = torch.empty(target.shape if of_rows else 0)
        by_condition = torch.empty(condition.shape if of_rows else 0)

        def block(number: int, start: int, stop: int) -> None:
            state, inputs = self._load(target, condition, start, stop, size)
            pulled = _buffers.get("upstream", 1, size)
            pulled[0, : stop - start] = upstream[start:stop]
            pulled[0, stop - start :] = 0.0
            views = _views(sums[number], shapes)
            log_slope = self._forward(state, inputs)
            by_location, by_scale = views[-2:]
            pull = (state - self.location) * torch.exp(-self.log_scale)
            log_prob[start:stop] = self._log_prob(log_slope, pull)[: stop - start]
            torch.sum(pulled * (pull * pull - 1.0), 1, out=by_scale)
            gradient = pull.mul_(pulled).mul_(-torch.exp(-self.log_scale))
            torch.sum(-gradient, 1, out=by_location)
            by_inputs = self._backward(gradient, pulled, views, of_rows=of_rows)
            if of_rows:
                by_target[start:stop] = gradient[:, : stop - start].t()
                by_condition[start:stop] = by_inputs[:, : stop - start].t()

        over_blocks(block, len(target), size)
        total = sums[0]
        for number in range(1, blocks):
            total += sums[number]
        return log_prob, _views(total, shapes), by_target, by_condition

    def _load(
        self, values: Tensor, condition: Tensor, start: int, stop: int, size: int
    ) -> tuple[Tensor, Tensor]:
        """Return state [targets, size] and the conditioners' inputs, of which only the condition is filled."""
        state = _buffers.get("state", self.targets, size)
        conditions = condition.shape[1]
        inputs = _buffers.get("inputs", conditions + self.targets, size)
        state[:, : stop - start] = values[start:stop].t()
        inputs[:conditions, : stop - start] = condition[start:stop].t()
        if stop - start < size:
            state[:, stop - start :] = 0.0
            inputs[:conditions, stop - start :] = 0.0
        return state, inputs

    def _log_prob(self, log_slope: Tensor, pull: Tensor) -> Tensor:
        constant = self.log_scale.sum() + 0.5 * self.targets * _LOG_2PI
        return log_slope[0] - 0.5 * (pull * pull).sum(0) - constant

    def _raw(self, layer: _Layers, state: Tensor, inputs: Tensor, activate: kernels.Kernel) -> Tensor:
        """Return raw spline parameters without the last bias, [moved * (3 bins - 1), columns]."""
        size = state.shape[1]
        hidden = inputs[: layer.inputs]
        if len(layer.kept):
            torch.index_select(state, 0, layer.kept, out=hidden[layer.inputs - len(layer.kept) :])
        for step, (weight, bias) in enumerate(zip(layer.weights[:-1], layer.biases[:-1], strict=True)):
            following = _buffers.get(f"hidden{step}", len(bias), size)
            torch.mm(weight, hidden, out=following)
            activate(following, bias, len(bias), size)
            hidden = following
        raw = _buffers.get("raw", layer.outputs, size)
        return torch.mm(layer.weights[-1], hidden, out=raw)

    def _forward(self, state: Tensor, inputs: Tensor) -> Tensor:
        """Map `state` to noise in place and return log |slope|, keeping in buffers what `_backward` needs."""
        forward = kernels.spline_forward(self.bins, self.bound, keep=True)
        activate = kernels.activate_and_keep(self.activation)
        size = state.shape[1]
        log_slope = _buffers.get("log_slope", 1, size).zero_()
        for number, layer in enumerate(self.layers):
            kept = len(layer.kept)
            hidden = _buffers.get(f"{number}.inputs", layer.inputs, size)
            hidden[: layer.inputs - kept] = inputs[: layer.inputs - kept]
            if kept:
                torch.index_select(state, 0, layer.kept, out=hidden[layer.inputs - kept :])
            for step, (weight, bias) in enumerate(zip(layer.weights[:-1], layer.biases[:-1], strict=True)):
                slope = _buffers.get(f"{number}.slope{step}", len(bias), size)
                active = _buffers.get(f"{number}.active{step}", len(bias), size)
                torch.mm(weight, hidden, out=slope)
                activate(slope, bias, active, len(bias), size)
                if self.dropout:
                    keep = torch.rand_like(active) >= self.dropout
                    for matrix in (active, slope):
                        matrix.mul_(keep).div_(1.0 - self.dropout)
                hidden = active
            raw = _buffers.get(f"{number}.raw", layer.outputs, size)
            torch.mm(layer.weights[-1], hidden, out=raw)
            numbers = _buffers.get(f"{number}.kept", len(layer.moved) * kernels.KEPT, size)
            forward(raw, layer.biases[-1], state, log_slope, numbers, layer.moved, len(layer.moved), size)
        return log_slope

    def _backward(self, gradient: Tensor, upstream: Tensor, views: list[Tensor], *, of_rows: bool) -> Tensor:
        """Turn the gradient of the noise into that of the targets in place; fill `views` with the parameters'.

        Returns:
            The gradient of the condition, if wanted.
        """
        backward = kernels.spline_backward(self.bins, self.bound)
        deactivate = kernels.activate_backward()
        size = gradient.shape[1]
        by_condition = torch.zeros(self.layers[0].inputs - len(self.layers[0].kept), size if of_rows else 0)
        end = len(views) - 2
        for number, layer in reversed(list(enumerate(self.layers))):
            steps = len(layer.weights)
            end -= 2 * steps
            raw = _buffers.get(f"{number}.raw", layer.outputs, size)
            numbers = _buffers.get(f"{number}.kept", len(layer.moved) * kernels.KEPT, size)
            partial = _buffers.get("sums", max(layer.outputs, *layer.widths, 1), LANES).zero_()
            backward(raw, numbers, gradient, upstream, partial, layer.moved, len(layer.moved), size)
            outgoing = raw
            for step in reversed(range(steps)):
                by_weight, by_bias = views[end + 2 * step : end + 2 * step + 2]
                torch.sum(partial[: len(by_bias)], 1, out=by_bias)
                name = f"{number}.active{step - 1}" if step else f"{number}.inputs"
                incoming = _buffers.get(name, layer.weights[step].shape[1], size)
                torch.mm(outgoing, incoming.t(), out=by_weight)
                if step:
                    slope = _buffers.get(f"{number}.slope{step - 1}", len(incoming), size)
                    following = _buffers.get(f"gradient{step % 2}", len(incoming), size)
                    torch.mm(layer.weights[step].t(), outgoing, out=following)
                    partial = _buffers.get("sums", len(incoming), LANES).zero_()
                    deactivate(following, slope, partial, len(incoming), size)
                    outgoing = following
            first = layer.weights[0].t()
            conditions = layer.inputs - len(layer.kept)
            if len(layer.kept):
                gradient.index_add_(0, layer.kept, torch.mm(first[conditions:], outgoing))
            if of_rows:
                by_condition.addmm_(first[:conditions], outgoing)
        return by_condition


def _views(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Cut a flat vector into tensors of the given shapes, without copying."""
    pieces = torch.split(flat, [shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
