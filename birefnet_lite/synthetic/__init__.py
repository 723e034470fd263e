"""Synthetic training data: endless drawn scenes with alpha mattes and class labels, computed with tensors only.

`families.py` lists the families of objects and `backgrounds.py` the backgrounds; `scenes.py` makes batches of scenes.
"""

from birefnet_lite.synthetic.scenes import (
    Batch,
    SyntheticScenes,
    background_names,
    family_names,
    held_out_scenes,
)

__all__ = ["Batch", "SyntheticScenes", "background_names", "family_names", "held_out_scenes"]
