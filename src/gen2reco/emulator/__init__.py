"""The trained artifact: features, models and provenance; save, load, sample."""

from gen2reco.emulator.artifact import (
    as_emulator,
    check_replaceable,
    load_emulator,
    save_emulator,
)
from gen2reco.emulator.emulator import Emulator, Simulated, TrainedPart

__all__ = [
    "Emulator",
    "Simulated",
    "TrainedPart",
    "as_emulator",
    "check_replaceable",
    "load_emulator",
    "save_emulator",
]
