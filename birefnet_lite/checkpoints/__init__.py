"""Checkpoint files, the original names of the weights, and the published checkpoints."""
