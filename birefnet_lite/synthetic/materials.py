"""Materials of drawn parts: their colours, patterns and noise."""

from dataclasses import dataclass

from torch import Tensor

NOISES = {  # name: lowest and highest frequency over the shorter side, slope
    "broad": (1.0, 6.0, 1.2),
    "cloud": (1.5, 60.0, 1.6),
    "mottle": (4.0, 24.0, 1.0),
    "rough": (3.0, 200.0, 1.0),
    "grain": (50.0, 400.0, 0.0),
    "spots": (7.0, 11.0, -1.0),
    "tufts": (8.0, 45.0, 0.8),
}
PATTERNS = ("plain", "mottled", "patches", "spots", "stripes", "checks", "streaks", "gradient")
PATTERN_WEIGHTS = (6, 3, 2, 1, 1.5, 0.7, 2, 2)


@dataclass
class Material:
    """The look of a part: two colours (n, 3, 1, 1), the pattern that mixes them and its scale, grain and gloss."""

    base: Tensor
    other: Tensor
    pattern: str = "plain"
    grain: float = 0.05
    gloss: float = 0.0
    scale: float = 1.0
