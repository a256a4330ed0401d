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

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gen2reco.errors import StudyError
from gen2reco.models.nn.momenta import (
    Particle,
    System,
    columns_of,
    pack,
    transverse,
    unpack,
)
from gen2reco.models.nn.unpaired import DistanceConfig, MapConfig, Terms
from gen2reco.models.nn.unpaired_rows import Rows
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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

    @property
    def couples_rows(self) -> bool:
        """True: distances are between the samples of a whole batch."""
        return True

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
        rows = Rows(self, batch)
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


def _starts(given: Sequence[int], name: str, count: int, others: int) -> list[int]:
    starts = list(given) or list(range(count))
    if len(starts) != count or not all(0 <= start < others for start in starts):
        raise StudyError(
            f"model.{name}: {count} numbers from 0 to {others - 1} are needed, one for each"
            f" particle, not {starts}"
        )
    return starts
