"""The explorer's recorded gradients: attributions for the sample photos, which a page cannot compute itself.

    python -m widgets.explorer.gradients

makes gradients.gz again, for other weights or photos; a minute on one core. The file is JSON on one line (the
view's scene and look; for each photo its table and what lies where), then maps in 8 bits, all of it packed by gzip.
"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import widgets
from birefnet_lite.checkpoints import load
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.output import write_bytes
from widgets.explorer.graph import SHIPPED
from widgets.explorer.page import GRADIENTS, shipped_samples
from widgets.explorer.recording import decode_jpeg, in_8_bits
from widgets.packing import Packer

__all__ = ["hash_weights", "record_gradients"]


def record_gradients(model: BiRefNet, photos: dict[str, bytes], weights: str) -> bytes:
    """The contents of the file.

    Args:
        model: The network.
        photos: JPEG files by name.
        weights: What `hash_weights` says of the network's file, so that a test can tell when it has changed.
    """
    packer = Packer()
    view: dict[str, Any] = {}
    tables = {}
    for name, jpeg in photos.items():
        photo = decode_jpeg(jpeg)
        viewer = widgets.attribution(model, photo)
        scene = viewer.source
        first = viewer.layer
        for layer in scene.layers:
            viewer.layer = layer  # each method is computed when it is chosen
        viewer.layer = first
        view = view or {"scene": {**scene.describe(), "reacts": False, "regions": False}, "look": viewer.look.to_dict()}
        tables[name] = viewer.table
        for layer in scene.layers:
            plane = scene.plane(layer, 0)
            packer.add({"photo": name, "layer": layer, "lo": plane.lo, "hi": plane.hi}, in_8_bits(plane).tobytes())
        viewer.close()
    head = {"weights": weights, **view, "tables": tables, "parts": packer.parts}
    return gzip.compress(json.dumps(head, allow_nan=False).encode() + b"\n" + packer.buffer(), 9, mtime=0)


def hash_weights(path: Path) -> str:
    """A file of weights in a few letters."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def main() -> None:
    """Make the file again."""
    photos = {sample.name: sample.jpeg for sample in shipped_samples()}
    write_bytes(GRADIENTS, record_gradients(load("nano", "cpu"), photos, hash_weights(SHIPPED)))
    print(f"{GRADIENTS}: {GRADIENTS.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
