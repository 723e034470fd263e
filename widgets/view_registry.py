"""Register of the views on show: a view that is shown again replaces the earlier one, to save memory.

The same maps are kept once, however many views show them.

A replaced view stays on the page with the maps it has. It can no longer fetch others.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from widgets.viewer import Viewer

__all__ = ["LIMIT", "register"]

#: How many views of one kind keep their maps in the kernel.
LIMIT = 2

_alive: dict[str, list["Viewer"]] = {}


def register(viewer: "Viewer") -> "Viewer":
    """Note a new view, and let go of the oldest of its kind beyond `LIMIT`."""
    views = _alive.setdefault(viewer.source.view, [])
    views[:] = [view for view in views if view.comm is not None]
    for other in views:
        other.complete()  # frees the numbers that are kept until then
        viewer.source.share(other.source)
        if viewer.blob == other.blob:
            viewer.share_blob(other)
    views.append(viewer)
    while len(views) > LIMIT:
        views.pop(0).retire()
    return viewer
