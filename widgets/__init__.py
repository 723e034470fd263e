"""Interactive views of the network. Each function takes a model and an image and returns a viewer."""

from widgets.saved_views import framed, show, static
from widgets.viewer import Viewer
from widgets.views.ablation import ablation
from widgets.views.architecture import architecture
from widgets.views.attribution import attribution
from widgets.views.compare import compare
from widgets.views.computation import computation
from widgets.views.feature_pyramid import feature_pyramid
from widgets.views.gradient_targets import gradient_targets
from widgets.views.paired import paired
from widgets.views.prediction_ladder import prediction_ladder
from widgets.views.receptive_field import receptive_field
from widgets.views.reference_tiles import reference_tiles
from widgets.views.sampling_points import sampling_points
from widgets.views.training_film import training_film
from widgets.views.window_attention import window_attention

__all__ = [
    "Viewer",
    "ablation",
    "architecture",
    "attribution",
    "compare",
    "computation",
    "feature_pyramid",
    "framed",
    "gradient_targets",
    "paired",
    "prediction_ladder",
    "receptive_field",
    "reference_tiles",
    "sampling_points",
    "show",
    "static",
    "training_film",
    "window_attention",
]
