"""Small blocks of a study file: how events are stored, shared out, and how parts are fitted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gen2reco.study.basis import Block


class Input(Block):
    """How the events are stored. The files themselves are named on the command line."""

    tree: str = Field(default="Events", description="tree or RNTuple with the events; ROOT only")
    units: Literal["GeV", "MeV"] = Field(
        default="GeV", description="unit of momenta, energies and masses in the files"
    )
    weight: str = Field(
        default="", description="column with the event weight; empty: every event counts 1"
    )


class Split(Block):
    """How events are shared out: training, validation, and the rest for the test."""

    train: float = Field(default=0.7, gt=0, lt=1, description="share of the events to learn from")
    validation: float = Field(
        default=0.1, gt=0, lt=1, description="share that settings and epochs are chosen on"
    )
    fold: int = Field(
        default=0,
        ge=0,
        description="which test part: those of fold 0, 1, ... are disjoint, so that emulators"
        " trained with one fold each judge every event without having seen it",
    )

    @model_validator(mode="after")
    def _something_is_left_for_the_test(self) -> Split:
        if self.test <= 0:
            raise ValueError("`train` and `validation` leave no events for the test")
        if self.fold >= (folds := int(1 / self.test + 1e-9)):
            raise ValueError(
                f"with {self.test:g} of the events for the test, folds are 0 to {folds - 1}"
            )
        return self

    @property
    def test(self) -> float:
        """Share of the events to judge on."""
        return round(1 - self.train - self.validation, 9)


class Training(Block):
    """How a part is fitted."""

    seed: int = Field(default=1, ge=0)
    epochs: int = Field(default=24, ge=1)
    batch: int = Field(default=1024, ge=1, description="rows per optimiser step")
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(
        default=4e-3, gt=0, description="largest learning rate of the schedule"
    )
    schedule: Literal["one-cycle", "cosine", "inverse-epoch", "constant"] = "one-cycle"
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=5.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay per step of the averaged weights; 0: none"
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="weights of the epoch with the best validation, or of the last one: where few"
        " validation rows would pick an epoch by chance, and a rate with it",
    )
    monitor: Literal["loss", "distributions"] = Field(
        default="loss",
        description="what picks the best epoch on the validation rows: the loss, or how far their"
        " simulated distributions and rank correlations are from the true ones",
    )
    patience: int = Field(
        default=0, ge=0, description="epochs without improvement before stopping; 0: all epochs"
    )
    members: int = Field(
        default=1, ge=1, description="ensemble: member 0 is nominal, the others are bootstraps"
    )
    max_rows: int = Field(default=0, ge=0, description="use at most so many training rows; 0: all")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32",
        description="of the products in the loss: tf32 on CUDA from Ampere on; bf16 and fp16 by"
        " autocast, fp16 with scaled gradients; weights and validation are float32 always",
    )

    @model_validator(mode="after")
    def _patience_is_for_the_best(self) -> Training:
        if self.patience and self.keep == "last":
            raise ValueError("`patience` stops at the best epoch; with `keep: last` there is none")
        return self
