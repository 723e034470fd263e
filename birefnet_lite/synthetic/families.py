"""The list of object families, in the order of their class labels. New ones go to the end, so that no label changes."""

from collections.abc import Callable
from dataclasses import dataclass

from birefnet_lite.synthetic import (
    closeups,
    figures,
    household,
    large_objects,
    machines,
    solid,
    tableware,
    thin,
    vehicles,
)
from birefnet_lite.synthetic.canvas import Canvas


@dataclass(frozen=True)
class Family:
    """A family of objects.

    Attributes:
        draw: Draws the family on a canvas.
        level: The difficulty from which it is common.
        weight: Its relative frequency there.
        held_out: It is not used for training.
    """

    draw: Callable[[Canvas], None]
    level: float = 0.0
    weight: float = 1.0
    held_out: bool = False

    @property
    def name(self) -> str:
        return self.draw.__name__


FAMILIES = (
    Family(solid.blob),
    Family(solid.polygon, 0.0, 5.0),
    Family(solid.star),
    Family(solid.slab),
    Family(solid.ring, 0.1),
    Family(solid.holed, 0.2),
    Family(solid.coins, 0.3, 1.2),
    Family(solid.fruit, 0.1, 1.2),
    Family(solid.crate, 0.1),
    Family(solid.turned, 0.1),
    Family(thin.wire, 0.4),
    Family(thin.wheel, 0.4),
    Family(thin.tuft, 0.4),
    Family(thin.ladder, 0.3),
    Family(thin.lattice, 0.4),
    Family(thin.branch, 0.4),
    Family(thin.net, 0.6, 0.7),
    Family(thin.chair, 0.3),
    Family(thin.insect, 0.3),
    Family(figures.person, 0.2, 3.0),
    Family(figures.four_legged, 0.2, 3.0),
    Family(figures.bird, 0.2, 1.2),
    Family(figures.fish, 0.1),
    Family(figures.creature, 0.2, 1.2),
    Family(tableware.cup, 0.1, 1.2),
    Family(tableware.tableware, 0.2, 4.0),
    Family(vehicles.car, 0.2, 1.2),
    Family(vehicles.two_wheeler, 0.3, 2.5),
    Family(vehicles.aircraft, 0.2),
    Family(vehicles.boat, 0.2),
    Family(vehicles.rocket, 0.2, 1.4),
    Family(household.plant, 0.3),
    Family(household.bag, 0.1),
    Family(machines.tool, 0.2),
    Family(household.tripod, 0.3),
    Family(machines.assembly, 0.2, 1.4),
    Family(closeups.portrait, 0.2, 4.5),
    Family(closeups.animal_face, 0.2, 4.0),
    Family(machines.big_machine, 0.3, 1.4),
    Family(machines.big_body, 0.2, 2.0),
    Family(closeups.blossom, 0.2, 1.4),
    Family(household.sofa, 0.2),
    Family(household.glasses, 0.3, 0.8),
    Family(large_objects.building, 0.3, 1.4),
    Family(large_objects.tree, 0.3, 1.0),
    Family(large_objects.group, 0.4, 2.5),
    Family(solid.gear, held_out=True),
    Family(household.lamp, held_out=True),
)
