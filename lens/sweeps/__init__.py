"""Sweeps: instruments at the checkpoints of a training run, as independent jobs, here or on a cluster."""
