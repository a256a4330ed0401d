"""Two maps between GEN and RECO learned from samples that were never paired: simulate and unfold.

A decoder carries GEN momenta to RECO, an encoder back, both with random numbers. As in
arXiv:2101.08944 (OTUS) they are held together by the reconstruction x -> z -> x and by distances
between samples, never between partners. What is ours: responses in the place of free networks, the
same for like particles and a function of the particle alone; distances along physics quantities in
ranks; a loss for each map.

Samples alone do not determine p(RECO | GEN): many maps have the same marginals. The structure of
the decoder chooses among them, so that is where the physics goes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from gen2reco.errors import StudyError
from gen2reco.models.nn import slices
from gen2reco.models.nn.momenta import (
    Particle,
    System,
    columns_of,
    four_vectors,
    pack,
    pseudorapidity,
    quantities,
    transverse,
    unpack,
)
from gen2reco.models.nn.responses import SOFT, Direct, Residual, Responses
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Width = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]

EVALUATION_SEED = 1
"""Of the random numbers of a loss in evaluation, so that epochs compare fairly."""
FEWEST = 16
"""Fewer simulated rows than this inside the thresholds make no distance."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MapConfig(_Settings):
    """Settings of a map between the two levels."""

    form: Literal["responses", "residual", "direct"] = Field(
        default="responses",
        description="responses: each particle scaled by its own response; residual: momenta plus a"
        " change; direct: momenta from nothing (OTUS)",
    )
    hidden: tuple[Width, ...] = Field(default=(64, 64), description="widths of the hidden layers")
    noise: int = Field(
        default=3,
        ge=0,
        description="normal numbers: per particle for responses, per row else; 0: a map",
    )
    local: bool = Field(
        default=True,
        description="a response depends on its own particle alone, not on the whole event",
    )
    turns: bool = Field(default=False, description="responses change directions too")
    radiated: int = Field(
        default=0,
        ge=0,
        description="further candidates for the `ordered` RECO particles, from recoil and noise",
    )
    width: Weight = Field(default=0.02, description="deviation of the log response at the start")

    def build(
        self,
        first: Sequence[Particle],
        second: Sequence[Particle],
        starts: Sequence[int],
        systems: Sequence[System],
    ) -> Direct | Residual | Responses:
        """Return a fresh map from the first particles to the second."""
        if self.form == "direct":
            return Direct(first, second, hidden=self.hidden, lanes=self.noise)
        if self.form == "residual":
            return Residual(first, second, starts, hidden=self.hidden, lanes=self.noise)
        return Responses(
            first,
            second,
            starts,
            systems=systems,
            hidden=self.hidden,
            lanes=self.noise,
            local=self.local,
            turns=self.turns,
            radiated=self.radiated,
            width=self.width,
        )


class DistanceConfig(_Settings):
    """How two samples are compared."""

    slices: int = Field(default=64, ge=0, description="random directions per step; 0: none")
    unit: Literal["deviation", "GeV"] = Field(
        default="deviation",
        description="along the directions; deviation: of the data in each component",
    )
    widest: bool = Field(default=False, description="take the worst direction, not the mean")
    quantities: Literal["ranks", "deviation", "none"] = Field(
        default="ranks",
        description="masses, pts, energies, components one by one: in ranks of the data, in units"
        " of their deviation, or not at all",
    )
    pieces: int = Field(default=100, ge=2, description="quantiles between which ranks are linear")
    emphasis: Weight = Field(
        default=0.0,
        description="quantities count with their distance to this power: the worst count most",
    )

    def between(self, simulated: Compared, data: Compared, along: Tensor) -> Tensor:
        """Return the distance of two samples of equally many rows."""
        found = simulated.vectors.new_zeros(())
        if self.slices:
            first, second = simulated.vectors, data.vectors
            if self.unit == "deviation":
                width = second.std(0) + 1e-6
                first, second = first / width, second / width
            distance = slices.widest_direction if self.widest else slices.sliced_distance
            found = found + distance(first, second, along)
        if self.quantities == "ranks":
            apart = slices.rank_distances(simulated.axes, data.axes, self.pieces)
            found = found + self._mean(apart)
        elif self.quantities == "deviation":
            width = data.axes.std(0) + 1e-6
            apart = slices.axis_distances(simulated.axes / width, data.axes / width)
            found = found + self._mean(apart)
        return found

    def _mean(self, apart: Tensor) -> Tensor:
        """Return the mean of the quantities' distances, weighted as `emphasis` says."""
        share = (apart.detach() + 1e-12) ** self.emphasis
        return (share * apart).sum() / share.sum()


