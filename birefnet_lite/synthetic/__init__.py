"""Endless synthetic photographs with soft masks and class labels, drawn with tensors only.

`shapes.py` lists the families of objects, `backgrounds.py` those of grounds; `compose.py` puts one before the other.
"""

from birefnet_lite.synthetic.scenes import (
    Batch,
    SyntheticScenes,
    background_names,
    family_names,
    held_out_scenes,
)

__all__ = ["Batch", "SyntheticScenes", "background_names", "family_names", "held_out_scenes"]
