"""One block of columns on its way through all couplings: ready-made buffers and a list of calls.

Looking up a few thousand small tensors costs as much as the splines do, so everything is laid out
once: a pass over a block is nothing but its calls, one after the other, on feature-major matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen2reco.models.nn import kernels, spline_kernels
from gen2reco.models.nn.coupling import unpack
from gen2reco.models.nn.lanes import LANES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gen2reco.models.nn.coupling import Coupling, Network
    from gen2reco.models.nn.lanes import Kernel


class Layer:
    """A coupling's weights and row numbers, without gradient bookkeeping."""

    def __init__(self, coupling: Coupling, network: Network) -> None:
        self.kept, self.moved = coupling.kept, coupling.moved
        self.weights, self.biases = network.weights, network.biases
        self.conditions = self.weights[0].shape[1] - len(self.kept)
        self.outputs = len(self.biases[-1])
        self.shapes = coupling.shapes


@dataclass(frozen=True)
class Settings:
    """What all couplings share, and the base's location and log scale, [targets]."""

    location: Tensor
    log_scale: Tensor
    bins: int
    bound: float
    activation: str


class Block:
    """State, condition and density of `size` columns, and the calls that change them.

    Attributes:
        state: targets or noise, [targets, columns].
        log_prob: log density but for the base's constant, [1, columns].
    """

    def __init__(self, layers: Sequence[Layer], settings: Settings, size: int) -> None:
        self.settings, self.size, self.targets = settings, size, len(settings.location)
        self.conditions = layers[0].conditions
        self.seed = torch.zeros(1, dtype=torch.int64)
        self._buffers: dict[str, Tensor] = {}
        self._calls: list[Callable[[], Any]] = []
        self.state = self.buffer("state", self.targets)
        self.inputs = self.buffer("inputs", self.conditions + self.targets)
        self.log_prob = self.buffer("log_prob", 1)

    def load(self, values: Tensor, condition: Tensor, start: int, stop: int) -> None:
        """Fill state and condition from rows [start, stop) of row-major tables, and pad with 0."""
        width = stop - start
        for rows, table in ((self.state, values), (self.inputs[: self.conditions], condition)):
            rows[:, :width] = table[start:stop].t()
            if width < self.size:
                rows[:, width:] = 0.0
        self.log_prob.zero_()

    def run(self) -> None:
        """Carry the state through all couplings, in place."""
        for call in self._calls:
            call()

    def buffer(self, name: str, rows: int) -> Tensor:
        """Return `rows` rows of the named matrix; a larger one is made where they do not fit."""
        held = self._buffers.get(name)
        if held is None or len(held) < rows:
            held = self._buffers[name] = torch.zeros(rows, self.size)
        return held[:rows]

    def call(self, kernel: Kernel, *arguments: Any) -> None:
        """Append the call of a kernel over all columns."""
        self._calls.append(kernel.bind(*arguments, self.size))

    def multiply(self, matrix: Tensor, incoming: Tensor, outgoing: Tensor) -> None:
        """Append outgoing = matrix @ incoming."""
        self._calls.append(partial(torch.mm, matrix, incoming, out=outgoing))

    def network(self, layer: Layer) -> Tensor:
        """Append a conditioner; return where its raw parameters will be, without the last bias."""
        kept = len(layer.kept)
        hidden = self.inputs[: self.conditions + kept]
        take = kernels.move_rows(add=False)
        self.call(take, hidden[self.conditions :], self.state, layer.kept, kept)
        activate = kernels.activate(self.settings.activation)
        for step, bias in enumerate(layer.biases[:-1]):
            following = self.buffer(f"hidden{step}", len(bias))
            self.multiply(layer.weights[step], hidden, following)
            self.call(activate, following, bias, following, self.seed, 0, len(bias))
            hidden = following
        raw = self.buffer("raw", layer.outputs)
        self.multiply(layer.weights[-1], hidden, raw)
        return raw


class Sampling(Block):
    """From noise to targets."""

    def __init__(self, layers: Sequence[Layer], settings: Settings, size: int) -> None:
        super().__init__(layers, settings, size)
        inverse = spline_kernels.spline_inverse(settings.bins, settings.bound)
        for layer in reversed(layers):
            raw, moved = self.network(layer), layer.moved
            self.call(inverse, raw, layer.biases[-1], self.state, moved, len(moved))


class Density(Block):
    """From targets to noise, with the density."""

    def __init__(self, layers: Sequence[Layer], settings: Settings, size: int) -> None:
        super().__init__(layers, settings, size)
        forward = spline_kernels.spline_forward(settings.bins, settings.bound, keep=False)
        unused = self.log_prob
        for layer in layers:
            raw, moved = self.network(layer), layer.moved
            places = (self.state, self.log_prob, unused, moved)
            self.call(forward, raw, layer.biases[-1], *places, len(moved))
        base = kernels.normal_base(learning=False)
        ends = (settings.location, settings.log_scale, self.log_prob)
        self.call(base, self.state, *ends, self.targets)


@dataclass(frozen=True)
class _Tape:
    """What the way back through a coupling needs of the way there."""

    inputs: Tensor
    hidden: list[Tensor]
    drawn: list[int]
    raw: Tensor
    kept: Tensor