class Terms(_Settings):
    """Weights of the terms of the loss during one stage; names of OTUS in brackets."""

    steps: int = Field(default=0, ge=0, description="optimiser steps of this stage; 0: to the end")
    rate: float = Field(default=1.0, gt=0, description="factor on the learning rate")
    reconstruction: Weight = Field(default=1.0, description="of x -> z -> x [beta]")
    unfolded: Weight = Field(default=1.0, description="distance of E(x) to z [lambda]")
    simulated: Weight = Field(default=1.0, description="distance of D(z) to x [tau]")
    anchor_encoder: Weight = Field(
        default=0.0, description="first particle keeps its direction [nu_e]"
    )
    anchor_decoder: Weight = Field(
        default=0.0, description="first particle keeps its direction [nu_d]"
    )
    thresholds: Weight = Field(default=0.0, description="D(z) beyond the thresholds of RECO [rho]")
    response: Weight = Field(default=0.0, description="mean squared log response of D")
    present: Weight = Field(
        default=1.0, description="squared differences of the shares of `present_above`"
    )
    pairs: Weight = Field(
        default=1.0,
        description="score of D(z) against x and of E(x) against z on the known pairs, if any",
    )


class TransportConfig(ModelConfig):
    """Settings of the unpaired transport."""

    plain: ClassVar[frozenset[str]] = frozenset({"condition", "target"})
    kind: Literal["transport"] = "transport"
    gen: tuple[Particle, ...] = Field(min_length=1, description="particles of the conditions")
    reco: tuple[Particle, ...] = Field(min_length=1, description="particles of the targets")
    starts: tuple[int, ...] = Field(
        default=(),
        description="for each RECO particle the GEN one it begins as; empty: the same number",
    )
    gen_starts: tuple[int, ...] = Field(
        default=(),
        description="for each GEN particle the RECO one it begins as; empty: the same number",
    )
    gen_systems: tuple[System, ...] = Field(
        default=(), description="GEN particles to sum, for masses"
    )
    reco_systems: tuple[System, ...] = Field(
        default=(), description="RECO particles to sum, for masses"
    )
    ordered: tuple[int, ...] = Field(
        default=(), description="RECO particles that are written by falling pt among themselves"
    )
    decoder: MapConfig = Field(default=MapConfig(), description="the map from GEN to RECO")
    encoder: MapConfig = Field(
        default=MapConfig(local=False), description="the map from RECO to GEN"
    )
    distance: DistanceConfig = Field(
        default=DistanceConfig(), description="how two samples are compared"
    )
    joint: bool = Field(
        default=False, description="one loss moves both maps, as in OTUS; else each has its own"
    )
    decoder_alone: bool = Field(default=False, description="learn the decoder and no encoder")
    passing: bool = Field(
        default=False,
        description="compare D(z) inside the thresholds alone, weighted by the share that passes",
    )
    stages: tuple[Terms, ...] = Field(
        default=(Terms(),), min_length=1, description="weights of the loss, stage after stage"
    )

    @property
    def runs_back(self) -> bool:
        """Whether there is an encoder."""
        return not self.decoder_alone

    def build(self, shape: Shape) -> Transport:
        """Return a freshly initialised pair of maps.

        Raises:
            StudyError: the particles do not take the columns that the study has.
        """
        return Transport(self, shape)


class Compared:
    """A sample as distances see it: four-vectors for directions, and physics quantities."""

    def __init__(self, momenta: Tensor, systems: Sequence[System]) -> None:
        self.momenta = momenta
        self.vectors = four_vectors(momenta)
        self.axes = quantities(momenta, systems)


