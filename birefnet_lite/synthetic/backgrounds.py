"""The families of backgrounds, from a plain wall to a street."""

from dataclasses import dataclass

from birefnet_lite.synthetic import places, surfaces
from birefnet_lite.synthetic.shapes import Family


@dataclass(frozen=True)
class Background(Family):
    """How to fill the ground. `camouflage`: objects look like it; `title`: its name, where two share a function."""

    camouflage: bool = False
    title: str | None = None

    @property
    def name(self) -> str:
        return self.title or super().name


BACKGROUNDS = (
    Background(surfaces.plain),
    Background(surfaces.gradient),
    Background(surfaces.bokeh, 0.1),
    Background(surfaces.stripes, 0.3),
    Background(surfaces.fractal, 0.2),
    Background(surfaces.drapery, 0.3, 0.7),
    Background(surfaces.tiles, 0.3, 1.6),
    Background(surfaces.wooden, 0.2, 1.6),
    Background(surfaces.ground, 0.3, 1.3),
    Background(places.outdoor, 0.2, 2.0),
    Background(places.street, 0.4, 1.2),
    Background(places.indoor, 0.3, 2.2),
    Background(places.foliage, 0.4),
    Background(places.clutter, 0.4, 1.5),
    Background(places.shelves, 0.4, 1.8),
    Background(places.masts, 0.3, 1.6),
    Background(surfaces.fractal, 0.8, 0.3, camouflage=True, title="hidden_in_texture"),
    Background(surfaces.ground, 0.9, 0.3, camouflage=True, title="hidden_on_ground"),
    Background(surfaces.marble, held_out=True),
    Background(surfaces.checker, held_out=True),
)
