"""What only the notebooks need: the map, the running table, the model they run, and the program that builds them."""

from birefnet_lite.course.environment import check_environment
from birefnet_lite.course.figures import network_map
from birefnet_lite.course.models import course_model
from birefnet_lite.course.picture import Picture, side_by_side
from birefnet_lite.course.progress import dashboard
from birefnet_lite.course.table import part_table

__all__ = ["Picture", "check_environment", "course_model", "dashboard", "network_map", "part_table", "side_by_side"]
