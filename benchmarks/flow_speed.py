"""Speed of the flow beside nflows and zuko, and beside what the matrix products alone allow.

    python benchmarks/flow_speed.py [--repeats 9] [--only small]

One thread, batches of 4096. Every repeat times each system once, in turn, so that a busy machine
slows all alike; the result is the median over repeats. A training step is loss, backward, gradient
clipping and AdamW. The product limit runs the same matrix products, and nothing else, into
ready-made buffers; for training it is three times the forward products. Nothing is quantised or
cached between calls. With `--only` the result is shown and not recorded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gen2reco.models.flow import FlowConfig
from gen2reco.models.nn.spline import raw_parameters
from gen2reco.models.protocol import Batch, Shape
from record import gflops, record

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 4096
BOUND = 6.0


@dataclass(frozen=True)
class Network:
    """Sizes of a reference network."""

    targets: int
    conditions: int
    couplings: int
    hidden: tuple[int, ...]
    bins: int


NETWORKS = {"small": Network(9, 9, 6, (64, 64), 16), "large": Network(16, 16, 8, (128, 128), 16)}
BARS = {
    "small": {"sample_over_peer": 3.3, "train_over_peer": 2.3},
    "large": {"sample_over_limit": 0.75, "train_over_limit": 0.55},
}
Timed = dict[str, "Callable[[], object]"]


def ours(network: Network, target: Tensor, condition: Tensor) -> Timed:
    config = FlowConfig(
        couplings=network.couplings,
        hidden=network.hidden,
        bins=network.bins,
        bound=BOUND,
        mode="compiled",
    )
    flow = config.build(Shape(network.targets, network.conditions))
    batch = Batch(target, condition, torch.ones(BATCH))
    return {
        "sample": lambda: flow.sample(condition, target),
        "log_prob": lambda: flow.log_prob(target, condition),
        "train": training_step(flow, lambda: flow.loss(batch)),
    }


class _Conditioner(nn.Module):
    """A plain network on (kept targets, condition), as nflows' couplings want it."""

    def __init__(self, inputs: int, outputs: int, network: Network) -> None:
        super().__init__()
        self.hidden_features = network.hidden[0]
        layers: list[nn.Module] = []
        width = inputs + network.conditions
        for size in network.hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.network = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, kept: Tensor, context: Tensor) -> Tensor:
        return self.network(torch.cat([kept, context], 1))


def nflows(network: Network, target: Tensor, condition: Tensor) -> Timed:
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import CompositeTransform
    from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

    couplings = [
        PiecewiseRationalQuadraticCouplingTransform(
            torch.tensor([(feature + number) % 2 for feature in range(network.targets)]),
            lambda inputs, outputs: _Conditioner(inputs, outputs, network),
            num_bins=network.bins,
            tails="linear",
            tail_bound=BOUND,
        )
        for number in range(network.couplings)
    ]
    transform = CompositeTransform(couplings)
    flow = Flow(transform, StandardNormal([network.targets]))
    return {
        "sample": lambda: transform.inverse(target, context=condition),
        "log_prob": lambda: flow.log_prob(target, context=condition),
        "train": training_step(flow, lambda: -flow.log_prob(target, context=condition).mean()),
    }


def zuko(network: Network, target: Tensor, condition: Tensor) -> Timed:
    from zuko.flows import NSF

    flow = NSF(
        network.targets,
        network.conditions,
        transforms=network.couplings,
        hidden_features=network.hidden,
        bins=network.bins,
        passes=2,
    )
    return {
        "sample": lambda: flow(condition).transform.inv(target),
        "log_prob": lambda: flow(condition).log_prob(target),
        "train": training_step(flow, lambda: -flow(condition).log_prob(target).mean()),
    }


def training_step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """One optimiser step; AdamW fused for all systems alike."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def step() -> object:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 5.0, foreach=True)
        optimizer.step()
        return value

    return step


def products(network: Network, columns: int) -> Callable[[], object]:
    """All matrix products of one forward pass over `BATCH` events, in blocks of `columns`."""
    work = []
    for number in range(network.couplings):
        moved = network.targets // 2 + (number % 2) * (network.targets % 2)
        widths = [
            network.targets - moved + network.conditions,
            *network.hidden,
            moved * raw_parameters(network.bins),
        ]
        matrices = [torch.randn(b, a) for a, b in itertools.pairwise(widths)]
        values = [torch.randn(width, columns) for width in widths]
        work += [(m, values[i], values[i + 1]) for i, m in enumerate(matrices)]

    def run() -> None:
        for _ in range(BATCH // columns):
            for matrix, incoming, outgoing in work:
                torch.mm(matrix, incoming, out=outgoing)

    return run


def measure(network: Network, repeats: int) -> dict[str, dict[str, float]]:
    """Median events per second of every system and task."""
    torch.manual_seed(1)
    target, condition = torch.randn(BATCH, network.targets), torch.randn(BATCH, network.conditions)
    systems = {
        "gen2reco": ours(network, target, condition),
        "nflows": nflows(network, target, condition),
        "zuko": zuko(network, target, condition),
        "products": {"sample": products(network, BATCH), "sample_blocked": products(network, 512)},
    }
    seconds: dict[str, dict[str, list[float]]] = {
        name: {task: [] for task in tasks} for name, tasks in systems.items()
    }
    for repeat in range(repeats + 1):
        for name, tasks in systems.items():
            for task, work in tasks.items():
                with torch.set_grad_enabled(task == "train"):
                    start = time.perf_counter()
                    work()
                    elapsed = time.perf_counter() - start
                if repeat:  # the first round compiles and warms up
                    seconds[name][task].append(elapsed)
    return {
        name: {task: BATCH / statistics.median(times) for task, times in tasks.items()}
        for name, tasks in seconds.items()
    }


def judge(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    """Ratios to the faster peer and to the limit."""
    mine, limit = rates["gen2reco"], rates["products"]["sample"]
    peer = {task: max(rates["nflows"][task], rates["zuko"][task]) for task in mine}
    return {
        "sample_over_peer": mine["sample"] / peer["sample"],
        "train_over_peer": mine["train"] / peer["train"],
        "sample_over_limit": mine["sample"] / limit,
        "train_over_limit": mine["train"] / (limit / 3.0),
        "sample_over_blocked_limit": mine["sample"] / rates["products"]["sample_blocked"],
        "train_over_blocked_limit": mine["train"] / (rates["products"]["sample_blocked"] / 3.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", choices=sorted(NETWORKS), default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    result = {
        "batch": BATCH,
        "repeats": arguments.repeats,
        "threads": 1,
        "gflops": gflops(),
        "peers": {name: version(name) for name in ("llvmlite", "nflows", "zuko")},
        "networks": {},
    }
    for name, network in NETWORKS.items():
        if arguments.only in (None, name):
            rates = measure(network, arguments.repeats)
            ratios = judge(rates)
            met = {bar: ratios[bar] >= least for bar, least in BARS[name].items()}
            result["networks"][name] = {
                "events_per_second": rates,
                "ratios": ratios,
                "bars": BARS[name],
                "met": met,
            }
    if arguments.only:
        print(json.dumps(result, indent=1))
    else:
        record("flow_speed", result)


if __name__ == "__main__":
    main()
