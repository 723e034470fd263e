"""`train`: the training loop, which reads its own arguments."""

import argparse

from birefnet_lite.training.loop import main


def run(options: argparse.Namespace) -> int:
    """Trains, or says what is wrong with the settings; see `birefnet_lite.training.loop.main`."""
    return main(options.rest)
