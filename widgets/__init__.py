"""Interactive views of the network. Each function takes a model and an image and returns a viewer."""

from widgets.panels import feature_pyramid
from widgets.reopen import show, static
from widgets.viewer import Viewer

__all__ = ["Viewer", "feature_pyramid", "show", "static"]
