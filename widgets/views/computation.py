"""Computation view: the sums behind a decoder stage's output and behind the mask, term by term."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from birefnet_lite.analysis.computation import head_terms, stage_terms
from birefnet_lite.analysis.layer_names import LATERAL, LOGITS, STAGES, stage_layer, stride_of
from widgets.number_format import TIMES, format_value
from widgets.packing import count_channels
from widgets.view_registry import register
from widgets.view_setup import KEPT, Size, kind_of, new_scene, run
from widgets.viewer import Viewer
from widgets.views.convolution import show_convolution

__all__ = ["computation"]

TERMS = {
    "reconstruction": "Recon-\nstruction",
    "attention": f"{TIMES}\nattention",
    "weighted": "=\nweighted",
    "raised": "up-sampled",
    "lateral": "+\nlateral",
    "out": "=\nstage output",
}
TITLES = {
    "reconstruction": "reconstruction",
    "attention": "gradient attention",
    "weighted": "reconstruction times attention",
    "raised": "weighted, up-sampled",
    "lateral": "lateral block",
    "out": "stage output",
}


def computation(model: nn.Module, image: Any, size: Size = None, *, convolution: str | None = None) -> Viewer:
    """Which numbers and weights made this value? Picture equations under one cursor, with numbers that add up.

    A stage multiplies its reconstruction by the gradient attention, up-samples it and adds the lateral map. The head
    adds what the decoder's features say about a pixel, what the image itself says, and a constant.

    With a `convolution`, a dotted path such as `decoder.stage2.lateral.conv`, the sum behind one of its values instead:
    patch, kernel and products of the pinned cell, or the taps of a deformable one with their offsets and modulation.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> view = computation(model, photo, size=64)
        >>> view.source.layers["stage 2.out"].group  # they add up
        ['stage 2.raised', 'stage 2.lateral', 'stage 2.out']
    """
    if convolution is not None:
        return show_convolution(model, image, convolution, size)
    activations = run(model, image, size)
    question = "Which numbers made this value? Point at a picture: they add up."
    scene = new_scene("computation", "Computation", question, activations, model)
    scene.columns = list(TERMS.values())
    equations: dict[str, dict[str, Tensor]] = {}
    for stage in STAGES:
        if stage_layer(stage, LATERAL) in activations:
            found = stage_terms(activations, stage)
            equations[f"stage {stage}"] = {name: getattr(found, name) for name in TERMS}
    shapes = {
        f"{row}.{name}": (x.shape[0], x.shape[1], x.shape[2])
        for row, terms in equations.items()
        for name, x in terms.items()
    }
    counts = count_channels(shapes, KEPT)
    for row, terms in equations.items():
        names = [f"{row}.{name}" for name in TERMS]
        keep = min(counts[name] for name, x in zip(names, terms.values(), strict=True) if len(x) > 1)
        spread = terms["out"].flatten(1).std(dim=1).numpy()
        channels = np.argsort(-spread, kind="stable")[:keep]
        for name, (term, x) in zip(names, terms.items(), strict=True):
            sums = [f"{row}.{other}" for other in ("raised", "lateral", "out")]
            products = [f"{row}.{other}" for other in ("reconstruction", "attention", "weighted")]
            group = sums if name in sums else products
            shown = channels if len(x) > 1 else [0]
            kind = "unit" if term == "attention" else kind_of(stage_layer(1, term), x)
            title = f"{row.capitalize()} · {TITLES[term]}"
            scene.add(name, x.numpy(), kind, title, group=group, channels=shown, shares=sums if name in sums else None)
        scene.rows.append((f"{row.capitalize()}\nstride {stride_of(int(row[-1]))}", list(names)))
    head = head_terms(model, activations)
    parts = {"from the features": head.features, "from the image": head.image, "logits": head.logits}
    group = [f"head.{name}" for name in parts]
    for name, x in parts.items():
        note = f"features + image + {format_value(head.bias)} = logits"
        title = "Head · mask, as logits" if name == LOGITS else f"Head · {name}"
        as_mask = "logits" if name == LOGITS else ""
        scene.add(f"head.{name}", x.numpy(), "signed", title, note, group=group, shares=group, as_mask=as_mask)
    scene.rows.append(("Head", [group[0], None, None, None, group[1], group[2]]))
    scene.focus = f"{next(iter(equations))}.out" if equations else group[-1]
    scene.facts.append(f"the head's constant is {format_value(head.bias)}")
    return register(Viewer(scene))
