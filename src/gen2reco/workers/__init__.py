"""Worker processes that may be killed at any moment, and leave one clear error behind."""

from gen2reco.workers.crew import Crew

__all__ = ["Crew"]
