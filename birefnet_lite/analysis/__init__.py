"""Look inside the network: what flows through it, what each part contributes, where a decision comes from.

Arrays in, arrays out. Drawing is the business of the `widgets` package.
"""

from birefnet_lite.analysis.capture import Activations, capture
from birefnet_lite.analysis.inputs import as_photo, prepare

__all__ = ["Activations", "as_photo", "capture", "prepare"]
