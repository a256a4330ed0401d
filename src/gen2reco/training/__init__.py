"""Fitting models: the loop, schedules, checkpoints, ensembles, and a check of the outcome."""

from gen2reco.training.ensemble import Ensemble, Member, bootstrap_weights, fit_ensembles
from gen2reco.training.evaluate import weighted_loss
from gen2reco.training.fitting import fit
from gen2reco.training.group import Group, current_group
from gen2reco.training.health import Advice, check_health
from gen2reco.training.history import Epoch, FitResult, read_history
from gen2reco.training.progress import Progress, show_progress
from gen2reco.training.seeds import fresh_model

__all__ = [
    "Advice",
    "Ensemble",
    "Epoch",
    "FitResult",
    "Group",
    "Member",
    "Progress",
    "bootstrap_weights",
    "check_health",
    "current_group",
    "fit",
    "fit_ensembles",
    "fresh_model",
    "read_history",
    "show_progress",
    "weighted_loss",
]
