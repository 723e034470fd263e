"""Functions that all views share: run the model, make a scene over the photo, read masks, add layers within a limit."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, from_numpy, nn

from birefnet_lite.analysis import Activations, capture
from birefnet_lite.analysis.layer_names import ATTENTION, LOGITS, SIDE, title_of
from birefnet_lite.inference.images import read_mask
from birefnet_lite.inference.predict import device_and_dtype
from widgets.brush import paint_strokes
from widgets.layer_summaries import postpone_summaries
from widgets.number_format import TIMES
from widgets.packing import MIB, count_channels
from widgets.planes import cell
from widgets.progress import progress_bar
from widgets.scene import Scene
from widgets.view_registry import register
from widgets.viewer import Viewer

#: The size of the image that the model sees: (height, width), a square's side, or None for that of its training.
Size = int | tuple[int, int] | None
#: A point, box or line over the maps, in the photo's pixels.
Mark = dict[str, Any]
#: Bytes of planes that one view keeps in the kernel, and the side of its largest backdrop.
KEPT = 40 * MIB
BACKDROP = 1024


def run(model: nn.Module, image: Any, size: Size = None, layers: Iterable[str] | None = None) -> Activations:
    """`capture`, with a bar that says how far the model is where that takes more than a second."""
    with progress_bar(desc="Running the model", unit=" maps") as bar:

        def tell(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        activations = capture(model, image, size, layers, tell)
    # A finite sum, which takes a fortieth of the time, says that all values are.
    bad = (name for name, x in activations.items() if not x.sum().isfinite() and not x.isfinite().all())
    activations.first_bad = next(bad, "")
    return activations


def new_scene(view: str, title: str, question: str, activations: Activations, model: nn.Module) -> Scene:
    """An empty scene over the photo, with the facts that every view states."""
    device, dtype = device_and_dtype(model)
    height, width = activations.photo.shape[:2]
    seen = activations.seen.shape[:2]
    facts = [
        f"{type(model).__name__} on {device.type}, {str(dtype).removeprefix('torch.')}",
        f"photo {width} {TIMES} {height}, seen by the network as {seen[1]} {TIMES} {seen[0]}",
    ]
    scene = Scene(view, title, question, backdrop(activations.photo), (height, width), facts=facts)
    if activations.first_bad:
        scene.extra["notice"] = (
            f"The network gives values that are not numbers, first in: {title_of(activations.first_bad)}. They are "
            "drawn in magenta (NaN), red and blue (infinities), and scores cannot be trusted."
        )
    return scene


def backdrop(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo at a size for the page."""
    height, width = photo.shape[:2]
    rows, columns = fit_within((height, width), BACKDROP)
    if (rows, columns) == (height, width):
        return photo
    return np.asarray(Image.fromarray(photo).resize((columns, rows), Image.Resampling.LANCZOS))


def painter(
    model: nn.Module, size: Size, photo: NDArray[np.uint8], fill: Callable[[Scene, Activations], Any]
) -> Callable[[Viewer], None]:
    """The reaction to a photo (H, W, 3) that was painted on: run the model on it, `fill` the scene, and show that.

    `fill` puts all layers in again, in the same shapes; where it returns a table, the view shows it.
    """

    def repaint(viewer: Viewer) -> None:
        scene = viewer.source
        painted = paint_strokes(photo, viewer.strokes)
        activations = run(model, painted, size)
        scene.photo = backdrop(painted)
        table = fill(scene, activations)
        viewer.renew()
        if table is not None:
            viewer.table = table

    return repaint


def reference_mask(activations: Activations, mask: Any) -> tuple[NDArray[np.float32], str]:
    """The mask that channels are held against, soft (H, W), and what it is."""
    if mask is None:
        return activations.mask, "predicted mask"
    return read_mask(mask), "given mask"


def fit_mask(mask: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A soft mask (H, W) at another size: averages over cells where it gets smaller."""
    tensor = from_numpy(np.ascontiguousarray(mask))[None, None]
    smaller = height <= mask.shape[0] and width <= mask.shape[1]
    options = {"mode": "area"} if smaller else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(tensor, size=(height, width), **options)[0, 0].numpy()


def add_truth(scene: Scene, mask: NDArray[np.floating], title: str = "Given mask") -> str:
    """The mask (H, W) that others are scored against, as a layer of its own."""
    scene.extra["truth"] = "truth"
    scene.add("truth", mask[None], "unit", title, as_mask="probability")
    return "truth"


def kind_of(name: str, maps: Tensor | NDArray[np.floating]) -> str:
    """How a layer's numbers are read: attention lies in 0 to 1; what is never negative starts at its least value."""
    if name.endswith(ATTENTION):
        return "unit"
    if maps.shape[0] == 1:
        return "signed"  # logits, whatever signs this photo happens to give
    return "positive" if float(maps.min()) >= 0 else "signed"


def add_layers(
    scene: Scene,
    activations: Activations,
    names: list[str],
    mask: NDArray[np.float32] | None,
    summaries: bool = False,
    kept: float | None = None,
) -> None:
    """Put captured layers into a scene, sharing `kept` (or `KEPT`) bytes. Takes them out of `activations`.

    With `summaries`, pictures of all their channels too, which are computed after the view is shown.
    """
    shapes = {name: activations[name].shape for name in names}
    shares = count_channels({name: (shape[0], shape[1], shape[2]) for name, shape in shapes.items()}, kept or KEPT)
    taken = {}
    for name in names:
        down, across = activations.stride(name)
        maps = activations.pop(name).numpy()
        fitted = None if mask is None else fit_mask(mask, *maps.shape[1:])
        note = f"stride {down:g}" if down == across else f"stride {down:g} down, {across:g} across"
        as_mask = "logits" if name == LOGITS or name.endswith(f".{SIDE}") else ""
        scene.add(name, maps, kind_of(name, maps), title_of(name), note, fitted, shares[name], as_mask=as_mask)
        if summaries:
            taken[name] = maps
    postpone_summaries(scene, taken)


def fit_within(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """A size (H, W) of the same proportions whose longer side is at most `longest`."""
    scale = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def cell_at_pin(viewer: Viewer, height: int, width: int) -> tuple[int, int]:
    """The cell (row, column) of a map of this size under the pin; the middle without a pin."""
    rows, columns = viewer.source.size
    x, y = viewer.pin or [columns / 2, rows / 2]
    return cell(y, rows, height), cell(x, columns, width)


def start_at_middle(viewer: Viewer) -> Viewer:
    """A view whose pin stands in the middle of the photo, with what follows from it."""
    rows, columns = viewer.source.size
    viewer.pin = [columns / 2, rows / 2]
    if viewer.error:
        raise RuntimeError(viewer.error)
    return register(viewer)
