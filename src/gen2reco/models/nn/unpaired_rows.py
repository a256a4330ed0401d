"""A batch of rows that are no pairs, on its way through the terms of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from gen2reco.models.nn import slices
from gen2reco.models.nn.momenta import (
    System,
    four_vectors,
    pseudorapidity,
    quantities,
    transverse,
    unpack,
)
from gen2reco.models.nn.responses import SOFT
from gen2reco.models.nn.unpaired import Compared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.models.nn.unpaired import Terms
    from gen2reco.models.protocol import Batch, Noise
    from gen2reco.models.transport import Transport

EVALUATION_SEED = 1
"""Of the random numbers of a loss in evaluation, so that epochs compare fairly."""
FEWEST = 16
"""Fewer simulated rows than this inside the thresholds make no distance."""


class Rows:
    """One batch on its way through the terms of the loss."""

    def __init__(self, model: Transport, batch: Batch) -> None:
        self.model, self.config = model, model.config
        self.generator: torch.Generator | None = None
        if not model.training:
            self.generator = torch.Generator().manual_seed(EVALUATION_SEED)
        self.known = batch.known
        self.z = unpack(batch.condition, self.config.gen)
        self.x = unpack(batch.target, self.config.reco)

    def decoder_terms(self, terms: Terms) -> Tensor:
        """Return what the decoder alone answers for: D(z) against x."""
        config, found = self.config, self.of_pairs(terms, back=False)
        wanted = terms.simulated + terms.anchor_decoder + terms.thresholds + terms.response
        if wanted == 0:
            return found
        simulated = self.model.simulated(self.z, self.normal(self.model.noise))
        start = self.z[:, self.model.starts]
        if terms.simulated:
            chosen, share = simulated, 1.0
            if config.passing:
                inside = self.inside(simulated)
                chosen, share = simulated[inside], float(inside.float().mean())
            if len(chosen) >= FEWEST:
                data = self.x[: len(chosen)]
                systems = config.reco_systems
                apart = self.distance(chosen, data, systems)
                if terms.present:
                    apart = apart + terms.present * self.present(chosen, data)
                found = found + terms.simulated * share * apart
        if terms.anchor_decoder:
            found = found + terms.anchor_decoder * _turned(start, simulated)
        if terms.thresholds:
            found = found + terms.thresholds * self.beyond(simulated)
        if terms.response:
            change = torch.log(transverse(simulated) / transverse(start))
            found = found + terms.response * change.square().mean()
        return found

    def encoder_terms(self, terms: Terms) -> Tensor:
        """Return what the encoder answers for: E(x) against z, and D(E(x)) against x."""
        config, found = self.config, self.of_pairs(terms, back=True)
        if terms.unfolded + terms.anchor_encoder + terms.reconstruction == 0:
            return found
        unfolded = self.model.unfolded(self.x, self.normal(self.model.unfold_noise))
        if terms.unfolded:
            found = found + terms.unfolded * self.distance(unfolded, self.z, config.gen_systems)
        if terms.anchor_encoder:
            found = found + terms.anchor_encoder * _turned(self.x, unfolded[:, self.model.starts])
        if terms.reconstruction:
            again = self.model.simulated(unfolded, self.normal(self.model.noise))
            error, width = four_vectors(again) - four_vectors(self.x), self.x.new_ones(())
            if config.distance.unit == "deviation":
                width = four_vectors(self.x).std(0) + 1e-6
            found = found + terms.reconstruction * (error / width).square().mean()
        return found

    def of_pairs(self, terms: Terms, *, back: bool) -> Tensor:
        """Return the score of one map on the known pairs, weighted by their share.

        The continuous ranked probability score of every quantity, from two draws, in units of the
        quantity's deviation: smallest on average where the draws have the distribution given the
        partner, not the mean alone.
        """
        known = self.known
        if known is None or not terms.pairs or not bool(known.any()):
            return self.z.new_zeros(())
        z, x, model = self.z[known], self.x[known], self.model
        if back:
            given, partner, systems, width = x, z, self.config.gen_systems, model.unfold_noise
        else:
            given, partner, systems, width = z, x, self.config.reco_systems, model.noise
        through = model.unfolded if back else model.simulated
        draws = [
            quantities(through(given, self.normal(width)[: len(given)]), systems) for _ in range(2)
        ]
        wanted = quantities(partner, systems)
        score = (draws[0] - wanted).abs() - 0.5 * (draws[0] - draws[1]).abs()
        return terms.pairs * known.float().mean() * (score / (wanted.std(0) + 1e-6)).mean()

    def distance(self, simulated: Tensor, data: Tensor, systems: Sequence[System]) -> Tensor:
        """Return the configured distance of two samples of momenta."""
        settings = self.config.distance
        first, second = Compared(simulated, systems), Compared(data, systems)
        along = slices.directions(first.vectors.shape[1], settings.slices, self.generator)
        return settings.between(first, second, along.to(simulated.device))

    def present(self, simulated: Tensor, data: Tensor) -> Tensor:
        """Return the squared differences of the shares of rows in which particles are there."""
        found = self.z.new_zeros(())
        for i, particle in enumerate(self.config.reco):
            if particle.present_above:
                here = [transverse(momenta[:, i]) for momenta in (simulated, data)]
                share = torch.sigmoid((here[0] - particle.present_above) / SOFT).mean()
                wanted = (here[1] > particle.present_above).float().mean()
                found = found + (share - wanted).square()
        return found

    def inside(self, momenta: Tensor) -> Tensor:
        """Return which rows [rows] have every RECO particle inside its thresholds."""
        return (self._excess(momenta) <= 0).all(1)

    def beyond(self, momenta: Tensor) -> Tensor:
        """Return the mean squared distance to the thresholds, in units of 10 GeV and 1."""
        return self._excess(momenta).clamp(min=0.0).square().sum(1).mean()

    def normal(self, noise: Noise) -> Tensor:
        """Return normal numbers [rows, width], the same every time in evaluation."""
        drawn = torch.randn(len(self.z), noise.width, generator=self.generator)
        return drawn.to(self.z.device)

    def _excess(self, momenta: Tensor) -> Tensor:
        found = []
        for i, particle in enumerate(self.config.reco):
            one = momenta[:, i]
            if particle.least_pt:
                found.append((particle.least_pt - transverse(one)) / 10.0)
            if particle.most_eta:
                found.append(pseudorapidity(one).abs() - particle.most_eta)
        return torch.stack(found, 1) if found else momenta.new_zeros(len(momenta), 1)


def _turned(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of 1 - cos between the first particle's momenta on both sides."""
    cosine = functional.cosine_similarity(first[:, 0, :3], second[:, 0, :3], dim=1)
    return (1.0 - cosine).mean()
