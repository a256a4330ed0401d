"""The toy detector of `events/synthetic.py` as encoded rows, with the truth's density."""

import numpy as np
import torch

from gen2reco.events import synthetic
from gen2reco.models.protocol import Batch, Shape

SHAPE = Shape(targets=5, conditions=3)


class ToyDetector:
    """Standardised rows: the first `held` are for tests, the others for training.

    Attributes:
        target: encoded, float32 [rows, 5].
        condition: encoded, float32 [rows, 3].
    """

    def __init__(self, events: int, held: int, seed: int = 1) -> None:
        target, condition, log_det, self._truth = _rows(synthetic.generate(events, seed=seed))
        scales = [(columns.mean(0), columns.std(0)) for columns in (target, condition)]
        self.target, self.condition = (
            torch.from_numpy(((columns - mean) / spread).astype(np.float32))
            for columns, (mean, spread) in zip((target, condition), scales, strict=True)
        )
        self._log_det = log_det - np.log(scales[0][1]).sum()
        self._held = held

    def batch(self, size: int) -> Batch:
        """Random rows of the training part, from torch's generator."""
        chosen = torch.randint(self._held, len(self.target), (size,))
        return Batch(self.target[chosen], self.condition[chosen], torch.ones(size))

    @property
    def held(self) -> Batch:
        """The rows for tests."""
        rows = slice(self._held)
        return Batch(self.target[rows], self.condition[rows], torch.ones(self._held))

    def excess(self, log_prob: torch.Tensor) -> tuple[float, float]:
        """Divergence from the truth in nats, with its error, of a density at the held rows."""
        learned = log_prob.double().numpy() + self._log_det[: self._held]
        excess = self._truth[: self._held] - learned
        return float(excess.mean()), float(excess.std() / np.sqrt(self._held))


def learn(model, toy, steps, batch, learning_rate):
    """A one-cycle fit."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(toy.batch(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _rows(sample):
    """Toy events with a neutral fraction above zero; tails go through asinh."""
    keep = sample.neutral > 0.0
    gen = {name: values[keep] for name, values in sample.gen.items()}
    response, neutral = sample.response[keep], sample.neutral[keep]
    truth = synthetic.log_prob(response, gen) + synthetic.log_prob_neutral(neutral, response, gen)
    truth -= np.log1p(-synthetic.zero_probability(gen))
    natural = np.column_stack([response, np.log(neutral / (1.0 - neutral))])
    truth += np.log(neutral * (1.0 - neutral))  # the density of the logit
    centre, width = np.median(natural, 0), natural.std(0) / 2.0
    pull = (natural - centre) / width
    target = np.arcsinh(pull)
    log_det = -np.log(width).sum() - 0.5 * np.log1p(pull**2).sum(1)
    condition = np.column_stack([np.log(gen["pt"]), gen["eta"], np.log(gen["mass"] / gen["pt"])])
    return target, condition, log_det, truth
