"""The list of backgrounds, from a plain wall to a street, with their difficulty and frequency."""

from dataclasses import dataclass

from birefnet_lite.synthetic import deep_backgrounds, flat_backgrounds
from birefnet_lite.synthetic.families import Family


@dataclass(frozen=True)
class Background(Family):
    """A kind of background.

    Attributes:
        camouflage: Objects take on its look.
        title: Its name, if two backgrounds share a function.
    """

    camouflage: bool = False
    title: str | None = None

    @property
    def name(self) -> str:
        return self.title or super().name


BACKGROUNDS = (
    Background(flat_backgrounds.plain),
    Background(flat_backgrounds.gradient),
    Background(flat_backgrounds.bokeh, 0.1),
    Background(flat_backgrounds.stripes, 0.3),
    Background(flat_backgrounds.fractal, 0.2),
    Background(flat_backgrounds.drapery, 0.3, 0.7),
    Background(flat_backgrounds.tiles, 0.3, 1.6),
    Background(flat_backgrounds.wooden, 0.2, 1.6),
    Background(flat_backgrounds.ground, 0.3, 1.3),
    Background(deep_backgrounds.outdoor, 0.2, 2.0),
    Background(deep_backgrounds.street, 0.4, 1.2),
    Background(deep_backgrounds.indoor, 0.3, 2.2),
    Background(deep_backgrounds.foliage, 0.4),
    Background(deep_backgrounds.clutter, 0.4, 1.5),
    Background(deep_backgrounds.shelves, 0.4, 1.8),
    Background(deep_backgrounds.masts, 0.3, 1.6),
    Background(flat_backgrounds.fractal, 0.8, 0.3, camouflage=True, title="hidden_in_texture"),
    Background(flat_backgrounds.ground, 0.9, 0.3, camouflage=True, title="hidden_on_ground"),
    Background(flat_backgrounds.marble, held_out=True),
    Background(flat_backgrounds.checker, held_out=True),
)
