"""The live views of the gallery: the code and the text of each, and the program that writes pages of views."""

import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VIEWS", "LiveView", "Page", "build_pages", "gallery_pages"]

WITH_NANO = """\
from birefnet_lite import load
from birefnet_lite.photos import load_photo
from widgets import {view}

model = load("nano", "cpu")
photo, mask, _ = load_photo("{photo}")
"""
TRAINING = """\
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.analysis.inputs import prepare
from birefnet_lite.network.resize import resize
from birefnet_lite.photos import load_photo
from birefnet_lite.training import Recorder
from widgets import {view}

torch.manual_seed(0)
model = BiRefNet(BiRefNetConfig.preset("nano"))
photo, mask, _ = load_photo("{photo}")
image = prepare(model, photo, 128).tensor
target = resize(torch.from_numpy(mask)[None, None].float(), (128, 128))
images, targets = (torch.cat([x, x.flip(3)]) for x in (image, target))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
recorder = Recorder(photo, every=4, mask=mask, size=128, channels=3)
recorder.record(model, 0)
for step in range(1, 41):
    loss = binary_cross_entropy_with_logits(model.train()(images).logits, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    recorder.record(model, step, {{"loss": loss.item()}})
"""


@dataclass(frozen=True)
class LiveView:
    """One view of the gallery."""

    title: str
    call: str
    """The last lines; the value of the last one is the view."""
    text: str
    """Three sentences at most: what is seen, and what to try."""
    photo: str = "astronaut"
    setup: str = WITH_NANO
    budget: int = 900_000
    """Bytes of maps in the page, so that it stays under 2 MB."""

    def code(self, view: str) -> str:
        """The whole example."""
        return f"{self.setup.format(view=view, photo=self.photo)}{self.call}"


VIEWS = {
    "feature_pyramid": LiveView(
        "Feature pyramid",
        "feature_pyramid(model, photo, mask)",
        "What the channels of all scales say, alone and together, under one cursor, and which places look alike. "
        "Choose a map below the photo, then one of its channels. In a notebook a brush changes the photo.",
        budget=1_050_000,
    ),
    "prediction_ladder": LiveView(
        "Prediction ladder",
        "prediction_ladder(model, photo, mask, size=192)",
        "The mask of every decoder stage in colours, as an outline or as a cut-out, its change from the stage before, "
        "and its error. Coarse stages find the object, fine ones its outline. In a notebook a brush changes the photo.",
        photo="chelsea",
    ),
    "gradient_targets": LiveView(
        "Gradient targets",
        "gradient_targets(model, photo, mask)",
        "The Laplacian of the photo, the targets of the gradient heads, what the heads predict, and the attention that "
        "follows from it (outward reference), for each decoder stage.",
        photo="coffee",
    ),
    "reference_tiles": LiveView(
        "Reference tiles",
        "reference_tiles(model, photo)",
        "The photo cut into tiles for each decoder stage (inward reference), so that no pixel is lost. A click shows "
        "the tile of a pixel and its channels.",
        photo="motorcycle",
    ),
    "sampling_points": LiveView(
        "Sampling points",
        "sampling_points(model, photo)",
        "The places at which the deformable kernels of a block read, with their weights, for the pixel under the pin.",
        photo="coffee",
    ),
    "receptive_field": LiveView(
        "Receptive field",
        "receptive_field(model, photo)",
        "The region of the photo that one cell of a layer can depend on (box) and does depend on (map).",
        photo="chelsea",
    ),
    "attribution": LiveView(
        "Attribution",
        "attribution(model, photo, mask)",
        "The pixels that speak for the mask, by four methods of captum, and how well each agrees with the mask.",
        photo="chelsea",
    ),
    "ablation": LiveView(
        "Ablation",
        "view = ablation(model, photo, mask)\nview.ablated = ['squeeze']\nview",
        "The mask with parts of the network switched off, its change, its scores, and which part matters most. On this "
        "page the squeeze module is off; in a notebook a click switches a part, and a brush changes the photo.",
    ),
    "architecture": LiveView(
        "Architecture",
        "architecture(model, photo)",
        "The parts of the network with the shapes of their maps, parameters, and shares of time and memory.",
        photo="coffee",
    ),
    "compare": LiveView(
        "Layer debugger",
        "compare(broken_network(model), model, photo, size=96)",
        "Two networks side by side, part by part, with their difference: here one that reads the photo's tiles in "
        "another order.",
        setup="from birefnet_lite.course.capstone import broken_network\n" + WITH_NANO,
        budget=100_000,
    ),
    "computation": LiveView(
        "Computation",
        "computation(model, photo)",
        "Which numbers and weights made a value: each decoder stage as a picture equation under one cursor, with "
        "numbers that add up.",
        photo="coffee",
        budget=500_000,
    ),
    "paired": LiveView(
        "Two photos or two networks",
        "paired(model, photo, load_photo('chelsea')[0], size=128)",
        "Each map of a view for two photos, or for two networks, over one range, with the difference. For two networks "
        "a table says how much each layer has in common.",
        budget=100_000,
    ),
    "training_film": LiveView(
        "Training film",
        "training_film(recorder)",
        "How the mask and the maps of one photo form in training, two recorded steps side by side, with the losses: "
        "here forty steps of an untrained network on this photo alone. The slider or Play chooses the step.",
        photo="chelsea",
        setup=TRAINING,
    ),
    "window_attention": LiveView(
        "Window attention",
        "window_attention(model, photo, size=256)",
        "The window of a pixel and the attention of every head, in each block of a Swin backbone. This network is "
        "untrained: `nano` has no Swin backbone.",
        photo="chelsea",
        setup="import torch\n\nfrom birefnet_lite import BiRefNet\n"
        + WITH_NANO.replace('model = load("nano", "cpu")', "torch.manual_seed(0)\nmodel = BiRefNet().eval()").replace(
            "from birefnet_lite import load\n", ""
        ),
    ),
}


@dataclass(frozen=True)
class Page:
    """The page of one view: the code that makes it, whose last line gives the viewer."""

    code: str
    budget: int
    picture: bool = True
    """Whether its still picture is written beside it."""


def gallery_pages(names: Iterable[str] = VIEWS) -> dict[str, Page]:
    """The pages of the gallery, by the names of the views."""
    return {name: Page(VIEWS[name].code(name), VIEWS[name].budget) for name in names}


def build_pages(folder: Path, pages: Mapping[str, Page]) -> None:
    """Write `NAME.html`, and `NAME.png` where a picture is asked for, into a folder for each page, in two processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        for name in pool.map(_build_page, pages, pages.values(), [folder] * len(pages)):
            print(f"view {name}", file=sys.stderr)


def _build_page(name: str, page: Page, folder: Path) -> str:
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    *setup, last = page.code.rstrip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(setup), names)
    viewer = eval(last, names)
    opened = viewer.layer
    for layer in [*viewer.stale, opened]:  # a page cannot compute what a view in a notebook computes when it is chosen
        viewer.layer = layer
    viewer.to_html(folder / f"{name}.html", budget=page.budget)
    if page.picture:
        Image.fromarray(viewer.picture()).save(folder / f"{name}.png", optimize=True)
    return name