class Transport(Model):
    """Decoder (`sample`) and encoder (`unfold`)."""

    step: Tensor

    def __init__(self, config: TransportConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        gen, reco = config.gen, config.reco
        for side, particles, count in (
            ("gen", gen, shape.conditions),
            ("reco", reco, shape.targets),
        ):
            if columns_of(particles) != count:
                raise StudyError(
                    f"model.{side}: its particles take {columns_of(particles)} columns, but the"
                    f" study has {count}"
                )
        if config.decoder.radiated and not (
            config.decoder.form == "responses" and len(reco) - 1 in config.ordered
        ):
            raise StudyError(
                "model.decoder.radiated: needs form 'responses' and the last RECO particle among"
                " `ordered`: candidates are like it and compete with it"
            )
        if config.encoder.radiated:
            raise StudyError("model.encoder.radiated: nothing is radiated on the way to GEN")
        starts = _starts(config.starts, "starts", len(reco), len(gen))
        self.starts = starts
        self.decoder = config.decoder.build(gen, reco, starts, config.gen_systems)
        self.encoder = None
        if not config.decoder_alone:
            back = _starts(config.gen_starts, "gen_starts", len(gen), len(reco))
            self.encoder = config.encoder.build(reco, gen, back, config.reco_systems)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def noise(self) -> Noise:
        """The normal numbers of the decoder."""
        return Noise(normal=self.decoder.noise)

    @property
    def unfold_noise(self) -> Noise:
        """The normal numbers of the encoder."""
        return Noise(normal=self.encoder.noise if self.encoder is not None else 0)

    @property
    def pace(self) -> float:
        """Factor on the learning rate in the present stage."""
        return self.terms().rate

    def objectives(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return one loss for each map, or one over both with `joint`."""
        if self.config.joint or self.encoder is None:
            return {"loss": list(self.parameters())}
        return {
            "decoder": list(self.decoder.parameters()),
            "encoder": list(self.encoder.parameters()),
        }

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        """Return the loss of a batch whose targets and conditions are no pairs.

        Raises:
            StudyError: rows have different weights: sorted samples have none.
        """
        weight = batch.weight
        if bool((weight != weight[0]).any()):
            raise StudyError("kind transport compares sorted samples: all rows need one weight")
        terms = self.terms()
        if self.training and objective != "encoder":
            self.step += 1
        rows = _Rows(self, batch)
        found = batch.target.new_zeros(())
        if objective != "encoder":
            found = found + rows.decoder_terms(terms)
        if objective != "decoder" and self.encoder is not None:
            found = found + rows.encoder_terms(terms)
        return found

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return RECO columns [rows, targets] of GEN columns and noise: the decoder."""
        return pack(self.simulated(unpack(condition, self.config.gen), noise), self.config.reco)

    def unfold(self, target: Tensor, noise: Tensor) -> Tensor:
        """Return GEN columns [rows, conditions] of RECO columns and noise: the encoder.

        Raises:
            StudyError: it was trained with `decoder_alone`.
        """
        momenta = self.unfolded(unpack(target, self.config.reco), noise)
        return pack(momenta, self.config.gen)

    def simulated(self, momenta: Tensor, noise: Tensor) -> Tensor:
        """Return RECO momenta of GEN momenta, [rows, particles, 4]."""
        found: Tensor = self.decoder(momenta, noise)
        if self.config.ordered:
            chosen, count = list(self.config.ordered), len(self.config.reco)
            group = found[:, [*chosen, *range(count, found.shape[1])]]
            order = transverse(group).argsort(dim=1, descending=True, stable=True)
            group = group.gather(1, order[:, : len(chosen), None].expand(-1, -1, 4))
            found = found[:, :count].clone()
            found[:, chosen] = group
        return found

    def unfolded(self, momenta: Tensor, noise: Tensor) -> Tensor:
        """Return GEN momenta of RECO momenta, [rows, particles, 4]."""
        if self.encoder is None:
            raise StudyError("this transport has no encoder: it was trained with `decoder_alone`")
        found: Tensor = self.encoder(momenta, noise)
        return found

    def terms(self) -> Terms:
        """Return the weights of the current stage; in evaluation those of the last."""
        stages = self.config.stages
        if not self.training:
            return stages[-1]
        left = int(self.step)
        for stage in stages:
            if not stage.steps or left < stage.steps:
                return stage
            left -= stage.steps
        return stages[-1]


class _Rows:
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


def _starts(given: Sequence[int], name: str, count: int, others: int) -> list[int]:
    starts = list(given) or list(range(count))
    if len(starts) != count or not all(0 <= start < others for start in starts):
        raise StudyError(
            f"model.{name}: {count} numbers from 0 to {others - 1} are needed, one for each"
            f" particle, not {starts}"
        )
    return starts
