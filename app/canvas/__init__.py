"""The graph drawing."""

from app.canvas.canvas import GraphCanvas
from app.canvas.scene import NOTHING, GraphView, Group, Scene, SizeBy

__all__ = ["NOTHING", "GraphCanvas", "GraphView", "Group", "Scene", "SizeBy"]
