"""The flow's passes in compiled mode: sampling, density, and the density's gradient, block by block.

Everything is feature-major and stays in the processor's cache: a block is as many columns as fit, it runs through all
couplings in buffers that serve again for the next block, and the gradient of a block follows its forward pass at
once. Only the matrix products are PyTorch's. A pass is a list of calls on ready-made buffers, since looking up a few
thousand small tensors would cost as much as the splines. Columns are padded to whole vectors with zeros.
"""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen2reco.models.nn import kernels
from gen2reco.models.nn.lanes import LANES
from gen2reco.models.nn.threads import over_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gen2reco.models.nn.coupling import Coupling

CACHE = 1 << 18
"""Numbers of raw spline parameters in a block: 1 MiB, what a core's own cache holds."""

_LOG_2PI = math.log(2.0 * math.pi)


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
    ) -> None:
        self.couplings = list(couplings)
        self.location, self.log_scale = location.detach()[:, None], log_scale.detach()[:, None]
        self.bins, self.bound, self.activation = bins, bound, activation
        layers = [layer for coupling in self.couplings for layer in coupling.layers]
        # In this order gradients of all biases lie side by side and are summed over columns at once.
        self.parameters = [layer.weight for layer in layers] + [layer.bias for layer in layers] + [location, log_scale]
        self._shapes = [parameter.shape for parameter in self.parameters]
        self._addresses = self._where()
        self._made = _Made()

    def current(self) -> bool:
        """Whether weights and row numbers are still where they were when the passes were made."""
        return self._addresses == self._where()

    def _where(self) -> list[int]:
        rows = [rows for coupling in self.couplings for rows in (coupling.kept, coupling.moved)]
        return [tensor.data_ptr() for tensor in (*self.parameters, *rows)]

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return targets [rows, targets] from noise of the same shape."""
        size = self._columns(len(noise))
        scale = torch.exp(self.log_scale)
        with torch.inference_mode(False):
            sampled = torch.empty(noise.shape)

        def block(_: int, start: int, stop: int) -> None:
            run = self._pass(_Sampling, size)
            run.load(noise, condition, start, stop)
            torch.addcmul(self.location, run.state, scale, out=run.state)
            run.run()
            sampled[start:stop] = run.state[:, : stop - start].t()

        over_blocks(block, len(noise), size)
        return sampled

    def density(self, target: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise that gives `target`, [rows, targets], and log p(target | condition), [rows]."""
        size = self._columns(len(target))
        with torch.inference_mode(False):
            noise, log_prob = torch.empty(target.shape), torch.empty(len(target))

        def block(_: int, start: int, stop: int) -> None:
            run = self._pass(_Density, size)
            run.load(target, condition, start, stop)
            run.run()
            pull = self._pull(run.state)
            log_prob[start:stop] = self._log_prob(run.log_slope, pull)[: stop - start]
            noise[start:stop] = pull[:, : stop - start].t()

        over_blocks(block, len(target), size)
        return noise, log_prob

    def gradients(
        self, target: Tensor, condition: Tensor, upstream: Tensor, *, dropout: float, of_rows: bool = False
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Return log p and the gradients of sum(upstream * log p).

        Args:
            target: [rows, targets]; condition: [rows, conditions].
            upstream: [rows].
            dropout: share of hidden numbers left out.
            of_rows: whether the gradients of target and condition are wanted too.

        Returns:
            log p [rows]; gradients of `parameters`; of target and of condition, empty unless wanted.
        """
        size = self._columns(len(target), learning=True)
        log_prob = torch.empty(len(target))
        by_target = torch.empty(target.shape if of_rows else 0)
        by_condition = torch.empty(condition.shape if of_rows else 0)
        blocks = -(-len(target) // size)
        by_block = self._made.gradients(blocks, sum(shape.numel() for shape in self._shapes))
        seeds = torch.randint(1 << 62, (blocks,)).tolist() if dropout else []

        def block(number: int, start: int, stop: int) -> None:
            run = self._pass(_Learning, size, dropout=dropout, of_rows=of_rows)
            width = stop - start
            if dropout:
                run.generator.manual_seed(seeds[number])
            run.load(target, condition, start, stop)
            run.upstream[0, :width] = upstream[start:stop]
            run.upstream[0, width:] = 0.0
            run.run()
            pull = self._pull(run.state)
            log_prob[start:stop] = self._log_prob(run.log_slope, pull)[:width]
            run.run_back(pull, torch.exp(-self.log_scale))
            by_block[number] = run.flat
            if of_rows:
                by_target[start:stop] = run.gradient[:, :width].t()
                by_condition[start:stop] = run.by_condition[:, :width].t()

        over_blocks(block, len(target), size)
        # Summed in the blocks' order, whichever thread was first.
        total = by_block[0].clone()
        for part in by_block[1:]:
            total += part
        return log_prob, _views(total, self._shapes), by_target, by_condition

    def _columns(self, rows: int, *, learning: bool = False) -> int:
        """Columns of a block: a power of two that depends on the network and on the rows, never on threads."""
        outputs = max(coupling.layers[-1].weight.shape[0] for coupling in self.couplings)
        size = max(64, min(512, 1 << (CACHE // outputs).bit_length() - 1))
        if learning:
            # Even a small batch should occupy two cores.
            size = min(size, max(128, 1 << (rows // 2).bit_length() - 1))
        return min(size, -(-rows // LANES) * LANES)

    def _pass(self, kind: Any, size: int, **options: Any) -> Any:
        """Return this thread's pass for blocks of `size` columns, made at its first use."""
        key = (kind, size, *options.values())
        made = self._made.by_key.get(key)
        if made is None:
            # Outside inference mode, since training may use what sampling made.
            with torch.inference_mode(False), torch.no_grad():
                made = self._made.by_key[key] = kind(self, size, **options)
        return made

    def _pull(self, state: Tensor) -> Tensor:
        return (state - self.location) * torch.exp(-self.log_scale)

    def _log_prob(self, log_slope: Tensor, pull: Tensor) -> Tensor:
        constant = self.log_scale.sum() + 0.5 * len(self.location) * _LOG_2PI
        return log_slope[0] - 0.5 * (pull * pull).sum(0) - constant


class _Made(threading.local):
    """The passes that each thread has made for itself."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[Any, ...], Any] = {}
        self._gradients = torch.empty(0, 0)

    def gradients(self, blocks: int, parameters: int) -> Tensor:
        """Return room for the gradients of so many blocks, the same as last time if possible."""
        if self._gradients.shape != (blocks, parameters):
            self._gradients = torch.empty(blocks, parameters)
        return self._gradients


class _Pass:
    """Buffers of one thread, and the calls that carry a block of columns through all couplings."""

    def __init__(self, passes: Passes, size: int) -> None:
        self.size, self.passes = size, passes
        self.calls: list[Callable[[], Any]] = []
        self._buffers: dict[str, Tensor] = {}
        first = passes.couplings[0]
        self.conditions = first.layers[0].weight.shape[1] - len(first.kept)
        self.targets = len(passes.location)
        self.state = self.buffer("state", self.targets)
        self.inputs = self.buffer("inputs", self.conditions + self.targets)
        self.log_slope = self.buffer("log_slope", 1)

    def buffer(self, name: str, rows: int) -> Tensor:
        """Return `rows` rows of the named matrix, which grows where they are more than before."""
        held = self._buffers.get(name)
        if held is None or len(held) < rows:
            held = self._buffers[name] = torch.zeros(rows, self.size)
        return held[:rows]

    def load(self, values: Tensor, condition: Tensor, start: int, stop: int) -> None:
        """Fill state and condition from rows [start, stop) of row-major tables, and pad."""
        width = stop - start
        for rows, table in ((self.state, values), (self.inputs[: self.conditions], condition)):
            rows[:, :width] = table[start:stop].t()
            if width < self.size:
                rows[:, width:] = 0.0
        self.log_slope.zero_()

    def run(self) -> None:
        """Map the state in place."""
        for call in self.calls:
            call()

    def add(self, kernel: kernels.Kernel, *arguments: Any) -> None:
        """Append the call of a kernel over all columns."""
        self.calls.append(kernel.bind(*arguments, self.size))

    def multiply(self, matrix: Tensor, incoming: Tensor, outgoing: Tensor) -> None:
        """Append outgoing = matrix @ incoming."""
        self.calls.append(partial(torch.mm, matrix.detach(), incoming, out=outgoing))

    def conditioner(self, coupling: Coupling) -> Tensor:
        """Append the network of a coupling; return where its raw parameters will be, without the last bias."""
        passes, hidden = self.passes, self.inputs[: self.conditions + len(coupling.kept)]
        self.add(kernels.move_rows(add=False), hidden[self.conditions :], self.state, coupling.kept, len(coupling.kept))
        for step, layer in enumerate(coupling.layers[:-1]):
            following = self.buffer(f"hidden{step}", len(layer.bias))
            self.multiply(layer.weight, hidden, following)
            self.add(kernels.activate(passes.activation), following, layer.bias, following, len(layer.bias))
            hidden = following
        raw = self.buffer("raw", len(coupling.layers[-1].bias))
        self.multiply(coupling.layers[-1].weight, hidden, raw)
        return raw


class _Sampling(_Pass):
    """From noise to targets."""

    def __init__(self, passes: Passes, size: int) -> None:
        super().__init__(passes, size)
        inverse = kernels.spline_inverse(passes.bins, passes.bound)
        for coupling in reversed(passes.couplings):
            raw = self.conditioner(coupling)
            self.add(inverse, raw, coupling.layers[-1].bias, self.state, coupling.moved, len(coupling.moved))


class _Density(_Pass):
    """From targets to noise, with log |slope|."""

    def __init__(self, passes: Passes, size: int) -> None:
        super().__init__(passes, size)
        forward = kernels.spline_forward(passes.bins, passes.bound, keep=False)
        for coupling in passes.couplings:
            raw, moved = self.conditioner(coupling), coupling.moved
            bias = coupling.layers[-1].bias
            self.add(forward, raw, bias, self.state, self.log_slope, self.log_slope, moved, len(moved))


class _Learning(_Pass):
    """As `_Density`, keeping what the gradient needs; then the gradient from noise back to parameters and rows.

    Attributes:
        upstream: gradient of log p, [1, columns].
        gradient: of the state, [targets, columns]; by_condition: of the condition.
        flat: gradients of all parameters, one after the other.
    """

    def __init__(self, passes: Passes, size: int, *, dropout: float, of_rows: bool) -> None:
        super().__init__(passes, size)
        self.dropout, self.generator = dropout, torch.Generator()
        self.upstream, self.gradient = self.buffer("upstream", 1), self.buffer("gradient", self.targets)
        self.by_condition = self.buffer("by_condition", self.conditions)
        shapes = [parameter.shape for parameter in passes.parameters]
        self.flat = torch.zeros(sum(shape.numel() for shape in shapes))
        views = _views(self.flat, shapes)
        layers = (len(views) - 2) // 2
        biases = [shape.numel() for shape in shapes[layers:-2]]
        before = sum(shape.numel() for shape in shapes[:layers])
        self.partial = torch.zeros(sum(biases), LANES)
        self.by_biases = self.flat[before : before + sum(biases)]
        self.by_location, self.by_log_scale = views[-2:]

        tapes = [self._forward(number, coupling) for number, coupling in enumerate(passes.couplings)]
        self._calls_forward, self.calls = self.calls, []
        partial_by_layer = list(self.partial.split(biases))
        end = layers
        for number in reversed(range(len(tapes))):
            coupling = passes.couplings[number]
            start = end - len(coupling.layers)
            places = views[start:end], partial_by_layer[start:end]
            self._backward(number, coupling, tapes[number], *places, of_rows=of_rows)
            end = start
        self._calls_back, self.calls = self.calls, self._calls_forward

    def run_back(self, pull: Tensor, per_scale: Tensor) -> None:
        """Fill `flat`, `gradient` and `by_condition`, given the pull of the base, [targets, columns]."""
        torch.sum(self.upstream * (pull * pull - 1.0), 1, out=self.by_log_scale)
        torch.mul(pull * self.upstream, per_scale, out=self.gradient)
        torch.sum(self.gradient, 1, out=self.by_location)
        self.gradient.neg_()
        self.by_condition.zero_()
        self.partial.zero_()
        for call in self._calls_back:
            call()
        torch.sum(self.partial, 1, out=self.by_biases)

    def _forward(self, number: int, coupling: Coupling) -> list[Tensor]:
        """Append a coupling's forward calls; return what `_backward` needs: inputs, hidden layers, raw, kept numbers."""
        passes, kept = self.passes, len(coupling.kept)
        incoming = self.buffer(f"{number}.inputs", self.conditions + kept)
        self.calls.append(partial(incoming[: self.conditions].copy_, self.inputs[: self.conditions]))
        self.add(kernels.move_rows(add=False), incoming[self.conditions :], self.state, coupling.kept, kept)
        tape = [incoming]
        for step, layer in enumerate(coupling.layers[:-1]):
            width = len(layer.bias)
            hidden = self.buffer(f"{number}.hidden{step}", width)
            self.multiply(layer.weight, incoming, hidden)
            incoming = self.buffer(f"active{step}", width)
            self.add(kernels.activate(passes.activation), hidden, layer.bias, incoming, width)
            if self.dropout:
                stays = self.buffer(f"{number}.stays{step}", width)
                self.calls += [partial(self._draw, stays), partial(incoming.mul_, stays)]
            tape.append(hidden)
        last, moved = coupling.layers[-1], coupling.moved
        raw = self.buffer(f"{number}.raw", len(last.bias))
        numbers = self.buffer(f"{number}.kept", len(moved) * kernels.KEPT)
        self.multiply(last.weight, incoming, raw)
        forward = kernels.spline_forward(passes.bins, passes.bound, keep=True)
        self.add(forward, raw, last.bias, self.state, self.log_slope, numbers, moved, len(moved))
        return [*tape, raw, numbers]

    def _backward(
        self,
        number: int,
        coupling: Coupling,
        tape: list[Tensor],
        by_weights: list[Tensor],
        sums: list[Tensor],
        *,
        of_rows: bool,
    ) -> None:
        """Append a coupling's backward calls; `sums` [outputs, LANES] gain the biases' gradients."""
        passes, moved, kept = self.passes, coupling.moved, len(coupling.kept)
        inputs, *hiddens, outgoing, numbers = tape
        backward = kernels.spline_backward(passes.bins, passes.bound)
        self.add(backward, outgoing, numbers, self.gradient, self.upstream, sums[-1], moved, len(moved))
        for step in range(len(hiddens), 0, -1):
            hidden, bias, width = hiddens[step - 1], coupling.layers[step - 1].bias, len(hiddens[step - 1])
            active, following = self.buffer(f"active{step - 1}", width), self.buffer(f"back{step}", width)
            self.multiply(coupling.layers[step].weight.t(), outgoing, following)
            if self.dropout:
                self.calls.append(partial(following.mul_, self.buffer(f"{number}.stays{step - 1}", width)))
            activate = kernels.activate_backward(passes.activation)
            self.add(activate, hidden, bias, following, active, sums[step - 1], width)
            if self.dropout:
                self.calls.append(partial(active.mul_, self.buffer(f"{number}.stays{step - 1}", width)))
            self.multiply(outgoing, active.t(), by_weights[step])
            outgoing = following
        first = coupling.layers[0].weight.detach().t()
        self.multiply(outgoing, inputs.t(), by_weights[0])
        if kept:
            by_kept = self.buffer("by_kept", self.targets)[:kept]
            self.multiply(first[self.conditions :], outgoing, by_kept)
            self.add(kernels.move_rows(add=True), by_kept, self.gradient, coupling.kept, kept)
        if of_rows:
            self.calls.append(partial(self.by_condition.addmm_, first[: self.conditions], outgoing))

    def _draw(self, stays: Tensor) -> None:
        """Draw which hidden numbers stay, as 0 or 1 / (1 - dropout)."""
        stays.bernoulli_(1.0 - self.dropout, generator=self.generator).div_(1.0 - self.dropout)


def _views(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Cut a flat vector into tensors of the given shapes, without copying."""
    pieces = torch.split(flat, [shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
