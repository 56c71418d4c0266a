"""The graph drawing."""

from app.canvas.canvas import GraphCanvas
from app.canvas.scene import NOTHING, GraphView, Group, Mark, Scene, SizeBy

__all__ = ["NOTHING", "GraphCanvas", "GraphView", "Group", "Mark", "Scene", "SizeBy"]
