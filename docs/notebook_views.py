"""The live views of the notebooks' pages: for each view, what its cell needs instead of all the cells before it."""

import json
from dataclasses import dataclass
from pathlib import Path

from docs.views import VIEWS, Page

__all__ = ["MARK", "NOTEBOOK_VIEWS", "NotebookView", "notebook_pages", "page_name", "view_cells"]

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
#: The text that the builder of the notebooks puts in the place of a view.
MARK = "Run this cell to get the interactive view."

CHELSEA = """\
from birefnet_lite import load
from birefnet_lite.photos import load_photo

model, (photo, by_hand, _), SIZE = load("nano", "cpu"), load_photo("chelsea"), (256, 384)
"""
SMALL = CHELSEA.replace("(256, 384)", "(128, 192)")
PERSON = CHELSEA.replace("chelsea", "astronaut").replace("384", "256")
ASTRONAUT = PERSON.replace("by_hand", "mask")
PERSON_AND_CAT = """\
from birefnet_lite import load
from birefnet_lite.photos import load_photo

model, SIZE = load("nano", "cpu"), (192, 288)
(photo, by_hand, _), picture = load_photo("astronaut"), load_photo("chelsea")[0]
"""
ROUNDED = """\
from copy import deepcopy

from birefnet_lite import load
from birefnet_lite.analysis.inputs import prepare
from birefnet_lite.photos import load_photo

model = load("nano", "cpu")
rounded, prepared = deepcopy(model).bfloat16().float(), prepare(model, load_photo("astronaut")[0], size=96).tensor
"""
ASSEMBLED = """\
from copy import deepcopy

from birefnet_lite import load
from birefnet_lite.analysis.inputs import prepare
from birefnet_lite.photos import load_photo

reference = load("nano", "cpu")
mine, x = deepcopy(reference), prepare(reference, load_photo("astronaut")[0], size=96).tensor
"""
STUDENT = """\
import torch

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.inference.images import normalise
from birefnet_lite.synthetic import SyntheticScenes
from birefnet_lite.training import Recorder
from birefnet_lite.training.losses import BiRefNetLoss
from birefnet_lite.training.model_setup import parameter_groups

scenes = SyntheticScenes(size=(64, 64), seed=3, difficulty=0.1).batch(4, step=0)
images = normalise(scenes.images)
torch.manual_seed(0)
student = BiRefNet(BiRefNetConfig.preset("nano").replace(aspp="plain"))
for module in student.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
optimizer = torch.optim.AdamW(parameter_groups(student, weight_decay=0.01), lr=2e-3)
criterion = BiRefNetLoss({"bce": 1.0, "iou": 1.0}, gradient_weight=0.3, gradient_target="masked", class_weight=0.1)
weights = {"pixel": 1.0, "gradient": 0.3, "class": 0.1}
star = (scenes.images[2].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
sides = [f"decoder.stage{stage}.side" for stage in (4, 3, 2)]
recorder = Recorder(star, sides, every=5, mask=scenes.masks[2, 0].numpy(), size=64)
recorder.record(student, 0)
for n in range(1, 61):
    optimizer.zero_grad()
    loss = criterion(student.train()(images), scenes.masks, scenes.labels)
    loss.total.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    recorder.record(student, n, {name: loss.parts[name].item() / weight for name, weight in weights.items()})
"""
SMALLER = (
    "So that this page stays small, the network sees a smaller image here; the numbers of the text are the notebook's."
)
STAND_IN = "A copy of the package's network stands for yours."
AGAIN = "The network was trained anew for this page: its losses differ a little from those of the text."


@dataclass(frozen=True)
class NotebookView:
    """One view of a notebook's page."""

    view: str
    """The function of `widgets`."""
    setup: str
    """Code that makes what the cell uses."""
    note: str = ""
    """A sentence about the difference from the notebook."""
    budget: int = 600_000
    """Bytes of maps in the page, so that it stays under 2 MB."""
    change: tuple[str, str] = ("", "")
    """A piece of the cell, and what takes its place."""

    @property
    def title(self) -> str:
        """The name of the frame for screen readers."""
        return VIEWS[self.view].title


#: By the name of the notebook, its views in their order; None where a view is not to be framed.
NOTEBOOK_VIEWS: dict[str, tuple[NotebookView | None, ...]] = {
    "00_start_here": (
        NotebookView("feature_pyramid", CHELSEA),
        NotebookView("prediction_ladder", SMALL, SMALLER),
        NotebookView("gradient_targets", SMALL, SMALLER),
    ),
    "01_skeleton": (NotebookView("feature_pyramid", CHELSEA),),
    "02_backbone": (NotebookView("feature_pyramid", CHELSEA),),
    "03_squeeze": (NotebookView("sampling_points", CHELSEA),),
    "04_lateral_blocks": (NotebookView("feature_pyramid", CHELSEA),),
    "05_decoder": (NotebookView("prediction_ladder", SMALL, SMALLER),),
    "06_refinement": (NotebookView("reference_tiles", ASTRONAUT), NotebookView("feature_pyramid", ASTRONAUT)),
    "07_gradient_targets": (NotebookView("gradient_targets", ASTRONAUT),),
    "08_training": (NotebookView("training_film", STUDENT, AGAIN),),
    "09_in_use": (NotebookView("prediction_ladder", PERSON, SMALLER, change=("size=(256, 256)", "size=(128, 128)")),),
    "10_explanation": (
        NotebookView("attribution", PERSON_AND_CAT),
        NotebookView("receptive_field", PERSON_AND_CAT),
        NotebookView("ablation", PERSON_AND_CAT),
    ),
    "11_speed": (NotebookView("compare", ROUNDED, SMALLER, budget=100_000),),
    "12_capstone": (NotebookView("compare", ASSEMBLED, f"{STAND_IN} {SMALLER}", budget=100_000),),
}


def view_cells(path: Path) -> list[str]:
    """The code of the cells of a built notebook that make a view, in their order."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if MARK in json.dumps(cell.get("outputs", []))]


def page_name(notebook: str, number: int) -> str:
    """The name of the page of a notebook's view, the first one being 1."""
    return f"{notebook[:2]}-{number}"


def notebook_pages() -> dict[str, Page]:
    """The pages to be written: each view as the cell of its notebook makes it."""
    pages = {}
    for notebook, views in NOTEBOOK_VIEWS.items():
        cells = view_cells(NOTEBOOKS / f"{notebook}.ipynb")
        for number, (view, cell) in enumerate(zip(views, cells, strict=True), start=1):
            if view is not None:
                pages[page_name(notebook, number)] = Page(
                    f"{view.setup}\n{cell.replace(*view.change)}", view.budget, picture=False
                )
    return pages
