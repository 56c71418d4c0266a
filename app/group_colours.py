"""The colours of groups that were given none."""

from __future__ import annotations

from dataclasses import replace

from engine.graphs.colours import group_colour
from engine.projects import Annotations


def with_colours(annotations: Annotations) -> Annotations:
    """The same with a colour for every group, its own or the one that its number gives."""
    groups = tuple(replace(group, colour=group_colour(group.colour, group.id)) for group in annotations.groups)
    return replace(annotations, groups=groups)
