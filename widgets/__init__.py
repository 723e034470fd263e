"""Interactive views of the network. Each function takes a model and an image and returns a viewer."""

from widgets import panels
from widgets.panels import *  # noqa: F403
from widgets.reopen import show, static
from widgets.viewer import Viewer

__all__ = ["Viewer", "show", "static"]
__all__ += panels.__all__
