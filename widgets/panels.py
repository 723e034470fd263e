"""What a notebook calls: each function takes a model and an image and returns a viewer arranged for one question."""

from widgets.comparison import compare
from widgets.pyramid import feature_pyramid
from widgets.supervision import gradient_targets, prediction_ladder

__all__ = ["compare", "feature_pyramid", "gradient_targets", "prediction_ladder"]
