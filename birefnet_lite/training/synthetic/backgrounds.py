"""The families of backgrounds, from a plain wall to a street."""

from collections.abc import Callable
from dataclasses import dataclass

from birefnet_lite.training.synthetic import places, surfaces
from birefnet_lite.training.synthetic.canvas import Canvas


@dataclass(frozen=True)
class Background:
    """How to fill the ground. `level`: the difficulty from which it is common. `camouflage`: objects look like it."""

    draw: Callable[[Canvas], None]
    level: float = 0.0
    weight: float = 1.0
    held_out: bool = False
    camouflage: bool = False
    title: str | None = None

    @property
    def name(self) -> str:
        return self.title or self.draw.__name__


BACKGROUNDS = (
    Background(surfaces.plain),
    Background(surfaces.gradient),
    Background(surfaces.bokeh, 0.1),
    Background(surfaces.stripes, 0.3, 0.7),
    Background(surfaces.fractal, 0.2),
    Background(surfaces.drapery, 0.3, 0.7),
    Background(surfaces.tiles, 0.3, 0.8),
    Background(surfaces.wooden, 0.2, 1.2),
    Background(surfaces.ground, 0.3, 1.3),
    Background(places.outdoor, 0.2, 2.0),
    Background(places.street, 0.4, 1.2),
    Background(places.indoor, 0.3, 2.2),
    Background(places.foliage, 0.4),
    Background(places.clutter, 0.4, 1.5),
    Background(places.shelves, 0.4, 1.2),
    Background(surfaces.fractal, 0.8, 0.3, camouflage=True, title="hidden_in_texture"),
    Background(surfaces.ground, 0.9, 0.3, camouflage=True, title="hidden_on_ground"),
    Background(surfaces.marble, held_out=True),
    Background(surfaces.checker, held_out=True),
)
