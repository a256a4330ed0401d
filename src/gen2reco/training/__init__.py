"""Fitting models: the loop, schedules, checkpoints, ensembles, and a check of the outcome."""
