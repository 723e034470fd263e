"""What a notebook calls: each function takes a model and an image and returns a viewer arranged for one question."""

from widgets.comparison import compare
from widgets.explaining import ablation, attribution
from widgets.explaining import receptive_field_view as receptive_field
from widgets.mapping import architecture
from widgets.pyramid import feature_pyramid
from widgets.supervision import gradient_targets, prediction_ladder
from widgets.taps import sampling_points
from widgets.tiles import reference_tiles
from widgets.windows import window_attention

__all__ = [
    "ablation",
    "architecture",
    "attribution",
    "compare",
    "feature_pyramid",
    "gradient_targets",
    "prediction_ladder",
    "receptive_field",
    "reference_tiles",
    "sampling_points",
    "window_attention",
]
