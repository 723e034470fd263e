"""Losses, metrics, data and the training loop; each module is imported on its own, so nothing heavy loads here."""
