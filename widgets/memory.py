"""Views that are shown again replace each other, so that a cell run twenty times keeps one view's memory.

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
    views.append(viewer)
    while len(views) > LIMIT:
        views.pop(0).retire()
    return viewer
