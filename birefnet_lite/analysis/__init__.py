"""Analysis of the network: its maps, the effect of each part, attributions, receptive fields.

Arrays in, arrays out. Drawing is the business of the `widgets` package.
"""

from birefnet_lite.analysis.capture import Activations, capture
from birefnet_lite.analysis.inputs import as_photo, prepare

__all__ = ["Activations", "as_photo", "capture", "prepare"]
