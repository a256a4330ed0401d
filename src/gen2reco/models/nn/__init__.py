"""Blocks that model families are built of: splines, couplings, compiled kernels."""
