"""gen2reco: learn p(RECO | GEN) from simulated events, then turn GEN events into RECO events.

Importing the package loads nothing heavy; each name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen2reco.emulator import Emulator, load_emulator, save_emulator
    from gen2reco.errors import Gen2RecoError
    from gen2reco.events import open_events, write_events
    from gen2reco.study import Study, load_study
    from gen2reco.verbs.compare import compare
    from gen2reco.verbs.demo import demo
    from gen2reco.verbs.export import export
    from gen2reco.verbs.generate import generate
    from gen2reco.verbs.info import info
    from gen2reco.verbs.init import init
    from gen2reco.verbs.merge import merge
    from gen2reco.verbs.schema import schema
    from gen2reco.verbs.score import score
    from gen2reco.verbs.simulate import simulate
    from gen2reco.verbs.status import status
    from gen2reco.verbs.submit import submit
    from gen2reco.verbs.train import train
    from gen2reco.verbs.tune import tune
    from gen2reco.verbs.unfold import unfold
    from gen2reco.verbs.validate import validate

__version__ = "0.1.0"

_HOME = {
    "Emulator": "emulator",
    "Gen2RecoError": "errors",
    "Study": "study",
    "compare": "verbs.compare",
    "demo": "verbs.demo",
    "export": "verbs.export",
    "generate": "verbs.generate",
    "info": "verbs.info",
    "init": "verbs.init",
    "load_emulator": "emulator",
    "load_study": "study",
    "merge": "verbs.merge",
    "open_events": "events",
    "save_emulator": "emulator",
    "schema": "verbs.schema",
    "score": "verbs.score",
    "simulate": "verbs.simulate",
    "status": "verbs.status",
    "submit": "verbs.submit",
    "train": "verbs.train",
    "tune": "verbs.tune",
    "unfold": "verbs.unfold",
    "validate": "verbs.validate",
    "write_events": "events",
}

__all__ = [
    "Emulator",
    "Gen2RecoError",
    "Study",
    "compare",
    "demo",
    "export",
    "generate",
    "info",
    "init",
    "load_emulator",
    "load_study",
    "merge",
    "open_events",
    "save_emulator",
    "schema",
    "score",
    "simulate",
    "status",
    "submit",
    "train",
    "tune",
    "unfold",
    "validate",
    "write_events",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gen2reco' has no attribute {name!r}")
    return getattr(import_module(f"gen2reco.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