class Learning(Block):
    """As `Density`, and then the gradient from the noise back to parameters, targets and condition.

    Attributes:
        upstream: gradient of log p, [1, columns].
        gradient: of the state, [targets, columns].
        by_condition: of the condition, [conditions, columns]; only `of_rows`.
        flat: gradients of the networks' vector, then of the base's location and log scale.
        seed: of dropout's random numbers, [1].
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        settings: Settings,
        size: int,
        *,
        dropout: float,
        of_rows: bool,
    ) -> None:
        super().__init__(layers, settings, size)
        self.dropout, self.of_rows = dropout, of_rows
        self._drawn = 0  # random numbers that dropout has used so far
        self.upstream = self.buffer("upstream", 1)
        self.gradient = self.buffer("gradient", self.targets)
        self.by_condition = self.buffer("by_condition", self.conditions)

        shapes = [shape for layer in layers for shape in layer.shapes]
        weights = sum(outputs * inputs for outputs, inputs in shapes)
        biases = sum(outputs for outputs, _ in shapes)
        self.flat = torch.zeros(weights + biases + 2 * self.targets)
        # The kernels sum gradients of biases and base lane by lane; one sum over lanes does the
        # rest at the end.
        self._sums, self._by_sums = (
            torch.zeros(len(self.flat) - weights, LANES),
            self.flat[weights:],
        )

        tapes = [self._there(number, layer) for number, layer in enumerate(layers)]
        there, self._calls = self._calls, []
        by_network = unpack(self.flat[: weights + biases], [layer.shapes for layer in layers])
        end = biases
        for layer, tape, by in reversed(list(zip(layers, tapes, by_network, strict=True))):
            widths = [len(bias) for bias in layer.biases]
            start = end - sum(widths)
            sums = self._sums[start:end].split(widths)  # type: ignore[no-untyped-call]
            self._back(layer, tape, by.weights, sums)
            end = start
        self._calls, self._calls_back = there, self._calls
        base = kernels.normal_base(learning=True)
        ends = (settings.location, settings.log_scale, self.log_prob)
        places = (self.upstream, self.gradient, self._sums[biases:])
        self.call(base, self.state, *ends, *places, self.targets)

    def run(self) -> None:
        """Carry the state to the base and the gradient back; fill `flat` and `by_condition`."""
        self._sums.zero_()
        super().run()
        self.by_condition.zero_()
        for call in self._calls_back:
            call()
        torch.sum(self._sums, 1, out=self._by_sums)

    def _there(self, number: int, layer: Layer) -> _Tape:
        settings, kept = self.settings, len(layer.kept)
        inputs = self.buffer(f"{number}.inputs", self.conditions + kept)
        self._calls.append(partial(inputs[: self.conditions].copy_, self.inputs[: self.conditions]))
        take = kernels.move_rows(add=False)
        self.call(take, inputs[self.conditions :], self.state, layer.kept, kept)
        activate = kernels.activate(settings.activation, self.dropout)
        incoming, hiddens, drawn = inputs, [], []
        for step, bias in enumerate(layer.biases[:-1]):
            hidden = self.buffer(f"{number}.hidden{step}", len(bias))
            self.multiply(layer.weights[step], incoming, hidden)
            incoming = self.buffer(f"active{step}", len(bias))
            self.call(activate, hidden, bias, incoming, self.seed, self._drawn, len(bias))
            hiddens.append(hidden)
            drawn.append(self._drawn)
            self._drawn += len(bias) * self.size
        raw = self.buffer(f"{number}.raw", layer.outputs)
        self.multiply(layer.weights[-1], incoming, raw)
        forward = spline_kernels.spline_forward(settings.bins, settings.bound, keep=True)
        numbers = self.buffer(f"{number}.kept", len(layer.moved) * spline_kernels.KEPT)
        ends = (self.state, self.log_prob, numbers, layer.moved)
        self.call(forward, raw, layer.biases[-1], *ends, len(layer.moved))
        return _Tape(inputs, hiddens, drawn, raw, numbers)

    def _back(
        self, layer: Layer, tape: _Tape, by_weights: list[Tensor], sums: Sequence[Tensor]
    ) -> None:
        settings, outgoing = self.settings, tape.raw
        backward = spline_kernels.spline_backward(settings.bins, settings.bound)
        ends = (self.gradient, self.upstream, sums[-1], layer.moved)
        self.call(backward, outgoing, tape.kept, *ends, len(layer.moved))
        activate = kernels.activate_backward(settings.activation, self.dropout)
        for step in range(len(tape.hidden), 0, -1):
            hidden, bias = tape.hidden[step - 1], layer.biases[step - 1]
            active = self.buffer(f"active{step - 1}", len(bias))
            following = self.buffer(f"back{step - 1}", len(bias))
            self.multiply(layer.weights[step].t(), outgoing, following)
            rest = (sums[step - 1], self.seed, tape.drawn[step - 1])
            self.call(activate, hidden, bias, following, active, *rest, len(bias))
            self.multiply(outgoing, active.t(), by_weights[step])
            outgoing = following
        self.multiply(outgoing, tape.inputs.t(), by_weights[0])
        first, kept = layer.weights[0].t(), len(layer.kept)
        if kept:
            by_kept = self.buffer("by_kept", self.targets)[:kept]
            self.multiply(first[self.conditions :], outgoing, by_kept)
            self.call(kernels.move_rows(add=True), by_kept, self.gradient, layer.kept, kept)
        if self.of_rows:
            add = self.by_condition.addmm_
            self._calls.append(partial(add, first[: self.conditions], outgoing))
