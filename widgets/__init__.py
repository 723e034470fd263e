"""Interactive views of the network. Each function takes a model and an image and returns a viewer."""

from widgets.panels import compare, feature_pyramid, gradient_targets, prediction_ladder
from widgets.reopen import show, static
from widgets.viewer import Viewer

__all__ = ["Viewer", "compare", "feature_pyramid", "gradient_targets", "prediction_ladder", "show", "static"]
